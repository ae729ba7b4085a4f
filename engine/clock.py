"""The length of a run that minutes bound: measured anew while it trains, for a machine becomes slower, and faster again."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.session import Session

MEMORY = 0.05  # the speed is that of late: averaged over this share of the time
LOOK = 0.02  # within an epoch the speed is looked at after this share of the time
LONG = 0.1  # epochs longer than this share of the time are planned within, and the last of them in part
TOLERANCE = 0.04  # a plan stays while it is this near
SMALLEST = 0.1  # part of an epoch that is worth beginning
VALIDATION = 0.4  # time of an image that is measured, as a share of one that is learnt from, until one was
FEWEST = 3  # batches of a look: the first ones are slow


class Clock:
    """Keeps a run within its minutes by choosing the number of epochs, and records each choice in the config.

    A config that already holds such a record is repeated from it, without looking at the time. The record tells the length by the moment of
    the choice: {"4": 9} after four epochs, {"4+12": 5.5} after twelve more batches, of which the epoch in progress has half left undone.
    """

    def __init__(self, session: Session, *, replay: bool) -> None:
        self.session, session.replay = session, replay
        self.limit = session.config.minutes * 60
        self.ended = False
        self.mark = time.monotonic()
        self.seen, self.batch, self.begun, self.stepped = 0.0, 0, 0.0, 0.0
        if replay:
            session.set_epochs(session.config.epochs_plan.get("0", session.length))

    @property
    def chooses(self) -> bool:
        return bool(self.limit) and not self.session.replay and not self.ended

    def first_plan(self, seconds_per_step: float | None) -> None:
        """A first guess from the measured step; the first batches correct it."""
        if self.chooses:
            per_epoch = (seconds_per_step or 0.2) * len(self.session.batches) * 1.3 + 0.5
            self._record(max(1, round(self.limit / per_epoch)))

    def go_on(self) -> None:
        """After a resume: what was chosen later than the checkpoint never was."""
        session = self.session
        if not session.replay:
            kept = {key: length for key, length in session.config.epochs_plan.items() if _moment(key) <= (session.epoch - 1, session.batch)}
            session.config = session.config.replace(epochs_plan=kept)

    def tick(self) -> None:
        now, session = time.monotonic(), self.session
        session.elapsed, self.mark = session.group.first(session.elapsed + now - self.mark), now

    def begin_epoch(self) -> None:
        self.tick()
        self.begun = self.seen = self.session.elapsed
        self.batch = self.session.batch

    def adapt(self) -> bool:
        """Between two steps: does the epoch in progress end the run, or end early? True when the answer changed."""
        session = self.session
        if session.replay:
            return self._repeat()
        if not self.chooses or session.elapsed - self.seen < LOOK * self.limit or session.batch - self.batch < FEWEST:
            return False
        self._look()
        return self._epoch_seconds() > LONG * self.limit and self._settle(self._fitting())

    def end_steps(self) -> None:
        """The steps of an epoch are over; what follows until `replan` is the time between epochs."""
        self.tick()
        self._look()
        self.stepped = self.session.elapsed

    def replan(self) -> bool:
        """After an epoch: how many will there be? True when the answer changed."""
        session = self.session
        self.tick()
        if session.replay:
            return self._repeat()
        if not self.chooses or session.length < session.epoch - 1:  # the epoch was cut: nothing comes after it
            return False
        between = session.elapsed - self.stepped
        session.pace = (session.pace[0], self._blended(session.pace[1], between, session.elapsed - self.begun))
        return self._settle(self._fitting())

    def out_of_time(self) -> bool:
        """Far beyond the limit inside an epoch: the machine became slow all at once."""
        return self.chooses and self.session.elapsed > 1.1 * self.limit + 5

    def end_here(self) -> None:
        """The epoch in progress becomes the last one."""
        self._record(self.session.epoch, str(self.session.epoch - 1))

    def end_after(self) -> None:
        """The epoch that is complete was the last one."""
        self.ended = True
        self._record(self.session.epoch, str(self.session.epoch))

    def eta(self) -> float | None:
        """Seconds left, from the speed so far; never more than are left of the minutes, but for a run that repeats another."""
        session = self.session
        done = (session.epoch - 1) + session.batch / len(session.batches)
        if done <= 0:
            return None
        left = session.elapsed / done * max(0.0, session.length - done)
        return min(left, max(0.0, self.limit - session.elapsed)) if self.limit and not session.replay else left

    def _look(self) -> None:
        """Seconds of a batch since the last look, blended into those known."""
        session = self.session
        passed, batches = session.elapsed - self.seen, session.batch - self.batch
        if batches > 0:
            session.pace = (self._blended(session.pace[0], passed / batches, passed), session.pace[1])
            self.seen, self.batch = session.elapsed, session.batch

    def _blended(self, known: float, found: float, seconds: float) -> float:
        """Seconds of what is repeated, of late. Rates are averaged, each as long as it lasted: one slow moment is soon forgotten.

        What was done in no time is taken for four times as fast, no more.
        """
        if not known:
            return found
        share = seconds / (seconds + MEMORY * self.limit + 1e-9)
        return 1 / (1 / known + share * (1 / max(found, known / 4) - 1 / known))

    def _between(self) -> float:
        """Seconds from the steps of an epoch to those of the next."""
        session = self.session
        return session.pace[1] or session.pace[0] * VALIDATION * len(session.data.valid) / session.batches.batch

    def _epoch_seconds(self) -> float:
        return len(self.session.batches) * self.session.pace[0] + self._between()

    def _fitting(self) -> float:
        """Epochs, the last one perhaps in part, that end on time at the speed of late."""
        session, count, between = self.session, len(self.session.batches), self._between()
        per_batch, per_epoch = max(1e-9, session.pace[0]), max(1e-9, self._epoch_seconds())
        done, left = session.epoch - 1, self.limit - session.elapsed
        if session.batch:
            rest = (count - session.batch) * per_batch + between
            if left < rest:
                return done + (session.batch + max(0.0, left - between) / per_batch) / count
            done, left = done + 1, left - rest
        whole = max(0, math.floor(left / per_epoch))
        unfinished = not whole and session.length > done
        if per_epoch <= LONG * self.limit and not unfinished:
            return done + whole
        part = (left - whole * per_epoch - between) / per_batch / count
        return done + whole + (part if part >= SMALLEST else 0.0)

    def _settle(self, length: float) -> bool:
        """Takes a plan that differs enough, or would come too late."""
        before = self.session.length
        late = before - length >= 1 and self.session.epoch > before - 3
        if abs(length - before) > TOLERANCE * before or late:
            self._record(length)
        return self.session.length != before

    def _repeat(self) -> bool:
        before = self.session.length
        self.session.set_epochs(self.session.config.epochs_plan.get(self._now(), before))
        return self.session.length != before

    def _now(self) -> str:
        session = self.session
        return f"{session.epoch - 1}+{session.batch}" if session.batch else str(session.epoch - 1)

    def _record(self, length: float, key: str | None = None) -> None:
        """The run has this many epochs, as was seen at the given moment (now)."""
        session = self.session
        key = self._now() if key is None else key
        session.set_epochs(round(length, 6))
        session.config = session.config.replace(epochs_plan={**session.config.epochs_plan, key: session.length})


def _moment(key: str) -> tuple[int, int]:
    """Epochs and batches that a key of the record stands for."""
    epochs, _, batches = key.partition("+")
    return int(epochs), int(batches or 0)
