"""What holds for every size of DEIMv2 whatever its weights: shapes, odd batches, the random start, mixed precision."""

import copy
import json

import pytest
import torch
import torch.nn.functional as F

from engine.__main__ import main
from engine.models import create, models
from engine.models.deformable_attention import DeformableAttention
from engine.models.deimv2.config import CONFIGS, NANO
from engine.models.deimv2.criterion import Criterion
from engine.models.deimv2.decoder import Predictions, bin_distances, strongest
from engine.models.deimv2.denoising import make_denoising
from engine.models.deimv2.layers import grouped_attention, inverse_sigmoid
from engine.models.matching import Targets
from engine.models.network import count_parameters

LARGE = ("deimv2_m", "deimv2_l", "deimv2_x")  # the same parts as S, a hundred megabytes each


def each_of(*names):
    """Parameters for pytest: a name, or a tuple that begins with one."""
    heads = [each if isinstance(each, str) else each[0] for each in names]
    return [pytest.param(*([each] if isinstance(each, str) else each), marks=pytest.mark.slow if head in LARGE else ())
            for each, head in zip(names, heads, strict=True)]


NAMES = each_of(*(config.name for config in CONFIGS))
KINDS = each_of("deimv2_atto", "deimv2_n", "deimv2_s", "deimv2_l")


def truth(*counts, classes=4, seed=0):
    """Random targets, one entry per image."""
    random = torch.Generator().manual_seed(seed)
    return [
        {"labels": torch.randint(0, classes, (n,), generator=random),
         "boxes": torch.cat((torch.rand(n, 2, generator=random) * 0.6 + 0.2, torch.rand(n, 2, generator=random) * 0.2 + 0.05), 1)}
        for n in counts
    ]


def shaken(name, classes=4):
    """A network whose zero-initialised layers are not zero."""
    torch.manual_seed(0)
    network = create(name, classes)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn_like(parameter)
    return network


def finite_gradients(network, terms):
    sum(terms.values()).backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    assert [name for name, gradient in gradients.items() if gradient is not None and not gradient.isfinite().all()] == []
    return {name for name, gradient in gradients.items() if gradient is None}


@pytest.mark.parametrize("name", NAMES)
def test_detections_have_the_promised_shapes(name):
    network = create(name, 5).eval()
    with torch.no_grad():
        found = network(torch.rand(2, 3, 256, 256))
    queries = min(models.get(name).capacity, 16 * 16 + 8 * 8)
    assert found["logits"].shape == (2, queries, 5)
    assert found["boxes"].shape == (2, queries, 4)
    assert all(value.dtype == torch.float32 for value in found.values())


def test_the_list_of_models_tells_the_official_numbers_of_parameters(capsys):
    """Of the official networks at 4 classes, in millions."""
    assert main(["models", "--json"]) == 0
    told = {row["name"]: row["parameters"] / 1e6 for row in json.loads(capsys.readouterr().out)}
    sizes = ("atto", "femto", "pico", "n", "s", "m", "l", "x")
    assert [told[f"deimv2_{size}"] for size in sizes] == [0.484, 0.947, 1.497, 3.551, 9.692, 18.24, 32.45, 51.06]


@pytest.mark.parametrize("name", NAMES)
def test_size_matches_the_listed_number_of_parameters(name):
    assert count_parameters(create(name, 4)) / 1e6 == pytest.approx(models.get(name).parameters, abs=6e-3 if name in LARGE else 6e-4)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 160), (224, 96)])
def test_any_multiple_of_32_works(name, height, width):
    network = create(name, 3)
    terms = network.loss(torch.rand(2, 3, height, width), truth(2, 1, classes=3))
    assert all(value.isfinite() for value in terms.values())


def test_other_sizes_are_refused_with_a_reason():
    with pytest.raises(ValueError, match="336x320.*multiples of 32"):
        create("deimv2_atto", 3)(torch.rand(1, 3, 320, 336))


@pytest.mark.parametrize(("name", "terms"), each_of(
    ("deimv2_atto", 27), ("deimv2_n", 37), ("deimv2_s", 47), ("deimv2_m", 47), ("deimv2_l", 47), ("deimv2_x", 67)))
