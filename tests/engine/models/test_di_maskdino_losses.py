"""Matcher and criterion of DI-MaskDINO: against tensors of the official implementation, and against plain loops over objects."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_convert, generalized_box_iou, sigmoid_focal_loss

from engine.config import TrainConfig
from engine.models import create
from engine.models.di_maskdino.config import Config
from engine.models.di_maskdino.criterion import Criterion
from engine.models.di_maskdino.denoising import make_denoising
from engine.models.di_maskdino.matcher import Sets, generalised_iou, match
from engine.models.di_maskdino.outputs import MaskProduct, Outputs, Predictions
from engine.models.di_maskdino.points import TruthMasks, least, softplus, uncertain_points, uniform, unpacked
from engine.models.matching import Targets
from engine.types import UserError
from engine.weights import load_into

ROOT = Path(__file__).resolve().parents[3]
SIZE = (64, 96)
CHANNELS = 16


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors are tiny here: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fixed(rows, points, device):
    """The rule of the reference tensors: the same points in every row, told by their number alone."""
    return torch.rand(1, points, 2, generator=torch.Generator().manual_seed(points)).expand(rows, points, 2).to(device)


# ---- reference tensors


@pytest.fixture(scope="module")
def stored():
    """(outputs of the official network as ours, what the official criterion made of them)."""
    folder = Path(os.environ.get("LIGHTBOX_REFERENCE", ROOT.parent / "shared")) / "parity" / "di_maskdino"
    if not folder.is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no reference tensors in {folder}")
    forward, losses = (torch.load(folder / f"{name}.pt", weights_only=True) for name in ("forward", "losses"))
    balanced = [as_predictions(each) for each in forward["oldm"]]
    return Outputs(as_predictions(forward), [], as_predictions(forward["interm"]), balanced, []), losses


def as_predictions(official):
    masks = official.get("pred_masks")
    product = None if masks is None else MaskProduct(torch.eye(masks.shape[1]).expand(len(masks), -1, -1), masks)
    return Predictions(official["pred_logits"], official["pred_boxes"], product)


def as_sets(*predictions):
    return Sets(torch.stack([each.logits for each in predictions]), torch.stack([each.boxes for each in predictions]),
                tuple(each.masks for each in predictions if each.masks is not None))


def official_terms(losses):
    terms = {**losses["losses_final"], **{f"{name}_interm": value for name, value in losses["losses_interm"].items()}}
    for index, (_, each) in enumerate(losses["oldm"]):
        terms |= {f"{name}_oldm_{index}": value for name, value in each.items()}
    return {name: value.item() for name, value in terms.items()}


def test_every_term_is_the_official_one(stored):
    outputs, losses = stored
    criterion = Criterion(Config(points=losses["num_points"]), 7)
    criterion.sampler = fixed
    ours = criterion.raw(outputs, losses["targets"], (192, 256))
    theirs = official_terms(losses)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].item() == pytest.approx(value, rel=1e-5), name


def test_packed_masks_give_the_same_terms(stored):
    outputs, losses = stored
    criterion = Criterion(Config(points=losses["num_points"]), 7)
    criterion.sampler = fixed
    targets = [{**each, "masks": packed(each["masks"])} for each in losses["targets"]]
    ours, plain = (criterion.raw(outputs, each, (192, 256)) for each in (targets, losses["targets"]))
    assert {name: value.item() for name, value in ours.items()} == {name: value.item() for name, value in plain.items()}


def test_the_assignment_is_the_official_one_with_and_without_masks(stored):
    outputs, losses = stored
    blocks = [as_sets(outputs.final), as_sets(dataclasses.replace(outputs.final, masks=None)), as_sets(outputs.selected, *outputs.balanced)]
    masks = TruthMasks([each["masks"] for each in losses["targets"]], (192, 256))
    found = match(blocks, Targets.collate(losses["targets"]), masks, losses["num_points"], fixed)
    official = [losses["indices_full"], losses["indices_clsbox"], losses["indices_interm"], *(each for each, _ in losses["oldm"])]
    sets = [(found[0], 0), (found[1], 0), *((found[2], index) for index in range(3))]
    for (assigned, index), wanted in zip(sets, official, strict=True):
        for image, (query, truth) in enumerate(wanted):
            here = assigned.image == image
            ours = set(zip(assigned.query[index, here].tolist(), assigned.truth[index, here].tolist(), strict=True))
            assert ours == set(zip(query.tolist(), truth.tolist(), strict=True))


def test_the_network_itself_gives_the_official_terms(stored):
    _, losses = stored
    folder = Path(os.environ.get("LIGHTBOX_REFERENCE", ROOT.parent / "shared")) / "parity" / "di_maskdino"
    network = create(
        "di_maskdino", 7, backbone={"depths": [1, 1, 2, 1], "dims": [16, 32, 64, 128]}, encoder_layers=2, encoder_ffn=192, decoder_layers=3,
        decoder_ffn=160, queries=40, first_selected=80, guiding_tokens=10, points=losses["num_points"])
    load_into(network, folder / "state_dict.pth")
    forward = torch.load(folder / "forward.pt", weights_only=True)
    network.criterion.sampler = fixed
    with torch.no_grad():
        outputs = network.eval().outputs((forward["image"] - forward["pixel_mean"]) / forward["pixel_std"], None)
    ours = network.criterion.raw(outputs, losses["targets"], (192, 256))
    for name, value in official_terms(losses).items():
        assert ours[name].item() == pytest.approx(value, rel=1e-4), name


# ---- made-up batches


def packed(masks):
    return torch.from_numpy(np.packbits(masks.numpy(), axis=-1))


def target_of(count, classes=5, size=SIZE):
    """Ellipses."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    side = torch.tensor([size[1], size[0]])
    centre, half = (torch.rand(count, 2) * 0.6 + 0.2) * side, (torch.rand(count, 2) * 0.2 + 0.05) * side
    away = ((torch.stack((x, y), -1) - centre[:, None, None]) / half[:, None, None]).square().sum(-1)
    return {"labels": torch.randint(0, classes, (count,)), "boxes": torch.cat((centre / side, 2 * half / side), 1), "masks": packed(away < 1)}


