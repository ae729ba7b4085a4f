"""Splits: deal the images anew, see first what would come out, then do it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from engine.datasets import editing, splits
from engine.datasets.editing import Edit
from engine.datasets.splits import Item
from engine.datasets.store import Dataset
from engine.types import SPLITS, UserError
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import label, language_of, static, t
from ui.latest import latest
from ui.pages.data import split_parts as parts
from ui.pages.data.browse import done
from ui.pages.data.panel import LONG, LOOSE, QUIET, Panel, Room, form, now, sent, together
from ui.progress import Work

RULES = ("given", *splits.RULES)
USUAL = (70, 20, 10)
LARGE = 20_000  # images; beyond that the preview waits for a press
MOST_SEED = 2**31 - 1
# The other two shares give way to the one that is moved, in proportion, so that the three are always 100. What the proportion was is
# remembered, so that shares which fell to 0 come back; one that a person set to 0 stays there.
REST_JS = """(moved, first, second) => {
  const [own, one, other] = $names, held = (window.lightbox ??= {}).shares ??= {};
  const whole = Math.min(Math.max(Math.round(Number(moved)) || 0, 0), 100), left = 100 - whole;
  const weight = (name, shown) => Math.max(held[name]?.shown === shown ? held[name].weight : Number(shown) || 0, 0);
  let a = weight(one, first), b = weight(other, second);
  if (a + b <= 0) [a, b] = [2, 1];
  const exact = left * a / (a + b), share = Math.round(exact);
  held[own] = {shown: whole, weight: whole};
  held[one] = {shown: share, weight: left ? exact : a};
  held[other] = {shown: left - share, weight: left ? left * b / (a + b) : b};
  return [share, left - share];
}"""


@dataclass(frozen=True)
class Plan:
    """What the form says: percent of each split, what stays together, and how."""

    shares: tuple[float, float, float]
    rule: str = "given"
    pattern: str = ""
    stratify: bool = True
    seed: int = 0

    @classmethod
    def of(cls, train: Any, valid: Any, test: Any, rule: Any, pattern: Any, stratify: Any, seed: Any) -> Plan:
        """From what a browser sent."""
        shares = [min(max(_number(each), 0.0), 100.0) for each in (train, valid, test)]
        rule = rule if rule in RULES else "given"
        return cls((shares[0], shares[1], shares[2]), rule, str(pattern or ""), stratify is True, int(min(max(_number(seed), 0), MOST_SEED)))

    @property
    def fractions(self) -> dict[str, float]:
        """Shares of 1. Raises UserError when all are 0."""
        whole = sum(self.shares)
        if whole <= 0:
            raise UserError("bad_split", value="0,0,0", known=", ".join(SPLITS))
        return {split: share / whole for split, share in zip(SPLITS, self.shares, strict=True) if share > 0}

    def grouped(self, items: Sequence[Item]) -> list[Item]:
        """The items with the groups of the rule. Raises UserError for a pattern that is none."""
        if self.rule == "given":
            return list(items)
        groups = splits.groups_by([item.name for item in items], self.rule, self.pattern)
        return [replace(item, group=group) for item, group in zip(items, groups, strict=True)]

    def deal(self, items: Sequence[Item]) -> dict[Any, str]:
        return splits.deal(items, self.fractions, seed=self.seed, stratify=self.stratify)


def _number(sent_value: Any) -> float:
    try:
        value = float(sent_value)
    except (TypeError, ValueError):
        return 0.0
    return value if value == value else 0.0


def build(room: Room) -> Panel:
    with gr.Row(elem_classes=["lb-split", "lb-splits"]):
        with gr.Column(elem_classes=["lb-side", "lb-card", "lb-plain-form", "lb-stacked"]):
            gr.HTML(static(lambda language: tag("h3", t("data.deal", language))))
            sliders = [gr.Slider(0, 100, share, step=1, label=label(f"split.{split}"), elem_id=f"lb-share-{split}", buttons=[])
                       for split, share in zip(SPLITS, USUAL, strict=True)]
            rule = gr.Radio([(label(f"data.rule.{name}"), name) for name in RULES], value="given", label=label("data.rule"), elem_id="lb-split-rule")
            pattern = gr.Textbox(label=label("data.pattern"), placeholder=r"(patient\d+)", max_lines=1, visible=False, elem_id="lb-split-pattern")
            stratify = gr.Checkbox(True, label=label("data.stratify"), container=False, elem_id="lb-split-stratify")
            seed = gr.Number(0, label=label("data.seed"), precision=0, minimum=0, elem_id="lb-split-seed")
            apply = gr.Button(label("data.split_apply"), variant="primary", elem_id="lb-split-apply", interactive=not room.app.demo)
        with gr.Column(elem_classes="lb-main"):
            preview = form("", elem_id="lb-split-preview")
    fields = [*sliders, rule, pattern, stratify, seed]
    _wire(room, fields, sliders, apply, preview)

    def show(dataset: Dataset | None, language: str, *values: Any) -> tuple[Any, ...]:
        if dataset is None:
            return ("",)
        if dataset.total() > LARGE:
            return (parts.waiting(dataset, language),)
        return (previewed(dataset, Plan.of(*values), language),)

    def reset(dataset: Dataset | None, language: str) -> tuple[Any, ...]:
        return show(dataset, language, *USUAL, "given", "", True, 0)

    return Panel([preview], show, fields, reset)


def _wire(room: Room, fields: Sequence[Any], sliders: list[gr.Slider], apply: gr.Button, preview: gr.HTML) -> None:
    pattern = fields[4]

    @guarded
    def look(request: gr.Request, wanted: str | None, *values: Any) -> Iterator[Any]:
        dataset, language = room.open(wanted), language_of(request)
        if dataset is None:
            yield ""
            return
        plan = Plan.of(*values)
        try:
            if dataset.total() > LARGE:
                work = Work(lambda report: previewed(dataset, plan, language), language, t("data.dealing", language))
                for bar in work:
                    yield tag("section", bar, class_="lb-card")
                yield work.result
            else:
                yield previewed(dataset, plan, language)
        except UserError as error:  # while a pattern is being typed it need not be whole
            yield parts.trouble(error, language)

    @guarded
    def deal(request: gr.Request, wanted: str | None, *values: Any) -> Iterator[tuple[Any, ...]]:
        dataset, language = room.to_edit(wanted), language_of(request)
        work = Work(lambda report: dealt(dataset, Plan.of(*values)), language, t("data.dealing", language))
        for bar in work:
            yield tag("section", bar, class_="lb-card"), gr.Button(interactive=False), gr.skip()
        done(work.result, language)
        yield gr.skip(), gr.Button(interactive=True), now()

    @guarded
    def pressed(request: gr.Request, event: gr.EventData) -> gr.Tabs:
        return gr.Tabs(selected="health") if sent(event).get("send") == "health" else gr.skip()

    inputs = [room.app.dataset, *fields]
    newest: dict[str, Any] = {**LONG, "trigger_mode": "always_last"}
    for split, slider in zip(SPLITS, sliders, strict=True):
        others = [each for each in sliders if each is not slider]
        names = json.dumps([split, *(name for name in SPLITS if name != split)])
        slider.input(None, [slider, *others], others, js=REST_JS.replace("$names", names), **QUIET)
        slider.release(look, inputs, preview, **newest)
    fields[3].input(lambda rule: gr.Textbox(visible=rule == "pattern"), fields[3], pattern, queue=False, **QUIET)
    for event in (pattern.submit, pattern.blur, fields[6].submit, fields[6].blur):
        event(look, inputs, preview, **newest)
    apply.click(deal, inputs, [preview, apply, room.changed], **LONG).failure(look, inputs, preview, **LOOSE).then(
        lambda: gr.Button(interactive=True), None, apply, **QUIET)
    preview.send(pressed, None, room.views, **LOOSE).then(look, inputs, preview, **newest)
    latest([fields[3].input, fields[5].input], look, inputs, preview, **LONG)


def previewed(dataset: Dataset, plan: Plan, language: str) -> Html:
    """What the plan would make of the set. Raises UserError."""
    if plan.rule == "pattern" and not plan.pattern.strip():
        return parts.pattern_wanted(dataset, language)
    items = plan.grouped(list(dataset.items()))
    chosen = plan.deal(items)
    before = splits.preview(items, {item.id: item.split or "train" for item in items}, dataset.classes)
    after = splits.preview(items, chosen, dataset.classes)
    moved = sum(chosen[item.id] != item.split for item in items)
    groups = parts.group_words(items, plan.rule, language)
    return parts.preview_html(dataset.classes, before, after, moved, groups, alike_known=parts.looked_at(dataset), language=language)


def dealt(dataset: Dataset, plan: Plan) -> Edit:
    """Deals and, where a rule made the groups, keeps these, so that later checks know them too. One edit."""
    items = plan.grouped(list(dataset.items()))
    chosen = plan.deal(items)
    groups: dict[Any, str | None] = {item.id: item.group for item in items}
    if plan.rule in ("given", "none"):
        return editing.assign_splits(dataset, chosen)

    def both() -> None:
        editing.set_groups(dataset, groups)
        editing.assign_splits(dataset, chosen)

    return together(dataset, "splits_dealt", {"count": sum(chosen[item.id] != item.split for item in items)}, both)