def test_every_parameter_learns_also_with_an_empty_image(name, terms):
    network = shaken(name)
    found = network.loss(torch.rand(3, 3, 64, 64), truth(3, 0, 5))
    assert len(found) == terms
    assert finite_gradients(network, found) == set()


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_without_boxes_has_no_denoising_and_no_box_loss(name):
    network = shaken(name)
    terms = network.loss(torch.rand(2, 3, 64, 64), truth(0, 0))
    assert not any("_dn" in key for key in terms)
    assert all(value == 0 for key, value in terms.items() if "bbox" in key or "giou" in key or "fgl" in key)
    assert terms["loss_mal"] > 0
    finite_gradients(network, terms)


@pytest.mark.parametrize("name", KINDS)
def test_more_boxes_than_queries(name):
    network = shaken(name)
    terms = network.loss(torch.rand(2, 3, 32, 32), truth(130, 2))
    assert finite_gradients(network, terms) == set()


def test_a_single_class():
    network = shaken("deimv2_atto", 1)
    finite_gradients(network, network.loss(torch.rand(2, 3, 64, 64), truth(2, 3, classes=1)))


@pytest.mark.parametrize("late", [False, True])
def test_boxes_without_area_leave_the_loss_finite(late):
    network = shaken("deimv2_n")
    network.set_progress(float(late))
    targets = truth(2, 1)
    targets[0]["boxes"][0, 2:] = 0
    finite_gradients(network, network.loss(torch.rand(2, 3, 64, 64), targets))


@pytest.mark.parametrize("name", KINDS)
def test_broken_weights_do_not_crash_the_loss(name):
    network = create(name, 4)
    with torch.no_grad():
        network.decoder.dec_bbox_head[0].layers[2].bias.fill_(float("nan"))
        network.decoder.dec_score_head[1].bias.fill_(float("nan"))
    assert network.loss(torch.rand(1, 3, 64, 64), truth(3))


@pytest.mark.parametrize("name", KINDS)
def test_bfloat16_stays_close_to_single_precision(name):
    network, images, targets = shaken(name), torch.rand(2, 3, 128, 128), truth(3, 1)
    network.eval()

    def loss(mixed):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            return network.loss(images, targets)

    exact, rough = loss(False), loss(True)
    assert finite_gradients(network, rough) == set()
    assert all(value.dtype == torch.float32 for value in rough.values())
    assert sum(rough.values()).item() == pytest.approx(sum(exact.values()).item(), rel=0.1)


@pytest.mark.parametrize("name", ["deimv2_n", "deimv2_s"])
def test_the_start_depends_on_the_seed_alone(name):
    torch.manual_seed(3)
    first = create(name, 4).state_dict()
    torch.manual_seed(3)
    second = create(name, 4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_start_is_the_published_one():
    decoder = create("deimv2_n", 4).decoder
    assert decoder.enc_score_head.bias.sigmoid().detach() == pytest.approx(torch.full((4,), 0.01))
    zero = [decoder.enc_bbox_head, decoder.pre_bbox_head, *decoder.dec_bbox_head, *(each.reg_conf for each in decoder.decoder.lqe_layers)]
    assert all(not head.layers[-1].weight.any() and not head.layers[-1].bias.any() for head in zero)
    layer = decoder.decoder.layers[0]
    assert not layer.gateway.gate.weight.any()
    assert not layer.cross_attn.sampling_offsets.weight.any()
    assert layer.cross_attn.sampling_offsets.bias.view(8, 12, 2)[0, :7, 0].tolist() == [1, 2, 3, 4, 5, 6, 1]
    assert not decoder.denoising_class_embed.weight[-1].any()


def test_small_sizes_share_one_box_head():
    heads = create("deimv2_femto", 4).decoder.dec_bbox_head
    assert len(heads) == 3
    assert heads[0] is heads[1] is heads[2]


def test_tables_for_a_size_survive_inference_mode():
    network = create("deimv2_n", 4)
    with torch.inference_mode():
        network(torch.rand(1, 3, 96, 64))
    finite_gradients(network, network.loss(torch.rand(1, 3, 96, 64), truth(2)))


@pytest.mark.parametrize("name", KINDS)
def test_the_average_of_a_network_can_be_a_copy_of_it(name):
    network = create(name, 4).eval()
    twin = copy.deepcopy(network)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(images)["boxes"], twin(images)["boxes"])
    assert twin.decoder.up is twin.decoder.decoder.up


