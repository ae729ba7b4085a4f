"""Training options and model options as form parts, and back. A new option is a new field in the engine and needs nothing here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from engine import messages
from engine.config import TrainConfig, option_types
from engine.models import ModelSpec, checked_options, models
from engine.models.hybridmednet.config import LISTED
from engine.settings import ONLY, config_of
from engine.types import UserError
from ui.i18n import label, t

HIDDEN = ("data", "model", "task", "options", "epochs_plan")
ZERO_IS_A_VALUE = ("seed", "label_smoothing", "copy_paste")
RATIOS = ("exponent",)  # numbers that may be written as a fraction
SHORT = 4  # digits of a fraction's value
DEPENDS: dict[str, tuple[str, tuple[Any, ...]]] = {  # options that are read only when another one has one of these values
    "fp_weight": ("loss", ("tversky", "focal_tversky")), "fn_weight": ("loss", ("tversky", "focal_tversky")),
    "exponent": ("loss", ("focal_tversky",)), "focal_gamma": ("loss", ("focal",)),
    "plateau_patience": ("schedule", ("plateau",)), "plateau_factor": ("schedule", ("plateau",)),
    "coarse_classes": ("hierarchical", (True,)), "coarse_weight": ("hierarchical", (True,)), "num_coarse_classes": ("hierarchical", (True,)),
}
ENCODERS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d", "se_resnext50_32x4d", "efficientnet-b0", "efficientnet-b3",
            "mobilenet_v2", "densenet121", "vgg16_bn", "mit_b0", "mit_b2", "tu-convnext_tiny", "tu-convnextv2_nano", "tu-tf_efficientnetv2_s",
            "tu-mobilenetv3_large_100", "tu-regnety_016")
BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0", "efficientnet_b3",
             "tf_efficientnetv2_s", "densenet121", "regnety_016", "convnext_atto", "convnext_nano", "convnext_tiny", "convnextv2_nano",
             "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_small_patch14_dinov2")
PYRAMIDS = ("convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano", "convnext_tiny", "convnext_small", "convnext_base", "convnext_large",
            "resnet50", "resnet101", "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", "swin_base_patch4_window7_224")
SUGGESTED = {("unet", "encoder"): ENCODERS, ("timm", "backbone"): BACKBONES, ("hybridmednet", "backbone"): LISTED,
             ("di_maskdino", "backbone"): PYRAMIDS}


@dataclass(frozen=True)
class Field:
    """One option as the form sees it. `kind` is int, float, str or bool; `open` is the value that means "derived", None when there is none.

    `tasks` are those that read it, () = all; `model` is set for an option of that model. `suggestions` come with any other value allowed.
    """

    name: str
    kind: type
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    advanced: bool = True
    group: str = "model"
    tasks: tuple[str, ...] = ()
    model: str = ""
    suggestions: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name in the form, where models may have options of the same name."""
        return f"{self.model}.{self.name}" if self.model else self.name

    @property
    def open(self) -> Any:
        derived = self.kind in (int, float) and self.default in (0, -1) and self.name not in ZERO_IS_A_VALUE and not self.model
        return self.default if derived else None

    def shown(self, value: Any) -> Any:
        """What the form part shows for `value`: nothing when it is left to be derived."""
        if self.name in RATIOS:
            return f"{value:.{SHORT}g}" if value == self.default else str(value)
        if self.open is None:
            return value
        return "" if value == self.open else figure(value)

    def meant(self, value: Any) -> Any:
        """What a form part's value means: an empty one is the default, and so is a shortened default that nobody has touched."""
        value = value.strip() if isinstance(value, str) else value
        untouched = self.name in RATIOS and str(value) == self.shown(self.default)
        return self.default if value is None or value == "" or untouched else value

    def choices_for(self, task: str) -> tuple[str, ...]:
        only = ONLY.get((self.name, task), self.choices)
        return tuple(each for each in self.choices if each in only)


def fields() -> list[Field]:
    """The options that stand in the form, in the order of the dataclass."""
    types = option_types()
    return [
        Field(each.name, types[each.name], each.default, each.metadata["low"], each.metadata["high"], each.metadata["choices"],
              each.metadata["advanced"], each.metadata["group"], each.metadata["tasks"])
        for each in dataclasses.fields(TrainConfig) if each.name not in HIDDEN
    ]


def model_fields(spec: ModelSpec) -> list[Field]:
    """The options of a model."""
    return [Field(each.name, type(each.default), each.default, each.low, each.high, each.choices, model=spec.name,
                  suggestions=SUGGESTED.get((spec.name, each.name), ())) for each in spec.options]


def plain_fields() -> list[Field]:
    return [each for each in fields() if not each.advanced]


