"""Train: three steps on one page; after the start the same page watches the run."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from engine import runs
from engine.config import TrainConfig
from engine.jobs import local
from engine.runs import Run
from engine.types import UserError
from ui import forms
from ui.guard import guarded
from ui.i18n import language_of, t
from ui.latest import latest
from ui.pages.train import advice, augmented, compare, data, groups, monitor, plan, setup, words
from ui.selection import UNCHECKED, App, choose_run, dataset_choices, go_to, pick, run_choices
from ui.weights_files import add_weights

QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
LOOSE: dict[str, Any] = {**QUIET, **UNCHECKED}
PATIENT: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
SETTLE_JS = "(now, proposed) => { const [before, after] = JSON.parse(proposed); return (now ?? null) === before ? after : now; }"
REMEMBER_JS = "() => {{ lightbox.remember('train', '{0}'); window.scrollTo(0, 0); }}"


def build(app: App) -> None:
    form, view = setup.build(), monitor.build()
    _wire_views(app, form, view)
    offered = _wire_form(app, form)
    _wire_options(app, form)
    _wire_augmented(app, form, offered)
    advice.wire(app, form.advice, form.inputs, lambda dataset, values: _chosen(app, form, dataset, values), form.model, form.parts)
    _wire_compare(app, form)
    _wire_start(app, form, view)
    _wire_monitor(app, view)


def _wire_views(app: App, form: setup.Setup, view: monitor.Monitor) -> None:
    """Which of the two is on show: after a reload the run that trains, else the chosen one, unless a new one was being set up."""
    workspace, known, data_known, noted = app.workspace, gr.State(None), gr.State(None), gr.State(None)
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
    def tick(shown: str, before: bool | None) -> tuple[Any, Any]:
        """The form's note that a run trains goes when the run ends, and comes when one begins elsewhere."""
        active = not shown and monitor.newest_active(workspace) is not None
        return (gr.skip(), before) if active == before else (gr.Row(visible=active), active)

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
    latest([app.dataset.change], other_data, [app.dataset, data_known, view.shown], [*switches, data_known], **LOOSE)
    latest([app.run.change], chosen, [app.run, known], [*switches, known], **LOOSE)
    app.pulse.header(tick, [view.shown, noted], [form.running, noted], trigger_mode="once", **QUIET)
    view.new.click(lambda: show(None), None, switches, **QUIET).then(None, None, None, js=REMEMBER_JS.format("new"), **QUIET)
    form.watch.click(lambda: show(monitor.newest_active(workspace)), None, switches, **QUIET).then(
        None, None, None, js=REMEMBER_JS.format(""), **QUIET)


