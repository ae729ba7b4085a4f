"""What becomes of starting weights is said before a run starts."""

import os

import pytest
import torch

from engine import messages
from engine.config import TrainConfig
from engine.datasets.collection import load
from engine.datasets.samples import generate
from engine.datasets.store import Dataset
from engine.models import create
from engine.recipe import DataFacts
from engine.types import UserError
from engine.weights_reading.told import told_by
from ui.pages.train import plan, starting


def weights(folder, model="deimv2_atto", classes=("a", "b", "c"), **options):
    file = folder / f"{model}.pt"
    state = create(model, len(classes), **options).state_dict()
    torch.save({"model": state, "model_name": model, "classes": list(classes), "options": {"num_classes": len(classes), **options}}, file)
    return str(file)


def asked(file, model="deimv2_atto", **values):
    return plan.asked({"weights": file, **values}, "suggested", data="", model=model)


@pytest.fixture
def said(monkeypatch):
    """What the plan says of weights of the classes `theirs` for a set of the classes `ours`."""
    def words(theirs, ours, language="en"):
        monkeypatch.setattr(starting, "_told", lambda path, stamp: starting.Told("deimv2_atto", tuple(theirs)))
        monkeypatch.setattr(starting, "_classes", lambda config: tuple(ours))
        return starting.head(TrainConfig(weights="file.pt"), language)
    return words


def test_a_file_tells_its_model_without_its_tensors_being_read(tmp_path):
    told = told_by(weights(tmp_path))
    assert told["model_name"] == "deimv2_atto" and told["classes"] == ["a", "b", "c"] and "model" not in told


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04 no zip"])
def test_a_file_that_says_nothing_is_left_to_the_run(tmp_path, content):
    (tmp_path / "odd.pt").write_bytes(content)
    assert told_by(tmp_path / "odd.pt") == {} == told_by(tmp_path / "gone.pt")
    assert asked(str(tmp_path / "odd.pt")).weights.endswith("odd.pt")


def test_weights_of_another_model_are_refused_with_both_names(tmp_path):
    with pytest.raises(UserError) as refused:
        asked(weights(tmp_path, "timm", backbone="test_resnet"))
    assert refused.value.key == "weights_other_model"
    for language in messages.LANGUAGES:
        assert "DEIMv2 Atto" in refused.value.message(language) and "timm" in refused.value.message(language)
        assert "{" not in refused.value.remedy(language)


def test_what_fits_of_another_size_is_taken_and_told(tmp_path):
    config = asked(weights(tmp_path, "deimv2_pico"), "deimv2_femto")
    told = plan.cautions(plan.propose(config, DataFacts(100, 20, 3)), "en")
    assert "DEIMv2 Pico" in told and "252 of" in told


def test_the_same_model_with_another_encoder_is_refused_as_the_run_would(tmp_path):
    file = weights(tmp_path, "unet", encoder="resnet18")
    assert asked(file, "unet").weights == file
    with pytest.raises(UserError) as refused:
        asked(file, "unet", **{"unet.encoder": "mobilenet_v2"})
    assert refused.value.key == "weights_other_sizes"


def test_a_file_is_looked_at_once_until_it_changes(tmp_path, monkeypatch):
    file, looks = weights(tmp_path), []
    monkeypatch.setattr("engine.weights_reading.told.told_by", lambda path: looks.append(path) or {"model_name": "deimv2_atto", "classes": ["a"]})
    for _ in range(3):
        asked(file)
    assert len(looks) == 1
    os.utime(file, (1, 1))
    asked(file)
    assert len(looks) == 2


def test_classes_of_the_same_name_keep_what_they_learnt_and_the_others_begin_anew(said):
    told = said(("Cone", "x", "cube"), ("cone", "cube", *"bdefghij"))
    assert "2 of 10" in told and "cone, cube" in told and "8 begin anew" in told


def test_a_set_of_other_classes_begins_anew(said):
    assert "all 2" in said(("a", "b", "c"), ("d", "e"))


def test_renamed_classes_go_on_at_their_place(said):
    told = said(("a", "b", "c"), ("a", "x", "c"))
    assert "2 of 3" in told and "same place" in told and "(x)" in told and "anew" not in told
    assert "same place" in said(("a", "b"), ("x", "y"))


def test_of_the_same_classes_nothing_is_said(said):
    assert said(("a", "b"), ("a", "b")) == said((), ("a",)) == said(("a",), ()) == ""


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_language_says_it(said, language):
    for theirs, ours in ((("a", "b", "c"), ("a", "d")), (("a",), ("b", "c")), (("a", "b"), ("a", "c"))):
        told = said(theirs, ours, language)
        assert told and "train." not in told and "{" not in told


# ---- small objects

@pytest.mark.parametrize("length", [{"minutes": 4}, {"epochs": 50}])
@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_the_smallest_side_is_told_whatever_bounds_the_run(length, language):
    config = TrainConfig(augment="official", device="cpu", **length)
    shown = plan.picture(plan.propose(config, DataFacts(100, 20, 3)), language)
    assert shown.count(messages.text("option.least_side", language)) == 1 and "reason." not in shown


def test_objects_that_are_too_small_to_be_learnt_are_counted(tmp_path):
    generate("detect", tmp_path / "raw", images=8, seed=1)
    made = Dataset.create(tmp_path / "set", "set", load(tmp_path / "raw", tmp_path / "scratch"))
    config = TrainConfig(data=str(made.folder), augment="official", minutes=4, device="cpu")
    sides = [(each.labels.boxes[:, 2:] - each.labels.boxes[:, :2]).min(1) for each in made.samples("train")]
    small, every = sum(int((each < 12).sum()) for each in sides), sum(map(len, sides))
    shown = plan.picture(plan.propose(config, DataFacts(8, 0, 3)), "en")
    assert (f"{small} of the {every}" if small else "none in the training images is smaller") in shown
