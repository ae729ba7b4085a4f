"""What the canvas asks of labels of another kind: what could be filled in, doing it, and taking it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.types import UserError
from ui.annotator.sent import whole

if TYPE_CHECKING:
    from engine.datasets.store import Dataset

Answer = dict[str, Any]
EDIT = "labels_derived"


class Deriving:
    """One method a function, as in `server.Bench`; each gets the data set that is labeled."""

    def derivable(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """{"kinds": [{"what", "here", "count"}], "complete", "looked", "images"}: what can be filled in, `here` in the image that is open."""
        from engine.datasets import labeling_derive

        found, here = labeling_derive.derivable(dataset), labeling_derive.derivable(dataset, [whole(sent, "image", 0)])
        kinds = [{"what": what, "here": here.counts[what] > 0, "count": max(count, here.counts[what])}
                 for what, count in found.counts.items() if count or here.counts[what]]
        return {"kinds": kinds, "complete": found.complete, "looked": found.looked, "images": found.images}

    def derive(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Fills in labels of one image, or of all without "image", as an edit {"images", "edit"} that can be undone."""
        from engine.datasets import editing, labeling_derive

        ids = labeling_derive.candidates(dataset) if sent.get("image") is None else [whole(sent, "image")]
        images = labeling_derive.derive(dataset, ids, str(sent.get("what")))
        made = next((each.id for each in editing.edits(dataset, 5) if each.action == EDIT), None) if images else None
        return {"images": images, "edit": made}

    def underive(self, dataset: Dataset, sent: Answer, language: str, who: str) -> Answer:
        """Takes such an edit back. Raises UserError when images were edited since."""
        from engine.datasets import editing

        number = whole(sent, "edit")
        if not any(each.id == number and each.action == EDIT for each in editing.edits(dataset)):
            raise UserError("edit_unknown", id=number)
        return {"images": editing.undo(dataset, number).images}
