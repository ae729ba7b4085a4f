"""What is shown of a weights file: its report, Detectron2's verdict, a model's proof, and what was done to it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ui import html
from ui.findings import findings, tally
from ui.html import Html, tag
from ui.i18n import t

if TYPE_CHECKING:
    from engine.weights_mending.converting import Outcome
    from engine.weights_mending.verifying import Proof
    from engine.weights_reading.report import Report

STATES = {"loads": "good", "loads_nothing": "warn", "raises": "bad"}
MOST_CHIPS = 60
SHOWN = 8


def report_html(report: Report, model: str, language: str) -> Html:
    content, found = report.content, report.found
    numbers = html.stats(
        html.stat(t("tools.weights.tensors", language), html.number(len(found.tensors))),
        html.stat(t("tools.weights.numbers", language), html.number(report.parameters)),
        html.stat(t("tools.weights.size", language), size_of(report)),
        html.stat(t("tools.weights.non_finite", language), html.number(len(report.non_finite))))
    classes = "-" if report.classes is None else html.number(report.classes)
    rows = [(t("tools.weights.container", language), t(f"weights.container.{content.container}", language)),
            (t("tools.weights.names", language), t(f"weights.family.{found.family or 'unknown'}", language)),
            (t("tools.weights.found_in", language), found.layout),
            (t("tools.weights.types", language), ", ".join(f"{name} × {count}" for name, count in report.dtypes.items()) or "-"),
            (t("data.classes", language), classes)]
    chips = [html.chip(name) for name in (report.class_names or [])[:MOST_CHIPS]]
    told = report.told(everything=True)
    command = f"python -m engine weights {'verify' if model else 'inspect'} {shlex.quote(content.path.name)}" + (f" --for {model}" if model else "")
    return tag("div", html.card(content.path.name, numbers, pairs(rows), tag("div", *chips, class_="lb-chips") if chips else ""),
               html.card(t("tools.weights.detectron2", language), verdict_html(report, language)),
               html.card(tally(told, language), findings(told, language)),
               html.card(t("command.same", language), html.code(command)), class_="lb-stack")


def verdict_html(report: Report, language: str, prefix: str = "") -> Html:
    """What Detectron2 would do with the file: in colour and in words."""
    verdict = report.detectron2()
    words = prefix + t(f"weights.outcome.{verdict['outcome']}", language)
    return tag("div", html.dot(STATES[verdict["outcome"]], words), tag("p", verdict["message"], class_="lb-muted"))


def proof_html(proof: Proof, language: str) -> Html:
    """ "Loads fully: 178 of 178", or what is missing, left over, and of another shape."""
    coverage = proof.coverage
    matched = len(coverage.matched) if coverage else 0
    key = "holds" if proof.holds else "fails"
    title = t(f"tools.weights.{key}", language, model=proof.model, matched=html.number(matched), total=html.number(proof.total))
    rows = [(t("tools.weights.missing", language), _names(coverage.missing if coverage else ())),
            (t("tools.weights.unexpected", language), _names(coverage.unexpected if coverage else ())),
            (t("tools.weights.differing", language), _names([f"{name} {list(theirs)} → {list(ours)}" for name, theirs, ours in proof.differing])),
            (t("tools.weights.forward", language, size=proof.size), t(f"cli.weights.finite.{str(proof.finite).lower()}", language))]
    shown = [row for row in rows[:3] if row[1] != "-"] + rows[3:]
    return html.card(None, tag("h3", html.dot("good" if proof.holds else "bad", title)), pairs(shown), findings(proof.problems, language))


def outcome_html(outcome: Outcome, language: str) -> Html:
    """What was done, line by line, and the command that does it."""
    name = shlex.quote(outcome.before.content.path.name)
    out = shlex.quote(outcome.file.name if outcome.file else "-")
    deed = f"convert {name} {out} --to {outcome.to}" if outcome.to else f"repair {name}"
    command = html.code(f"python -m engine weights {deed}")
    if not outcome.changed:
        return html.card(None, tag("h3", html.dot("good", t("tools.weights.nothing_wrong", language))), command)
    steps = tag("ul", *(tag("li", deed.message(language)) for deed in outcome.deeds), class_="lb-notes")
    report = outcome.after or outcome.before
    title = t("tools.weights.written", language, name=outcome.file.name if outcome.file else "-", tensors=html.number(len(report.found.tensors)))
    verdict = verdict_html(report, language, "Detectron2: ") if outcome.for_detectron2 else ""
    return html.card(title, steps, findings(outcome.problems, language), verdict, command, class_="lb-stack")


def pairs(rows: Sequence[tuple[Any, Any]]) -> Html:
    """Names and what stands for them, without a head."""
    body = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows]
    return tag("div", tag("table", tag("tbody", *body), class_="lb-table lb-pairs"), class_="lb-table-frame")


def size_of(report: Report) -> str:
    stored = report.content.path.stat().st_size
    return f"{stored / 2**20:,.1f} MiB" if stored >= 2**20 else f"{stored / 2**10:,.1f} KiB"


def _names(names: Sequence[str]) -> str:
    return ", ".join(name[:100] for name in names[:SHOWN]) + (f", … ({len(names):,})" if len(names) > SHOWN else "") or "-"
