"""Train: three steps on one page; after the start the same page watches the run."""

from __future__ import annotations

from typing import Any

import gradio as gr

from engine import runs
from engine.config import TrainConfig
from engine.jobs import local
from engine.models import models
from engine.runs import Run
from engine.types import UserError
from ui import forms
from ui.guard import guarded
from ui.i18n import language_of, t
from ui.pages.train import data, monitor, plan, setup, words
from ui.selection import App, choose_run, dataset_choices, go_to, pick, run_choices

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
PATIENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
TICK_S = 1.0
REMEMBER_JS = "() => {{ lightbox.remember('train', '{0}'); }}"


def build(app: App) -> None:
    form, view = setup.build(), monitor.build()
    _wire_views(app, form, view)
    _wire_form(app, form)
    _wire_start(app, form, view)
    _wire_monitor(app, view)


def _wire_views(app: App, form: setup.Setup, view: monitor.Monitor) -> None:
    """Which of the two is on show: after a reload the run that trains, else the chosen one, unless a new one was being set up."""
    workspace, known, data_known = app.workspace, gr.State(None), gr.State(None)
    switches = [form.column, view.column, view.shown, form.running]

    def show(run: Run | None) -> tuple[Any, ...]:
        active = run is None and monitor.newest_active(workspace) is not None
        return gr.Column(visible=run is None), gr.Column(visible=run is not None), run.id if run else "", gr.Row(visible=active)

    @guarded
    def opened(request: gr.Request) -> tuple[Any, ...]:
        query = dict(request.query_params)
        header = pick(run_choices(workspace), query.get("run")), pick(dataset_choices(workspace), query.get("dataset"))
        if query.get("train") == "new":
            return *show(None), *header
        return *show(monitor.newest_active(workspace) or monitor.find(workspace, query.get("run"))), *header

    @guarded
    def chosen(run: str | None, before: str | None) -> tuple[Any, ...]:
        """The header's run was changed, here or by another page; what it held when the page opened is no change."""
        if before is None or run == before:
            return (gr.skip(),) * 5
        return *show(monitor.find(workspace, run)), run

    @guarded
    def other_data(dataset: str | None, before: str | None, shown: str) -> tuple[Any, ...]:
        """Who chooses another data set wants to train on it, unless a run is being watched that still goes on."""
        run = monitor.find(workspace, shown)
        if before is None or dataset == before or run is None or words.is_active(run.state()["phase"]):
            return *(gr.skip(),) * 4, dataset
        return *show(None), dataset

    app.run_view = [*switches, known]
    app.show_run = lambda run: (*show(monitor.find(workspace, run)), run)
    app.blocks.load(opened, None, [*switches, known, data_known], **QUIET)
    app.dataset.change(other_data, [app.dataset, data_known, view.shown], [*switches, data_known], **QUIET)
    app.run.change(chosen, [app.run, known], [*switches, known], **QUIET)
    view.new.click(lambda: show(None), None, switches, **QUIET).then(None, None, None, js=REMEMBER_JS.format("new"), **QUIET)
    form.watch.click(lambda: show(monitor.newest_active(workspace)), None, switches, **QUIET).then(
        None, None, None, js=REMEMBER_JS.format(""), **QUIET)


def _wire_form(app: App, form: setup.Setup) -> None:
    """Fill the form once in the visitor's language with the draft, and keep the plan true to it."""
    workspace = app.workspace
    outputs = [form.data, form.open_data, form.plan, form.command, form.start]

    @guarded
    def fill(draft: Any, request: gr.Request) -> list[Any]:
        language, kept = language_of(request), forms.restored(draft)
        draft = draft if isinstance(draft, dict) else {}
        cards = [(plan.model_card(spec, language), spec.name) for spec in models.entries().values()]
        model = draft["model"] if draft.get("model") in models.names() else TrainConfig().model
        length = draft["length"] if draft.get("length") in plan.LENGTHS else plan.LENGTHS[0]
        parts = [_filled(name, kept.get(name), length, workspace, language) for name in form.parts]
        return [gr.Radio(choices=cards, value=model), gr.Radio(value=length), *parts]

    @guarded
    def weights_now(chosen: str | None, request: gr.Request) -> gr.Dropdown:
        choices = data.weights_choices(workspace, language_of(request))
        return gr.Dropdown(choices=choices, value=chosen if chosen in dict(choices).values() else "auto")

    @guarded
    def refresh(request: gr.Request, dataset: str | None, *values: Any) -> list[Any]:
        return _refreshed(app, form, dataset, values, language_of(request))

    @guarded
    def changed(*values: Any) -> dict[str, Any]:
        return form.values_of(values)

    everything = [app.dataset, *form.inputs]
    weights = form.parts["weights"]
    app.blocks.load(fill, form.draft, form.inputs, **QUIET)
    entered = app.tab["train"].select(weights_now, weights, weights, **QUIET)
    entered.then(refresh, everything, outputs, **PATIENT)
    app.dataset.change(refresh, everything, outputs, trigger_mode="always_last", **PATIENT)
    edited = gr.on([part.change for part in form.inputs], refresh, everything, outputs, trigger_mode="always_last", **PATIENT)
    edited.then(changed, form.inputs, form.draft, **QUIET)
    form.length.input(setup.length_parts, form.length, [form.parts["minutes"], form.parts["epochs"]], **QUIET)
    form.open_data.click(lambda: go_to("data"), None, app.tabs, **QUIET)


