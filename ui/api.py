"""The web API: what gradio_client and MCP tools call. The same engine calls as the pages; everything returns a JSON object."""

import functools
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from engine import messages, runs
from engine.datasets.formats import formats
from engine.jobs import local
from engine.models import models
from engine.runs import Run
from engine.settings import config_of
from engine.types import SPLITS, UserError
from engine.workspace import Workspace
from ui.i18n import language_of, t
from ui.pages.predict.downloads import as_json
from ui.pages.predict.models import Told, file_of, predictors
from ui.pages.predict.pictures import heat
from ui.pages.predict.result import CLASSIFY, DETECT, INSTANCE, Filter, find_objects, overlap_of, prepared
from ui.pages.tools import convert_to_zip
from ui.pages.train import data, monitor, plan, words
from ui.selection import App

# The annotations of the endpoints are read at run time: no `from __future__ import annotations` here.
log = logging.getLogger("lightbox.ui")
MODEL_JOBS = ("evaluate", "predict")
PUBLISHED = ("import_dataset", "convert", "datasets", "start_training", "runs", "run_status", "run_metrics", "stop_training", "resume_training",
             "evaluate", "predict")
FIXED = ("data", "model", "task", "epochs_plan")


def build(app: App) -> None:
    """Publishes the endpoints; call it inside the app's Blocks."""
    endpoints = Endpoints(app.workspace, app.demo)
    for name in PUBLISHED:
        queue: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1} if name in MODEL_JOBS else {}
        gr.api(answered(getattr(endpoints, name)), api_name=name, **queue)


