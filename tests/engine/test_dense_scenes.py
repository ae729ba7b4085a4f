"""What a run says of crowded images and rare classes before it starts, and of its steps: the same on the page and in the log."""

from types import SimpleNamespace

import numpy as np
import pytest

from engine import messages
from engine.config import TrainConfig
from engine.distributed import ALONE
from engine.models import models
from engine.opening import Data, facts_of
from engine.recipe import DataFacts, memory_facts, notes, schedule_facts, steps_per_epoch
from engine.settings import config_of
from engine.train import _opening
from engine.types import Instances, Sample
from engine.worker import board_values

LANGUAGES = ("en", "zh-CN", "zh-TW")


def said(most, model="di_maskdino_atto", rare=(), **options):
    config = config_of({"model": model, **options})
    return notes(config, models.get(model), DataFacts(100, 20, 3, most, rare))


@pytest.mark.parametrize(("most", "options", "codes"), [
    (25, {}, []), (30, {}, ["dense_denoising"]), (30, {"denoising_queries": 50}, []),
    (99, {"denoising_queries": 100}, []), (100, {"denoising_queries": 100}, []),
    (120, {"queries": 300, "first_selected": 600}, ["dense_denoising", "dense_detections"]),
    (120, {}, ["dense_queries", "dense_denoising", "dense_detections"]), (30, {"denoising_queries": 20}, ["dense_denoising"]),
    (30, {"denoising_queries": 0}, []), (24, {"queries": 20}, ["dense_queries"]),
])
def test_crowded_images_are_noted_where_they_exceed_the_model(most, options, codes):
    assert [each.code for each in said(most, **options)] == codes


def test_what_is_advised_is_enough_and_can_be_set():
    advised = said(120)[0].values
    assert not [each for each in said(120, queries=advised["wanted"], first_selected=advised["first"]) if each.code == "dense_queries"]
    more = next(each for each in said(120) if each.code == "dense_denoising").values["wanted"]
    assert not [each for each in said(120, denoising_queries=more) if each.code == "dense_denoising"]


def test_models_for_boxes_say_what_they_can_find_and_areas_have_no_crowds():
    assert [each.code for each in said(400, "deimv2_atto")] == ["dense_capacity"]
    assert said(400, "unet") == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_note_names_the_numbers_and_the_setting_that_helps(language):
    for each in [*said(120, rare=("clamp", "probe")), *said(400, "deimv2_atto")]:
        words = f"{each.message(language)} {each.remedy(language)}"
        assert "problem." not in words and "{" not in words
    told = {each.code: each.remedy(language) for each in said(120, rare=("clamp",))}
    for code, setting in (("dense_queries", "queries"), ("dense_denoising", "denoising_queries"), ("rare_classes", "copy_paste")):
        assert setting in told[code]


def test_classes_with_fewer_than_five_objects_are_named_and_five_hundred_do_not_flood():
    assert "scalpel" in said(3, rare=("scalpel",))[0].message("en")
    many = said(3, rare=tuple(f"class {i}" for i in range(500)))[0].message("en")
    assert "500" in many and len(many) < 500


def test_the_facts_count_objects_of_training_images():
    def sample(*classes):
        return Sample("x", (9, 9), Instances(np.tile([0, 0, 5, 5], (len(classes), 1)), np.array(classes)))

    facts = facts_of(Data(("a", "b", "c"), [sample(0, 0, 0), sample(0, 0, 1)], [sample(1, 1, 1, 1, 1, 1)], []))
    assert (facts.most_objects, facts.rare) == (3, ("b", "c"))


def test_a_run_notes_them_before_its_first_step():
    image = Sample("x", (9, 9), Instances(np.tile([0, 0, 5, 5], (24, 1)), np.zeros(24)))
    spec = models.get("di_maskdino_atto")
    session = SimpleNamespace(data=Data(("a", "b"), [image], [image], []), coverage=None, config=config_of({"model": spec.name, "queries": 20}),
                              spec=spec, task=SimpleNamespace(teaches=bool), derived=(), group=ALONE)
    found = [event.values["problem"].code for event in _opening(session, resumed=True) if "problem" in event.values]
    assert found == ["dense_queries", "rare_classes"]


def test_steps_are_told_with_the_formula_they_follow_from():
    config = TrainConfig(model="di_maskdino_atto", task="instance", batch=8, epochs=50)
    facts = {each.name: each for each in schedule_facts(config, 31250, 50)}
    assert "625" in facts["total_steps"].because("en") and "batch of 8" in facts["total_steps"].because("en")
    assert all(number in facts["rate_falls"].because("en") for number in ("25000", "28125"))
    low, high = map(int, facts["rate_falls"].value.split("-"))
    assert low == 31250 // 2 and low < high < 31250
    assert steps_per_epoch(config.replace(accumulate=2), DataFacts(100, 10, 3)).value == 6
    assert "rate_falls" not in {each.name for each in schedule_facts(TrainConfig(batch=8), 1000, 20)}


def test_memory_is_told_where_it_was_measured_and_grows_with_the_batch():
    spec = models.get("di_maskdino_atto")
    one, two = (memory_facts(TrainConfig(batch=batch, image_size=512), spec)[0].value for batch in (2, 8))
    assert 1 < one < two < 10
    assert memory_facts(TrainConfig(batch=2, image_size=512), models.get("unet")) == ()
    other = config_of({"model": "di_maskdino", "backbone": "convnext_large", "batch": 2, "image_size": 512})
    assert memory_facts(other, models.get("di_maskdino")) == (), "another backbone was not measured"


def test_tensorboard_groups_losses_by_family():
    row = {"loss": 6.0, "loss_mask": 1.0, "loss_mask_aux": 2.0, "loss_class_noise": 3.0, "lr": 1e-3}
    assert board_values("train", row) == {"loss/total": 6.0, "loss/mask": 3.0, "loss_mask/mask": 1.0, "loss_mask/mask_aux": 2.0, "loss/class": 3.0,
                                          "loss_class/class_noise": 3.0, "train/lr": 1e-3}
    assert board_values("valid", {"mask_AP50": 0.5, "best": True, "AP": None}) == {"valid/mask_AP50": 0.5}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_new_facts_have_texts(language):
    config = TrainConfig(model="di_maskdino_atto", task="instance", batch=8, epochs=50, image_size=256)
    every = (*schedule_facts(config, 500, 50), *memory_facts(config, models.get(config.model)), steps_per_epoch(config, DataFacts(9, 1, 1)))
    for each in every:
        assert f"option.{each.name}" in messages.catalogue(language)
        assert "{" not in each.because(language) and not each.because(language).startswith("reason.")