def _filled(name: str, value: Any, length: str, workspace: Any, language: str) -> Any:
    changes: dict[str, Any] = {"visible": name == length} if name in plan.LENGTHS else {}
    if name == "weights":
        return gr.Dropdown(choices=data.weights_choices(workspace, language), value=value or "auto")
    return gr.update(**changes) if value is None else gr.update(value=value, **changes)


def _refreshed(app: App, form: setup.Setup, dataset: str | None, values: tuple[Any, ...], language: str) -> list[Any]:
    """Data card, its button, plan, command, and whether a start is possible."""
    found = data.find(app.workspace, dataset)
    card = data.card(found, language)
    if found is None:
        return [card, gr.Button(visible=True), plan.nothing(language), "", gr.Button(interactive=False)]
    try:
        proposal = plan.propose(_asked(app, form, found, values), data.facts(found))
    except UserError as error:
        return [card, gr.Button(visible=False), plan.problem(error, language), "", gr.Button(interactive=False)]
    command = data.code(plan.command(proposal.asked, app.workspace))
    return [card, gr.Button(visible=False), plan.picture(proposal, language), command, gr.Button(interactive=data.can_train(found))]


def _asked(app: App, form: setup.Setup, dataset: Any, values: tuple[Any, ...]) -> TrainConfig:
    given = form.values_of(values)
    length, model = given.pop("length"), given.pop("model")
    given["weights"] = data.weights_file(app.workspace, given.get("weights"))
    return plan.asked(given, length, data=str(dataset.folder), model=model or TrainConfig().model, demo=app.demo)


def _wire_start(app: App, form: setup.Setup, view: monitor.Monitor) -> None:
    """One press starts one run, however often it is pressed."""
    started = data.Starts()

    @guarded
    def start(request: gr.Request, dataset: str | None, *values: Any) -> tuple[Any, ...]:
        found = data.find(app.workspace, dataset)
        if found is None:
            raise UserError("no_dataset_chosen")
        config = _asked(app, form, found, values)
        name = f"{found.name} {plan.display_name(config.model)}"
        run = started.once(str(request.session_hash), config, lambda: runs.create(app.workspace.new_run_folder(name), config))
        return gr.Column(visible=False), gr.Column(visible=True), run.id, choose_run(app.workspace, run.id, language_of(request))

    @guarded
    def submit(shown: str, request: gr.Request) -> None:
        """After the page shows the run, since its process takes a moment to answer."""
        run = monitor.find(app.workspace, shown)
        if run is not None and (ahead := local.submit(run)):
            gr.Info(t("train.queued_behind", language_of(request), n=ahead))

    pressed = form.start.click(start, [app.dataset, *form.inputs], [form.column, view.column, view.shown, app.run], **PATIENT)
    pressed.success(submit, view.shown, None, **PATIENT).then(None, None, None, js=REMEMBER_JS.format(""), **QUIET)


def _wire_monitor(app: App, view: monitor.Monitor) -> None:
    workspace = app.workspace

    @guarded
    def tick(shown: str, watch: Any, request: gr.Request) -> list[Any]:
        return monitor.tick(workspace, shown, watch, language_of(request))

    @guarded
    def stop(shown: str) -> gr.Button:
        monitor.stop(workspace, shown)
        return gr.Button(interactive=False)

    @guarded
    def resume(shown: str) -> gr.Button:
        monitor.resume(workspace, shown)
        return gr.Button(visible=False)

    seen = [view.shown, view.watch]
    gr.Timer(TICK_S).tick(tick, seen, view.outputs, trigger_mode="once", **QUIET)
    view.shown.change(tick, seen, view.outputs, **QUIET).then(tick, seen, view.outputs, **QUIET)
    view.stop.click(stop, view.shown, view.stop, **QUIET).then(tick, seen, view.outputs, **QUIET)
    view.resume.click(resume, view.shown, view.resume, **PATIENT).then(tick, seen, view.outputs, **QUIET)
    view.use.click(lambda: go_to("predict"), None, app.tabs, **QUIET)
