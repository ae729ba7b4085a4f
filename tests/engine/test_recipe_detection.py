"""What the recipe of a detector takes from the data: disturbed labels, and whether images are mixed."""

import pytest

from engine.config import TrainConfig
from engine.models import models
from engine.recipe import DataFacts, Machine, suggest


@pytest.mark.parametrize(("device", "most", "wanted"), [("cpu", 3, 40), ("cpu", 15, 60), ("cpu", 400, 100), ("cuda", 3, 0)])
def test_disturbed_labels_are_as_many_as_a_processor_has_time_for(device, most, wanted):
    facts = DataFacts(100, 20, 2, most_objects=most)
    plan = suggest(TrainConfig(device=device), models.get("deimv2_atto"), facts, Machine(device, 24.0), pretrained=False)
    assert plan.config.denoising == wanted
    assert suggest(TrainConfig(denoising=7), models.get("deimv2_atto"), facts, Machine(device, 24.0), pretrained=False).config.denoising == 7


def augment(spec, facts, **values):
    plan = suggest(TrainConfig(**values), models.get(spec), facts, Machine(values.get("device", "cpu"), 24.0), pretrained=False)
    return plan.config.augment


FEW, MANY = (DataFacts(100, 20, 2, objects=objects) for objects in (2.4, 13.7))


def test_images_with_few_objects_are_mixed_where_minutes_bound_the_run():
    assert augment("deimv2_n", FEW, minutes=5) == "official"
    assert augment("deimv2_n", FEW) == "official", "a processor that nobody told how long has minutes of its own"
    assert augment("deimv2_n", MANY, minutes=5) == "standard"
    assert augment("deimv2_n", DataFacts(100, 20, 2), minutes=5) == "standard", "nobody counted"


def test_epochs_that_a_person_asks_for_stay_as_many():
    assert augment("deimv2_n", FEW, epochs=20) == "standard"
    assert augment("deimv2_n", FEW, device="cuda") == "standard"


def test_what_a_person_chose_and_other_models_stay_as_they_are():
    assert augment("deimv2_n", FEW, minutes=5, augment="flip") == "flip"
    assert augment("unet", FEW, task="semantic", minutes=5) == "standard"
    assert augment("di_maskdino", FEW, task="instance", minutes=5) == "standard"


def test_the_reason_names_the_number_of_objects():
    plan = suggest(TrainConfig(minutes=5), models.get("deimv2_atto"), FEW, Machine(), pretrained=False)
    assert "2.4" in next(each.because("en") for each in plan.derived if each.name == "augment")
