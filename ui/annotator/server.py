"""What the labeling canvas asks the server: each function takes one object and answers one, or {"error": {"message", "remedy", "key"}}.

They run outside of Gradio's queue, several at a time.
"""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Callable
from typing import Any

import gradio as gr

from engine import messages
from engine.datasets import labeling
from engine.datasets.labeling import Opened
from engine.datasets.objects import clean_name
from engine.datasets.store import Dataset
from engine.overlay import color_of, dash_of
from engine.types import Instances, UserError
from engine.workspace import Workspace
from ui.annotator.assist import Assist
from ui.annotator.pointing import Pointing
from ui.annotator.sent import whole
from ui.i18n import language_of, t

log = logging.getLogger("lightbox.ui")
PREFIX = "label.js."
MOST_IMAGES = 200
THUMBNAIL = 96
UNSEEN = "unseen"  # a filter beside the states: labels that were accepted many at once
POINTING = ("segment", "pointers", "fetch")
READING = ("models", "progress", "segment", "pointers", "crosscheck", "derivable")  # of Assist and Pointing
CHANGING = ("fetch", "look", "job", "cancel", "accept", "discard", "classes", "derive", "underive")
Answer = dict[str, Any]


def functions(workspace: Workspace, demo: bool) -> list[Callable[..., Answer]]:
    """The component's server functions."""
    bench = Bench(workspace, demo)
    names = ("begin", "open", "picture", "save", "queue", "thumbs", "class", "versions", "restore")
    own = [_answering(f"label_{name}", getattr(bench, f"{name}_" if name in ("open", "class") else name)) for name in names]
    return own + [_answering(f"label_{name}", bench.assisted(name)) for name in (*READING, *CHANGING)]


def _answering(name: str, work: Callable[..., Answer]) -> Callable[..., Answer]:
    """A guarded function of its own name. `request` is filled in by Gradio."""

    def answer(sent: Any, request: gr.Request) -> Answer:
        content = sent if isinstance(sent, dict) else {}
        language = messages.best_language(str(content["language"])) if content.get("language") else language_of(request)
        messages.set_language(language)
        try:
            return work(content, language, str(getattr(request, "username", None) or ""))
        except UserError as error:
            return {"error": {"message": error.message(language), "remedy": error.remedy(language), "key": error.key}}
        except Exception:
            number = secrets.token_hex(3)
            log.exception("error %s in %s", number, name)
            return {"error": {"message": t("ui.bug", language, id=number), "remedy": "", "key": "bug"}}

    answer.__name__ = answer.__qualname__ = name
    return answer


