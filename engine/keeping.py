"""What a run keeps in files: last.pt to go on from exactly, best.pt to predict with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import __version__, checkpoint, distributed, schedule, weights
from engine.types import UserError

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


def save_last(session: Session, file: Path) -> None:
    """Everything that `restore` needs to go on as if nothing had been."""
    others = session.group.states()
    if not session.group.main:
        return
    scaler = session.accelerator.scaler
    checkpoint.save({
        **weights_of(session), "version": __version__, "restarts": session.restarts, "random": checkpoint.random_state(),
        "others": others, "normalisation": [list(session.mean), list(session.std)],
        "scaler": scaler.state_dict() if scaler else None,
        "step": session.step, "epoch": session.epoch, "batch": session.batch, "epochs": session.length, "elapsed": session.elapsed,
        "best": session.best, "pace": session.pace, "replay": session.replay,
        "plateau": [session.plateau.best, session.plateau.waited, session.plateau.scale], "terms": session.terms,
        "classes": list(session.data.classes), "config": session.config.as_dict(),
    }, file)


def restore(session: Session, file: Path) -> None:
    """Go on exactly where `save_last` stood. Raises UserError when the classes of the data have changed since."""
    state = checkpoint.read(file)
    if tuple(state["classes"]) != session.data.classes:
        raise UserError("classes_changed", before=", ".join(state["classes"]), now=", ".join(session.data.classes))
    try:
        put_weights(session, state)
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError("checkpoint_foreign", path=str(file), model=session.config.model, classes=len(session.data.classes)) from error
    if session.accelerator.scaler and state["scaler"]:
        session.accelerator.scaler.load_state_dict(state["scaler"])
    session.step, session.epoch, session.batch = state["step"], state["epoch"], state["batch"]
    session.elapsed, session.best, session.terms = state["elapsed"], state["best"], state["terms"]
    session.plateau = schedule.Plateau(*state.get("plateau", ()))
    session.pace, session.replay, session.restarts = state.get("pace", session.pace), state.get("replay", False), state.get("restarts", -1)
    session.set_epochs(state["epochs"])
    session.mean, session.std = map(tuple, state.get("normalisation", (session.mean, session.std)))
    if session.group.main:
        checkpoint.restore_random_state(state["random"])
    elif len(others := state.get("others", [])) >= session.group.rank:
        distributed.restore_random_state(others[session.group.rank - 1])


def save_best(session: Session, file: Path, metrics: dict[str, Any], thresholds: dict[str, Any]) -> None:
    """Self-describing: loads with weights_only=True and needs nothing else."""
    if not session.group.main:
        return
    checkpoint.save({
        "model": {name: value.cpu() for name, value in session.ema.network.state_dict().items()}, "model_name": session.config.model,
        "options": {"num_classes": len(session.data.classes), **session.options}, "task": session.task.name, "classes": list(session.data.classes),
        "preprocess": session.preprocess().as_dict(), "thresholds": thresholds, "metrics": metrics,
        "config": session.config.as_dict(), "version": __version__,
    }, file)
