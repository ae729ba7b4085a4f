"""The weights that a run starts from, downloaded before it begins, with word of how far they are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

from engine import hub
from engine.config import TrainConfig
from engine.models import checked_options, models

EVERY_S = 0.25


class Left(Exception):
    """Nobody waits for the download any more: raised in its thread, so that it ends."""


def wanted_file(config: TrainConfig) -> tuple[str, str] | None:
    """Repository and file of the hub that a run with `weights="download"` starts from: those of a whole network or of its backbone.

    None for any other run, and where nothing is published. Raises UserError for options that cannot be.
    """
    if config.weights != "download":
        return None
    spec = models.get(config.model)
    if spec.weights:
        return spec.weights[0].repository, spec.weights[0].file
    with torch.device("meta"):  # what the backbone is depends on neither weights nor classes
        published = spec.build(2, **checked_options(spec, config.options)).published_backbone()
    return published[1:] if published else None


class Fetching:
    """Iterates over {"file", "come", "whole"}, in bytes, while the file of `wanted_file` comes; over nothing when it is on this machine already.

    In the first item `whole` is 0, not known; in the last one, and only there, `come` equals `whole`. `stop` is asked four times a second; when
    it says so the iteration ends, `stopped` is true, and what has come waits for the next time. Raises UserError like `hub.fetch`.
    """

    def __init__(self, config: TrainConfig, stop: Callable[[], bool]) -> None:
        self.config, self.stop, self.stopped = config, stop, False
        self._now = (0, 0)
        self._left = False
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        wanted = wanted_file(self.config)
        if wanted is None or hub.cached_file(*wanted):
            return
        file = "/".join(wanted)
        thread = threading.Thread(target=self._fetch, args=wanted, name="fetching", daemon=True)
        yield {"file": file, "come": 0, "whole": 0}
        thread.start()
        try:
            yield from self._told(file, thread)
        finally:
            self._left = True

    def _told(self, file: str, thread: threading.Thread) -> Iterator[dict[str, Any]]:
        last = (0, 0)
        while thread.is_alive():
            thread.join(EVERY_S)
            if self.stop():
                self.stopped = True
                return
            now = self._now
            if now != last and now[0] < now[1]:
                yield {"file": file, "come": now[0], "whole": now[1]}
            last = now
        if self._error is not None:
            raise self._error
        whole = max(1, *self._now)
        yield {"file": file, "come": whole, "whole": whole}

    def _fetch(self, repository: str, file: str) -> None:
        def listen(come: int, whole: int) -> None:
            if self._left:
                raise Left
            self._now = come, whole

        try:
            hub.fetch(repository, file, listen)
        except Left:
            pass
        except Exception as error:  # noqa: BLE001 - raised again where the run waits for it
            self._error = error