def answered(endpoint: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A UserError becomes {"error": {"message", "remedy"}}; so does a bug, which is logged and apologised for."""

    @functools.wraps(endpoint)
    def answer(request: gr.Request, *args: Any, **kwargs: Any) -> dict[str, Any]:
        language = language_of(request)
        messages.set_language(language)
        try:
            return endpoint(request, *args, **kwargs)
        except UserError as error:
            return {"error": {"message": error.message(language), "remedy": error.remedy(language)}}
        except Exception:  # noqa: BLE001 - the outer border of the web API
            log.exception("error in /%s", endpoint.__name__)
            return {"error": {"message": t("api.bug", language), "remedy": t("api.bug.remedy", language)}}

    return answer


class Endpoints:
    """One method an endpoint. Ids are looked up among what is there; file arguments are uploads."""

    def __init__(self, workspace: Workspace, demo: bool = False) -> None:
        self.workspace, self.demo = workspace, demo

    def import_dataset(self, request: gr.Request, file: gr.FileData, name: str = "") -> dict[str, Any]:
        """Import a data set from an archive (zip, tar) or a label file into the workspace.

        Args:
            file: the upload.
            name: how the data set shall be called; by default like the file.
        """
        path = uploaded(file)
        _, report = self.workspace.import_dataset(path, name or path.stem)
        return report.as_dict(language_of(request))

    def convert(self, request: gr.Request, file: gr.FileData, to: str) -> dict[str, Any]:
        """Convert a data set from any format to any other; the answer holds a zip under "file".

        Args:
            file: the upload, an archive or a label file.
            to: name of the format to write, for instance "coco" or "yolo".
        """
        formats.get(to)
        summary, packed = convert_to_zip(uploaded(file), to, lambda *_: None, language_of(request))
        told = {name: value for name, value in summary.as_dict(language_of(request)).items() if name != "out"}
        return {**told, "file": gr.FileData(path=str(packed), orig_name=packed.name).model_dump()}

    def datasets(self, request: gr.Request) -> dict[str, Any]:
        """List the data sets of the workspace with their classes and counts."""
        found = self.workspace.datasets()
        return {"datasets": [{"dataset": each.id, "name": each.name, "task": each.task, "classes": list(each.classes), "splits": each.counts()}
                             for each in found]}

    def start_training(self, request: gr.Request, dataset: str, model: str = "deimv2_atto", config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start training, or queue it behind the run that is training.

        Args:
            dataset: id of a data set of the workspace.
            model: name of the model.
            config: further settings, for instance {"epochs": 20, "image_size": 320}; options of the model stand among them, for instance
                {"encoder": "resnet18"} for unet or {"backbone": "convnext_tiny"} for timm.
        """
        chosen, spec = self.workspace.dataset(dataset), models.get(model)
        wanted = config_of({**self._settings(config or {}), "data": str(chosen.folder), "model": spec.name})
        plan.check_demo(wanted, self.demo)
        run = runs.create(self.workspace.new_run_folder(f"{chosen.name} {plan.display_name(spec.name)}"), wanted)
        ahead = local.submit(run)
        return {**status(run, language_of(request)), "queued_behind": ahead}

    def runs(self, request: gr.Request) -> dict[str, Any]:
        """List all runs, newest first, with their states."""
        return {"runs": [status(run, language_of(request)) for run in monitor.all_runs(self.workspace)]}

    def run_status(self, request: gr.Request, run: str) -> dict[str, Any]:
        """State of a run: phase, epoch, seconds left, and why it failed if it did.

        Args:
            run: id of the run.
        """
        return status(self._run(run), language_of(request))

    def run_metrics(self, request: gr.Request, run: str, since: int = 0) -> dict[str, Any]:
        """Rows of a run's metrics from a position on.

        Args:
            run: id of the run.
            since: the "next" of the answer before; 0 for all rows.
        """
        rows, offset = self._run(run).metrics(max(0, int(since)))
        return {"run": run, "rows": rows, "next": offset}

    def stop_training(self, request: gr.Request, run: str) -> dict[str, Any]:
        """Ask a run to save a checkpoint and stop.

        Args:
            run: id of the run.
        """
        found = self._run(run)
        if words.is_active(found.state()["phase"]):
            monitor.stop(self.workspace, found.id)
        return status(found, language_of(request))

    def resume_training(self, request: gr.Request, run: str) -> dict[str, Any]:
        """Go on with a run that was stopped, interrupted or failed.

        Args:
            run: id of the run.
        """
        found = self._run(run)
        monitor.resume(self.workspace, found.id)
        return status(found, language_of(request))

    def evaluate(self, request: gr.Request, run: str, split: str = "valid") -> dict[str, Any]:
        """Measure a run's best weights on a split of the data that it was trained with.

        The answer holds "metrics" (AP for objects; Dice and IoU, per image and global, for areas; AUROC, average precision and F1 for
        classes), the same "per_class", and "curves" where there are any. What cannot be told is null.

        Args:
            run: id of the run.
            split: train, valid or test.
        """
        from engine.datasets.collection import load, with_valid
        from engine.evaluate import evaluate

        found = self._run(run)
        predictor, config = predictors(found.folder), found.config()
        split = "valid" if split == "val" else split
        if split not in SPLITS:
            raise UserError("split_missing", split=split, known=", ".join(SPLITS))
        with tempfile.TemporaryDirectory(prefix="lightbox-") as scratch:
            collection = with_valid(load(Path(config.data), Path(scratch)), config.valid_fraction, config.seed)
            samples = predictor.task.align(collection.split(split), collection.classes, predictor.classes)
            if not samples:
                raise UserError("split_missing", split=split, known=", ".join(collection.counts()))
            return evaluate(predictor, samples, split=split)

    def predict(self, request: gr.Request, model: str, image: gr.FileData, threshold: float | None = None, explain: str = "", architecture: str = "",
                options: dict[str, Any] | None = None, nms: float | None = None, every_class: bool = False, tta: bool = False) -> dict[str, Any]:
        """Find objects, areas or classes in an image, as the model was trained for.

        The entry of the image holds "instances" with boxes [x, y, width, height] in pixels and, of a model for outlines, a "mask" as COCO's run
        lengths; or "mask", a PNG as a data URL whose "values" say
        what its pixels mean ("masks" where classes may overlap), and "areas" in pixels, with mm2 where the file says how large a pixel is;
        or "tags", the surest first, each with its "score" and whether it is "present".

        Args:
            model: id of a run, or of a weights file of the workspace ("weights/name.pt").
            image: the upload.
            threshold: lowest score or probability that counts, 0 to 1; by default 0.45 for boxes, and for outlines, areas and classes what
                validation found best.
            explain: name of a class of a classification model; a heat map of where the model sees it comes under "heat", a JPEG as a data URL.
            architecture: name of the model, for a bare weights file whose tensors do not tell it, for instance "timm".
            options: what else such a file does not tell, for instance {"backbone": "mobilenetv3_small_100", "mode": "multiclass"}.
            nms: of two objects that overlap by more than this (IoU of outlines, or of boxes of one class) the less sure one is left out, 0 to 1;
                1 keeps all. By default what the model was trained with.
            every_class: for outlines: each class that an object may be is an object of its own, not only its best class.
            tta: look several times (mirrored and the like) and merge what is seen.
        """
        if threshold is not None and not 0 <= float(threshold) <= 1:
            raise UserError("option_bounds", name="threshold", value=threshold, low=0, high=1)
        if options is not None and not isinstance(options, dict):
            raise UserError("config_not_object", found=type(options).__name__)
        path, weights, told = uploaded(image), file_of(self.workspace, model), Told.of(architecture, options or {})
        loaded = predictors(weights, told)
        check_outlines(loaded, nms, every_class)
        predictor = prepared(loaded, tta=bool(tta), tiled=False, every=bool(every_class))
        result = find_objects(predictor, [path], lambda done, total: None)
        for _, error in result.failures:
            raise error
        cut = predictor.cut if result.task != CLASSIFY else 0.5
        chosen = Filter(cut if threshold is None else float(threshold), own=threshold is None, nms=overlap_of(loaded) if nms is None else float(nms),
                        every=bool(every_class))
        answer = as_json(result, chosen)
        if explain:
            result.source = (weights, told)
            answer["images"][0]["heat"] = heat(result, path, explain)
        return answer

    def _run(self, wanted: str) -> Run:
        """Raises UserError for an id that is not there."""
        return Run(self.workspace.run_folder(wanted))

    def _settings(self, config: dict[str, Any]) -> dict[str, Any]:
        """The settings that a caller may choose; weights by id, never by path. Raises UserError for any other."""
        if not isinstance(config, dict):
            raise UserError("config_not_object", found=type(config).__name__)
        for name in FIXED:
            if name in config:
                raise UserError("option_elsewhere", name=name)
        return {**config, "weights": data.weights_file(self.workspace, str(config.get("weights") or ""))}


def status(run: Run, language: str) -> dict[str, Any]:
    """The state of a run as the API tells it; `failure` says why one failed."""
    state = run.state()
    error = words.error_of(state)
    told = {name: state[name] for name in ("step", "epoch", "epochs", "eta_s", "images_per_s")}
    failure = {"message": error.message(language), "remedy": error.remedy(language)} if error else None
    return {"run": run.id, "state": state["phase"], **told, "failure": failure}


def check_outlines(predictor: Any, nms: float | None, every_class: bool) -> None:
    """Raises UserError for an overlap that cannot be, and for one that the model knows nothing of."""
    if nms is not None and not 0 <= float(nms) <= 1:
        raise UserError("option_bounds", name="nms", value=nms, low=0, high=1)
    if nms is not None and predictor.task.name not in (DETECT, INSTANCE):
        raise UserError("objects_only", names="nms", model=predictor.name)
    if every_class and predictor.task.name != INSTANCE:
        raise UserError("outlines_only", names="every_class", model=predictor.name)


def uploaded(file: Any) -> Path:
    """The path of an upload. Raises UserError for anything else: a path of the server is none."""
    meta = file.get("meta") if isinstance(file, dict) else None
    if not isinstance(meta, dict) or meta.get("_type") != "gradio.FileData" or not isinstance(file.get("path"), str):
        raise UserError("not_uploaded")
    path = Path(file["path"]).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise UserError("not_uploaded")
    return path
