"""The plain tail of the published recipe: it begins with the best state of the epochs before it, and goes back there when it gets no better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine import checkpoint, keeping, stages, weights
from engine.recipe import ema_decay

if TYPE_CHECKING:
    from engine.session import Session


def set_decay(session: Session) -> None:
    """The decay of the average that suits the length of the run, shortened by every restart but the first."""
    session.ema.set_decay(stages.restarted(ema_decay(session.config, session.total_steps), session.restarts))


def keep(session: Session, file: Path) -> None:
    """After the best epoch so far: what the plain tail is to begin with."""
    if session.group.main and stages.published(session.config) and session.epoch in stages.timeline(session.config, session.epochs).augmented:
        checkpoint.save(keeping.weights_of(session), file)


def turn_back(session: Session, file: Path) -> bool:
    """Before an epoch of the plain tail: loads what was kept, at its beginning and after each epoch in it that was no better."""
    if not stages.published(session.config) or session.epoch not in stages.timeline(session.config, session.epochs).spans["plain"]:
        return False
    good = session.restarts >= 0 and session.best.get("epoch") == session.epoch - 1
    if good or not session.best or not file.is_file():
        return False
    keeping.put_weights(session, weights.safe_load(file))
    session.restarts += 1
    set_decay(session)
    return True
