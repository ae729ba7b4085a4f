"""Objects that are pointed at on the canvas: outlined by their colours, or by SAM 2 when its weights are on this machine."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.types import UserError
from ui.annotator.sent import Box, Point, box, points, whole
from ui.i18n import t

if TYPE_CHECKING:
    import numpy as np

    from engine.datasets.store import Dataset
    from engine.workspace import Workspace

log = logging.getLogger("lightbox.ui")
Answer = dict[str, Any]
KEPT_IMAGES = 2
HUB = "hub"  # the id of the copy in the hub's cache
IDLE, RUNNING, DONE, FAILED = "idle", "running", "done", "failed"


class Pointing:
    """One method a function, as in `assist.Assist`."""

    def __init__(self, workspace: Workspace, demo: bool = False) -> None:
        self.workspace, self.demo = workspace, demo
        self._lock, self._network_lock = threading.Lock(), threading.Lock()
        self._pixels: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._told: dict[tuple[str, float, int], bool] = {}  # which files hold SAM 2
        self._loaded: tuple[tuple[str, float], Any] | None = None
        self._seen: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._fetching: Answer = {"phase": IDLE, "done": 0, "total": 0, "error": ""}

    def segment(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """{"mask": {"size", "counts", "box"} or None} of the object that the points lie on; nothing is stored."""
        from engine.datasets.outlines import box_of, rle_of_mask
        from engine.datasets.pointed import pointed

        inside, outside, around = points(sent, "inside"), points(sent, "outside"), box(sent, "box")
        image_id, model = whole(sent, "image"), str(sent.get("model") or "")
        image = self._image(dataset, image_id)
        if model:
            mask = self._outlined(model, (str(dataset.path(image_id)), image_id), image, inside, outside, around)
        else:
            mask = pointed(image, inside, outside, box=around, window=box(sent, "window"))
        if not mask.any():
            return {"mask": None}
        shape = rle_of_mask(mask)
        return {"mask": {"size": list(shape.size), "counts": shape.counts.decode("ascii"), "box": list(box_of(shape))}}

    def pointers(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """{"models": [(name, id)], "download": {"phase", "done", "total", "error", "megabytes"} or None when it is there or not for this visitor}."""
        from engine.sam2 import MEGABYTES

        files = {} if self.demo else self._files()
        with self._lock:
            told = dict(self._fetching)
        return {"models": [[name, key] for key, (name, _) in files.items()],
                "download": None if self.demo or HUB in files else {**told, "megabytes": MEGABYTES}}

    def fetch(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Begins to download SAM 2 from the hub, or goes on; `pointers` tells how far it has come."""
        with self._lock:
            if self._fetching["phase"] != RUNNING:
                self._fetching = {"phase": RUNNING, "done": 0, "total": 0, "error": ""}
                threading.Thread(target=self._fetch, args=(language,), name="sam2", daemon=True).start()
        return self.pointers(dataset, sent, language, who)

    def _fetch(self, language: str) -> None:
        from engine import hub
        from engine.sam2 import FILE, REPOSITORY

        try:
            hub.fetch(REPOSITORY, FILE, lambda done, total: self._fetching.update(done=done, total=total))
            self._fetching = {**self._fetching, "phase": DONE}
        except UserError as error:
            self._fetching = {**self._fetching, "phase": FAILED, "error": f"{error.message(language)} {t('label.pointer.remedy', language)}"}
        except Exception:
            number = secrets.token_hex(3)
            log.exception("error %s in a download", number)
            self._fetching = {**self._fetching, "phase": FAILED, "error": t("ui.bug", language, id=number)}

    def _files(self) -> dict[str, tuple[str, Path]]:
        """{id: (name, file)} of the weights of SAM 2 among a person's weights and in the hub's cache."""
        from huggingface_hub import try_to_load_from_cache

        from engine.sam2 import FILE, REPOSITORY, fitting
        from ui.pages.train.data import WEIGHT_SUFFIXES

        found: dict[str, tuple[str, Path]] = {}
        for file in sorted(self.workspace.weights.iterdir()):
            if file.suffix not in WEIGHT_SUFFIXES or not file.is_file():
                continue
            facts = file.stat()
            key = (file.name, facts.st_mtime, facts.st_size)
            if key not in self._told:
                self._told[key] = fitting(file)
            if self._told[key]:
                found[f"weights/{file.name}"] = (file.name, file)
        cached = try_to_load_from_cache(REPOSITORY, FILE)
        if isinstance(cached, str):
            found[HUB] = (REPOSITORY.partition("/")[2], Path(cached))
        return found

    def _outlined(self, model: str, place: tuple[str, int], image: np.ndarray, inside: list[Point], outside: list[Point],
                  around: Box | None) -> np.ndarray:
        """By SAM 2. An image is read once, then each answer takes a moment."""
        from engine.sam2 import Sam2

        files = {} if self.demo else self._files()
        if model not in files:
            raise UserError("model_gone", name=model[:80], known=", ".join(files) or "-")
        file = files[model][1]
        mine = (str(file), file.stat().st_mtime)
        with self._network_lock:
            if self._loaded is None or self._loaded[0] != mine:
                self._loaded = (mine, Sam2(file))
                self._seen.clear()
            network = self._loaded[1]
            if (mine, place) not in self._seen:
                self._seen[mine, place] = network.seen(image)
                while len(self._seen) > KEPT_IMAGES:
                    self._seen.popitem(last=False)
            self._seen.move_to_end((mine, place))
            found: np.ndarray = network.outlined(self._seen[mine, place], image.shape[1::-1], inside, outside, around)
        return found

    def _image(self, dataset: Dataset, image_id: int) -> np.ndarray:
        from engine.datasets.images import open_image

        key = (str(dataset.path(image_id)), image_id)
        with self._lock:
            if key not in self._pixels:
                self._pixels[key] = open_image(dataset.path(image_id))
                while len(self._pixels) > KEPT_IMAGES:
                    self._pixels.popitem(last=False)
            return self._pixels[key]
