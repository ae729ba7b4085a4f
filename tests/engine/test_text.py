"""Text masks: every script is drawn right or not at all."""

import numpy as np
import pytest

from engine import text

CJK = "镊腫瘤訓練子刀カメラ한국어日本"


@pytest.fixture
def fresh():
    """Nothing remembered from other tests, nothing left behind for them."""
    caches = (text._fonts_of_block, text._font_for, text._opencv_draws, text.render)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.parametrize("size", [12, 20, 40])
def test_chinese_japanese_and_korean_characters_look_different_from_each_other_and_from_a_question_mark(size):
    masks = [text.render(c, size) for c in CJK + "?"]
    assert all(mask is not None and mask.any() for mask in masks)
    assert len({(mask.shape, mask.tobytes()) for mask in masks}) == len(CJK) + 1


@pytest.mark.parametrize("name", ["ñandú", "Ωμέγα", "Самолёт", "Việt", "镊子 tool", "a_b-c.d/e (2)", "what?"])
def test_a_name_is_drawn_whole(name):
    mask = text.render(name, 24)
    assert mask is not None
    assert mask.shape[1] > text.render(name[:-1].strip(), 24).shape[1]
    assert mask[:, 0].any() and mask[:, -1].any()


@pytest.mark.parametrize("character", ["\u0e01", "\u0915", "\U0001f642", "\u1200", "\U00020000", "\U000e0fff", "\ue000", "\u0627", "\u05d0"])
def test_a_character_is_drawn_with_ink_that_is_neither_a_question_mark_nor_missing_glyph_or_not_at_all(character):
    mask = text.render(character, 24)
    if mask is not None:
        assert mask.any()
        assert not np.array_equal(mask, text.render("?", 24))
        font = text._font_for(frozenset(character))
        assert font is None or not np.array_equal(mask, text._pillow_mask(text.NO_SUCH_CHARACTER, font, 24))


def test_without_opencvs_font_face_pillow_draws_latin(fresh, monkeypatch):
    if not text._font_files():
        pytest.skip("no font is installed")
    monkeypatch.setattr(text, "_opencv_font", lambda: None)
    mask = text.render("aircraft", 24)
    assert mask is not None and mask.any()


@pytest.mark.parametrize(("raw", "shown"), [
    ("a\nb\tc\x00d", "a b c d"), ("  x   y ", "x y"), ("\u202eabc\u200b", "abc"), ("n\u0303", "ñ"), ("\n\t", ""), ("", ""), ("\ud800x", "x"),
])
def test_a_name_becomes_one_printable_line(raw, shown):
    assert text.clean(raw) == shown


def test_a_long_name_ends_in_an_ellipsis_and_no_letter_loses_its_marks():
    assert text.shorten("x" * 60, 32) == "x" * 31 + "…"
    assert text.shorten("short", 32) == "short"
    assert text.shorten("abe\u0301\u0302f", 5) == "ab…"


def test_all_texts_of_one_size_have_the_same_height():
    assert len({text.render(name, 20).shape[0] for name in ("a", "镊子", "Gg", "Ệ", "…")}) == 1


def test_without_any_font_a_script_that_opencv_lacks_is_not_drawn(fresh, monkeypatch):
    monkeypatch.setattr(text, "_font_files", lambda: ())
    monkeypatch.setattr(text, "_samples", {})
    assert text.render("ไทย", 24) is None and text.render("cat 🙂", 24) is None
    assert text.render("cat", 24) is not None
