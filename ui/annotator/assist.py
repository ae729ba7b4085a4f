"""What the canvas asks of models: suggestions, the order of work, suspicious labels, and objects that are pointed at."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from engine.types import UserError
from ui.i18n import t

if TYPE_CHECKING:
    import numpy as np

    from engine.datasets.store import Dataset
    from engine.workspace import Workspace

Answer = dict[str, Any]
MOST_SUSPECTS, MOST_PASTED = 200, 1000
KEPT_PIXELS = 2


class Assist:
    """One method a function, as in `server.Bench`; each gets the data set that is labeled. Changing ones are refused in a demo by the caller."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._pixels: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    # ---- suggestions

    def models(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """{"models": [(name, id)], "job", "waiting", "suspects", "ranked"}: what can suggest, what runs, what waits for a person."""
        from engine.datasets import labeling_lists
        from engine.suggesting import with_suggestions

        return {"models": self._fitting(dataset), "job": self._job(dataset, language), "waiting": len(with_suggestions(dataset)),
                "suspects": self._suspects(dataset, language), "ranked": bool(labeling_lists.ranks(dataset, 1, unlabeled=True))}

    def look(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Suggests for the image that is open, at once."""
        from engine import suggesting
        from engine.suggest_jobs import model_of
        from ui.pages.predict.models import predictors

        file, source = model_of(self.workspace, str(sent.get("model") or ""))
        found = suggesting.suggest(dataset, predictors(file), [_number(sent, "image")], source=source, threshold=_share(sent, "threshold", 0.05))
        return {"shapes": found.shapes, "failed": found.failed, "missing": sorted(found.missing)}

    def job(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Begins to look through many images: `work` is "suggest", "rank" or "suspects"; `images` is "next" or "unlabeled"."""
        from engine import suggest_jobs

        images = str(sent.get("images") or "unlabeled")
        suggest_jobs.start(self.workspace, dataset.id, str(sent.get("model") or ""), images, count=_number(sent, "count", 20),
                           around=_number(sent, "image", 0), threshold=_share(sent, "threshold", 0.05), work=str(sent.get("work") or "suggest"))
        return {"job": self._job(dataset, language)}

    def progress(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        return {"job": self._job(dataset, language)}

    def cancel(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        from engine import suggest_jobs

        suggest_jobs.cancel(dataset)
        return {"job": self._job(dataset, language)}

    def accept(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Suggestions of all images but the open one with at least this score become labels, unseen."""
        from engine import suggesting

        ids = [each for each in suggesting.with_suggestions(dataset) if each != sent.get("image")]
        return {"images": suggesting.accept(dataset, ids, threshold=_share(sent, "threshold", 0.5), who=who)}

    def discard(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        from engine import suggesting

        return {"images": suggesting.discard(dataset, [each for each in suggesting.with_suggestions(dataset) if each != sent.get("image")])}

    def _fitting(self, dataset: Dataset) -> list[tuple[str, str]]:
        """(name, id) of runs of a fitting task and of added weights, newest run first."""
        from engine.runs import Run
        from engine.suggesting import fitting
        from ui.pages.predict.models import choices

        found = []
        for name, key in choices(self.workspace):
            kind, _, rest = key.partition("/")
            if kind == "runs":
                try:
                    if not fitting(dataset, Run(self.workspace.run_folder(rest)).config().task):
                        continue
                except (UserError, KeyError):
                    continue
            found.append((name, rest))
        return found

    def _job(self, dataset: Dataset, language: str) -> Answer | None:
        from engine import suggest_jobs

        state = suggest_jobs.state(dataset)
        if state is None:
            return None
        told = {name: state[name] for name in ("phase", "done", "total", "failed", "source", "work", "images", "shapes", "started")}
        told["missing"] = sorted(state["missing"])[:20]
        error = state["error"]
        told["error"] = UserError(error["key"], **error.get("values", {})).message(language) if error else ""
        return told

    # ---- suspicious labels

    def _suspects(self, dataset: Dataset, language: str) -> list[Answer]:
        from engine.datasets import labeling_lists

        names = dataset.classes
        return [{"image": each.image_id, "kind": t(f"suspect.{each.kind}", language), "score": round(each.score, 3),
                 "box": list(each.box) if each.box else None, "cls": each.cls, "name": names[each.cls],
                 "other": names[each.other] if each.other is not None else None} for each in labeling_lists.suspects(dataset, MOST_SUSPECTS)]

    # ---- objects that are pointed at

    def segment(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """{"mask": {"size", "counts", "box"} or None} of the object that the points lie on; nothing is stored."""
        from engine.datasets.outlines import box_of, rle_of_mask
        from engine.datasets.pointed import pointed

        inside, outside = (_points(sent.get(name)) for name in ("inside", "outside"))
        mask = pointed(self._image(dataset, _number(sent, "image")), inside, outside, box=_box(sent.get("box")), window=_box(sent.get("window")))
        if not mask.any():
            return {"mask": None}
        shape = rle_of_mask(mask)
        return {"mask": {"size": list(shape.size), "counts": shape.counts.decode("ascii"), "box": list(box_of(shape))}}

    def _image(self, dataset: Dataset, image_id: int) -> np.ndarray:
        from engine.datasets.images import open_image

        key = (str(dataset.path(image_id)), image_id)
        with self._lock:
            if key not in self._pixels:
                self._pixels[key] = open_image(dataset.path(image_id))
                while len(self._pixels) > KEPT_PIXELS:
                    self._pixels.popitem(last=False)
            return self._pixels[key]

    # ---- classes

    def classes(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Adds a pasted list of classes, one a line (commas and tabs part them as well); those that are there are left alone."""
        from engine.datasets.objects import clean_name

        text = str(sent.get("text") or "")
        lines = text.splitlines() if "\n" in text.strip() else re.split("[,;，、；\t]", text)
        names = list(dict.fromkeys(name for name in map(clean_name, lines) if name))
        if not names:
            raise UserError("class_name_empty")
        if len(names) > MOST_PASTED:
            raise UserError("option_bounds", name="classes", value=len(names), low=1, high=MOST_PASTED)
        before = len(dataset.classes)
        for name in names:
            dataset.add_class(name)
        return {"added": len(dataset.classes) - before}


def _number(sent: Answer, name: str, default: int | None = None) -> int:
    value = sent.get(name, default)
    if type(value) is not int or value < 0:
        raise UserError("labels_unreadable", what=name)
    return value


def _share(sent: Answer, name: str, default: float) -> float:
    value = sent.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise UserError("labels_unreadable", what=name)
    return float(value)


def _points(sent: Any) -> list[tuple[float, float]]:
    if not isinstance(sent or [], list) or len(sent or []) > 64:
        raise UserError("labels_unreadable", what="points")
    return [(x, y) for x, y in (_numbers(each, 2) for each in sent or [])]


def _box(sent: Any) -> tuple[float, float, float, float] | None:
    if sent is None:
        return None
    x1, y1, x2, y2 = _numbers(sent, 4)
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _numbers(sent: Any, count: int) -> list[float]:
    if not isinstance(sent, list) or len(sent) != count or not all(isinstance(each, int | float) and abs(each) < 1e6 for each in sent):
        raise UserError("labels_unreadable", what="points")
    return [float(each) for each in sent]
