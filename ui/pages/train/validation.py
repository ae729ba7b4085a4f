"""What the best epoch's validation found, class by class, with curves where the task has any; and the history as a picture."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.metrics import names
from engine.overlay import color_of
from engine.runs import Run
from ui import charts, html, plots
from ui.charts import Cloud
from ui.html import Html, join, tag
from ui.i18n import t
from ui.pages.train.watch import HISTORY
from ui.selection import name_of

COLUMNS = {
    "detect": ("AP50", "AP", "AP75", "objects"),
    "instance": ("mask_AP50", "mask_AP", "boundary_AP", "AP50", "AP", "objects"),
    "semantic": ("dice", "iou", "dice_global", "iou_global", "dice_with_empty", "iou_with_empty", "hausdorff95", "images", "empty_images",
                 "empty_images_with_false_alarm"),
    "classify": ("auroc", "average_precision", "f1", "sensitivity", "specificity", "threshold", "positives", "negatives"),
}
EXPLAINED = ("semantic", "instance")  # tasks whose columns need a word
PIXELS = ("hausdorff95",)
MOST_CURVES = 12
MANY = 15  # from how many classes on one can be looked for
JS = """
let sorted = null, wanted = '';
const value = (row) => row.children[sorted.column].querySelector('[data-value]').dataset.value;
const arrange = () => {
  const table = element.querySelector('.lb-classes table'), search = element.querySelector('.lb-classes input');
  if (!table) return;
  if (search) search.value = wanted;
  const rows = [...table.tBodies[0].rows], last = rows.filter((row) => !row.querySelector('[data-value]'));
  rows.forEach((row) => { row.hidden = !last.includes(row) && !row.textContent.toLowerCase().includes(wanted.trim().toLowerCase()); });
  if (!sorted) return;
  rows.filter((row) => !last.includes(row)).sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === '' || y === '') return (x === '') - (y === '');
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return sorted.down ? -order : order;
  }).concat(last).forEach((row) => table.tBodies[0].append(row));
  table.querySelectorAll('th').forEach((head, i) => {
    head.setAttribute('aria-sort', i !== sorted.column ? 'none' : sorted.down ? 'descending' : 'ascending');
  });
};
element.addEventListener('click', (event) => {
  const head = event.target.closest('.lb-classes [data-sort]');
  if (!head) return;
  const column = Number(head.dataset.sort);
  sorted = {column, down: sorted && sorted.column === column ? !sorted.down : column > 0};
  arrange();
});
element.addEventListener('input', (event) => {
  if (!event.target.matches('.lb-classes input')) return;
  wanted = event.target.value;
  arrange();
});
watch('value', arrange);
"""
CURVES = (("roc", "fpr", "tpr", "false_alarms", "found", "auroc"), ("pr", "recall", "precision", "recall", "precision", "average_precision"))


def section(run: Run, task: str, language: str) -> Html:
    """The table and the curves; nothing before the first validation."""
    found = run.validation()
    rows = [each for each in found.get("per_class") or [] if isinstance(each, dict)]
    if not found or not rows:
        return Html("")
    metrics = found.get("metrics") or {}
    title = tag("h3", t("train.validation", language, epoch=found.get("epoch", "–")), class_="lb-heading")
    note = tag("p", t("train.validation_note", language), class_="lb-muted lb-small")
    drawn = curves(found.get("curves") or {}, rows, metrics, language)
    meant = tag("p", t(f"train.validation_columns.{task}", language), class_="lb-muted lb-small") if task in EXPLAINED else ""
    return tag("div", title, note, per_class(rows, metrics, task, language), meant, drawn, class_="lb-section lb-validation")


def per_class(rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], task: str, language: str) -> Html:
    """A row a class and the mean below; what is undefined is a dash and part of no mean. A click on a heading sorts."""
    wanted = COLUMNS.get(task, names.shown(task))
    shown = [name for name in wanted if any(row.get(name) is not None for row in rows)]
    heads = [t("train.class", language), *(plots.metric_name(name, language) for name in shown)]
    head = [tag("button", each, type="button", class_="lb-sort", data_sort=i, title=t("train.sort_by", language, name=each))
            for i, each in enumerate(heads)]
    lines: list[list[Any]] = [_line(i, row, shown) for i, row in enumerate(rows)]
    if len(rows) > 1:
        lines.append([tag("b", t("train.mean", language)), *(tag("b", cell(metrics, name)) if not _counted(rows, name) else "" for name in shown)])
    words = t("train.find_class", language)
    search = tag("input", type="search", placeholder=words, aria_label=words) if len(rows) >= MANY else ""
    return tag("div", search, html.table(head, lines, numeric=range(1, len(shown) + 1), label=t("train.per_class", language)), class_="lb-classes")


def _line(i: int, row: Mapping[str, Any], shown: Sequence[str]) -> list[Any]:
    """Each cell says what it is sorted by."""
    name = str(row.get("name", ""))
    return [tag("span", html.chip(name, i), data_value=name),
            *(tag("span", cell(row, each), data_value="" if row.get(each) is None else row[each]) for each in shown)]


def cell(row: Mapping[str, Any], name: str) -> str:
    """A figure, and its interval where one was measured."""
    value = row.get(name)
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–"
    if isinstance(value, int):
        return html.number(value)
    return f"{value:.1f}" if name in PIXELS else f"{value:.3f}{interval(row, name)}"


def interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return f" ({low:.2f}-{high:.2f})" if isinstance(low, float) and isinstance(high, float) else ""


def _counted(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(row.get(name), (int, type(None))) for row in rows)


def curves(found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any], language: str) -> Html:
    """ROC, precision and recall, reliability, and the confusion matrix where every image has one class."""
    place = {str(row.get("name")): i for i, row in enumerate(rows)}
    drawn = [_ranked(kind, x, y, x_name, y_name, area, found.get(kind), rows, place, language) for kind, x, y, x_name, y_name, area in CURVES]
    drawn += [_reliability(found.get("reliability"), metrics, language), _confusion(found.get("confusion"), list(place), language)]
    drawn = [each for each in drawn if each]
    return tag("div", *drawn, class_="lb-charts") if drawn else Html("")


def _ranked(kind: str, x: str, y: str, x_name: str, y_name: str, area: str, found: Any, rows: Sequence[Mapping[str, Any]],
            place: Mapping[str, int], language: str) -> Html:
    """One line a class; a class of which only one value occurs has none."""
    known = {name: each for name, each in found.items() if each and name in place} if isinstance(found, dict) else {}
    if not known:
        return Html("")
    clouds = [Cloud(name, color_of(place[name]), list(zip(each[x], each[y], strict=True))) for name, each in list(known.items())[:MOST_CURVES]]
    title, note = t(f"plot.{kind}", language), t(f"plot.{kind}_note", language)
    if len(known) > MOST_CURVES:
        note = f"{note} {t('plot.most_curves', language, shown=MOST_CURVES, all=len(known))}"
    named = [(each.name, each.color, cell(rows[place[each.name]], area)) for each in clouds]
    plot = charts.curves(clouds, title, x_name=t(f"plot.{x_name}", language), y_name=t(f"plot.{y_name}", language),
                         diagonal="up" if kind == "roc" else "")
    return charts.figure(title, plot, charts.legend(named), note=note)


def _reliability(found: Any, metrics: Mapping[str, Any], language: str) -> Html:
    if not isinstance(found, dict) or not found.get("predicted"):
        return Html("")
    title = t("plot.reliability", language)
    line = Cloud(title, "var(--lb-accent)", list(zip(found["predicted"], found["observed"], strict=True)))
    plot = charts.curves([line], title, x_name=t("plot.predicted", language), y_name=t("plot.observed", language), diagonal="up", marks=True)
    said = [(plots.metric_name(name, language), color, cell(metrics, name)) for name, color in
            (("ece", "var(--lb-accent)"), ("ece_calibrated", "var(--lb-edge)")) if metrics.get(name) is not None]
    return charts.figure(title, plot, charts.legend(said), note=t("plot.reliability_note", language))


def _confusion(found: Any, classes: Sequence[str], language: str) -> Html:
    """Only the matrix of all classes: [C][C]. Tables of single tags, [C][2][2], are told by the figures above."""
    table = np.array(found) if found else np.zeros(0)
    if table.ndim != 2 or table.shape[0] != len(classes):
        return Html("")
    title = t("plot.confusion", language)
    return charts.figure(title, charts.confusion(classes, table, title, t("plot.truth", language)), note=t("plot.confusion_note", language))


def history(run: Run, language: str) -> Html:
    """The picture beside the run, and a way to keep it."""
    try:
        data = base64.b64encode((run.folder / HISTORY).read_bytes()).decode()
    except OSError:
        return tag("p", t("train.history_none", language), class_="lb-muted")
    source, name = f"data:image/png;base64,{data}", name_of(run.id)
    picture = tag("img", src=source, alt=t("train.history_alt", language, run=name), class_="lb-history")
    save = tag("a", t("train.history_save", language), href=source, download=f"{name}-history.png", class_="lb-button")
    return join([picture, tag("p", save)])
