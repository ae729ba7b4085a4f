"""What the canvas asks of models: suggestions, the order of work, and suspicious labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from engine.types import UserError
from ui.annotator.deriving import Deriving
from ui.annotator.sent import share, whole
from ui.i18n import t

if TYPE_CHECKING:
    from engine.datasets.store import Dataset
    from engine.workspace import Workspace

Answer = dict[str, Any]
MOST_SUSPECTS, MOST_PASTED = 200, 1000


class Assist(Deriving):
    """One method a function, as in `server.Bench`; each gets the data set that is labeled. Changing ones are refused in a demo by the caller."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    # ---- suggestions

    def models(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """{"models": [(name, id)], "job", "waiting", "suspects", "ranked"}: what can suggest, what runs, what waits for a person."""
        from engine.datasets import labeling_lists
        from engine.suggesting import with_suggestions

        return {"models": self._fitting(dataset, language), "job": self._job(dataset, language), "waiting": len(with_suggestions(dataset)),
                "suspects": self._suspects(dataset, language), "ranked": bool(labeling_lists.ranks(dataset, 1, unlabeled=True))}

    def look(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Suggests for the image that is open, at once."""
        from engine import suggesting
        from engine.suggest_jobs import model_of
        from ui.pages.predict.models import predictors

        file, source = model_of(self.workspace, str(sent.get("model") or ""))
        found = suggesting.suggest(dataset, predictors(file), [whole(sent, "image")], source=source, threshold=share(sent, "threshold", 0.05))
        return {"shapes": found.shapes, "failed": found.failed, "missing": sorted(found.missing)}

    def job(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Begins to look through many images: `work` is "suggest", "rank" or "suspects", `images` is "next" or "unlabeled".

        Of the work "kfold", a cross-check, only "minutes" matters.
        """
        from engine import suggest_jobs

        if sent.get("work") == "kfold":
            suggest_jobs.start(self.workspace, dataset.id, "", work="kfold", minutes=sent.get("minutes", 15.0))
            return {"job": self._job(dataset, language)}
        images = str(sent.get("images") or "unlabeled")
        suggest_jobs.start(self.workspace, dataset.id, str(sent.get("model") or ""), images, count=whole(sent, "count", 20),
                           around=whole(sent, "image", 0), threshold=share(sent, "threshold", 0.05), work=str(sent.get("work") or "suggest"))
        return {"job": self._job(dataset, language)}

    def progress(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        return {"job": self._job(dataset, language)}

    def cancel(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        from engine import suggest_jobs

        suggest_jobs.cancel(dataset)
        return {"job": self._job(dataset, language)}

    def accept(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Suggestions of all images but the open one with at least this score become labels, unseen."""
        from engine import suggesting

        ids = [each for each in suggesting.with_suggestions(dataset) if each != sent.get("image")]
        return {"images": suggesting.accept(dataset, ids, threshold=share(sent, "threshold", 0.5), who=who)}

    def discard(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        from engine import suggesting

        return {"images": suggesting.discard(dataset, [each for each in suggesting.with_suggestions(dataset) if each != sent.get("image")])}

    def _fitting(self, dataset: Dataset, language: str) -> list[tuple[str, str]]:
        """(name, id) of runs of a fitting task and of added weights, newest run first; runs that cannot be read come last and say so."""
        from engine.runs import Run
        from engine.suggesting import fitting
        from ui.pages.predict.models import choices

        found, unread = [], []
        for name, key in choices(self.workspace):
            kind, _, rest = key.partition("/")
            shown = time_first(name) if kind == "runs" else name
            try:
                if kind != "runs" or fitting(dataset, Run(self.workspace.run_folder(rest)).config().task):
                    found.append((shown, rest))
            except (UserError, KeyError):
                unread.append((t("label.run_unread", language, name=shown), rest))
        return [*found, *unread]

    def _job(self, dataset: Dataset, language: str) -> Answer | None:
        from engine import suggest_jobs

        state = suggest_jobs.state(dataset)
        if state is None:
            return None
        told = {name: state[name] for name in ("phase", "done", "total", "failed", "source", "work", "images", "shapes", "started")}
        told["missing"] = sorted(state["missing"])[:20]
        error = state["error"]
        failed = UserError(error["key"], **error.get("values", {})) if error else None
        told["error"] = f"{failed.message(language)} {failed.remedy(language)}".strip() if failed else ""
        told["folds"] = state["request"].get("folds")
        return told

    def crosscheck(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """What a cross-check of this set would be: {"images", "folds", "minutes", "model", "done"} or {"problem"}; `done` of one begun before."""
        from engine import cross_checking, label_errors, suggest_jobs
        from ui.pages.train.plan import shown_name

        state = suggest_jobs.state(dataset) or suggest_jobs.NOTHING
        begun = state["request"] if state["work"] == "kfold" and state["phase"] == "stopped" else {}
        try:
            wanted = cross_checking.asked(dataset, minutes=begun.get("minutes", cross_checking.MINUTES))
        except UserError as error:
            return {"problem": f"{error.message(language)} {error.remedy(language)}".strip()}
        done = state["done"] / max(1, state["total"]) if begun and cross_checking.goes_on(dataset, wanted) else 0
        return {"images": len(label_errors.labeled_ids(dataset)), "folds": wanted.folds, "minutes": wanted.minutes,
                "model": shown_name(wanted.model, language), "done": done, "problem": ""}

    # ---- suspicious labels

    def _suspects(self, dataset: Dataset, language: str) -> list[Answer]:
        from engine.datasets import labeling_lists

        names = dataset.classes
        return [{"image": each.image_id, "kind": t(f"suspect.{each.kind}", language), "score": round(each.score, 3),
                 "box": list(each.box) if each.box else None, "cls": each.cls, "name": names[each.cls],
                 "other": names[each.other] if each.other is not None else None} for each in labeling_lists.suspects(dataset, MOST_SUSPECTS)]

    # ---- classes

    def classes(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Adds a pasted list of classes, one a line (commas and tabs part them as well); those that are there are left alone."""
        from engine.datasets.objects import clean_name

        text = str(sent.get("text") or "")
        lines = text.splitlines() if "\n" in text.strip() else re.split("[,;，、；\t]", text)
        names = list(dict.fromkeys(name for name in map(clean_name, lines) if name))
        if not names:
            raise UserError("class_name_empty")
        if len(names) > MOST_PASTED:
            raise UserError("option_bounds", name="classes", value=len(names), low=1, high=MOST_PASTED)
        before = len(dataset.classes)
        for name in names:
            dataset.add_class(name)
        return {"added": len(dataset.classes) - before}


def time_first(name: str) -> str:
    """"set · 11-21 20:05" as "11-21 20:05 · set": two runs of one set differ where a narrow list still shows it."""
    words, dot, at = name.rpartition(" · ")
    return f"{at} · {words}" if dot else name
