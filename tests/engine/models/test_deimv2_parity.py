"""The network and its loss against tensors that the official implementation produced."""

import os
from pathlib import Path

import pytest
import torch

from engine.models import create
from engine.models.deimv2.decoder import Predictions
from engine.models.deimv2.denoising import make_denoising
from engine.models.matching import Targets
from engine.weights import load_into

ROOT = Path(__file__).resolve().parents[3]
CLASSES = 4
MOMENTS = {"before": False, "after": True}


@pytest.fixture(scope="module")
def reference():
    folder = Path(os.environ.get("LIGHTBOX_REFERENCE", ROOT.parent / "shared")) / "parity" / "deimv2"
    if not folder.is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no reference tensors in {folder}")
    return folder


@pytest.fixture(scope="module", params=["atto", "n"])
def trained(request, reference):
    """(network with the stored weights in eval mode, what the official trainer saw and computed)."""
    network = create(f"deimv2_{request.param}", CLASSES)
    load_into(network, reference / f"{request.param}_weights.pth")
    return network.eval(), torch.load(reference / f"{request.param}_training.pt", weights_only=True)


def stacked(layers, *others):
    """Official outputs, a dictionary per set, as our stacked predictions."""
    sets = [*layers, *others]
    return Predictions(
        torch.stack([each["pred_logits"] for each in sets]), torch.stack([each["pred_boxes"] for each in sets]),
        torch.stack([each["pred_corners"] for each in layers]), layers[0]["ref_points"],
    )


def batch_of(stored):
    torch.manual_seed(stored["image_seed"])
    side = stored["meta"]["image_size"]
    return torch.rand(2, 3, side, side)


def assert_terms_agree(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].item() == pytest.approx(value, rel=tolerance), name


def share_with_twin(first, second):
    """Share of the queries of `first` that `second` holds as well, to 1e-4 in every logit and coordinate."""
    return ((first[:, None] - second[None]).abs().amax(-1).amin(1) < 1e-4).float().mean().item()


@pytest.mark.parametrize("which", ["ema", "model"])
def test_detections_of_pico_are_the_official_ones(reference, tmp_path, which):
    file = reference / "deimv2_pico_nc4_shaken.pth"
    if which == "model":
        bare = tmp_path / "bare.pth"
        torch.save({"model": torch.load(file, weights_only=True)["model"]}, bare)
        file = bare
    network = create("deimv2_pico", CLASSES)
    load_into(network, file)
    torch.manual_seed(1)
    with torch.no_grad():
        found = network.eval()(torch.rand(1, 3, 640, 640))
    stored = torch.load(reference / "deimv2_pico_nc4_shaken_output.pt", weights_only=True)[which]
    ours = torch.cat((found["logits"], found["boxes"]), -1)[0]
    theirs = torch.cat((stored["pred_logits"], stored["pred_boxes"]), -1)[0]
    assert share_with_twin(ours, theirs) >= 0.99
    assert share_with_twin(theirs, ours) >= 0.99


def test_averaged_and_last_weights_of_the_reference_differ(reference):
    stored = torch.load(reference / "deimv2_pico_nc4_shaken_output.pt", weights_only=True)
    assert not torch.allclose(stored["ema"]["pred_logits"], stored["model"]["pred_logits"], atol=1e-2)


@pytest.mark.parametrize("moment", MOMENTS)
def test_criterion_agrees_on_stored_outputs(trained, moment):
    network, stored = trained
    outputs, targets = stored["outputs"], Targets.collate(stored["targets"])
    selected = stacked([*outputs["aux_outputs"], outputs], outputs["pre_outputs"], *outputs["enc_aux_outputs"])
    noisy = stacked(outputs["dn_outputs"], outputs["dn_pre_outputs"])
    network.criterion.late = MOMENTS[moment]
    terms = network.criterion(
        selected, noisy, make_denoising(targets, CLASSES, network.config), targets, network.decoder.up, network.decoder.reg_scale,
    )
    assert_terms_agree(terms, stored[f"losses_{moment}_matcher_change"], 1e-4)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_whole_way_from_image_to_loss_agrees(trained, moment):
    network, stored = trained
    images = batch_of(stored)
    network.set_progress(1.0 if MOMENTS[moment] else 0.0)
    torch.manual_seed(stored["rng_seed_before_forward"])
    with torch.no_grad():
        terms = network.loss(images, stored["targets"])
    assert_terms_agree(terms, stored[f"losses_{moment}_matcher_change"], 1e-3)


def test_denoising_slots_are_the_official_ones(trained):
    network, stored = trained
    noise = make_denoising(Targets.collate(stored["targets"]), CLASSES, network.config)
    meta = stored["outputs"]["dn_meta"]
    assert noise.groups == meta["dn_num_group"]
    assert noise.labels.shape[1] == meta["dn_num_split"][0]
    for image, slots in enumerate(meta["dn_positive_idx"]):
        assert noise.pairs.query[0][noise.pairs.image == image].tolist() == slots.tolist()


@pytest.mark.parametrize(("size", "file"), [
    ("pico", "deimv2_pico_nc4_shaken.pth"), ("atto", "atto_weights.pth"), ("n", "n_weights.pth"),
])
def test_official_checkpoints_load_completely(reference, size, file):
    coverage = load_into(create(f"deimv2_{size}", CLASSES), reference / file)
    assert coverage.complete
    assert coverage.missing == coverage.unexpected == coverage.reshaped == ()
    assert set(coverage.ignored) == {"decoder.anchors", "decoder.valid_mask"}


def test_another_number_of_classes_keeps_everything_else(reference):
    network = create("deimv2_pico", 7)
    coverage = load_into(network, reference / "deimv2_pico_nc4_shaken.pth")
    assert coverage.complete
    heads = {f"decoder.{head}.{part}" for head in ("enc_score_head", *(f"dec_score_head.{i}" for i in range(3))) for part in ("weight", "bias")}
    assert set(coverage.reshaped) == heads | {"decoder.denoising_class_embed.weight"}
    assert network.decoder.enc_score_head.bias.detach() == pytest.approx(torch.full((7,), -4.59512), abs=1e-5)
    stored = torch.load(reference / "deimv2_pico_nc4_shaken.pth", weights_only=True)["ema"]["module"]
    assert torch.equal(network.decoder.enc_bbox_head.layers[2].weight, stored["decoder.enc_bbox_head.layers.2.weight"])
