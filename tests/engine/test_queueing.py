"""What cannot be built or does not fit is refused when a run is queued, not when it starts."""

import time

import pytest

from engine.__main__ import main
from engine.config import TrainConfig
from engine.settings import config_of
from engine.types import UserError
from ui.pages.train import compare, plan

WRONG = [
    ("unet", {"encoder": "resnet35"}, "resnet34"), ("unet", {"encoder": "convnext_tiny"}, "tu-convnext_tiny"),
    ("unet", {"architecture": "linknet", "encoder": "mit_b0"}, "mit_b0"), ("timm", {"backbone": "resnet_18"}, "resnet18"),
    ("timm", {"backbone": "resnet18.no_such_weights"}, "resnet18.a1_in1k"), ("hybridmednet", {"backbone": "swin_giant"}, "swin_tiny"),
    ("hybridmednet", {"backbone": "resnet18", "fusion_channels": 1}, "fusion_channels"), ("hybridmednet", {"num_heads": 7}, "96"),
    ("vim_tiny", {"mode": "binary"}, "multilabel"),
]


@pytest.mark.parametrize("model, options, hint", WRONG)
def test_a_name_that_cannot_be_built_is_refused_with_a_hint_before_the_run_is_queued(model, options, hint):
    with pytest.raises(UserError) as caught:
        config_of({"model": model, **options})
    assert hint in str(caught.value)


@pytest.mark.parametrize("model, options, hint", WRONG)
def test_the_form_refuses_it_at_once(model, options, hint):
    with pytest.raises(UserError):
        plan.asked({f"{model}.{name}": value for name, value in options.items()}, "epochs", data="x", model=model)


def test_the_command_line_makes_no_run_of_it(tmp_path, picture, capsys):
    picture(tmp_path / "set" / "a.png")
    assert main(["train", "--data", str(tmp_path / "set"), "--model", "unet", "--set", "encoder=resnet35", "--run", str(tmp_path / "run")]) == 2
    assert "resnet34" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_comparison_refuses_it_before_any_run_is_queued():
    asked = TrainConfig(model="timm", task="classify", epochs=2)
    with pytest.raises(UserError):
        compare.configs(["timm · resnet18", "timm · resnet_18"], asked, asked)


def test_the_check_takes_no_network_to_build():
    config_of({"model": "hybridmednet", "backbone": "convnext_tiny"})
    begun = time.perf_counter()
    for name in ("convnext_large", "resnet101"):
        config_of({"model": "hybridmednet", "backbone": name})
    assert time.perf_counter() - begun < 20


def test_a_task_that_is_not_the_models_is_refused():
    with pytest.raises(UserError) as caught:
        config_of({"model": "unet", "task": "classify"})
    assert caught.value.key == "task_of_model" and "semantic" in str(caught.value)
    assert config_of({"model": "unet", "task": "semantic"}).task == "semantic"


@pytest.mark.parametrize("model", ["unet", "timm", "hybridmednet", "vim_tiny"])
def test_the_mode_can_be_left_to_the_labels_everywhere(model):
    assert config_of({"model": model, "mode": "auto"}).options == {"mode": "auto"}
    assert plan.asked({f"{model}.mode": "auto"}, "epochs", data="x", model=model).options == {}


@pytest.mark.parametrize("words", ["4/3", "4:3", " 4 / 3 ", "4：3"])
def test_a_ratio_is_understood_as_the_tutorial_writes_it(words):
    assert config_of({"model": "unet", "exponent": words}).exponent == 4 / 3


@pytest.mark.parametrize("words", ["4/0", "4/", "/3", "4/3/2", "a/b", "1e400/1", "nan"])
def test_a_ratio_that_is_none_is_refused(words):
    with pytest.raises(UserError):
        config_of({"model": "unet", "exponent": words})
