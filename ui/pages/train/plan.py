"""From the form to a plan: what was asked, what follows from it, and why. No components here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import machine, messages, recipe, stages
from engine.config import TrainConfig
from engine.models import ModelSpec, models
from engine.recipe import DataFacts, Derived, Machine, Plan
from engine.runs import command_line
from engine.types import Problem, UserError
from engine.workspace import Workspace
from ui import forms, html, plots
from ui.html import Html, join, tag
from ui.i18n import t
from ui.pages.train import starting

DEMO_MINUTES = 3.0
NOMINAL_STEPS, NOMINAL_EPOCHS = 2000, 100
LENGTHS = ("suggested", "minutes", "epochs")
BACKBONES = ("encoder", "backbone")  # options that name the image encoder
FAMILIES = {"deimv2": "DEIMv2", "di_maskdino": "DI-MaskDINO", "unet": "U-Net", "hybridmednet": "HybridMedNet", "vim": "Vision Mamba",
            "timm": "timm classifier"}


@dataclass(frozen=True)
class Proposal:
    """What the form asks for, and that with every open value filled in."""

    asked: TrainConfig
    plan: Plan
    facts: DataFacts

    @property
    def steps(self) -> int:
        """Steps of the whole run; 0 when minutes limit it, because the speed is not measured yet."""
        config = self.plan.config
        per_epoch = max(1, self.facts.train_images // config.batch)
        return -(-per_epoch // config.accumulate) * stages.run_epochs(config)


def asked(values: Mapping[str, Any], length: str, *, data: str, model: str, demo: bool = False) -> TrainConfig:
    """The config that the form means. Raises UserError for a value that cannot be."""
    spec = models.get(model)
    kept = {name: value for name, value in values.items() if name not in ("minutes", "epochs") or name == length}
    config = forms.to_config(kept, data=data, model=spec.name, task=spec.task)
    check_demo(config, demo)
    check_weights(config)
    return config


def check_demo(config: TrainConfig, demo: bool) -> None:
    """Raises UserError for a run that is too long for an app that only shows itself."""
    if demo and not 0 < config.minutes <= DEMO_MINUTES:
        raise UserError("demo_minutes", limit=int(DEMO_MINUTES))


def check_weights(config: TrainConfig) -> None:
    """Raises UserError for a weights file that the run would refuse: of another model, or of the same one made of other parts."""
    found, theirs = starting.fit(config), starting.told(config).model
    if found is None or found.refused is None:
        return
    if theirs != config.model:
        raise UserError("weights_other_model", theirs=display_name(theirs), model=display_name(config.model))
    raise UserError(found.refused.key, **found.refused.values)


def propose(config: TrainConfig, facts: DataFacts) -> Proposal:
    """Fills in what is left open. Raises UserError when this machine lacks the device. The first call loads torch."""
    found = machine.detect()
    device = Machine(machine.choose_device(config.device), found.accelerator_memory, found.cores)
    spec = models.get(config.model)
    return Proposal(config, recipe.suggest(config, spec, facts, device, pretrained=_pretrained(config.weights, spec)), facts)


def _pretrained(wanted: str, spec: ModelSpec) -> bool:
    """Will the run start from trained weights? Nothing is downloaded to find out."""
    if wanted != "auto":
        return wanted != "none"
    from engine import hub

    return hub.cached(spec) is not None


def picture(proposal: Proposal, language: str) -> Html:
    """The schedule, then every derived value with its reason."""
    config, steps = proposal.plan.config, proposal.steps
    memory = recipe.memory_facts(config, models.get(config.model))
    if steps:
        epochs = stages.run_epochs(config)
        end = t("train.end_epochs", language, epochs=epochs, steps=html.number(steps))
        drawing = plots.schedule_picture(config, steps, epochs, end, language)
        told = [each for each in recipe.schedule_facts(config, steps, epochs) if each.name != "least_side"]
        derived = (*proposal.plan.derived, *told, *_smallest(config), *memory)
    else:
        end = t("train.end_minutes", language, minutes=forms.figure(config.minutes))
        nominal = stages.REFERENCE + stages.TAIL if stages.published(config) else NOMINAL_EPOCHS
        drawing = plots.schedule_picture(config, NOMINAL_STEPS, nominal, end, language, known=False)
        derived = (*proposal.plan.derived, recipe.steps_per_epoch(config, proposal.facts), *_smallest(config), *memory)
    return join([cautions(proposal, language), drawing, _table(derived, language)])


def _smallest(config: TrainConfig) -> tuple[Derived, ...]:
    """The side below which objects are not learnt, where the published recipe has one, and how many of a stored set are below it."""
    from engine.datasets.small import smaller_than
    from engine.datasets.store import Dataset, is_dataset

    recipe_of = stages.published(config)
    if recipe_of is None or recipe_of.least_side <= 1:
        return ()
    side = recipe_of.least_side
    if not config.data or not is_dataset(Path(config.data)):
        return (Derived("least_side", side, "least_side"),)
    count, every = smaller_than(Dataset(Path(config.data), readonly=True), side)
    return (Derived("least_side", side, "least_side_counted" if count else "least_side_none", {"count": count, "all": every}),)


def cautions(proposal: Proposal, language: str) -> Html:
    """What the images ask of the model beyond what it is set to, each with the setting that helps, labels that nobody has looked at, and what
    becomes of the starting weights.

    The run notes the same.
    """
    config = proposal.plan.config
    found = [*_unseen(config.data), *recipe.notes(config, models.get(config.model), proposal.facts)]
    items = [tag("li", html.icon("warn" if each.severity == "warning" else "note"), " ", each.message(language), " ", each.remedy(language))
             for each in found]
    items += [tag("li", html.icon("note"), " ", each) for each in _starting(proposal.asked, language)]
    return tag("ul", *items, class_="lb-notes lb-cautions") if items else Html("")


def _starting(config: TrainConfig, language: str) -> list[str]:
    """What is taken from a weights file, as far as it says whose it is."""
    found, theirs = starting.fit(config), starting.told(config).model
    partly = t("train.weights_partly", language, theirs=display_name(theirs), matched=found.matched, all=found.total) if found else ""
    return [each for each in (partly, starting.head(config, language)) if each]


def _unseen(data: str) -> list[Problem]:
    """Labels of a stored set that were accepted from a model unseen."""
    from engine.datasets.store import Dataset, is_dataset
    from engine.suggesting import unseen_note

    note = unseen_note(Dataset(Path(data), readonly=True)) if data and is_dataset(Path(data)) else None
    return [note] if note is not None else []


def _table(derived: tuple[Derived, ...], language: str) -> Html:
    rows = [(tag("b", each.label(language)), _figure(each.value, language), each.because(language)) for each in derived]
    return html.table([t("train.setting", language), t("train.value", language), t("train.why", language)], rows, numeric=(1,),
                      label=t("train.derived", language))


def _figure(value: Any, language: str) -> str:
    """A number, or a choice as the form calls it."""
    key = f"option.choice.{value}"
    return t(key, language) if isinstance(value, str) and key in messages.catalogue("en") else forms.figure(value)


def model_card(spec: ModelSpec, language: str) -> str:
    """Name, numbers and when to take it, a line each: the text of a choice."""
    inside = next((str(each.default) for each in spec.options if each.name in BACKBONES), "")
    numbers = {"parameters": f"{spec.parameters:.1f}", "size": spec.image_size}
    said = t("train.model_numbers_with", language, encoder=inside, **numbers) if inside else t("train.model_numbers", language, **numbers)
    lines = [shown_name(spec.name, language), said]
    when = t(f"model.{spec.name}", language)
    return "\n".join(lines if when == f"model.{spec.name}" else [*lines, when])


def shown_name(name: str, language: str) -> str:
    """What a card calls the model: names are the same everywhere, kinds of models are not."""
    key = f"model_name.{name}"
    return t(key, language) if key in messages.catalogue("en") else display_name(name)


def display_name(name: str) -> str:
    """deimv2_atto -> DEIMv2 Atto."""
    family = next((each for each in FAMILIES if f"{name}_".startswith(f"{each}_")), name.partition("_")[0])
    size = name.removeprefix(family).removeprefix("_")
    return f"{FAMILIES.get(family, family)} {size.replace('_', ' ').title() if len(size) > 1 else size.upper()}".strip()


def full_name(config: TrainConfig) -> str:
    """The model with its backbone, where it has the choice of one: "timm resnet18"."""
    spec = models.entries().get(config.model)
    inside = {each.name: each.default for each in (spec.options if spec else ())}
    backbone = next((str(config.options.get(name, inside[name])) for name in BACKBONES if name in inside), "")
    family = display_name(config.model).removesuffix(" classifier")
    if "architecture" in inside:
        family = messages.text(f"option.choice.{config.options.get('architecture', inside['architecture'])}", "en")
    return f"{family} {backbone}".strip()


def run_name(dataset: str, config: TrainConfig) -> str:
    """What a run is called, in letters that a folder's name keeps: U-Net++ is not U-Net."""
    return f"{dataset} {full_name(config).replace('+', 'Plus')}"


def command(config: TrainConfig, workspace: Workspace) -> str:
    """The shell command that does the same."""
    return command_line(config, workspace.runs_folder / f"{config.model}-1")


def nothing(language: str) -> Html:
    return tag("div", tag("p", t("train.no_plan", language), class_="lb-muted"), class_="lb-previews-empty")


def problem(error: UserError, language: str) -> Html:
    """A value that cannot be, said where the plan would stand."""
    return tag("div", tag("p", html.icon("warn"), " ", error.message(language), class_="lb-tone-bad"), tag("p", error.remedy(language)),
               class_="lb-card lb-problem", role="alert")
