"""Browse: a page of thumbnails that fit the filters, and one image large."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from engine.datasets.store import Dataset, Row
from engine.overlay import color_of
from engine.types import Instances
from ui import html
from ui.html import Html, tag
from ui.i18n import t
from ui.pages.data.pictures import large, thumbnail

PAGE_SIZE = 24
STATES = ("labeled", "unlabeled", "background")
GRID_JS = """
element.addEventListener('click', (event) => {
  const tile = event.target.closest('[data-index]');
  if (tile) { window.lightbox.opener = tile.dataset.index; trigger('open', {index: Number(tile.dataset.index)}); }
});
"""
VIEWER_JS = """
const close = () => {
  if (!element.querySelector('.lb-viewer')) return;
  props.value = '';
  document.querySelector(`[data-index="${window.lightbox.opener}"]`)?.focus();
};
const step = (button) => { if (button && !button.disabled) trigger('step', {index: Number(button.dataset.step)}); };
element.addEventListener('click', (event) => {
  if (event.target.closest('[data-close]') || event.target.classList.contains('lb-viewer')) close();
  else step(event.target.closest('[data-step]'));
});
document.addEventListener('keydown', (event) => {
  if (!element.querySelector('.lb-viewer')) return;
  if (event.key === 'Escape') close();
  if (event.key === 'ArrowLeft') step(element.querySelector('[data-back]'));
  if (event.key === 'ArrowRight') step(element.querySelector('[data-next]'));
  if (event.key === 'Tab') {
    const buttons = [...element.querySelectorAll('button:not(:disabled)')];
    const edge = event.shiftKey ? buttons[0] : buttons.at(-1);
    if (document.activeElement === edge || !element.contains(document.activeElement)) {
      event.preventDefault();
      (event.shiftKey ? buttons.at(-1) : buttons[0])?.focus();
    }
  }
});
watch('value', () => setTimeout(() => {
  if (element.contains(document.activeElement)) return;
  element.querySelector('[data-close]')?.focus({preventScroll: true});
}));
"""


@dataclass(frozen=True)
class Query:
    """Which images: filters ("" = all) and the page, from 1."""

    split: str = ""
    class_id: str = ""
    state: str = ""
    page: int = 1

    @classmethod
    def of(cls, split: Any, class_id: Any, state: Any, page: int = 1) -> Query:
        """From what a browser sent."""
        return cls(str(split or ""), str(class_id or ""), str(state or ""), page)

    @property
    def filters(self) -> dict[str, Any]:
        return {"split": self.split or None, "class_id": int(self.class_id) if self.class_id.isdigit() else None, "state": self.state or None}

    @property
    def offset(self) -> int:
        return (self.page - 1) * PAGE_SIZE


def pages_of(total: int) -> int:
    return max(1, -(-total // PAGE_SIZE))


def within(page: int, total: int) -> int:
    """The page that exists nearest to `page`."""
    return min(max(1, page), pages_of(total))


def grid(dataset: Dataset, query: Query, language: str) -> Html:
    rows = dataset.page(query.offset, PAGE_SIZE, **query.filters)
    if not rows:
        return tag("section", html.empty_state(t("data.nothing_fits", language)), class_="lb-card")
    classes = dataset.classes
    return tag("div", *(_tile(dataset, row, query.offset + i, classes, language) for i, row in enumerate(rows)), class_="lb-grid")


def _tile(dataset: Dataset, row: Row, index: int, classes: tuple[str, ...], language: str) -> Html:
    objects = len(row.labels) if isinstance(row.labels, Instances) else None
    note = t("data.state.unlabeled", language) if row.labels is None else html.number(objects) if objects is not None else ""
    alt = t("data.image_alt", language, name=row.name, objects=note)
    caption = tag("span", tag("span", row.name.rpartition("/")[2], class_="lb-tile-name"), tag("span", note), class_="lb-tile-caption")
    return tag("button", tag("span", thumbnail(dataset, row, alt, classes), class_="lb-well"), caption, type="button", class_="lb-tile",
               data_index=index, title=row.name)


def viewer(dataset: Dataset, query: Query, index: int, language: str) -> Html:
    """One image large: `index` counts within what the filters leave. Nothing when it is not there any more."""
    rows = dataset.page(index, 1, **query.filters) if index >= 0 else []
    if not rows:
        return Html("")
    row, classes, last = rows[0], dataset.classes, dataset.total(**query.filters) - 1
    facts = tag("span", _facts(row, language), class_="lb-muted lb-small")
    title = tag("div", tag("b", row.name, class_="lb-break"), facts, class_="lb-viewer-title")
    buttons = tag("div", _step("back", index - 1, index > 0, language), _step("next", index + 1, index < last, language),
                  tag("button", html.icon("close"), type="button", class_="lb-icon-button", data_close=True, aria_label=t("data.close", language),
                      title=t("data.close", language)), class_="lb-controls")
    picture = tag("div", large(row, classes, t("data.image_alt", language, name=row.name, objects="")), class_="lb-well lb-viewer-picture")
    box = tag("div", tag("div", title, buttons, class_="lb-between"), picture, _objects(row, classes), class_="lb-viewer-box")
    return tag("div", box, class_="lb-viewer", role="dialog", aria_modal="true", aria_label=row.name)


def _step(name: str, index: int, possible: bool, language: str) -> Html:
    words = t(f"data.{name}", language)
    return tag("button", html.icon(name), type="button", class_="lb-icon-button", data_step=index, disabled=not possible, aria_label=words,
               title=words, **{f"data_{name}": True})


def _facts(row: Row, language: str) -> str:
    parts = [f"{row.size[0]} × {row.size[1]} px", t(f"split.{row.split}", language), t(f"data.state.{row.state}", language)]
    return " · ".join(parts)


def _objects(row: Row, classes: tuple[str, ...]) -> Html:
    if not isinstance(row.labels, Instances):
        return Html("")
    counts = sorted(Counter(row.labels.classes.tolist()).items())
    chips = (html.chip(html.join([classes[number] if number < len(classes) else f"#{number}", " ", tag("b", count)]), color_of(number))
             for number, count in counts)
    return tag("div", *chips, class_="lb-chips")
