"""What holds for DI-MaskDINO whatever its weights: shapes, odd batches and sizes, the random start, the named sizes."""

import contextlib
import copy

import pytest
import torch

from engine.config import TrainConfig
from engine.models import create, models
from engine.models.di_maskdino.denoising import make_denoising
from engine.models.network import count_parameters

PRESETS = ("di_maskdino", "di_maskdino_tiny", "di_maskdino_r50", "di_maskdino_atto")
SIZES = {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}
SMALL = {"backbone": SIZES, "hidden_dim": 32, "encoder_layers": 1, "encoder_ffn": 32, "decoder_layers": 2, "decoder_ffn": 32, "queries": 12,
         "first_selected": 20, "guiding_tokens": 4, "points": 64, "denoising_queries": 10}


def small(classes=4, **options):
    torch.manual_seed(0)
    return create("di_maskdino", classes, **{**SMALL, **options})


def shaken(network):
    """The network with layers that start at zero moved away from it."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return network


def truth(*counts, side=64, classes=4, seed=0):
    """Targets, one per image: rectangles."""
    random = torch.Generator().manual_seed(seed)
    found = []
    for count in counts:
        low = torch.randint(0, side // 2, (count, 2), generator=random)
        high = low + torch.randint(8, side // 2, (count, 2), generator=random)
        place = torch.arange(side)
        inside = (place >= low[..., None]) & (place < high[..., None])
        found.append({"labels": torch.randint(0, classes, (count,), generator=random), "masks": inside[:, 1, :, None] & inside[:, 0, None],
                      "boxes": torch.cat(((low + high) / 2, high - low), 1).float() / side})
    return found


def finite_gradients(network, terms):
    """Names of parameters that got no gradient at all; the others must be finite."""
    sum(terms.values()).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is not None and not gradient.isfinite().all()] == []
    return {name for name, gradient in gradients.items() if gradient is None}


@pytest.mark.parametrize(("hidden_dim", "queries"), [(32, 12), (64, 7), (128, 20), (256, 3)])
def test_every_width_gives_the_promised_shapes(hidden_dim, queries):
    network = small(5, hidden_dim=hidden_dim, queries=queries).eval()
    with torch.no_grad():
        found = network(torch.rand(2, 3, 64, 96))
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "logits": (2, queries, 5), "boxes": (2, queries, 4), "masks": (2, queries, 16, 24)}
    assert all(value.isfinite().all() for value in found.values())
    assert (found["boxes"] >= 0).all()
    assert (found["boxes"] <= 1).all()


def test_a_small_image_has_fewer_tokens_than_queries():
    network = small(first_selected=600, queries=300, guiding_tokens=50).eval()
    with torch.no_grad():
        outputs = network.outputs(torch.rand(1, 3, 64, 64), None)
    tokens = 8 * 8 + 4 * 4 + 2 * 2 + 1
    assert outputs.selected.logits.shape[1] == outputs.final.logits.shape[1] == tokens
    assert all(value.isfinite() for value in network.loss(torch.rand(1, 3, 32, 32), truth(2, side=32)).values())


def test_128_pixels_are_enough_for_the_official_numbers_of_queries():
    network = small(first_selected=600, queries=300, guiding_tokens=50)
    finite_gradients(network, network.loss(torch.rand(1, 3, 128, 128), truth(3, side=128)))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 160), (72, 50)])
def test_any_size_works(height, width):
    network = small().eval()
    with torch.no_grad():
        masks = network(torch.rand(1, 3, height, width))["masks"]
    assert masks.shape[-2:] == (-(-height // 32) * 8, -(-width // 32) * 8)


@pytest.mark.parametrize("decoder_layers", [1, 3])
def test_every_layer_gives_a_set_of_predictions(decoder_layers):
    network = small(decoder_layers=decoder_layers, di_layers=3)
    outputs, noise = network.forward_training(torch.rand(2, 3, 64, 64), truth(3, 1))
    assert (len(outputs.auxiliary), len(outputs.balanced), len(outputs.noisy)) == (decoder_layers, 3, decoder_layers + 1)
    assert noise is not None
    assert {each.logits.shape[1] for each in outputs.noisy} == {noise.labels.shape[1]}
    assert {each.logits.shape[1] for each in [*outputs.auxiliary, outputs.final]} == {12}
    finite_gradients(network, network.loss(torch.rand(2, 3, 64, 64), truth(3, 1)))


def test_every_parameter_learns_also_with_an_empty_image():
    network = shaken(small())
    assert finite_gradients(network, network.loss(torch.rand(3, 3, 64, 64), truth(3, 0, 5))) == set()


def test_a_batch_without_objects_has_no_denoising_and_a_finite_loss():
    network = shaken(small())
    terms = network.loss(torch.rand(2, 3, 64, 64), truth(0, 0))
    assert not any("noise" in name for name in terms)
    assert terms["loss_class"] > 0
    assert {"label_enc.weight"} <= finite_gradients(network, terms)
    assert network.heads.class_embed.weight.grad.any()


def test_denoising_queries_change_nothing_for_the_others():
    network, images = shaken(small()).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        plain = network.outputs(images, None)
        noisy = network.outputs(images, make_denoising(truth(3, 1), 4, network.config))
    for one, other in zip([*plain.auxiliary, plain.final], [*noisy.auxiliary, noisy.final], strict=True):
        assert torch.allclose(one.logits, other.logits, atol=1e-4)
        assert torch.allclose(one.boxes, other.boxes, atol=1e-5)
        assert torch.allclose(one.masks.full(), other.masks.full(), atol=1e-3)


def test_boxes_of_the_decoder_teach_the_balancing_layers():
    network = shaken(small())
    network.outputs(torch.rand(1, 3, 64, 64), None).final.boxes.sum().backward()
    assert network.balancing.bbox_embed.layers[0].weight.grad.any()


def test_the_first_choice_is_taught_by_its_own_predictions_only():
    network = shaken(small())
    final = network.outputs(torch.rand(1, 3, 64, 64), None).final
    (final.logits.sum() + final.boxes.sum()).backward()
    assert network.selection.enc_output.weight.grad is None


def test_mixed_precision_stays_close_to_single_precision():
    network, images, targets = shaken(small()).eval(), torch.rand(2, 3, 64, 64), truth(3, 1)

    def loss(mixed):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            return network.loss(images, targets)

    exact, rough = loss(False), loss(True)
    finite_gradients(network, rough)
    assert all(value.dtype == torch.float32 for value in rough.values())
    assert sum(rough.values()).item() == pytest.approx(sum(exact.values()).item(), rel=0.1)


def test_a_few_steps_lower_the_loss():
    network, images, targets = small(), torch.rand(2, 3, 64, 64), truth(2, 2)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    totals = []
    for _ in range(6):
        torch.manual_seed(0)
        total = sum(network.loss(images, targets).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.9 * totals[0]


def test_the_start_is_the_published_one_but_for_the_class_prior():
    network = small(80)
    assert network.heads.class_embed.bias.sigmoid().detach() == pytest.approx(torch.full((80,), 0.01))
    for head in (network.heads.bbox_embed, network.balancing.bbox_embed):
        assert not head.layers[-1].weight.any()
        assert not head.layers[-1].bias.any()
    assert not network.decoder.layers[0].cross_attn.sampling_offsets.weight.any()
    assert network.decoder.layers[0].cross_attn.sampling_offsets.bias.any()


def test_the_start_depends_on_the_seed_alone():
    first, second = small().state_dict(), small().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_average_of_a_network_can_be_a_copy_of_it():
    network = small().eval()
    twin, images = copy.deepcopy(network), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(images)["boxes"], twin(images)["boxes"])
    assert twin.heads.class_embed.weight is not network.heads.class_embed.weight


def test_tables_for_a_size_survive_inference_mode():
    network = small()
    with torch.inference_mode():
        network(torch.rand(1, 3, 96, 64))
    finite_gradients(network, network.loss(torch.rand(1, 3, 96, 64), truth(2, side=96)))


def test_the_state_holds_parameters_only():
    network = small()
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}


def test_weights_of_the_loss_come_from_the_settings():
    network = small()
    network.configure(TrainConfig(task="instance", class_loss=1, box_loss=2, giou_loss=3, mask_loss=7, dice_loss=8), None)
    assert network.criterion.weights == {"class": 1, "box": 2, "giou": 3, "mask": 7, "dice": 8}


def test_only_what_may_be_pretrained_learns_at_the_backbones_rate():
    network = small()
    groups = {group["name"]: {id(each) for each in group["params"]} for group in network.parameter_groups(1e-3, 1e-4, 0.05)}
    assert id(network.backbone.norm0.weight) in groups["head_no_decay"]
    assert id(network.label_enc.weight) in groups["head_no_decay"]
    assert groups["backbone"] | groups["backbone_no_decay"] == {id(each) for each in network.backbone.model.parameters()}


def test_places_at_the_rim_may_be_chosen():
    network = shaken(small(first_selected=400))
    finite_gradients(network, network.loss(torch.rand(1, 3, 32, 512), truth(2)))


def test_more_objects_than_queries_and_a_single_class():
    network = shaken(small(1, queries=5))
    assert finite_gradients(network, network.loss(torch.rand(2, 3, 64, 64), truth(20, 3, classes=1))) == set()


def test_no_tensor_is_left_behind_on_the_processor(monkeypatch):
    """A device without memory refuses to be mixed with the processor. It has no mixed precision."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    network = small().to("meta")
    images = torch.rand(2, 3, 64, 64, device="meta")
    targets = [{name: value.to("meta") for name, value in each.items()} for each in truth(3, 1)]
    outputs, noise = network.forward_training(images, targets)
    assert noise is not None
    assert {each.boxes.device.type for each in [outputs.final, outputs.selected, *outputs.auxiliary, *outputs.balanced, *outputs.noisy]} == {"meta"}
    assert network(images)["masks"].shape == (2, 12, 16, 16)


# ---- presets

@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_listed_number_of_parameters(name):
    with torch.device("meta"):
        network = create(name, 4)
    spec = models.get(name)
    assert count_parameters(network) / 1e6 == pytest.approx(spec.parameters, abs=6e-4)
    assert (network.config.queries, spec.task) == (spec.capacity, "instance")


def train_a_step(name, side):
    network = create(name, 3)
    network.criterion.points = 64
    assert finite_gradients(network, network.loss(torch.rand(1, 3, side, side), truth(2, side=side, classes=3))) == set()


def test_the_small_preset_trains():
    train_a_step("di_maskdino_atto", 64)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS[:3])
def test_the_large_presets_train(name):
    train_a_step(name, 128)


@pytest.mark.slow
def test_a_swin_backbone_trains():
    network = small(3, backbone="swin_tiny")
    finite_gradients(network, network.loss(torch.rand(1, 3, 96, 160), truth(2, side=96, classes=3)))
