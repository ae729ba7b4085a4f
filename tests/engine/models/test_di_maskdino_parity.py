"""The network against tensors that the official implementation produced: every stage, every set of predictions, every name of a tensor."""

import json
import re

import pytest
import torch

from engine.models import create, models
from engine.models.di_maskdino import decoder, network, selection
from engine.models.di_maskdino.keys import LOAD_MAP, infer
from engine.types import UserError
from engine.weights import load_into, options_of

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def pack(reference):
    return reference / "parity" / "di_maskdino"


@pytest.fixture(scope="module")
def told(pack):
    """The options of the pack's network: those that its tensors tell, and the numbers of queries, which leave no trace."""
    config = json.loads((pack / "config.json").read_text())
    given = dict(zip(config["opts"][::2], config["opts"][1::2], strict=True))
    return {"backbone": {"depths": config["depths"], "dims": config["dims"]},
            "encoder_layers": given["MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS"], "encoder_ffn": given["MODEL.SEM_SEG_HEAD.DIM_FEEDFORWARD"],
            "decoder_layers": given["MODEL.MaskDINO.DEC_LAYERS"], "decoder_ffn": given["MODEL.MaskDINO.DIM_FEEDFORWARD"],
            "di_layers": given["MODEL.MaskDINO.TI_LAYERS"], "queries": given["MODEL.MaskDINO.NUM_OBJECT_QUERIES"],
            "first_selected": given["MODEL.MaskDINO.FIRST_SELECTED_QUERIES"], "guiding_tokens": given["MODEL.MaskDINO.NUM_GUIDING_TOKENS"],
            "points": given["MODEL.MaskDINO.TRAIN_NUM_POINTS"], "num_classes": given["MODEL.SEM_SEG_HEAD.NUM_CLASSES"]}


@pytest.fixture(scope="module")
def aliases(pack):
    return json.loads((pack / "config.json").read_text())["aliases"]


@pytest.fixture(scope="module")
def state(pack):
    return torch.load(pack / "state_dict.pth", weights_only=True)["model"]


@pytest.fixture(scope="module")
def loaded(pack, told):
    built = create("di_maskdino", **told)
    return built, load_into(built, pack / "state_dict.pth")


@pytest.fixture(scope="module")
def stored(pack):
    return torch.load(pack / "forward.pt", weights_only=True)


@pytest.fixture(scope="module")
def images(stored):
    return (stored["image"] - stored["pixel_mean"]) / stored["pixel_std"]


@pytest.fixture(scope="module")
def found(loaded, images):
    """All sets of predictions, and the places that were chosen on the way."""
    chosen, choose = [], selection.strongest

    def spy(logits, count):
        chosen.append(choose(logits, count))
        return chosen[-1]

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        for module in (selection, network, decoder):
            patch.setattr(module, "strongest", spy)
        return loaded[0].eval().outputs(images, None), chosen


def close(ours, theirs, tolerance=TOLERANCE):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max().item() < tolerance


def agrees(ours, theirs):
    close(ours.logits, theirs["pred_logits"])
    close(ours.boxes, theirs["pred_boxes"])
    if "pred_masks" in theirs:
        close(ours.masks.full(), theirs["pred_masks"], 1e-3)


def test_the_official_checkpoint_loads_completely(loaded):
    built, coverage = loaded
    assert coverage.complete
    assert coverage.missing == coverage.unexpected == coverage.reshaped == ()
    assert coverage.ignored == ("criterion.empty_weight",)
    assert set(coverage.matched) == set(built.state_dict())


def test_the_backbone_gives_the_official_features(loaded, images, stored):
    with torch.no_grad():
        maps = loaded[0].eval().backbone(images)
    for level, name in enumerate(("res2", "res3", "res4", "res5")):
        close(maps[level], stored["features"][name])


def test_the_pixel_decoder_gives_the_official_maps(loaded, stored):
    with torch.no_grad():
        features, levels = loaded[0].eval().pixel_decoder([stored["features"][f"res{stage}"] for stage in range(2, 6)])
    close(features, stored["mask_features"])
    for ours, theirs in zip(levels, stored["multi_scale_features"], strict=True):
        close(ours, theirs)


def test_all_three_choices_are_the_official_ones(found, stored):
    official = [*stored["topk_idx"][:2], stored["topk_idx"][2].T]
    assert [each.shape for each in found[1]] == [each.shape for each in official]
    assert all(ours.sort(1).values.equal(theirs.sort(1).values) for ours, theirs in zip(found[1], official, strict=True))


def test_every_set_of_predictions_is_the_official_one(found, stored):
    outputs = found[0]
    agrees(outputs.final, stored)
    agrees(outputs.selected, stored["interm"])
    assert (len(outputs.balanced), len(outputs.auxiliary), outputs.noisy) == (len(stored["oldm"]), len(stored["aux"]), [])
    for ours, theirs in zip([*outputs.balanced, *outputs.auxiliary], [*stored["oldm"], *stored["aux"]], strict=True):
        agrees(ours, theirs)
    assert all(each.masks is None for each in outputs.balanced)


