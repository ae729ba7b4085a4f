"""Long work of one page: done in a thread, watched as a bar that says what and how much."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ui import html
from ui.html import Html
from ui.i18n import t

Result = TypeVar("Result")
EVERY_S = 0.25


@dataclass
class Step:
    """What is being done and how far it is. `total` 0 = not known."""

    text: str = ""
    done: int = 0
    total: int = 0
    begun: float = field(default_factory=time.monotonic)

    def bar(self, language: str) -> Html:
        """ "Reading labels 3,210 of 12,000 · 8,900/s · 1 s left" over a bar."""
        if not self.total:
            counted = t("progress.count", language, what=self.text, done=html.number(self.done)) if self.done else self.text
            return html.progress(None, counted)
        words = t("progress.of", language, what=self.text, done=html.number(self.done), total=html.number(self.total))
        seconds = time.monotonic() - self.begun
        if self.done and seconds > 1:
            left = seconds / self.done * (self.total - self.done)
            words += " · " + t("progress.rate", language, rate=html.number(round(self.done / seconds)), left=max(1, round(left)))
        return html.progress(self.done / self.total, words)


class Work(Generic[Result]):
    """`for bar in Work(job, language): yield bar` and then `.result`. The job goes on when the visitor leaves."""

    def __init__(self, job: Callable[[Callable[..., None]], Result], language: str, text: str) -> None:
        self.language, self.step = language, Step(text)
        self._outcome: Result | None = None
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run, job), daemon=True)

    def _run(self, job: Callable[[Callable[..., None]], Result]) -> None:
        try:
            self._outcome = job(self.report)
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error

    def report(self, done: int, total: int = 0, text: str | None = None, *_: Any) -> None:
        """What the engine calls: how many of how many, and of what when that changes."""
        if text is not None and text != self.step.text:
            self.step = Step(text)
        self.step.done, self.step.total = done, total

    def __iter__(self) -> Iterator[Html]:
        self._thread.start()
        shown = None
        while True:
            now = self.step.bar(self.language)
            if now != shown:
                shown = now
                yield now
            self._thread.join(EVERY_S)
            if not self._thread.is_alive():
                return

    @property
    def result(self) -> Result:
        if self._error is not None:
            raise self._error
        return self._outcome  # type: ignore[return-value]
