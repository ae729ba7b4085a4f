"""The well with the picture, the strip of images, and below it what was found: detections, areas or tags, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from engine.predictions import object_area
from engine.types import Instances, SemanticMask, Tags, UserError
from ui import html
from ui.html import Html, join, tag
from ui.i18n import t
from ui.pages.predict import findings
from ui.pages.predict.pictures import evidence_of, picture, thumbnail
from ui.pages.predict.result import Filter, Result, Shot

MOST_ROWS = 300
JS = """
const light = (index, on) => element.querySelectorAll(`[data-i="${index}"]`).forEach((part) => part.classList.toggle('lb-on', on));
const index = (event) => event.target.closest?.('[data-i]')?.dataset.i;
for (const [kind, on] of [['mouseover', true], ['mouseout', false]])
  element.addEventListener(kind, (event) => { const i = index(event); if (i !== undefined) light(i, on); });
element.addEventListener('click', (event) => {
  const row = event.target.closest?.('[data-class]');
  if (row) trigger('pick', {index: row.getAttribute('aria-pressed') === 'true' ? -1 : Number(row.dataset.class)});
});
"""
STRIP_JS = """
element.addEventListener('click', (event) => {
  const shot = event.target.closest('[data-shot]');
  if (!shot) return;
  element.querySelectorAll('[data-shot]').forEach((each) => each.setAttribute('aria-pressed', each === shot));
  trigger('pick', {index: Number(shot.dataset.shot)});
});
"""


def empty(language: str) -> Html:
    return tag("div", tag("p", t("predict.empty", language)), class_="lb-well lb-result lb-result-empty")


def busy(bar: Html) -> Html:
    return tag("div", tag("div", bar, class_="lb-result-busy"), class_="lb-well lb-result")


def result_html(result: Result, index: int, chosen: Filter, language: str) -> Html:
    """The chosen image with what was found, and the table below it."""
    problems = [failure(name, error, language) for name, error in result.failures]
    if not result.shots:
        return join([*problems, empty(language)])
    shot = result.shot(index)
    found = chosen(shot.labels)
    if isinstance(found, Instances):
        return join([*problems, *_objects(found, result, shot, chosen, language)])
    if isinstance(found, SemanticMask):
        return join([*problems, *_areas(found, result, shot, chosen, language)])
    return join([*problems, *_tags(found, result, shot, chosen, language)])


def _objects(found: Instances, result: Result, shot: Shot, chosen: Filter, language: str) -> list[Html]:
    counted = t("predict.found", language, name=shot.name, n=len(found), all=len(shot.labels) if isinstance(shot.labels, Instances) else 0)
    alt = t("predict.alt", language, name=shot.name, n=len(found))
    return [_well(result, shot, chosen, alt, _targets(found, shot)), _caption(counted), table(found, result.classes, language)]


def _areas(found: SemanticMask, result: Result, shot: Shot, chosen: Filter, language: str) -> list[Html]:
    said = t("predict.size", language, name=shot.name, width=html.number(shot.size[0]), height=html.number(shot.size[1]))
    alt = t("predict.alt_areas", language, name=shot.name)
    told = [] if found.probabilities is not None else [tag("p", t("predict.no_probabilities", language), class_="lb-muted lb-small")]
    return [_well(result, shot, chosen, alt), _caption(said), *told, findings.areas(found, result.classes, shot.size, shot.spacing, language)]


def _tags(found: Tags, result: Result, shot: Shot, chosen: Filter, language: str) -> list[Html]:
    alt = t("predict.alt_tags", language, name=shot.name)
    explained = chosen.explain
    key = [] if explained is None else [findings.scale(result.classes[explained], not evidence_of(result, shot.file, explained).any(), language)]
    listed = (findings.answer(found, result.classes, explained, language) if result.exclusive
              else findings.tags(found, result.classes, result.limits(chosen), explained, language))
    return [_well(result, shot, chosen, alt), *key, _caption(shot.name), listed]


def _well(result: Result, shot: Shot, chosen: Filter, alt: str, *over: Html) -> Html:
    frame = tag("div", tag("img", src=picture(result, shot, chosen), alt=alt, decoding="sync"), *over, class_="lb-picture")
    return tag("div", frame, class_="lb-well lb-result")


def _caption(text: str) -> Html:
    return tag("p", text, class_="lb-muted lb-small", role="status")


def _targets(found: Instances, shot: Shot) -> Html:
    """Invisible boxes over the picture that answer to the pointer, small ones on top."""
    width, height = shot.size
    order = sorted(range(len(found)), key=lambda i: -float((found.boxes[i, 2:] - found.boxes[i, :2]).prod()))
    boxes = join(Html(f'<rect data-i="{i}" x="{b[0]:.1f}" y="{b[1]:.1f}" width="{max(0.0, b[2] - b[0]):.1f}" height="{max(0.0, b[3] - b[1]):.1f}"/>')
                 for i in order for b in (found.boxes[i],))
    return Html(f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">{boxes}</svg>')


def table(found: Instances, classes: Sequence[str], language: str) -> Html:
    """Class, score, box and, of masks, the area of what is shown; hovering a row lights its box up, and the other way round."""
    if not len(found):
        return tag("p", t("predict.nothing", language), class_="lb-muted")
    names = ("class", "score", "x", "y", "width", "height", *(["area"] if found.shapes is not None else []))
    head = tag("tr", *[tag("th", t(f"predict.{name}", language), class_="lb-number" if name != "class" else None) for name in names])
    rows = [_row(i, found, classes) for i in range(min(len(found), MOST_ROWS))]
    inner = tag("table", tag("thead", head), tag("tbody", *rows), class_="lb-table")
    return tag("div", inner, class_="lb-table-frame", tabindex=0, role="region", aria_label=t("predict.table", language))


def _row(i: int, found: Instances, classes: Sequence[str]) -> Html:
    class_id = int(found.classes[i])
    left, top, right, bottom = (float(v) for v in found.boxes[i])
    name = tag("span", html.swatch(class_id), classes[class_id], class_="lb-dotted")
    score = f"{float(found.scores[i]):.2f}" if found.scores is not None else "–"
    shape = found.shapes[i] if found.shapes is not None else None
    area = [html.number(object_area(shape)) if shape is not None else "–"] if found.shapes is not None else []
    figures = (score, *(f"{v:.0f}" for v in (left, top, right - left, bottom - top)), *area)
    numbers = [tag("td", text, class_="lb-number") for text in figures]
    return tag("tr", tag("td", name), *numbers, data_i=i)


def strip(result: Result, chosen: int, language: str) -> Html:
    """The images of the answer, when there are several, and which of them is chosen."""
    if len(result.shots) < 2:
        return Html("")
    cells = [tag("button", tag("img", src=thumbnail(shot.file), alt=shot.name, loading="lazy"), type="button", data_shot=i, title=shot.name,
                 aria_pressed="true" if i == chosen else "false") for i, shot in enumerate(result.shots)]
    return tag("div", *cells, class_="lb-strip", role="group", aria_label=t("predict.images", language))


def failure(name: str, error: UserError, language: str) -> Html:
    """An image that could not be read: which, why, and what to do."""
    head = tag("p", html.icon("warn"), tag("b", error.message(language)), class_="lb-tone-bad")
    return tag("div", head, tag("p", error.remedy(language), class_="lb-small"), class_="lb-card lb-problem", role="alert", title=name)
