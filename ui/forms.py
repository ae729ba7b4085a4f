"""TrainConfig fields as form parts, and back. A new training option is a new field there and needs nothing here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine.config import TrainConfig, option_types
from engine.types import UserError
from ui.i18n import label, t

HIDDEN = ("data", "model", "task", "epochs_plan")


@dataclass(frozen=True)
class Field:
    """One option as the form sees it. `kind` is int, float or str; `open` is the value that means "derived", None when there is none."""

    name: str
    kind: type
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    advanced: bool
    group: str

    @property
    def open(self) -> Any:
        derived = self.kind in (int, float) and self.default in (0, -1) and self.name != "seed"
        return self.default if derived else None

    def shown(self, value: Any) -> Any:
        """What the form part shows for `value`: nothing when it is left to be derived."""
        if self.open is None:
            return value
        return "" if value == self.open else figure(value)

    def meant(self, value: Any) -> Any:
        """What a form part's value means: an empty one is the default."""
        value = value.strip() if isinstance(value, str) else value
        return self.default if value is None or value == "" else value


def fields() -> list[Field]:
    """The options that stand in the form, in the order of the dataclass."""
    types = option_types()
    return [
        Field(each.name, types[each.name], each.default, each.metadata["low"], each.metadata["high"], each.metadata["choices"],
              each.metadata["advanced"], each.metadata["group"])
        for each in dataclasses.fields(TrainConfig) if each.name not in HIDDEN
    ]


def plain_fields() -> list[Field]:
    return [each for each in fields() if not each.advanced]


def advanced_groups() -> dict[str, list[Field]]:
    """Folded options by group (`option_group.<group>` names it)."""
    groups: dict[str, list[Field]] = {}
    for each in fields():
        if each.advanced:
            groups.setdefault(each.group, []).append(each)
    return groups


def component(field: Field, **changes: Any) -> gr.components.Component:
    """The form part of one option: a list for choices, a number otherwise.

    A number that may be left open is a text box: gr.Number shows an empty value as 0, which is a number that means something.
    """
    common: dict[str, Any] = {"label": label(f"option.{field.name}"), "info": label(f"option.{field.name}.help"), "interactive": True,
                              "elem_id": f"lb-option-{field.name}", "value": field.shown(field.default), **changes}
    if field.choices:
        return gr.Dropdown(choices=[(choice_label(each), each) for each in field.choices], **common)
    if field.kind is str or field.open is not None:
        return gr.Textbox(max_lines=1, placeholder=label("train.suggested") if field.open is not None else None, **common)
    return gr.Number(precision=0 if field.kind is int else None, **common)


def choice_label(choice: str) -> Any:
    return label(f"option.choice.{choice}")


def to_config(values: Mapping[str, Any], **given: Any) -> TrainConfig:
    """The config that the form's values mean. Raises UserError naming value, bound and remedy."""
    known = {each.name: each for each in fields()}
    meant = {name: known[name].meant(value) for name, value in values.items() if name in known}
    return TrainConfig.from_dict({**meant, **given})


def to_values(config: TrainConfig) -> dict[str, Any]:
    """What the form shows for a config."""
    return {each.name: each.shown(getattr(config, each.name)) for each in fields()}


def restored(draft: Any) -> dict[str, Any]:
    """The values of a draft that this version still knows and still accepts one by one; anything else is left out."""
    kept: dict[str, Any] = {}
    for each in fields():
        value = draft.get(each.name) if isinstance(draft, dict) else None
        try:
            config = to_config({each.name: value})
        except (UserError, TypeError):
            continue
        if value is not None:
            kept[each.name] = each.shown(getattr(config, each.name))
    return kept


def figure(value: Any) -> str:
    """A value of an option in a table: 0.0005 rather than 5e-04, 12 rather than 12.0."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if value == int(value):
        return str(int(value))
    return f"{value:.6f}".rstrip("0") if abs(value) >= 1e-4 else f"{value:.2e}"


def difference(configs: Iterable[TrainConfig]) -> dict[str, list[Any]]:
    """Options in which the configs differ: name -> the value of each, in order."""
    every = [each.as_dict() for each in configs]
    names = [name for name in (every[0] if every else {}) if name != "epochs_plan"]
    return {name: [each[name] for each in every] for name in names if len({str(each[name]) for each in every}) > 1}


def option_name(name: str, language: str) -> str:
    return t(f"option.{name}", language)
