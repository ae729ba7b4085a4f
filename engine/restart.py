"""The plain tail of the published recipe: it begins with the best state of the epochs before it, and goes back there when it gets no better."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import checkpoint, stages, weights
from engine.recipe import ema_decay

if TYPE_CHECKING:
    from engine.session import Session


def weights_of(session: Session) -> dict[str, Any]:
    """What training changes of the network, its average and its optimiser."""
    return {"model": session.network.state_dict(), "ema": session.ema.network.state_dict(), "ema_updates": session.ema.updates,
            "optimizer": session.optimizer.state_dict()}


def put_weights(session: Session, state: dict[str, Any]) -> None:
    """Raises what the network or the optimiser raise when they are not those of `state`."""
    weights.put(session.network, state["model"], strict=True)
    weights.put(session.ema.network, state["ema"], strict=True)
    session.optimizer.load_state_dict(state["optimizer"])
    session.ema.updates = state["ema_updates"]


def set_decay(session: Session) -> None:
    """The decay of the average that suits the length of the run, shortened by every restart but the first."""
    session.ema.set_decay(stages.restarted(ema_decay(session.config, session.total_steps), session.restarts))


def keep(session: Session, file: Path) -> None:
    """After the best epoch so far: what the plain tail is to begin with."""
    if stages.published(session.config) and session.epoch in stages.timeline(session.config, session.epochs).augmented:
        checkpoint.save(weights_of(session), file)


def turn_back(session: Session, file: Path) -> bool:
    """Before an epoch of the plain tail: loads what was kept, at its beginning and after each epoch in it that was no better."""
    if not stages.published(session.config) or session.epoch not in stages.timeline(session.config, session.epochs).spans["plain"]:
        return False
    good = session.restarts >= 0 and session.best.get("epoch") == session.epoch - 1
    if good or not session.best or not file.is_file():
        return False
    put_weights(session, weights.safe_load(file))
    session.restarts += 1
    set_decay(session)
    return True