class Bench:
    """One method a function: (what was sent, language of the visitor, name of the visitor or "")."""

    def __init__(self, workspace: Workspace, demo: bool = False) -> None:
        self.workspace, self.demo, self.assist, self.pointing = workspace, demo, Assist(workspace), Pointing(workspace, demo)

    def assisted(self, name: str) -> Callable[[Answer, str, str], Answer]:
        """A function of the assistant. What changes something or costs a model's work is not for a demo or a set that can only be read."""
        work = getattr(self.pointing if name in POINTING else self.assist, name)

        def asked(sent: Answer, language: str, who: str) -> Answer:
            dataset = self._dataset(sent)
            if name in CHANGING and self.demo:
                raise UserError("demo_only_shows")
            if name in CHANGING and dataset.readonly:
                raise UserError("dataset_read_only", name=dataset.id)
            found: Answer = work(dataset, sent, language, who)
            return {**found, "classes": classes_of(dataset)} if name == "classes" else found

        return asked

    def begin(self, sent: Answer, language: str, who: str) -> Answer:
        """Classes, texts, and the image to begin with: the first that nobody has looked at."""
        dataset = self._dataset(sent)
        first = labeling.queue(dataset, 0, before=0, after=1, state="unlabeled").images
        texts = {key.removeprefix(PREFIX): text for key, text in {**messages.catalogue("en"), **messages.catalogue(language)}.items()
                 if key.startswith(PREFIX)}
        return {"set": f"{dataset.id}@{dataset.created}", "classes": classes_of(dataset), "texts": texts, "splits": splits_of(dataset),
                "first": first[0][0] if first else 0, "readOnly": self.demo or dataset.readonly,
                "oneTag": dataset.task == "classify" and labeling.one_tag_each(dataset)}

    def open_(self, sent: Answer, language: str, who: str) -> Answer:
        dataset = self._dataset(sent)
        return told(dataset, labeling.opened(dataset, whole(sent, "image")))

    def picture(self, sent: Answer, language: str, who: str) -> Answer:
        kind, data = labeling.picture(self._dataset(sent), whole(sent, "image"))
        return {"url": f"data:{kind};base64,{base64.b64encode(data).decode()}"}

    def save(self, sent: Answer, language: str, who: str) -> Answer:
        """The new revision, or what somebody else has made of the image meanwhile."""
        if self.demo:
            raise UserError("demo_only_shows")
        dataset, image, content = self._dataset(sent), whole(sent, "image"), sent.get("document")
        mark = content.get("mark") if isinstance(content, dict) else None
        try:
            saved = labeling.save(dataset, image, content, expected=whole(sent, "expected"), who=who, token=str(sent.get("token", "")), mark=mark)
        except UserError as error:
            if error.key != "labels_changed":
                raise
            return {"conflict": told(dataset, labeling.opened(dataset, image))}
        return {"revision": saved.revision, "state": saved.state, "at": saved.mark.at, "who": saved.mark.who}

    def queue(self, sent: Answer, language: str, who: str) -> Answer:
        dataset, cls = self._dataset(sent), sent.get("cls")
        before, after = (min(whole(sent, name, default), MOST_IMAGES) for name, default in (("before", 40), ("after", 80)))
        state, text, split = (str(sent.get(name) or "")[:200] or None for name in ("state", "text", "split"))
        filters: dict[str, Any] = {"split": split} if split else {}
        found = labeling.queue(dataset, whole(sent, "around", 0), before=before, after=after, order=str(sent.get("order") or "id"), text=text,
                               state=None if state == UNSEEN else state, unseen=state == UNSEEN, cls=None if cls is None else whole(sent, "cls"),
                               **filters)
        return {"images": found.images, "start": found.start, "total": found.total, "counts": labeling.progress(dataset)}

    def thumbs(self, sent: Answer, language: str, who: str) -> Answer:
        """{image id: picture or None}."""
        dataset, wanted = self._dataset(sent), sent.get("ids")
        ids = [each for each in wanted if type(each) is int][:24] if isinstance(wanted, list) else []
        return {str(each): _thumbnail(dataset, each) for each in ids}

    def class_(self, sent: Answer, language: str, who: str) -> Answer:
        """Adds a class, or finds the one of that name."""
        if self.demo:
            raise UserError("demo_only_shows")
        dataset, name = self._dataset(sent), clean_name(str(sent.get("name") or ""))
        if not name:
            raise UserError("class_name_empty")
        return {"cls": dataset.add_class(name), "classes": classes_of(dataset)}

    def versions(self, sent: Answer, language: str, who: str) -> Answer:
        found = labeling.history(self._dataset(sent), whole(sent, "image"))
        return {"versions": [{"revision": revision, "at": _spoken(at), "who": name, "count": len(labels) if isinstance(labels, Instances) else
                              0 if labels is None else 1} for revision, at, name, labels in found]}

    def restore(self, sent: Answer, language: str, who: str) -> Answer:
        """The labels that an image once had; saving them is an edit like any other."""
        return {"document": labeling.version(self._dataset(sent), whole(sent, "image"), whole(sent, "revision"))}

    def _dataset(self, sent: Answer) -> Dataset:
        return self.workspace.dataset(str(sent.get("dataset") or ""))


def told(dataset: Dataset, found: Opened) -> Answer:
    """An image for the canvas. The mark is a part of its document: an edit takes it away, undo brings it back."""
    row, mark = found.row, found.mark
    return {"id": row.id, "name": row.name, "size": list(row.size), "revision": row.revision, "kind": found.kind, "state": found.state,
            "classes": classes_of(dataset), "document": {**found.document, "mark": mark.mark if found.state == mark.mark else None},
            "who": mark.who, "at": _spoken(mark.at), "source": found.source,
            "unseen": mark.mark == "accepted", "token": mark.token if mark.revision == row.revision else ""}


def classes_of(dataset: Dataset) -> list[Answer]:
    named = zip(dataset.classes, labeling.class_keys(dataset), strict=False)
    return [{"name": name, "color": color_of(number), "dash": list(dash_of(number)), "keys": keys} for number, (name, keys) in enumerate(named)]


def splits_of(dataset: Dataset) -> list[str]:
    with dataset.connection() as connection:
        return [split for split, in connection.execute("SELECT DISTINCT split FROM images WHERE split IS NOT NULL AND split <> '' ORDER BY split")]


def _thumbnail(dataset: Dataset, image_id: int) -> str | None:
    try:
        return "data:image/webp;base64," + base64.b64encode(dataset.thumbnail(image_id, THUMBNAIL).read_bytes()).decode()
    except (UserError, OSError):
        return None


def _spoken(at: str) -> str:
    """2026-11-21T12:04:31Z -> 2026-11-21 12:04 UTC."""
    return f"{at[:10]} {at[11:16]} UTC" if at else ""
