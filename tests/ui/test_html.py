"""Nothing that people named reaches a page as markup."""

import pytest

from engine.types import Problem
from ui import html
from ui.findings import findings, tally, tone
from ui.html import Html, tag

EVIL = '<img src=x onerror="alert(1)">'


@pytest.mark.parametrize("piece", [
    html.card(EVIL, EVIL), html.empty_state(EVIL), html.chip(EVIL, 3), html.stat(EVIL, EVIL, EVIL), html.progress(0.5, EVIL),
    html.share_bar([(EVIL, 1, "red")], EVIL), html.dot("good", EVIL), html.table([EVIL], [[EVIL]]), html.code(EVIL), html.sparkline([1, 2], EVIL),
    tag("p", EVIL, title=EVIL), html.join([EVIL]),
], ids=["card", "empty", "chip", "stat", "progress", "share", "dot", "table", "code", "sparkline", "tag", "join"])
def test_text_is_escaped_by_every_piece(piece):
    assert isinstance(piece, Html)
    assert "<img" not in piece
    assert "&lt;img" in piece


def test_markup_made_here_is_not_escaped_twice():
    assert tag("p", tag("b", "a & b")) == "<p><b>a &amp; b</b></p>"


def test_attributes_that_are_none_or_false_are_left_out():
    assert tag("button", "x", class_="a", data_run="r", disabled=False, hidden=True, title=None) == '<button class="a" data-run="r" hidden>x</button>'


@pytest.mark.parametrize(("fraction", "shown"), [(-1, "width:0%"), (0.334, "width:33%"), (7, "width:100%")])
def test_a_bar_stays_within_its_frame(fraction, shown):
    assert shown in html.progress(fraction)


def test_a_bar_without_a_known_end_moves_and_claims_no_value():
    assert "aria-valuenow" not in html.progress(None, "Reading")
    assert "lb-busy" in html.progress(None, "Reading")


def test_shares_of_nothing_divide_by_nothing():
    assert "lb-share" in html.share_bar([("train", 0, "red")], "splits")


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [0.1, 0.5, 0.3]])
def test_any_curve_can_be_drawn_small(values):
    assert ("<polyline" in html.sparkline(values, "curve")) is (len(values) > 1)


def test_problems_of_a_kind_stand_together_errors_first():
    problems = [Problem("images_without_labels", "note", "a.jpg", {"count": 1}), Problem("not_an_image", "error", EVIL),
                Problem("not_an_image", "error", "c.jpg")]
    shown = findings(problems, "en")
    assert shown.count("<section") == 2
    assert shown.index("c.jpg") < shown.index("a.jpg")
    assert "2 times" in shown and "<img" not in shown
    assert tally(problems, "en") == "2 errors · 1 note"
    assert tone(problems) == "bad"


def test_a_set_without_problems_is_well():
    assert (findings([], "en"), tally([], "en"), tone([])) == ("", "No problems found", "good")


def test_only_the_first_places_are_listed_and_the_rest_counted():
    shown = findings([Problem("not_an_image", "error", f"{i}.jpg") for i in range(500)], "en")
    assert "Show all 500" in shown and "and 300 more" in shown


def test_the_swatch_of_the_thirteenth_class_has_the_colour_of_the_first_and_a_pattern():
    first, later = html.swatch(0), html.swatch(12)
    assert "#E69F00" in first and "#E69F00" in later
    assert "lb-dash" not in first and "lb-dash-1" in later
    assert len({html.swatch(number) for number in range(48)}) == 48
