"""Train: what suits the set and this machine, measured by some steps of the training that the form asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from engine.config import TrainConfig
from engine.jobs.local import REPOSITORY
from engine.types import UserError
from ui import html
from ui.forms import figure
from ui.guard import guarded
from ui.html import Html, join, tag
from ui.i18n import label, language_of, static, t
from ui.pages.train import monitor
from ui.pages.train.plan import shown_name
from ui.selection import App

PLAIN: dict[str, Any] = {"js_on_load": None, "apply_default_css": False}
QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
PATIENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
TAKEN = ("batch", "accumulate")


@dataclass(frozen=True)
class Advice:
    """The buttons, what is said, and what can be taken over: the settings, and the model that suits with its image size."""

    measure: gr.Button
    stop: gr.Button
    take: gr.Button
    choose: gr.Button
    said: gr.HTML
    found: gr.State


def build() -> Advice:
    found = gr.State(None)
    with gr.Column(elem_classes="lb-card", elem_id="lb-advice"):
        with gr.Row(elem_classes="lb-between"):
            gr.HTML(static(lambda language: tag("h3", t("train.advice", language))), **PLAIN)
            measure = gr.Button(label("train.advice_measure"), size="sm", elem_id="lb-advice-measure")
            stop = gr.Button(label("train.advice_stop"), size="sm", visible=False, elem_id="lb-advice-stop")
            take = gr.Button(label("train.advice_take"), size="sm", visible=False, elem_id="lb-advice-take")
            choose = gr.Button(label("train.advice_choose"), size="sm", visible=False, elem_id="lb-advice-choose")
        said = gr.HTML(static(lambda language: muted("train.advice_text", language)), **PLAIN, elem_id="lb-advice-said")
    return Advice(measure, stop, take, choose, said, found)


def wire(app: App, parts: Advice, inputs: list[Any], asked: Callable[[str | None, tuple[Any, ...]], TrainConfig], model: gr.Radio,
         fields: dict[str, Any]) -> None:
    """`asked(data set, values of the inputs)` is what the form means; `model` and `fields` are what the settings go into."""

    @guarded
    def measure(request: gr.Request, dataset: str | None, *values: Any) -> Iterator[tuple[Any, ...]]:
        language = language_of(request)
        if monitor.newest_active(app.workspace) is not None:
            raise UserError("advice_busy")
        config = asked(dataset, values)
        buttons = gr.Button(visible=False), gr.Button(visible=True), gr.Button(visible=False), gr.Button(visible=False)
        yield *buttons, said([], language), None
        trials: list[dict[str, Any]] = []
        advice: dict[str, Any] | None = None
        for content in measured(config, language):
            if "error" in content:
                yield *idle(None), problem(content["error"]), None
                return
            if "trial" in content:
                trials.append(content["trial"])
                yield *(gr.skip(),) * 4, said(trials, language), None
            advice = content.get("advice", advice)
        if advice is None:
            raise UserError("advice_died")
        yield *idle(advice), result(advice, language), takeable(advice)

    @guarded
    def stopped(request: gr.Request) -> tuple[Any, ...]:
        return *idle(None), muted("train.advice_stopped", language_of(request)), None

    @guarded
    def take(found: dict[str, Any] | None) -> list[Any]:
        return taken(found)

    @guarded
    def choose(found: dict[str, Any] | None) -> tuple[Any, ...]:
        return tuple(gr.update(value=each) for each in found["suggested"]) if found and found["suggested"] else (gr.skip(), gr.skip())

    @guarded
    def again(request: gr.Request) -> tuple[Any, ...]:
        return *idle(None), muted("train.advice_again", language_of(request)), None

    outputs = [parts.measure, parts.stop, parts.take, parts.choose, parts.said, parts.found]
    running = parts.measure.click(measure, [app.dataset, *inputs], outputs, concurrency_limit=1, **PATIENT)
    parts.stop.click(stopped, None, outputs, cancels=[running], **QUIET)
    parts.take.click(take, parts.found, [fields[name] for name in TAKEN], **QUIET)
    parts.choose.click(choose, parts.found, [model, fields["image_size"]], **QUIET).then(again, None, outputs, **QUIET)


def takeable(advice: dict[str, Any]) -> dict[str, Any]:
    """The numbers for TAKEN, and model and image size that suit better than those that were tried, None when these do."""
    suggested, tried = advice["suggested"], advice["probe"]
    other = suggested and (suggested["model"], suggested["image_size"]) != (tried["model"], tried["image_size"])
    return {"settings": {each["name"]: each["value"] for each in advice["settings"] if each["name"] in TAKEN},
            "suggested": [suggested["model"], suggested["image_size"]] if other else None}


def taken(found: dict[str, Any] | None) -> list[Any]:
    """The numbers for the fields of TAKEN."""
    return [gr.update(value=int(found["settings"].get(name, 1))) if found else gr.skip() for name in TAKEN]


def idle(advice: dict[str, Any] | None) -> tuple[Any, ...]:
    """The buttons when nothing is measured."""
    other = advice is not None and takeable(advice)["suggested"] is not None
    return gr.Button(visible=True), gr.Button(visible=False), gr.Button(visible=advice is not None), gr.Button(visible=other)


def measured(config: TrainConfig, language: str) -> Iterator[dict[str, Any]]:
    """What a process of its own says, line by line: memory that it needs is its own, and it ends when nobody listens any more."""
    with TemporaryDirectory(prefix="lightbox-advice-") as folder:
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(config.as_dict()), encoding="utf-8")
        log = Path(folder) / "log"
        with log.open("wb") as errors:
            process = subprocess.Popen([sys.executable, "-m", "engine.advising", str(file)], cwd=REPOSITORY, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8",
                                       env={**os.environ, "LIGHTBOX_LANGUAGE": language, "PYTHONUTF8": "1"})
        try:
            for line in process.stdout or ():
                if line.startswith("{"):
                    yield json.loads(line)
            if process.wait() not in (0, 2):
                raise RuntimeError(log.read_text(encoding="utf-8", errors="replace")[-4000:])
        finally:
            process.kill()
            process.wait()


def said(trials: list[dict[str, Any]], language: str) -> Html:
    """While it goes on."""
    lines = [tag("li", trial_line(each, language)) for each in trials]
    return join([tag("p", t("train.advice_running", language), class_="lb-muted lb-small", role="status"), tag("ul", *lines, class_="lb-notes")])


def trial_line(trial: dict[str, Any], language: str) -> str:
    return t("advice.trial", language, batch=trial["batch"], seconds=f"{trial['seconds']:.2f}", memory=f"{trial['memory']:.2f}")


def result(advice: dict[str, Any], language: str) -> Html:
    """The suggestion, the settings with their reasons, and what was tried."""
    suggested, tried_on, parts = advice["suggested"], advice["probe"], []
    if suggested:
        name, other = shown_name(suggested["model"], language), takeable(advice)["suggested"] is not None
        head = tag("b", t("advice.better" if other else "advice.suggested", language, model=name, size=suggested["image_size"]))
        parts.append(tag("p", head, " ", " ".join(suggested["reasons"])))
    parts.append(tag("p", tag("b", t("advice.measured", language, model=shown_name(tried_on["model"], language), size=tried_on["image_size"]))))
    rows = [(tag("b", t(f"option.{each['name']}", language)), figure(each["value"]), each["why"]) for each in advice["settings"]]
    columns = [t("train.setting", language), t("train.value", language), t("train.why", language)]
    parts.append(html.table(columns, rows, numeric=(1,), label=t("train.advice", language)))
    tried = [(each["batch"], f"{each['seconds']:.2f}", f"{each['memory']:.2f}") for each in advice["probe"]["trials"]]
    parts.append(tag("details", tag("summary", t("train.advice_tried", language)), tag("p", advice["line"], class_="lb-small"),
                     html.table([t(f"train.advice_{each}", language) for each in ("batch", "seconds", "memory")], tried, numeric=(0, 1, 2),
                                label=t("train.advice_tried", language))))
    return join(parts)


def muted(key: str, language: str) -> Html:
    return tag("p", t(key, language), class_="lb-muted lb-small")


def problem(error: dict[str, str]) -> Html:
    return tag("div", tag("p", html.icon("warn"), " ", error["message"], class_="lb-tone-bad"), tag("p", error["remedy"]), role="alert")
