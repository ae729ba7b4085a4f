"""The pieces of the Health tab."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from engine.datasets import repairs
from engine.datasets.editing import Edit
from engine.datasets.health import Report
from engine.datasets.images import IMAGE_SUFFIXES
from engine.datasets.repairs import Repair
from engine.datasets.standing import kind_of, standing
from engine.datasets.store import Dataset, Row
from ui import html
from ui.findings import findings, tally, tone
from ui.html import Html, join, tag
from ui.i18n import plural, t
from ui.pages.data.pictures import thumbnail
from ui.pages.data.words import edit_text, split_name, when

PREVIEWS = 12


def head(dataset: Dataset, report: Report | None, language: str) -> Html:
    """The verdict in words, and how fresh it is."""
    known = standing(dataset, report.problems if report is not None else None).open
    if report is None:
        verdict = html.dot(tone(known), tally(known, language)) if known else Html("")
        after = tag("p", t("data.not_checked", language), class_="lb-muted lb-small")
    else:
        verdict = html.dot(tone(known), tally(known, language))
        stale = tag("p", html.icon("warn", 16), tag("span", t("data.check_stale", language)), class_="lb-stale lb-small")
        after = join([_checked_at(report, language), stale if dataset.report_is_stale() else Html("")])
    return tag("div", tag("h3", t("data.verdict", language)), verdict, after, class_="lb-verdict")


def _checked_at(report: Report, language: str) -> Html:
    """When the files were looked at: the time of day, on another day the date too."""
    try:
        then = datetime.strptime(str(report.extras.get("at", "")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).astimezone()
    except ValueError:
        return Html("")
    today = then.date() == datetime.now().astimezone().date()
    return tag("p", t("data.checked_at", language, at=then.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")), class_="lb-muted lb-small")


def key_of(repair: Repair) -> str:
    """Names a repair from one request to the next: what it does, and to which images."""
    return f"{repair.code}-{zlib.crc32(repr((repair.values, repair.images, repair.problem)).encode()):08x}"


def repairs_html(mends: Sequence[Repair], language: str) -> Html:
    """The proposed repairs as a list to choose from."""
    if not mends:
        return Html("")
    rows = [_repair(repair, language) for repair in mends]
    count = tag("span", data_count=True, data_one=t("data.repairs_chosen.one", language), data_many=t("data.repairs_chosen", language),
                class_="lb-muted lb-small")
    apply = tag("button", t("data.apply", language), type="button", class_="lb-button lb-primary", data_send="apply", data_needs=1)
    return tag("section", tag("div", tag("h3", t("data.repairs", language)), count, class_="lb-between"),
               tag("p", t("data.repairs_lead", language), class_="lb-muted lb-small"), *rows, tag("div", apply, class_="lb-foot"),
               class_="lb-card lb-repairs", data_form=True)


def _repair(repair: Repair, language: str) -> Html:
    box = tag("input", type="checkbox", name_="repair", value=key_of(repair), checked=True, data_counts=True)
    told = tag("span", tag("b", repair.title(language)), tag("small", repair.why(language)), class_="lb-repair-words")
    images = tag("span", plural("data.n_images", len(repair.images), language) if repair.images else "", class_="lb-muted lb-small lb-nowrap")
    show = tag("button", t("data.preview", language), type="button", class_="lb-button", data_send="preview", data_key=key_of(repair))
    return tag("div", tag("label", box, told, class_="lb-check-line"), images, show, class_="lb-repair")


def preview_html(dataset: Dataset, repair: Repair, language: str) -> Html:
    """What a repair would do to a few images."""
    lines = [_previewed(dataset, *change, language) for change in repairs.preview(dataset, repair, PREVIEWS)]
    title = t("data.preview_of", language, what=repair.title(language))
    rest = len(repair.images) - len(lines)
    more = tag("p", t("findings.more", language, n=html.number(rest)), class_="lb-muted lb-small") if rest > 0 and lines else ""
    return tag("section", tag("h3", title), tag("div", *lines, class_="lb-preview-list"), more, class_="lb-card")


def _previewed(dataset: Dataset, image_id: int, name: str, before: str, after: str, language: str) -> Html:
    """One image (0: a class) as it is and as it would be."""
    src = thumbnail(dataset, image_id) if image_id else None
    picture = tag("span", tag("img", src=src, alt=name) if src else html.icon("image"), class_="lb-well") if image_id else ""
    change = [tag("del", split_name(before, language)), html.icon("next", 16), tag("ins", split_name(after, language))]
    words = tag("div", tag("p", name.rpartition("/")[2], class_="lb-cut", title=name), tag("p", *change, class_="lb-change"))
    return tag("div", picture, words, class_="lb-previewed")


def problems_html(dataset: Dataset, report: Report | None, mends: Sequence[Repair], language: str, *, editable: bool = True) -> Html:
    """All problems by kind: with buttons that mend them, show their images and put them aside; below, what is put aside and what the import did."""
    parts = standing(dataset, report.problems if report is not None else None)
    mended = {repair.problem for repair in mends}
    codes = dict.fromkeys(kind_of(problem) for problem in parts.open)
    actions = {code: _actions(code, dataset.total(problem=code) if report is not None else 0, code in mended, editable, language) for code in codes}
    place = partial(_place, language=language)
    if parts.open:
        shown = html.card(t("data.problems", language), findings(parts.open, language, actions=actions, place=place))
    else:
        words = t("data.healthy" if report is not None else "data.import_dealt_with" if parts.imported else "data.nothing_known", language)
        shown = tag("section", html.empty_state(words, "check"), class_="lb-card")
    aside = dict.fromkeys(kind_of(problem) for problem in parts.ignored)
    back = {code: _send("heed", code, language) for code in aside} if editable else {}
    return join([shown, _fold(plural("data.ignored_kinds", len(aside), language), findings(parts.ignored, language, actions=back, place=place)),
                 _fold(t("data.import_did", language), findings(parts.imported, language, place=place), opened=report is None)])


def _fold(title: str, content: Html, *, opened: bool = False) -> Html:
    return tag("section", tag("details", tag("summary", title), content, open=opened), class_="lb-card") if content else Html("")


def _send(what: str, code: str, language: str) -> Html:
    return tag("button", t(f"data.{what}", language), type="button", class_="lb-button lb-quiet", data_send=what, data_code=code)


def _actions(code: str, images: int, mendable: bool, editable: bool, language: str) -> Html:
    buttons: list[Any] = []
    if mendable:
        buttons.append(tag("button", t("data.fix", language), type="button", class_="lb-button", data_send="fix", data_code=code))
    if images:
        words = plural("data.show_images", images, language)
        buttons.append(tag("button", words, type="button", class_="lb-button lb-quiet", data_send="images", data_code=code))
    if editable:
        buttons.append(_send("ignore", code, language))
    return join(buttons)


def _place(where: str, language: str) -> Html:
    """A file is a button that opens its image; a split or the whole set is just named."""
    if not _names_file(where):
        return tag("span", split_name(where, language))
    return tag("button", where, type="button", class_="lb-place", data_send="open", data_place=where)


def _names_file(where: str) -> bool:
    return PurePosixPath(without_line(where)).suffix.lower() in (*IMAGE_SUFFIXES, ".txt", ".xml")


def without_line(where: str) -> str:
    """ "a/b.txt:12" -> "a/b.txt"."""
    name, _, line = where.rpartition(":")
    return name if name and line.isdigit() else where


def image_at(dataset: Dataset, where: str) -> Row | None:
    """The image that a place names: its own name, or that of its label file, else None."""
    name = without_line(where)
    for wanted in dict.fromkeys((where, name)):
        found = next((row for row in dataset.page(0, 20, search=wanted) if row.name == wanted), None)
        if found is not None:
            return found
    stem = PurePosixPath(name).stem
    return next((row for row in dataset.page(0, 50, search=stem) if PurePosixPath(row.name).stem == stem), None) if stem else None


def history_html(edits: Sequence[Edit], language: str, *, editable: bool = True) -> Html:
    """What has been changed, newest first, each with its way back."""
    if not edits:
        return Html("")
    rows = [(when(edit.at, language), edit_text(edit, language), html.number(edit.images), _way_back(edit, language) if editable else "")
            for edit in edits]
    head = [t(f"data.history.{name}", language) for name in ("when", "what", "images")] + [""]
    summary = tag("summary", t("data.history", language), " ", tag("span", html.number(len(edits)), class_="lb-muted"))
    return tag("section", tag("details", summary, html.table(head, rows, numeric=(2,))), class_="lb-card lb-history")


def _way_back(edit: Edit, language: str) -> Html:
    if edit.undone or not edit.undoable:
        return tag("span", t("data.undone" if edit.undone else "data.not_undoable", language), class_="lb-muted lb-small")
    return tag("button", t("data.undo", language), type="button", class_="lb-button", data_send="undo", data_edit=edit.id)