def test_the_best_queries_update_the_mask_features_as_published(found, stored):
    outputs = found[0]
    close(outputs.final.masks.features, stored["bato"]["updated_mask_features"])
    close(outputs.auxiliary[1].masks.features, stored["mask_features"])
    assert outputs.auxiliary[-1].masks.features is outputs.final.masks.features


def test_the_plain_forward_is_the_last_set_and_repeats_itself(loaded, images, stored):
    built = loaded[0].eval()
    with torch.no_grad():
        first, second = built(images), built(images.contiguous(memory_format=torch.channels_last))
        again = built(images)
    close(first["logits"], stored["pred_logits"])
    close(first["boxes"], stored["pred_boxes"])
    close(first["masks"], stored["pred_masks"], 1e-3)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.allclose(first[name], second[name], atol=1e-3) for name in first)


def test_padding_inside_is_padding_outside(loaded, pack):
    inputs = torch.load(pack / "instances.pt", weights_only=True)["inputs"]
    stored = torch.load(pack / "forward.pt", weights_only=True)
    image = ((inputs[1]["image"] - stored["pixel_mean"]) / stored["pixel_std"])[None, :, :140, :200]
    padded = torch.nn.functional.pad(image, (0, 24, 0, 20))
    with torch.no_grad():
        one, other = loaded[0].eval()(image), loaded[0](padded)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("which", [0, -1])
def test_any_of_a_tensors_names_will_do(told, state, aliases, tmp_path, which):
    left_out = {name for group in aliases for name in group if name != group[which]}
    torch.save({name: value for name, value in state.items() if name not in left_out}, tmp_path / "few.pth")
    built = create("di_maskdino", **told)
    coverage = load_into(built, tmp_path / "few.pth")
    assert coverage.complete
    for group in aliases:
        assert torch.equal(built.state_dict()[LOAD_MAP.rename(group[0])], state[group[0]].float())


def test_names_of_one_tensor_lead_to_one_place_and_no_others_do(state, aliases):
    assert all(len({LOAD_MAP.rename(name) for name in group}) == 1 for group in aliases)
    shared = {name for group in aliases for name in group[1:]}
    places = [LOAD_MAP.rename(name) for name in state if name not in shared]
    assert len(places) == len(set(places))


def test_names_that_do_not_agree_are_refused(told, state, aliases, tmp_path):
    first, second = aliases[0][:2]
    torch.save({**state, second: state[second] + 1}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=f"{re.escape(first)}.*{re.escape(second)}"):
        load_into(create("di_maskdino", **told), tmp_path / "odd.pth")


def test_another_number_of_classes_keeps_everything_else(told, pack):
    built = create("di_maskdino", **{**told, "num_classes": 3})
    before = built.heads.class_embed.bias.detach().clone()
    coverage = load_into(built, pack / "state_dict.pth")
    assert coverage.complete
    assert set(coverage.reshaped) == {"heads.class_embed.weight", "heads.class_embed.bias", "label_enc.weight"}
    assert torch.equal(built.heads.class_embed.bias, before)


def test_the_options_are_told_from_the_tensors(told, state):
    spec = models.get("di_maskdino")
    found = options_of({"model": state}, spec, "state_dict.pth")
    assert json.loads(found.pop("backbone")) == told["backbone"]
    traceless = {"queries", "first_selected", "guiding_tokens", "points", "backbone"}
    assert found == {"hidden_dim": 256, **{name: value for name, value in told.items() if name not in traceless}}


def test_our_own_names_tell_the_same_options(loaded, state):
    assert infer(loaded[0].state_dict(), {}) == infer(state, {})


def test_a_named_size_tells_at_least_the_classes_of_official_weights(state):
    assert options_of({"model": state}, models.get("di_maskdino_atto"), "state_dict.pth") == {"num_classes": 7}


def test_the_network_is_rebuilt_from_what_is_told(pack, state):
    spec = models.get("di_maskdino")
    rebuilt = spec.build(**options_of({"model": state}, spec, "state_dict.pth"))
    assert load_into(rebuilt, pack / "state_dict.pth").complete


def test_the_whole_way_from_image_to_loss_agrees(loaded, images, pack):
    built, stored = loaded[0].eval(), torch.load(pack / "losses.pt", weights_only=True)
    built.criterion.sampler = lambda n, points, _: torch.rand(1, points, 2, generator=torch.Generator().manual_seed(points)).expand(n, points, 2)
    with torch.no_grad():
        terms = built.criterion.raw(built.outputs(images, None), stored["targets"], images.shape[-2:])
    official = {**stored["losses_final"], **{f"{name}_interm": value for name, value in stored["losses_interm"].items()}}
    for index, (_, losses) in enumerate(stored["oldm"]):
        official.update({f"{name}_oldm_{index}": value for name, value in losses.items()})
    for name, value in official.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-4), name
