"""Settings given flat: each finds its place, and what nobody knows is refused by name."""

import pytest

from engine.models import models
from engine.settings import config_of
from engine.types import UserError


def test_options_of_the_model_and_settings_of_the_run_are_told_apart():
    config = config_of({"model": "unet", "encoder": "resnet18", "lr": "1e-3", "mode": "binary"})
    assert config.task == "semantic" and config.lr == 1e-3 and config.options == {"encoder": "resnet18", "mode": "binary"}


@pytest.mark.parametrize("model", ["deimv2_atto", "unet", "timm", "hybridmednet", "vim_tiny"])
def test_the_task_follows_from_the_model(model):
    assert config_of({"model": model}).task == models.get(model).task


def test_words_become_the_kind_that_an_option_has():
    config = config_of({"model": "hybridmednet", "hierarchical": "yes", "fpn_channels": "64", "dropout": "0.25"})
    assert config.options == {"hierarchical": True, "fpn_channels": 64, "dropout": 0.25}


def test_a_table_of_options_and_single_ones_go_together():
    assert config_of({"model": "timm", "options": {"backbone": "resnet34"}, "dropout": 0.1}).options == {"backbone": "resnet34", "dropout": 0.1}


@pytest.mark.parametrize("values, key, about", [
    ({"model": "unet", "encoderr": "x"}, "unknown_option", "encoderr"), ({"model": "timm", "encoder": "resnet18"}, "unknown_option", "encoder"),
    ({"model": "deimv2_atto", "backbone": "x"}, "unknown_option", "backbone"), ({"model": "unet", "options": {"nope": 1}}, "unknown_option", "nope"),
    ({"model": "unet", "architecture": "transunet"}, "option_choice", "transunet"), ({"model": "unet", "mode": "many"}, "option_choice", "many"),
    ({"model": "timm", "dropout": 2}, "option_bounds", "dropout"), ({"model": "timm", "dropout": "much"}, "option_number", "much"),
    ({"model": "timm", "dropout": "nan"}, "option_bounds", "dropout"),
    ({"model": "hybridmednet", "num_heads": 2.5}, "option_bounds", "num_heads"),
    ({"model": "hybridmednet", "hierarchical": "perhaps"}, "option_choice", "perhaps"),
    ({"model": "hybridmednet", "num_heads": "inf"}, "option_number", "num_heads"),
    ({"model": "unet", "loss": "mse"}, "option_choice", "mse"), ({"model": "unet", "fp_weight": -1}, "option_bounds", "fp_weight"),
    ({"model": "unet", "exponent": 0}, "option_bounds", "exponent"), ({"model": "timm", "label_smoothing": 0.9}, "option_bounds", "label_smoothing"),
    ({"model": "timm", "sampling": "some"}, "option_choice", "some"), ({"model": "timm", "options": "x"}, "option_table", "x"),
    ({"model": "unett"}, None, "unett"),
])
def test_what_is_unknown_or_cannot_be_is_refused_by_name(values, key, about):
    with pytest.raises(UserError) as caught:
        config_of(values)
    assert about in str(caught.value) and caught.value.remedy() and "error." not in str(caught.value)
    assert key is None or caught.value.key == key


def test_a_refusal_names_what_there_is():
    with pytest.raises(UserError) as caught:
        config_of({"model": "unet", "encoderr": "x"})
    assert all(name in str(caught.value) for name in ("encoder", "architecture", "lr", "batch"))
