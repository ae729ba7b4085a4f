"""Numbers of a run in words: durations, quality, phases."""

from __future__ import annotations

import time
from typing import Any

from engine.hub import megabytes
from engine.runs import ACTIVE, FINISHED, Run
from engine.types import UserError
from ui.i18n import t

TONES = {"done": "good", "running": "good", "starting": "good", "stopping": "warn", "queued": "warn", "stopped": "none", "interrupted": "warn",
         "failed": "bad"}
QUALITY = {"detect": (0.1, 0.4, 0.7, 0.9), "semantic": (0.2, 0.5, 0.75, 0.9), "classify": (0.6, 0.7, 0.8, 0.9)}


def duration(seconds: float | None, language: str) -> str:
    """"4 s", "3 min 20 s", "1 h 05 min"; an unknown one is a dash."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return t("word.seconds", language, s=whole)
    if whole < 3600:
        return t("word.minutes_seconds", language, m=whole // 60, s=f"{whole % 60:02d}")
    return t("word.hours_minutes", language, h=whole // 3600, m=f"{whole % 3600 // 60:02d}")


def begun(state: dict[str, Any]) -> str:
    """When the run was made: "2026-11-21 04:45", in the server's time."""
    created = state.get("created")
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(created)) if created else ""


def quality(value: float, language: str, task: str = "detect") -> str:
    """What a task's headline metric (AP50, Dice, AUROC) means, in a few words."""
    steps = QUALITY.get(task, QUALITY["detect"])
    prefix = f"word.quality_{task}_" if task in ("semantic", "classify") else "word.quality_"
    return t(f"{prefix}{sum(value >= step for step in steps)}", language)


def task_of(run: Run) -> str:
    """What the run learns; a run whose config is damaged counts as detection."""
    try:
        return run.config().task
    except UserError:
        return "detect"


def tone(phase: str) -> str:
    return TONES.get(phase, "none")


def is_active(phase: str) -> bool:
    return phase in ACTIVE or phase == "queued"


def can_resume(phase: str) -> bool:
    return phase in FINISHED and phase != "done"


def fetching(state: dict[str, Any]) -> tuple[float | None, str, str] | None:
    """How much of the starting weights has come, 0..1 (None: not known), and in MB how much of how much; None when nothing is downloaded."""
    told = state.get("fetching")
    if state["phase"] != "starting" or not isinstance(told, dict):
        return None
    come, whole = (int(told.get(name) or 0) for name in ("come", "whole"))
    return (come / whole if whole else None, *megabytes(come, whole))


def fetching_text(state: dict[str, Any], language: str, key: str) -> str:
    """ "Downloading weights: 12 of 48 MB": the text of `key`, or of `key`_begins while the size is not known; "" when nothing is downloaded."""
    found = fetching(state)
    if found is None:
        return ""
    share, come, whole = found
    return t(f"{key}_begins", language) if share is None else t(key, language, come=come, whole=whole)


def error_of(state: dict[str, Any]) -> UserError | None:
    """What ended a run, as its worker wrote it down."""
    error = state.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("key"), str):
        return None
    values = error.get("values")
    return UserError(error["key"], **{str(name): value for name, value in (values if isinstance(values, dict) else {}).items()})
