"""Weights files of others, without a name: used as they are where their tensors tell what they are, asked about where they do not."""

import json
import lzma

import pytest
import timm
import torch

from engine.__main__ import main
from engine.bare_weights import recognised
from engine.config import TrainConfig
from engine.datasets.samples import generate
from engine.models import create, models
from engine.predict import load
from engine.train import train
from engine.types import UserError


@pytest.fixture(scope="module")
def smp():
    return pytest.importorskip("segmentation_models_pytorch")


def saved(folder, content, name="best.pth"):
    torch.save(content, folder / name)
    return folder / name


def predicted(tmp_path, picture, file, *more):
    """Exit code of the command line, and what it wrote."""
    image = picture(tmp_path / "a.png", 70, 50)
    code = main(["predict", str(file), str(image), "--out", str(tmp_path / "out"), *more])
    told = tmp_path / "out" / "predictions.json"
    return code, json.loads(told.read_text()) if told.exists() else {}


def test_the_file_of_the_tutorial_predicts_without_a_name(smp, tmp_path, picture):
    network = smp.UnetPlusPlus(encoder_name="resnet34", encoder_weights=None, in_channels=3, classes=1).eval()
    file = saved(tmp_path, network.state_dict(), "unet_plusplus_best.pth")
    code, told = predicted(tmp_path, picture, file)
    assert code == 0 and (told["model"], told["task"]) == ("unet", "semantic") and told["images"][0]["mask"] == "a_mask.png"
    probe = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(load(file).network(probe), network(probe), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("wrap", [lambda state: {"model_state_dict": state, "epoch": 3, "best_dice": 0.8},
                                  lambda state: {f"module.{name}": value for name, value in state.items()}])
def test_weights_inside_a_trainers_dictionary_and_of_several_devices_are_found(wrap, smp, tmp_path):
    network = smp.Unet(encoder_name="resnet18", encoder_weights=None, classes=1)
    assert load(saved(tmp_path, wrap(network.state_dict()))).network.encoder_name == "resnet18"


@pytest.mark.parametrize("architecture, encoder, classes", [("Unet", "resnet18", 3), ("FPN", "mobilenet_v2", 1), ("DeepLabV3Plus", "resnet18", 2),
                                                            ("Unet", "tu-convnext_tiny", 1)])
def test_other_architectures_and_encoders_predict_without_a_name(architecture, encoder, classes, smp, tmp_path):
    network = getattr(smp, architecture)(encoder_name=encoder, encoder_weights=None, classes=classes)
    predictor = load(saved(tmp_path, network.state_dict()))
    assert predictor.network.encoder_name == encoder and len(predictor.classes) == classes


def test_an_encoder_that_nobody_can_guess_is_asked_for_and_believed(smp, tmp_path, picture, capsys):
    network = smp.Unet(encoder_name="tu-test_resnet", encoder_weights=None, classes=1)
    file = saved(tmp_path, network.state_dict())
    assert predicted(tmp_path, picture, file)[0] == 2
    assert "--set encoder=" in capsys.readouterr().err
    assert predicted(tmp_path, picture, file, "--set", "encoder=tu-test_resnet")[0] == 0
    assert predicted(tmp_path, picture, file, "--set", "encoder=resnet18")[0] == 2
    assert "resnet18" not in capsys.readouterr().out


@pytest.mark.parametrize("pack, model", [("resnet34_small", "hybridmednet"), ("vim_tiny_official", "vim_tiny")])
def test_official_checkpoints_of_classifiers_predict_without_a_name(pack, model, reference, tmp_path):
    packed = next((reference / "parity" / "hybridmednet" / pack).glob("*.pth.xz"))
    file = tmp_path / "best_model.pth"
    file.write_bytes(lzma.decompress(packed.read_bytes()))
    predictor = load(file)
    assert predictor.name == model and predictor.task.name == "classify" and len(predictor.classes) > 1


def test_a_hybridmednet_of_an_unlisted_backbone_is_asked_for_and_believed(tmp_path, picture, capsys):
    options = {"backbone": "test_resnet", "fusion_channels": 16, "use_cross_scale_attention": False}
    file = saved(tmp_path, {"model_state_dict": create("hybridmednet", 4, **options).state_dict()})
    assert predicted(tmp_path, picture, file)[0] == 2
    assert "--set backbone=" in capsys.readouterr().err
    code, told = predicted(tmp_path, picture, file, "--set", "backbone=test_resnet", "--model", "hybridmednet", "--image-size", "64")
    assert code == 0 and len(told["images"][0]["tags"]) == 4


def test_a_bare_classifier_of_timm_predicts_without_a_name(tmp_path, picture):
    file = saved(tmp_path, timm.create_model("resnet18", num_classes=3).state_dict())
    code, told = predicted(tmp_path, picture, file, "--classes", "cat,dog,bird")
    assert code == 0 and told["model"] == "timm" and {tag["class"] for tag in told["images"][0]["tags"]} == {"cat", "dog", "bird"}


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_100"])
def test_a_bare_classifier_that_has_a_twin_or_is_rare_is_asked_for_and_believed(name, tmp_path, picture, capsys):
    file = saved(tmp_path, timm.create_model(name, num_classes=3).state_dict())
    assert predicted(tmp_path, picture, file)[0] == 2
    assert "--set backbone=" in capsys.readouterr().err
    code, told = predicted(tmp_path, picture, file, "--set", f"backbone={name}", "--set", "mode=multiclass", "--model", "timm")
    assert code == 0
    assert sum(tag["score"] for tag in told["images"][0]["tags"]) == pytest.approx(1, abs=1e-3)


def test_pixels_are_normalised_as_the_bare_model_wants_them(tmp_path):
    file = saved(tmp_path, timm.create_model("vit_tiny_patch16_224", num_classes=2).state_dict())
    assert load(file).preprocess.mean == timm.get_pretrained_cfg("vit_tiny_patch16_224").mean


def test_what_no_model_knows_names_those_there_are(tmp_path):
    with pytest.raises(UserError) as caught:
        load(saved(tmp_path, {"odd": torch.zeros(3)}))
    assert caught.value.key == "model_name_needed" and "unet" in str(caught.value)


def test_a_file_that_says_itself_what_it_is_takes_no_options(tmp_path):
    state = {"model": {}, "model_name": "timm", "classes": ["a"], "preprocess": {}}
    with pytest.raises(UserError) as caught:
        load(saved(tmp_path, state), options={"backbone": "resnet18"})
    assert caught.value.key == "weights_say_themselves"


@pytest.mark.parametrize("size", ["atto", "femto", "pico", "n", "s", "m", "l", "x"])
def test_each_size_of_deimv2_is_known_by_its_tensors_and_no_other_is(size):
    with torch.device("meta"):
        tensors = models.get(f"deimv2_{size}").build(5).state_dict()
    found, options = recognised({"model": tensors}, "x.pth", None, {})
    assert (found.name, options) == (f"deimv2_{size}", {"num_classes": 5})


def test_a_published_detector_predicts_without_a_name(tmp_path, picture):
    torch.manual_seed(0)
    file = saved(tmp_path, {"date": "2026", "model": {}, "ema": {"module": create("deimv2_atto", 3).state_dict(), "updates": 7}}, "coco.pth")
    code, told = predicted(tmp_path, picture, file, "--threshold", "0", "--classes", "甲,乙,丙")
    assert code == 0 and told["model"] == "deimv2_atto" and told["classes"] == ["甲", "乙", "丙"] and told["images"][0]["instances"]


def test_a_run_that_goes_on_sees_pixels_as_it_did_before(tmp_path):
    """Those of pretrained weights may be normalised in a way of their own."""
    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    generate("classify", tmp_path / "eyes", images=10, seed=1)
    file = saved(tmp_path, create("timm", 3, backbone=name).state_dict())
    config = TrainConfig(data=str(tmp_path / "eyes"), model="timm", task="classify", options={"backbone": name}, weights=str(file), epochs=2, batch=4,
                         image_size=224, device="cpu", workers=0, threads=1, precision="none", layout="contiguous")
    run = tmp_path / "run"
    run.mkdir()
    for event in train(config, run):
        config = event.values.get("config", config)
        if event.kind == "checkpoint":
            break
    before = load(run / "best.pt").preprocess
    list(train(config, run))
    assert load(run / "best.pt").preprocess == before and before.mean == (0.5, 0.5, 0.5)
