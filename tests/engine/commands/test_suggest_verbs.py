"""`suggest`, `rank` and `label-errors` on a stored data set."""

import json

import numpy as np
import pytest
import torch

from engine import checkpoint
from engine.__main__ import main
from engine.datasets import labeling, labeling_suggested
from engine.datasets.store import Dataset
from engine.models import create, models
from engine.types import Instances, Reading, Sample

CLASSES = ("cat", "dog")
BOX = Instances(np.array([[1, 1, 30, 30]]), np.array([0]))


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    """A detector as training leaves it, but for the training."""
    torch.manual_seed(0)
    file, spec = tmp_path_factory.mktemp("run") / "best.pt", models.get("deimv2_atto")
    checkpoint.save({"model": create("deimv2_atto", 3).state_dict(), "model_name": "deimv2_atto", "options": {"num_classes": 3}, "task": "detect",
                     "classes": ["cat", "dog", "bird"], "thresholds": {"score": 0.3}, "metrics": {}, "config": {}, "version": "test",
                     "preprocess": {"resize": "stretch", "size": 64, "mean": list(spec.mean), "std": list(spec.std)}}, file)
    return file


@pytest.fixture
def dataset(tmp_path, picture):
    samples = [Sample(picture(tmp_path / "images" / f"{number}.png", seed=number), (64, 48), labels, "valid" if number == 4 else "train", None,
                      f"{number}.png") for number, labels in enumerate((None, None, None, BOX, BOX))]
    return Dataset.create(tmp_path / "set", "set", Reading(CLASSES, iter(samples), "detect"))


def answered(capsys, *arguments):
    code = main([str(each) for each in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_first_images_get_suggestions_and_what_is_sure_is_accepted(capsys, dataset, best):
    code, out, _ = answered(capsys, "suggest", "--data", dataset.folder, "--model", best, "--images", 2, "--threshold", 0, "--json")
    told = json.loads(out)
    assert code == 0 and (told["images"], told["failed"], told["accepted"], told["unseen"]) == (2, 0, 0, 0) and told["missing"]["bird"] > 0
    assert labeling_suggested.with_suggestions(dataset) == [1, 2] and labeling_suggested.of(dataset, 1).source == best.parent.name
    code, out, _ = answered(capsys, "suggest", "--data", dataset.folder, "--model", best.parent, "--threshold", 0, "--accept-above", 0,
                            "--lang", "en")
    assert code == 0 and "Accepted in 1 images" in out and "bird" in out
    assert dataset.row(3).labels is not None and labeling.opened(dataset, 3).mark.mark == "accepted" and dataset.row(1).labels is None


def test_unlabeled_images_are_ranked(capsys, dataset, best):
    code, out, _ = answered(capsys, "rank", "--data", dataset.folder, "--model", best, "--count", 2, "--json")
    told = json.loads(out)
    assert code == 0 and len(told) == 2 and {each["image"] for each in told} <= {1, 2, 3} and told[0]["name"].endswith(".png")
    code, out, _ = answered(capsys, "rank", "--data", dataset.folder, "--model", best, "--lang", "en")
    assert code == 0 and len(out.splitlines()) == 3 and "The model is unsure" in out
    assert labeling.queue(dataset, order="uncertain").images[0][0] == told[0]["image"]


def test_suspicious_labels_are_listed(capsys, dataset, best):
    code, out, _ = answered(capsys, "label-errors", "--data", dataset.folder, "--model", best, "--json")
    assert code == 0 and [(each["image"], each["kind"], each["class"], each["box"]) for each in json.loads(out)] == [
        (4, "unpredicted", "cat", [1, 1, 30, 30]), (5, "unpredicted", "cat", [1, 1, 30, 30])]
    code, out, _ = answered(capsys, "label-errors", "--data", dataset.folder, "--model", best, "--split", "valid", "--lang", "en")
    assert code == 0 and "Label that no model sees" in out and "1 suspicious labels" in out


WRONG = [(verb, wrong) for verb in ("suggest", "rank", "label-errors") for wrong in ("nowhere", "no set", "no model", "count")]


@pytest.mark.parametrize(("verb", "wrong"), [*WRONG, ("suggest", "threshold")])
def test_what_makes_no_sense_is_told_in_one_message(capsys, tmp_path, dataset, best, verb, wrong):
    data = {"nowhere": tmp_path / "x", "no set": tmp_path / "images"}.get(wrong, dataset.folder)
    model = tmp_path / "none.pt" if wrong == "no model" else best
    more = {"count": ["--count", 0], "threshold": ["--threshold", 7]}.get(wrong, [])
    if verb == "suggest" and wrong == "count":
        more = ["--images", "some"]
    code, out, err = answered(capsys, verb, "--data", data, "--model", model, *more)
    assert code == 2 and err.strip() and not out and "Traceback" not in err