def _wire_form(app: App, form: setup.Setup) -> list[Any]:
    """Fill the form once in the visitor's language with the draft, and keep the plan true to it; returns the events that offer other models."""
    workspace, restored = app.workspace, gr.State(False)
    outputs = [form.data, form.open_data, form.plan, form.command, form.reason, form.start]

    @guarded
    def fill(dataset: str | None, draft: Any, request: gr.Request) -> list[Any]:
        language, kept = language_of(request), forms.restored(draft)
        draft = draft if isinstance(draft, dict) else {}
        model, *steps = setup.models_for(data.find(workspace, dataset), setup.wanted_model(workspace, dataset, draft.get("model"), draft), language)
        length = draft["length"] if draft.get("length") in plan.LENGTHS else plan.LENGTHS[0]
        parts = [setup.filled(name, kept.get(name), length, workspace, language) for name in form.parts]
        values = {**setup.defaults(), **kept, "model": model["value"]}
        showing = setup.option_updates(form, values)
        both = [{**filled, **shown} if isinstance(filled, dict) else filled for filled, shown in zip(parts, showing[: len(parts)], strict=True)]
        return [*steps, model, gr.Radio(value=length), *both, *showing[len(parts):]]

    @guarded
    def fill_once(dataset: str | None, draft: Any, done: bool, request: gr.Request) -> list[Any]:
        """The browser hands out a stored draft only after the page has opened; what is saved later is in the form already."""
        return [gr.skip()] * (len(filled) + 1) if done or not draft else [*fill(dataset, draft, request), True]

    @guarded
    def offer(dataset: str | None, chosen: str | None, draft: Any, request: gr.Request) -> list[Any]:
        """The models for the set; the one that was chosen, and the one to take its place unless a person chooses meanwhile.

        While the page opens, this may come before the draft has filled the form.
        """
        draft = draft if isinstance(draft, dict) else {}
        wanted = setup.wanted_model(workspace, dataset, chosen or draft.get("model"), draft)
        model, *steps = setup.models_for(data.find(workspace, dataset), wanted, language_of(request))
        return [*steps, gr.update(choices=model["choices"]), json.dumps([chosen, model["value"]])]

    @guarded
    def offer_others(dataset: str | None, chosen: str | None, draft: Any, request: gr.Request) -> list[Any]:
        """What a set without labels is to be labeled with may have been changed on Label."""
        stale = bool(chosen) and (found := data.find(workspace, dataset)) and chosen not in [spec.name for spec in data.models_of(found)]
        return offer(dataset, chosen, draft, request) if stale else [gr.skip()] * len(offered)

    @guarded
    def refresh(request: gr.Request, dataset: str | None, *values: Any) -> list[Any]:
        return _refreshed(app, form, dataset, values, language_of(request))

    @guarded
    def changed(dataset: str | None, *values: Any) -> tuple[dict[str, Any], bool]:
        return {**form.values_of(values), "dataset": dataset}, True

    everything = [app.dataset, *form.inputs]
    proposed = gr.Textbox(json.dumps([None, None]), visible="hidden")
    offered = [*form.steps, form.model, proposed]
    settled = {"fn": None, "inputs": [form.model, proposed], "outputs": form.model, "js": SETTLE_JS, **QUIET}
    more = [*form.groups.values(), *form.model_options.values()]
    filled = [*form.steps, *form.inputs, *more]
    app.blocks.load(fill, [app.dataset, form.draft], filled, **LOOSE)
    form.draft.change(fill_once, [app.dataset, form.draft, restored], [*filled, restored], **LOOSE)
    models_in = [app.dataset, form.model, form.draft]
    entered = _wire_weights(app, form).then(offer_others, models_in, offered, **LOOSE).then(**settled)
    entered.then(refresh, everything, outputs, **PATIENT)
    other = latest([app.dataset.change], offer, models_in, offered, **LOOSE).then(**settled)
    other.then(refresh, everything, outputs, trigger_mode="always_last", **PATIENT)
    gr.on([part.change for part in form.inputs], refresh, everything, outputs, trigger_mode="always_last", **PATIENT)
    gr.on([part.input for part in form.inputs], changed, everything, [form.draft, restored], trigger_mode="always_last", **QUIET)
    form.length.select(setup.length_parts, form.length, [form.parts["minutes"], form.parts["epochs"]], **QUIET)
    form.open_data.click(lambda: go_to("data"), None, app.tabs, **QUIET)
    return [entered, other]


def _wire_weights(app: App, form: setup.Setup) -> Any:
    """The files to start from: listed anew whenever the page is entered, which is returned as an event, and when a person adds one."""
    @guarded
    def now(chosen: str | None, request: gr.Request) -> gr.Dropdown:
        choices = data.weights_choices(app.workspace, language_of(request))
        return gr.Dropdown(choices=choices, value=chosen if chosen in dict(choices).values() else "auto")

    @guarded
    def added(upload: str, request: gr.Request) -> gr.Dropdown:
        if app.demo:
            raise UserError("demo_upload")
        return now(add_weights(app.workspace, upload, data.WEIGHT_SUFFIXES), request)

    weights, form.add_weights.visible = form.parts["weights"], not app.demo
    form.add_weights.upload(added, form.add_weights, weights, **QUIET)
    return app.tab["train"].select(now, weights, weights, **QUIET)


def _wire_options(app: App, form: setup.Setup) -> None:
    """Which options show follows from the model and from some of their values."""
    @guarded
    def choose(*values: Any) -> list[Any]:
        return setup.option_updates(form, form.values_of(values))

    latest([part.change for part in form.deciding], choose, form.inputs, form.depending, **QUIET)


def _wire_augmented(app: App, form: setup.Setup, offered: list[Any]) -> None:
    def planned(found: Any, values: tuple[Any, ...]) -> TrainConfig:
        return plan.propose(_asked(app, form, found, values), data.facts(found)).plan.config

    triggers = [form.parts[name].change for name in ("augment", "copy_paste", "resize", "image_size", "stages")]
    augmented.wire(app, form.augmented, planned, form.inputs, [*triggers, form.model.change], offered)