def test_the_state_holds_no_tables_of_the_image_size():
    assert not [name for name in create("deimv2_n", 4).state_dict() if "anchors" in name or "valid_mask" in name]


def test_the_matcher_changes_its_cost_for_the_last_tenth():
    network = create("deimv2_atto", 4)
    network.set_progress(0.89)
    assert not network.criterion.late
    network.set_progress(0.9)
    assert network.criterion.late


def test_bins_stand_for_the_published_distances():
    table = bin_distances(torch.tensor([0.5]), torch.tensor([4]), 32)
    assert len(table) == 33
    assert table[16:21] == pytest.approx([0, 0.07599, 0.15775, 0.24573, 0.34040], abs=1e-4)
    assert (table[0], table[31], table[32]) == pytest.approx((-4, 2, 4))
    assert torch.equal(table, -table.flip(0))


def test_strongest_is_topk():
    torch.manual_seed(0)
    for values in (torch.randn(5, 7, 33).softmax(-1), torch.full((2, 33), 1 / 33), torch.zeros(1, 33)):
        assert torch.equal(strongest(values, 4), values.topk(4, -1).values)


def test_grouped_attention_is_attention_under_the_mask():
    groups, size, rest = 3, 4, 5
    query, key, value = torch.randn(3, 2, 8, groups * size + rest, 6)
    group = torch.cat((torch.arange(groups).repeat_interleave(size), torch.full((rest,), -1)))
    visible = (group[:, None] == group) | (group < 0)
    expected = F.scaled_dot_product_attention(query, key, value, visible)
    assert torch.allclose(grouped_attention(query, key, value, groups, size), expected, atol=1e-5)


def test_deformable_attention_reads_single_pixels():
    """One head, one point, offsets of zero: each query gets the pixel that its centre falls on."""
    attention = DeformableAttention(4, 1, (1, 1))
    torch.nn.init.zeros_(attention.sampling_offsets.bias)
    fine, coarse = torch.randn(1, 4, 4, 4), torch.zeros(1, 4, 2, 2)
    boxes = torch.tensor([[[(column + 0.5) / 4, (row + 0.5) / 4, 0.3, 0.3] for row in range(4) for column in range(4)]])
    seen = attention(torch.randn(1, 16, 4), boxes, [fine, coarse])
    assert torch.allclose(2 * seen.mT.view(1, 4, 4, 4), fine, atol=1e-5)


def test_denoising_fills_groups_up_to_the_fullest_image():
    targets = Targets.collate(truth(2, 0, 3))
    noise = make_denoising(targets, 4, CONFIGS[0])
    assert (noise.groups, noise.size) == (33, 6)
    labels = noise.labels.view(3, 33, 6)
    assert (labels[1] == 4).all()
    assert (labels[0, :, [2, 5]] == 4).all()
    assert len(noise.pairs) == 33 * 5
    assert noise.boxes.isfinite().all()


def test_inverse_sigmoid_is_finite_everywhere():
    assert inverse_sigmoid(torch.tensor([-1.0, 0, 0.5, 1, 2])) == pytest.approx([-11.5129, -11.5129, 0, 11.5129, 11.5129], abs=1e-3)


def test_the_last_layer_teaches_without_learning_from_it():
    """Only the students' distributions get a gradient from the distillation: a missing detach would change no value."""
    config, targets = NANO, Targets.collate(truth(2, 1))
    layers, queries = 3, 6
    logits = torch.randn(layers + 2, 2, queries, 4, requires_grad=True)
    boxes = torch.rand(layers + 2, 2, queries, 4, requires_grad=True)
    corners = torch.randn(layers, 2, queries, 4 * 33, requires_grad=True)
    selected = Predictions(logits, boxes, corners, torch.rand(2, queries, 4))
    terms = Criterion(config)(selected, None, None, targets, torch.tensor([0.5]), torch.tensor([4]))
    learned = torch.autograd.grad(terms["loss_ddf_aux_0"] + terms["loss_ddf_aux_1"], (corners, logits, boxes), allow_unused=True)
    assert learned[0][:2].abs().sum() > 0
    assert not learned[0][2].any()
    assert all(gradient is None or not gradient.any() for gradient in learned[1:])
