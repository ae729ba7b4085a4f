"""Versions: named states of the set that can be brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from engine.datasets import versions
from engine.datasets.store import Dataset
from engine.datasets.versions import Version
from engine.types import UserError
from ui.guard import guarded
from ui.html import Html, tag
from ui.i18n import language_of, plural, t
from ui.pages.data.browse import said
from ui.pages.data.panel import LONG, Panel, Room, form, now, sent
from ui.pages.data.words import when

LONGEST_NAME = 80


def build(room: Room) -> Panel:
    content = form("", elem_id="lb-versions")

    def show(dataset: Dataset | None, language: str) -> tuple[Any, ...]:
        return ("" if dataset is None else panel_html(versions.versions(dataset), language, editable=not room.app.demo),)

    @guarded
    def pressed(request: gr.Request, event: gr.EventData, wanted: str | None) -> tuple[Any, ...]:
        data, language = sent(event), language_of(request)
        dataset = room.to_edit(wanted)
        if data.get("send") == "ask":
            known = versions.versions(dataset)
            version = next((each for each in known if str(each.id) == str(data.get("version"))), None)
            return panel_html(known, language, asked=version, action=str(data.get("action"))), gr.skip()
        if data.get("send") == "cancel":
            return panel_html(versions.versions(dataset), language), gr.skip()
        said(act(dataset, data, language), language)
        return gr.skip(), now()

    content.send(pressed, room.app.dataset, [content, room.changed], **LONG)
    return Panel([content], show)


def act(dataset: Dataset, data: dict[str, Any], language: str) -> str:
    """Saves, restores or deletes; returns what has been done in words. Raises UserError."""
    if data.get("send") == "save":
        name = str((data.get("form") or {}).get("name", "")).strip()[:LONGEST_NAME]
        if not name:
            raise UserError("version_without_name")
        return t("data.version_saved", language, name=versions.save(dataset, name).name)
    version = next((each for each in versions.versions(dataset) if str(each.id) == str(data.get("version"))), None)
    if version is None:
        raise UserError("version_unknown", id=str(data.get("version"))[:80])
    if data.get("send") == "restore":
        versions.restore(dataset, version.id)
        return t("data.version_restored", language, name=version.name)
    versions.delete(dataset, version.id)
    return t("data.version_deleted", language, name=version.name)


def panel_html(known: Sequence[Version], language: str, *, editable: bool = True, asked: Version | None = None, action: str = "") -> Html:
    """The field for a new version, and the list; `asked` is the one whose `action` waits for a yes."""
    parts = [tag("h3", t("data.versions", language)), tag("p", t("data.versions_lead", language), class_="lb-muted lb-small")]
    if editable:
        field = tag("input", type="text", name_="name", class_="lb-input", maxlength=LONGEST_NAME, placeholder=t("data.version_example", language),
                    aria_label=t("data.version_name", language))
        save = tag("button", t("data.version_save", language), type="button", class_="lb-button lb-primary", data_send="save", data_default=True)
        parts.append(tag("div", field, save, class_="lb-line", data_form=True))
    rows = [_question(each, action, language) if asked is not None and each.id == asked.id else _row(each, language, editable) for each in known]
    parts.append(tag("div", *rows, class_="lb-version-list") if rows else tag("p", t("data.no_versions", language), class_="lb-muted"))
    return tag("section", *parts, class_="lb-card lb-stack")


def _row(version: Version, language: str, editable: bool) -> Html:
    facts = " · ".join((when(version.at, language), plural("data.n_images", version.images, language),
                        plural("data.n_objects", version.objects, language), size(version.bytes)))
    words = tag("div", tag("b", version.name, class_="lb-break"), tag("p", facts, class_="lb-muted lb-small"))
    buttons = [tag("button", t(f"data.version_{action}", language), type="button", class_="lb-button", data_send="ask", data_action=action,
                   data_version=version.id) for action in ("restore", "delete")] if editable else []
    return tag("div", words, tag("div", *buttons, class_="lb-line"), class_="lb-version")


def _question(version: Version, action: str, language: str) -> Html:
    """What a yes would do, and the two ways on."""
    action = "restore" if action == "restore" else "delete"
    words = t(f"data.version_{action}_question", language, name=version.name, images=plural("data.n_images", version.images, language),
              objects=plural("data.n_objects", version.objects, language))
    tone = "lb-primary" if action == "restore" else "lb-danger"
    yes = tag("button", t(f"data.version_{action}", language), type="button", class_=f"lb-button {tone}", data_send=action, data_version=version.id)
    no = tag("button", t("data.cancel", language), type="button", class_="lb-button", data_send="cancel")
    return tag("div", tag("p", words), tag("div", yes, no, class_="lb-line"), class_="lb-version lb-asked", role="alert")


def size(count: int) -> str:
    """Bytes in a unit that reads well."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