def advanced_groups() -> dict[str, list[Field]]:
    """Folded options by group (`option_group.<group>` names it)."""
    groups: dict[str, list[Field]] = {}
    for each in fields():
        if each.advanced:
            groups.setdefault(each.group, []).append(each)
    return groups


def matters(field: Field, spec: ModelSpec, values: Mapping[str, Any]) -> bool:
    """Is the option read, when this model trains with these values of the form?"""
    if field.tasks and spec.task not in field.tasks or field.model not in ("", spec.name):
        return False
    if field.name not in DEPENDS:
        return True
    other, wanted = DEPENDS[field.name]
    own = {each.name: each.key for each in model_fields(spec)}
    return values.get(own.get(other, other)) in wanted


def component(field: Field, **changes: Any) -> gr.components.Component:
    """The form part of one option: a list for choices, a box to tick for yes or no, a number otherwise.

    A number that may be left open is a text box: gr.Number shows an empty value as 0, which is a number that means something. So is one that
    may be written as a fraction.
    """
    common: dict[str, Any] = {"label": label(f"option.{field.name}"), "info": label(f"option.{field.name}.help"), "interactive": True,
                              "elem_id": f"lb-option-{field.key.replace('.', '-')}", "value": field.shown(field.default), **changes}
    if field.kind is bool:
        return gr.Checkbox(**common)
    if field.choices:
        return gr.Dropdown(choices=[(choice_label(each), each) for each in field.choices], **common)
    if field.suggestions:
        return gr.Dropdown(choices=list(field.suggestions), allow_custom_value=True, **common)
    if field.kind is str or field.open is not None or field.name in RATIOS:
        return gr.Textbox(max_lines=1, placeholder=label("train.suggested") if field.open is not None else None, **common)
    return gr.Number(precision=0 if field.kind is int else None, **common)


def choice_label(choice: str, task: str = "") -> Any:
    """The words for a choice; a task may have words of its own (`option.choice.<choice>.<task>`)."""
    own = f"option.choice.{choice}.{task}"
    return label(own if own in messages.catalogue("en") else f"option.choice.{choice}")


def choices_update(field: Field, task: str, value: Any) -> dict[str, Any]:
    """The list's choices as the task has them, and its default where the task has no such value.

    A value that may stay is not sent back: the form may have changed meanwhile.
    """
    found = field.choices_for(task)
    choices = {"choices": [(choice_label(each, task), each) for each in found]}
    return choices if value in found else {**choices, "value": field.default}


def to_config(values: Mapping[str, Any], **given: Any) -> TrainConfig:
    """The config that the form's values mean; what the task and the model do not read is left out.

    Raises UserError naming value, bound and remedy.
    """
    spec = models.get(str(given.get("model", TrainConfig.model)))
    meant: dict[str, Any] = {}
    for each in fields():
        if each.key in values and matters(each, spec, values):
            value = each.meant(values[each.key])
            meant[each.name] = each.default if value in each.choices and value not in each.choices_for(spec.task) else value
    return config_of({**meant, **own_options(values, spec), **given})


def own_options(values: Mapping[str, Any], spec: ModelSpec) -> dict[str, Any]:
    """The options of the model that somebody has changed."""
    meant = {each.name: each.meant(values[each.key]) for each in model_fields(spec) if each.key in values and matters(each, spec, values)}
    return {each.name: meant[each.name] for each in model_fields(spec) if each.name in meant and meant[each.name] != each.default}


def to_values(config: TrainConfig) -> dict[str, Any]:
    """What the form shows for a config."""
    own = {each.key: config.options.get(each.name, each.default) for each in model_fields(models.get(config.model))}
    return {**{each.name: each.shown(getattr(config, each.name)) for each in fields()}, **own}


def restored(draft: Any) -> dict[str, Any]:
    """The values of a draft that this version still knows and still accepts one by one; anything else is left out."""
    kept: dict[str, Any] = {}
    for each in fields():
        value = draft.get(each.name) if isinstance(draft, dict) else None
        try:
            config = TrainConfig.from_dict({each.name: each.meant(value)})
        except (UserError, TypeError):
            continue
        if value is not None:
            kept[each.name] = each.shown(getattr(config, each.name))
    for spec in models.entries().values():
        for each in model_fields(spec):
            value = draft.get(each.key) if isinstance(draft, dict) else None
            if value is not None:
                try:
                    kept.update({each.key: checked_options(spec, {each.name: value})[each.name]})
                except (UserError, TypeError):
                    continue
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
    every = [{**each.as_dict(), **each.options} for each in configs]
    names = [name for name in dict.fromkeys(name for each in every for name in each) if name not in ("epochs_plan", "options")]
    return {name: [each.get(name) for each in every] for name in names if len({str(each.get(name)) for each in every}) > 1}


def option_name(name: str, language: str) -> str:
    return t(f"option.{name}", language)