def predicted(queries, features, batch=2, classes=5):
    leaf = [torch.randn(batch, queries, classes), torch.rand(batch, queries, 4) * 0.5 + 0.2]
    masks = None if features is None else MaskProduct(torch.randn(batch, queries, CHANNELS).requires_grad_(), features)
    return Predictions(*(each.requires_grad_() for each in leaf), masks)


def batch_of(*counts, seed=0, queries=12, selected=20, classes=5, noisy=True, **settings):
    """(config, outputs of three decoder layers, targets, noise)."""
    torch.manual_seed(seed)
    config = Config(**{"queries": queries, "first_selected": selected, "guiding_tokens": 4, "points": 40, "denoising_queries": 10} | settings)
    targets = [target_of(count, classes) for count in counts]
    noise = make_denoising(targets, classes, config) if noisy else None
    early, late = (torch.randn(len(counts), CHANNELS, SIZE[0] // 4, SIZE[1] // 4).requires_grad_() for _ in range(2))
    layers = [early, early, late]
    sets = [predicted(queries, each, len(counts), classes) for each in layers]
    balanced = [predicted(selected, None, len(counts), classes) for _ in range(2)]
    others = [predicted(noise.labels.shape[1], each, len(counts), classes) for each in layers] if noise else []
    return config, Outputs(sets[-1], sets[:-1], predicted(selected, early, len(counts), classes), balanced, others), targets, noise


def criterion_of(config, classes=5, sampler=fixed):
    criterion = Criterion(config, classes)
    criterion.sampler = sampler
    return criterion


def leaves(outputs):
    for each in (outputs.final, *outputs.auxiliary, outputs.selected, *outputs.balanced, *outputs.noisy):
        yield from (each.logits, each.boxes)
        if each.masks is not None:
            yield from (each.masks.embedding, each.masks.features)


def total(criterion, outputs, targets, noise):
    return torch.stack(list(criterion(outputs, targets, noise, SIZE).values())).sum()


def assert_finite_gradients(loss, outputs):
    loss.backward()
    assert loss.isfinite()
    grads = [leaf.grad for leaf in leaves(outputs) if leaf.grad is not None]
    assert grads and all(grad.isfinite().all() for grad in grads)


# ---- plain loops over sets, images and objects, as the papers tell it


def read(mask, points):
    return F.grid_sample(mask[None, None].float(), 2 * points[None, None] - 1, align_corners=False)[0, 0, 0]


def corners(boxes):
    return box_convert(boxes, "cxcywh", "xyxy")


def naive_costs(each, image, target, points):
    """f32[Q,n]"""
    probability = each.logits[image].sigmoid()[:, target["labels"]]
    focal = 0.25 * (1 - probability) ** 2 * -probability.log() - 0.75 * probability**2 * -(1 - probability).log()
    cost = 4 * focal + 5 * torch.cdist(each.boxes[image], target["boxes"], p=1)
    cost -= 2 * generalized_box_iou(corners(each.boxes[image]), corners(target["boxes"]))
    if each.masks is None:
        return cost
    truths = unpacked(target["masks"])
    where = fixed(1, points, cost.device)[0]
    for index, truth in enumerate(truths):
        wanted = read(truth, where)
        for query, mask in enumerate(each.masks.full()[image]):
            seen = read(mask, where)
            inside = seen.sigmoid()
            cost[query, index] += 5 * F.binary_cross_entropy_with_logits(seen, wanted)
            cost[query, index] += 5 * (1 - (2 * (inside * wanted).sum() + 1) / (inside.sum() + wanted.sum() + 1))
    return cost


def naive_mask_losses(mask, truth, points):
    candidates = fixed(1, 3 * points, mask.device)[0]
    unsure = read(mask.detach(), candidates).abs().argsort()[: points * 3 // 4]
    where = torch.cat((candidates[unsure], fixed(1, points - points * 3 // 4, mask.device)[0]))
    seen, wanted = read(mask, where), read(truth, where)
    inside = seen.sigmoid()
    return F.binary_cross_entropy_with_logits(seen, wanted), 1 - (2 * (inside * wanted).sum() + 1) / (inside.sum() + wanted.sum() + 1)


def naive_terms(each, targets, pairs, count, points):
    """Terms of one set; pairs: for each image a list of (query, truth)."""
    terms = dict.fromkeys(("ce", "bbox", "giou", *(("mask", "dice") if each.masks else ())), 0.0)
    for image, (target, assigned) in enumerate(zip(targets, pairs, strict=True)):
        wanted = torch.zeros_like(each.logits[image])
        maps, truths = each.masks and each.masks.full()[image], unpacked(target["masks"])
        for query, truth in assigned:
            wanted[query, target["labels"][truth]] = 1
            box, right = each.boxes[image, query], target["boxes"][truth]
            terms["bbox"] += (box - right).abs().sum() / count
            terms["giou"] += (1 - generalized_box_iou(corners(box[None]), corners(right[None]))[0, 0]) / count
            if each.masks:
                entropy, dice = naive_mask_losses(maps[query], truths[truth], points)
                terms["mask"] += entropy / count
                terms["dice"] += dice / count
        terms["ce"] += sigmoid_focal_loss(each.logits[image], wanted, alpha=0.25, gamma=2, reduction="sum") / count
    return terms


def naive_raw(outputs, targets, noise, points):
    count = max(1, sum(len(each["labels"]) for each in targets))
    named = {f"_{index}": each for index, each in enumerate(outputs.auxiliary)} | {"": outputs.final, "_interm": outputs.selected}
    named |= {f"_oldm_{index}": each for index, each in enumerate(outputs.balanced)}
    found = {}
    for suffix, each in named.items():
        with torch.no_grad():
            pairs = [list(zip(*linear_sum_assignment(naive_costs(each, image, target, points)), strict=True)) for image, target in enumerate(targets)]
        found |= {f"loss_{name}{suffix}": value for name, value in naive_terms(each, targets, pairs, count, points).items()}
    for suffix, each in zip([*(f"_dn_{index}" for index in range(len(outputs.auxiliary))), "_dn"], outputs.noisy, strict=False):
        most = max(len(target["labels"]) for target in targets)
        pairs = [[(group * most + t, t) for group in range(noise.groups) for t in range(len(target["labels"]))] for target in targets]
        found |= {f"loss_{name}{suffix}": value for name, value in naive_terms(each, targets, pairs, count * noise.groups, points).items()}
    return found


@pytest.mark.parametrize("counts", [(3, 2), (5, 0), (1, 4)])
def test_terms_and_gradients_are_those_of_plain_loops(counts):
    config, outputs, targets, noise = batch_of(*counts)
    ours = criterion_of(config).raw(outputs, targets, SIZE, noise)
    naive = naive_raw(outputs, targets, noise, config.points)
    assert ours.keys() == naive.keys()
    for name, value in naive.items():
        assert ours[name].item() == pytest.approx(torch.as_tensor(value).item(), rel=1e-4), name
    every = list({id(leaf): leaf for leaf in leaves(outputs)}.values())
    first, second = (torch.autograd.grad(sum(terms.values()), every) for terms in (ours, naive))
    for mine, theirs in zip(first, second, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("counts", [(7, 1), (6, 9)])
def test_more_objects_than_queries_are_as_in_plain_loops(counts):
    config, outputs, targets, noise = batch_of(*counts, points=24, queries=5, selected=8)
    ours = criterion_of(config).raw(outputs, targets, SIZE, noise)
    for name, value in naive_raw(outputs, targets, noise, config.points).items():
        assert ours[name].item() == pytest.approx(torch.as_tensor(value).item(), rel=1e-4), name


def test_terms_of_a_batch_are_weighted_and_summed_by_family():
    config, outputs, targets, noise = batch_of(3, 2)
    criterion = criterion_of(config)
    criterion.weights = {"class": 1.0, "box": 10.0, "giou": 100.0, "mask": 1000.0, "dice": 10000.0}
    raw, terms = criterion.raw(outputs, targets, SIZE, noise), criterion(outputs, targets, noise, SIZE)
    families = {"": [""], "_aux": ["_0", "_1"], "_selected": ["_interm"], "_di": ["_oldm_0", "_oldm_1"], "_noise": ["_dn", "_dn_0", "_dn_1"]}
    names = {"class": ("ce", 1), "bbox": ("bbox", 10), "giou": ("giou", 100), "mask": ("mask", 1000), "dice": ("dice", 10000)}
    assert len(terms) == 23  # balancing layers have no masks
    for name, value in terms.items():
        _, term, *family = name.split("_")
        official, weight = names[term]
        wanted = weight * sum(raw[f"loss_{official}{suffix}"] for suffix in families["".join(f"_{each}" for each in family)])
        assert value.item() == pytest.approx(wanted.item(), rel=1e-5), name


def test_settings_of_a_run_set_the_weights():
    criterion = Criterion(Config(), 3)
    assert criterion.weights == {"class": 4, "box": 5, "giou": 2, "mask": 5, "dice": 5}
    criterion.configure(TrainConfig(data="x", model="di_maskdino", class_loss=1, box_loss=2, giou_loss=3, mask_loss=7, dice_loss=8))
    assert criterion.weights == {"class": 1, "box": 2, "giou": 3, "mask": 7, "dice": 8}


# ---- what data and networks can come up with


def test_a_batch_without_objects_teaches_that_there_is_nothing():
    config, outputs, targets, noise = batch_of(0, 0)
    assert noise is None
    terms = criterion_of(config)(outputs, targets, noise, SIZE)
    assert {name for name, value in terms.items() if value.item()} == {"loss_class", "loss_class_aux", "loss_class_selected", "loss_class_di"}
    assert_finite_gradients(torch.stack(list(terms.values())).sum(), outputs)
    assert (outputs.final.logits.grad > 0).all()


@pytest.mark.parametrize("counts", [(0, 3), (3, 0, 1), (30, 2), (13, 40), (1,)])
def test_gradients_are_finite_whatever_the_number_of_objects(counts):
    config, outputs, targets, noise = batch_of(*counts)
    assert_finite_gradients(total(criterion_of(config, sampler=uniform), outputs, targets, noise), outputs)


def test_one_class_is_enough():
    config, outputs, targets, noise = batch_of(2, 3, classes=1)
    assert_finite_gradients(total(criterion_of(config, classes=1), outputs, targets, noise), outputs)


def test_logits_of_another_number_of_classes_are_refused():
    config, outputs, targets, noise = batch_of(2, 3)
    with pytest.raises(ValueError, match="5 classes, a criterion for 4"):
        criterion_of(config, classes=4)(outputs, targets, noise, SIZE)


def spoiled(outputs, image, value=float("nan"), queries=slice(None)):
    """All predictions of an image replaced by `value`; the leaves stay as they are."""
    def spoil(tensor):
        marked = tensor.clone()
        marked[image, queries] = value
        return marked

    def each(old):
        masks = old.masks and MaskProduct(spoil(old.masks.embedding), old.masks.features)
        return Predictions(spoil(old.logits), spoil(old.boxes), masks)

    return Outputs(each(outputs.final), [each(old) for old in outputs.auxiliary], each(outputs.selected), [each(old) for old in outputs.balanced],
                   [each(old) for old in outputs.noisy])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_image_of_nan_costs_the_other_images_nothing(value):
    config, outputs, targets, noise = batch_of(3, 2)
    bad = spoiled(outputs, 0, value)
    masks = TruthMasks([each["masks"] for each in targets], SIZE)
    truths = Targets.collate(targets)
    whole, rest = (match([as_sets(each.final)], truths, masks, 40, fixed)[0] for each in (outputs, bad))
    second = whole.image == 1
    assert (whole.image == rest.image).all()
    assert (whole.query[:, second] == rest.query[:, second]).all()
    loss = total(criterion_of(config), bad, targets, noise)
    loss.backward()
    assert loss.isfinite()
    for leaf in (outputs.final.logits, outputs.final.boxes, outputs.final.masks.embedding):
        assert not leaf.grad[0].any()
        assert leaf.grad[1].any() and leaf.grad[1].isfinite().all()


def test_queries_of_nan_are_not_chosen_and_take_no_part():
    config, outputs, targets, noise = batch_of(3, 2)
    bad = spoiled(outputs, slice(None), queries=slice(0, 4))
    assigned = match([as_sets(bad.final)], Targets.collate(targets), TruthMasks([each["masks"] for each in targets], SIZE), 40, fixed)[0]
    assert assigned.query.min() >= 4
    assert total(criterion_of(config), bad, targets, noise).isfinite()


def test_nothing_but_nan_is_a_named_error():
    config, outputs, targets, noise = batch_of(3, 2)
    bad = spoiled(spoiled(outputs, 0), 1)
    with pytest.raises(UserError) as caught:
        criterion_of(config)(bad, targets, noise, SIZE)
    assert caught.value.key == "predictions_not_finite"
    assert "learning rate" in caught.value.remedy("en")


def test_half_precision_is_computed_in_full():
    config, outputs, targets, noise = batch_of(3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = criterion_of(config)(outputs, targets, noise, SIZE)
    for name, value in criterion_of(config)(outputs, targets, noise, SIZE).items():
        assert mixed[name].dtype == torch.float32
        assert mixed[name].item() == value.item(), name


def test_masks_of_a_smaller_image_end_where_the_padding_begins():
    config, outputs, targets, noise = batch_of(3, 2)
    whole, part = [dict(each) for each in targets], [dict(each) for each in targets]
    for small, large in zip(part, whole, strict=True):
        masks = unpacked(small["masks"])[:, :40, :72]
        small["masks"], large["masks"] = packed(masks), packed(F.pad(masks, (0, 24, 0, 24)))
    criterion = criterion_of(config)
    first, second = (criterion.raw(outputs, each, SIZE, noise) for each in (part, whole))
    for name, value in first.items():
        assert value.item() == pytest.approx(second[name].item(), rel=1e-5), name


def test_right_answers_cost_next_to_nothing_and_descent_finds_them():
    torch.manual_seed(0)
    config, targets = Config(queries=6, first_selected=6, guiding_tokens=2, points=64, denoising_queries=0), [target_of(3, classes=3)]
    criterion = Criterion(config, 3)
    logits, boxes, maps = torch.zeros(1, 6, 3), torch.randn(1, 6, 4), torch.zeros(1, 6, 16, 24)
    leaf = [each.requires_grad_() for each in (logits, boxes, maps)]
    optimizer = torch.optim.Adam(leaf, lr=0.5)
    history = []
    for _ in range(60):
        found = Predictions(logits, boxes.sigmoid(), MaskProduct(torch.eye(6)[None], maps))
        loss = total(criterion, Outputs(found, [], found, [], []), targets, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0] / 10
    best = maps.detach()[0, logits.detach()[0].amax(1).topk(3).indices] > 0
    truths = F.interpolate(unpacked(targets[0]["masks"])[None].float(), (16, 24), mode="area")[0] > 0.5
    shared = (best[:, None] & truths).sum((2, 3)) / (best[:, None] | truths).sum((2, 3))
    assert (shared.amax(0) > 0.8).all()


# ---- points


@pytest.mark.parametrize("width", [8, 64, 61])
def test_packed_bits_come_back(width):
    masks = torch.from_numpy(np.random.default_rng(0).random((3, 5, width)) > 0.5)
    assert torch.equal(unpacked(packed(masks))[..., :width], masks)
    assert unpacked(packed(masks)).shape[-1] % 8 == 0
    assert unpacked(masks) is masks


def test_three_quarters_of_the_points_are_the_least_sure_of_three_times_as_many():
    torch.manual_seed(0)
    maps, drawn = torch.randn(2, 3, 9, 9), {}

    def draw(rows, points, device):
        return drawn.setdefault(points, uniform(rows, points, device))

    points = uncertain_points(maps, 20, draw)
    assert points.shape == (2, 3, 20, 2)
    assert {number: tuple(each.shape) for number, each in drawn.items()} == {60: (2, 60, 2), 5: (2, 5, 2)}
    for group in range(2):
        for index in range(3):
            sureness = torch.stack([read(maps[group, index], each[None]).abs()[0] for each in drawn[60][group]])
            wanted = drawn[60][group][sureness.argsort()[:15]]
            assert sorted(points[group, index, :15].tolist()) == sorted(wanted.tolist())
            assert torch.equal(points[group, index, 15:], drawn[5][group])


@pytest.mark.parametrize("points", [1, 2, 3])
def test_a_handful_of_points_will_do(points):
    config, outputs, targets, noise = batch_of(3, 2)
    criterion = criterion_of(config, sampler=uniform)
    criterion.points = points
    assert_finite_gradients(total(criterion, outputs, targets, noise), outputs)


def test_the_least_values_are_found():
    values = torch.rand(4, 3, 50)
    assert torch.equal(values.gather(-1, least(values, 7)).sort(-1).values, values.sort(-1).values[..., :7])


def test_softplus_is_softplus_and_so_is_its_gradient():
    x = torch.cat((torch.linspace(-100, 100, 4001), torch.zeros(1))).requires_grad_()
    y = x.detach().clone().requires_grad_()
    ours, theirs = softplus(x), F.softplus(y)
    assert torch.allclose(ours, theirs, atol=2e-7)
    (ours * 3).sum().backward()
    (theirs * 3).sum().backward()
    assert torch.allclose(x.grad, y.grad, atol=1e-6)


def test_boxes_without_area_have_a_generalised_iou():
    boxes = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.2, 0.2, 0.1, 0.1]], requires_grad=True)
    found = generalised_iou(boxes[:, None], boxes[None].detach())
    assert found[0, 0].item() == 0 and found[1, 1].item() == pytest.approx(1, abs=1e-3)
    found.sum().backward()
    assert boxes.grad.isfinite().all()
