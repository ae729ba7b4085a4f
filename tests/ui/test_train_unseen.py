"""The plan of a training says how many labels nobody has looked at."""

import numpy as np
import pytest

from engine import messages
from engine.config import TrainConfig
from engine.datasets import labeling, labeling_suggested
from engine.datasets.store import Dataset
from engine.recipe import DataFacts
from engine.types import Instances, Reading, Sample
from ui.pages.train import plan

BOX = Instances(np.array([[1, 1, 30, 30]]), np.array([0]))


@pytest.fixture
def dataset(tmp_path, picture):
    samples = [Sample(picture(tmp_path / "images" / f"{number}.png", seed=number), (64, 48), labels, "train", None, f"{number}.png")
               for number, labels in enumerate((BOX, BOX, None, None))]
    made = Dataset.create(tmp_path / "set", "set", Reading(("cat",), iter(samples), "detect"))
    shape = {"kind": "box", "cls": 0, "box": [1, 1, 9, 9], "state": "suggested", "score": 0.9}
    for image in (3, 4):
        labeling_suggested.put(made, image, labeling_suggested.Suggestion("run", "", [shape]))
    return made


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_labels_that_were_accepted_unseen_are_told_before_the_start(dataset, language):
    proposal = plan.propose(TrainConfig(data=str(dataset.folder), epochs=2, device="cpu"), DataFacts(4, 0, 1))
    before = plan.cautions(proposal, language)
    labeling_suggested.accept(dataset, [3, 4], threshold=0.5)
    told = messages.text("problem.accepted_unseen", language, count=2, images=4)
    assert told not in before and told in plan.cautions(proposal, language) and told in plan.picture(proposal, language)
    for image in (3, 4):
        labeling.save(dataset, image, None, expected=dataset.row(image).revision, mark="checked")
    assert plan.cautions(proposal, language) == before


def test_data_that_is_not_stored_here_has_no_such_note(tmp_path):
    proposal = plan.propose(TrainConfig(data=str(tmp_path), epochs=2, device="cpu"), DataFacts(100, 20, 1))
    assert "lb-cautions" not in plan.cautions(proposal, "en") or "looked at" not in plan.cautions(proposal, "en")
