"""What was said of an image is true of the labels that it was said of, also after versions, fill-ins and merging."""

import numpy as np
import pytest

from engine.datasets import editing, labeling, labeling_suggested, merging, versions
from engine.datasets.labeling_suggested import Suggestion
from engine.types import Instances, Reading, Sample
from engine.workspace import Workspace

SIZE = (64, 48)
SHAPE = {"kind": "box", "cls": 0, "box": [1, 1, 9, 9], "state": "suggested", "score": 0.9}


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def make(tmp_path, picture, workspace):
    from engine.datasets.store import Dataset

    def made(name, *labels):
        paths = [picture(tmp_path / name / f"{number}.png", *SIZE, seed=number) for number in range(len(labels))]
        samples = [Sample(path, SIZE, each, "train", None, path.name) for path, each in zip(paths, labels, strict=True)]
        folder = workspace.root / "datasets" / name
        Dataset.create(folder, name, Reading(("a",), iter(samples), "detect"), images="copy")
        return Dataset(folder)
    return made


def boxes(*corners):
    return Instances(np.array(corners, np.float32), np.zeros(len(corners), np.int64))


def check(dataset, image):
    labeling.save(dataset, image, None, expected=dataset.row(image).revision, mark="checked")
    assert labeling.opened(dataset, image).state == "checked"


def test_other_labels_are_not_checked_any_more(make):
    dataset = make("one", boxes([1, 1, 9, 9]), boxes([1, 1, 9, 9]))
    check(dataset, 1)
    check(dataset, 2)
    editing.replace_labels(dataset, {1: boxes([2, 2, 30, 30])})
    assert [labeling.opened(dataset, image).state for image in (1, 2)] == ["labeled", "checked"]
    assert labeling.progress(dataset)["checked"] == 1


def test_a_version_that_comes_back_takes_the_check_of_what_it_replaces_along(make):
    dataset = make("one", boxes([1, 1, 9, 9]), boxes([1, 1, 9, 9]))
    kept = versions.save(dataset, "first")
    now = labeling.opened(dataset, 1)
    labeling.save(dataset, 1, {**now.document, "looked": True, "shapes": []}, expected=now.row.revision)
    check(dataset, 1)
    check(dataset, 2)
    versions.restore(dataset, kept.id)
    assert labeling.opened(dataset, 1).state == "labeled"
    assert labeling.opened(dataset, 2).state == "checked"


def test_two_sets_together_still_know_what_nobody_has_looked_at(make, workspace):
    first, second = make("one", None, boxes([1, 1, 9, 9])), make("two", None, None)
    for dataset in (first, second):
        labeling_suggested.put(dataset, 1, Suggestion("run", "", [SHAPE]))
        assert labeling_suggested.accept(dataset, [1], threshold=0.5) == 1
    check(first, 2)
    merged = merging.merge(workspace, first, second, {}, "both")
    assert labeling_suggested.unseen(merged) == 2
    assert labeling.progress(merged)["checked"] == 1


def test_models_in_a_folder_are_not_taken_for_another_cross_check(make, tmp_path):
    from engine.cross_checking import CrossCheck, claim
    from engine.types import UserError

    dataset, work = make("one", *[boxes([1, 1, 9, 9])] * 6), tmp_path / "work"
    claim(work, dataset, CrossCheck("deimv2_atto", 2, 1.0))
    claim(work, dataset, CrossCheck("deimv2_atto", 2, 1.0))
    for other in (CrossCheck("deimv2_atto", 3, 1.0), CrossCheck("deimv2_pico", 2, 1.0)):
        with pytest.raises(UserError) as caught:
            claim(work, dataset, other)
        assert caught.value.key == "cross_check_other_work"
    editing.replace_labels(dataset, {1: boxes([2, 2, 30, 30])})
    with pytest.raises(UserError):
        claim(work, dataset, CrossCheck("deimv2_atto", 2, 1.0))
