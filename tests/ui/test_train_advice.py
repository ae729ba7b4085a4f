"""The advisor of the Train page: a real measurement in a process of its own, what is shown of it, and what is taken over."""

import pytest

from engine.config import TrainConfig
from engine.datasets.samples import generate
from ui import forms
from ui.pages.train import advice


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    generate("detect", folder, images=12, seed=5)
    config = TrainConfig(data=str(folder), model="deimv2_atto", task="detect", image_size=96, epochs=2, device="cpu")
    return list(advice.measured(config, "en"))


def test_trials_come_one_by_one_and_the_advice_last(told):
    assert [each["trial"]["batch"] for each in told[:-1]][:2] == [1, 2]
    found = told[-1]["advice"]
    assert found["suggested"]["model"] == "deimv2_atto"
    assert {each["name"] for each in found["settings"]} >= {"batch", "minutes"}


def test_what_is_shown_names_each_setting_with_its_reason(told):
    words = str(advice.result(told[-1]["advice"], "en"))
    assert "DEIMv2 Atto" in words and "GiB" in words
    assert all(each["why"] in words for each in told[-1]["advice"]["settings"])
    assert "1:" in advice.trial_line(told[0]["trial"], "en")


def test_what_is_taken_over_are_numbers_that_the_fields_understand(told):
    fields = {each.name: each for each in forms.fields()}
    found = advice.takeable(told[-1]["advice"])
    for name, update in zip(advice.TAKEN, advice.taken(found), strict=True):
        forms.component(fields[name]).postprocess(update["value"])
    forms.component(fields["image_size"]).postprocess(640)
    assert advice.taken(found)[0]["value"] == found["settings"]["batch"]
    assert [each["value"] for each in advice.taken({"settings": {"batch": 8, "accumulate": 4}})] == [8, 4]


def test_a_mistake_is_told_with_its_remedy(tmp_path):
    found = list(advice.measured(TrainConfig(data=str(tmp_path), model="deimv2_atto", task="detect", epochs=1, device="cpu"), "zh-CN"))
    assert list(found[-1]) == ["error"]
    assert found[-1]["error"]["message"] in str(advice.problem(found[-1]["error"]))


def test_who_does_not_listen_any_more_ends_the_process(tmp_path):
    generate("detect", tmp_path / "scenes", images=12, seed=5)
    config = TrainConfig(data=str(tmp_path / "scenes"), model="deimv2_atto", task="detect", image_size=96, epochs=1, device="cpu")
    listening = advice.measured(config, "en")
    next(listening)
    listening.close()


def test_another_model_is_offered_where_another_suits_better(told):
    found = told[-1]["advice"]
    tried = (found["probe"]["model"], found["probe"]["image_size"])
    same, other = ({**found, "suggested": {"model": model, "image_size": size, "reasons": []}} for model, size in (tried, ("deimv2_n", 640)))
    assert [advice.takeable(each)["suggested"] for each in (same, other, {**found, "suggested": None})] == [None, ["deimv2_n", 640], None]
    assert [advice.idle(each)[3].visible for each in (same, other, None)] == [False, True, False]