def _wire_compare(app: App, form: setup.Setup) -> None:
    """One press queues a run for each choice and shows them on Runs."""
    started: data.Starts[list[Run]] = data.Starts()
    picked = form.compare.picked

    def create(name: str, configs: list[TrainConfig]) -> list[Run]:
        group, made = groups.new(name), []
        for config in configs:
            made.append(runs.create(app.workspace.new_run_folder(plan.run_name(name, config)), config))
            groups.mark(made[-1], group)
        return made

    @guarded
    def start(request: gr.Request, dataset: str | None, chosen: list[str] | None, *values: Any) -> tuple[Any, ...]:
        found = data.find(app.workspace, dataset)
        if found is None:
            raise UserError("no_dataset_chosen")
        asked = _asked(app, form, found, values)
        configs = compare.configs(chosen or [], asked, plan.propose(asked, data.facts(found)).plan.config)
        for each in configs:
            plan.check_demo(each, app.demo)
        made = started.once(str(request.session_hash), configs, lambda: create(found.name, configs))
        local.submit(made[0])
        gr.Info(t("train.compare_queued", language_of(request), n=len(made)))
        return choose_run(app.workspace, made[0].id, language_of(request)), go_to("runs"), []

    @guarded
    def offered(dataset: str | None) -> Any:
        return compare.update(data.find(app.workspace, dataset))

    form.compare.start.click(start, [app.dataset, picked, *form.inputs], [app.run, app.tabs, picked], **PATIENT)
    latest([app.blocks.load, app.dataset.change], offered, app.dataset, picked, **LOOSE)


def _refreshed(app: App, form: setup.Setup, dataset: str | None, values: tuple[Any, ...], language: str) -> list[Any]:
    """Data card, its button, plan, command, and whether a start is possible, else why not."""
    found = data.find(app.workspace, dataset)
    card, why = data.card(found, language), data.obstacle(found, language)
    refused = [setup.reason_text(why), gr.Button(interactive=False)]
    if found is None or not data.models_of(found):
        return [card, gr.Button(visible=found is None), plan.nothing(language), "", *refused]
    try:
        proposal = plan.propose(_asked(app, form, found, values), data.facts(found))
    except UserError as error:
        return [card, gr.Button(visible=False), plan.problem(error, language), "", *refused]
    command = data.code(plan.command(proposal.asked, app.workspace))
    return [card, gr.Button(visible=False), plan.picture(proposal, language), command, setup.reason_text(why), gr.Button(interactive=not why)]


def _asked(app: App, form: setup.Setup, dataset: Any, values: tuple[Any, ...]) -> TrainConfig:
    """What the form means for this set. Raises UserError for a value that cannot be, and when no model learns from the set."""
    given = form.values_of(values)
    length, model = given.pop("length"), data.pick_model(dataset, given.pop("model"))
    given["weights"] = data.weights_file(app.workspace, given.get("weights"))
    return plan.asked(given, length, data=str(dataset.folder), model=model, demo=app.demo)


def _chosen(app: App, form: setup.Setup, dataset: str | None, values: tuple[Any, ...]) -> TrainConfig:
    """As `_asked`, of the data set with this id. Raises UserError when none is chosen."""
    found = data.find(app.workspace, dataset)
    if found is None:
        raise UserError("no_dataset_chosen")
    return _asked(app, form, found, values)


def _wire_start(app: App, form: setup.Setup, view: monitor.Monitor) -> None:
    """One press starts one run, however often it is pressed."""
    started: data.Starts[Run] = data.Starts()

    @guarded
    def start(request: gr.Request, dataset: str | None, *values: Any) -> tuple[Any, ...]:
        config = _chosen(app, form, dataset, values)
        name = plan.run_name(app.workspace.dataset(str(dataset)).name, config)
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
    app.pulse.train(tick, seen, view.outputs, trigger_mode="once", **QUIET)
    view.shown.change(tick, seen, view.outputs, **QUIET).then(tick, seen, view.outputs, **QUIET)
    view.stop.click(stop, view.shown, view.stop, **QUIET).then(tick, seen, view.outputs, **QUIET)
    view.resume.click(resume, view.shown, view.resume, **PATIENT).then(tick, seen, view.outputs, **QUIET)
    view.use.click(lambda: go_to("predict"), None, app.tabs, **QUIET)
