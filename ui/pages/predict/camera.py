"""The camera of the visitor's browser: one picture at a time is sent, looked at and shown, as fast as the machine can; the others are let go."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
from dataclasses import astuple
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from engine import messages
from engine.types import Instances, Labels, SemanticMask, Tags, UserError
from engine.workspace import Workspace
from ui.i18n import language_of, t
from ui.latest import latest
from ui.pages.predict.controls import Begun
from ui.pages.predict.film import Asked, choices_of
from ui.pages.predict.pictures import encoded
from ui.selection import App

if TYPE_CHECKING:
    from ui.pages.predict.layout import Parts

log = logging.getLogger("lightbox.ui")
QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
JS = Path(__file__).with_name("camera.js")
TEXTS = ("start", "stop", "empty", "starting", "loading", "rate", "insecure", "denied", "none", "taken", "failed", "lost")
MAX_SENT = 4 << 20  # characters of a picture
MAX_PIXELS = 4_000_000
START = "data:image/jpeg;base64,"


def component(workspace: Workspace) -> gr.HTML:
    """Its value is what the page asks with, as JSON; see `asked`."""
    one_at_a_time = threading.Lock()

    def camera_look(sent: Any) -> dict[str, Any]:
        language = language_of()
        messages.set_language(language)
        if not one_at_a_time.acquire(blocking=False):
            return {"busy": True}
        try:
            return looked_at(workspace, sent, language)
        except UserError as error:
            return {"error": f"{error.message(language)} {error.remedy(language)}".strip()}
        except Exception:
            log.exception("camera")
            return {"error": t("predict.camera.failed", language)}
        finally:
            one_at_a_time.release()

    return gr.HTML("", html_template='<div class="lb-camera"></div>', js_on_load=JS.read_text(encoding="utf-8"), server_functions=[camera_look],
                   elem_id="lb-predict-camera", apply_default_css=False)


def wire(app: App, page: Parts) -> None:
    """The component hears of every control; it is silent while nobody looks through the camera."""
    def ask(request: gr.Request, source: str, *values: Any) -> str:
        *standing, begun = values
        return asked(source == "camera", (*standing, astuple(begun)), language_of(request))

    parts = [page.source, *page.moving]
    events = [part.change for part in dict.fromkeys(parts) if part is not page.begun]
    latest(events, ask, parts, page.camera, **QUIET)


def asked(on: bool, values: tuple[Any, ...], language: str) -> str:
    """What the component is told: whether it is on show, how to look, what passes, and what it says in this language."""
    if not on:
        return json.dumps({"on": False})
    texts = {name: t(f"predict.camera.{name}", language) for name in TEXTS}
    return json.dumps({"on": True, "values": values, "texts": texts}, ensure_ascii=False)


def looked_at(workspace: Workspace, sent: Any, language: str) -> dict[str, Any]:
    """One picture with what was found drawn on it. Raises UserError for what no page of ours sends, and for models that cannot be loaded."""
    try:
        values, pixels = sent["values"], _pixels(sent["image"])
        *standing, begun = values
        asked_for = Asked.of([*standing, Begun(*begun)])
    except (TypeError, ValueError, KeyError, OSError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise UserError("camera_picture") from error
    from engine.predict_video import overlaid

    loaded = asked_for.loaded(workspace)
    choices = choices_of(loaded, 1, asked_for.chosen(loaded))
    found = choices.show(asked_for.look.prepare(loaded)(pixels))
    return {"image": encoded(overlaid(pixels, found, loaded.classes, choices)), "said": _said(found, loaded.classes, choices.thresholds, language)}


def _pixels(sent: str) -> np.ndarray:
    """u8[H,W,3] of a data address. Raises ValueError for anything but a JPEG of a camera's size."""
    if not isinstance(sent, str) or len(sent) > MAX_SENT or not sent.startswith(START):
        raise ValueError("no picture of a camera")
    with Image.open(BytesIO(base64.b64decode(sent[len(START):], validate=True)), formats=["JPEG"]) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError("a picture too large")
        return np.asarray(picture.convert("RGB"))


def _said(found: Labels, classes: tuple[str, ...], limits: tuple[float, ...], language: str) -> str:
    if isinstance(found, Instances):
        return t("predict.camera.found", language, n=len(found))
    if isinstance(found, SemanticMask):
        return ""
    there = [name for name, value, limit in zip(classes, _values(found), limits, strict=False) if value >= limit]
    return ", ".join(there[:5]) or t("predict.nothing_tag", language)


def _values(found: Tags) -> list[float]:
    return np.nan_to_num(found.values, nan=-1).tolist()
