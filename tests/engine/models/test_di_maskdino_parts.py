"""The stages of DI-MaskDINO, each against another way to compute it."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import box_convert, masks_to_boxes

from engine.models.deformable_attention import ProjectedDeformableAttention
from engine.models.di_maskdino.decoder import Locator
from engine.models.di_maskdino.layers import box_position, centres, map_position
from engine.models.di_maskdino.outputs import MaskProduct
from engine.models.di_maskdino.points import TruthMasks, uncertain_points, uniform
from engine.models.di_maskdino.selection import mask_boxes, pick, proposals, strongest, tight_boxes

# ---- masks as products

def test_points_of_a_product_are_points_of_its_masks():
    masks, points = MaskProduct(torch.randn(2, 5, 8), torch.randn(2, 8, 6, 7)), torch.rand(2, 9, 2)
    whole = F.grid_sample(masks.full(), 2 * points[:, :, None] - 1, align_corners=False)[..., 0]
    assert torch.allclose(masks.at(points), whole, atol=1e-5)


def test_some_masks_of_one_image_are_rows_of_all():
    masks = MaskProduct(torch.randn(2, 5, 8), torch.randn(2, 8, 6, 7))
    assert torch.allclose(masks.of(1, torch.tensor([3, 0])), masks.full()[1, [3, 0]], atol=1e-6)
    assert masks.of(0, torch.tensor([], dtype=torch.long)).shape == (0, 6, 7)


def test_located_masks_fade_with_the_distance_from_their_boxes():
    boxes = torch.tensor([[[0.3, 0.6, 0.2, 0.4], [0.5, 0.5, 0.0, 1.0]]])
    locator = Locator(4)
    torch.nn.init.constant_(locator.nearness, 1.5)
    torch.nn.init.zeros_(locator.place.weight)
    embedding, features = torch.randn(1, 2, 4), torch.randn(1, 4, 20, 30)
    found = MaskProduct(locator(embedding, boxes), Locator.features(features)).full() - MaskProduct(embedding, features).full()
    y, x = torch.meshgrid((torch.arange(20) + 0.5) / 20, (torch.arange(30) + 0.5) / 30, indexing="ij")
    for mask, (cx, cy, w, h) in zip(found[0], ((0.3, 0.6, 0.2, 0.4), (0.5, 0.5, Locator.LEAST, 1.0)), strict=True):
        wanted = 1.5 * (1 - (((x - cx) / (w / 2)) ** 2 + ((y - cy) / (h / 2)) ** 2) / 2)
        assert torch.allclose(mask, wanted, rtol=1e-4, atol=1e-3)


# ---- deformable attention

SHAPES = ((3, 4), (2, 2))


DIM = 4


def attention(dim=DIM, heads=2, levels=2, points=2):
    torch.manual_seed(1)
    module = ProjectedDeformableAttention(dim, heads, levels, points).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return module


def looked_at(count, coordinates):
    torch.manual_seed(2)
    tokens = sum(height * width for height, width in SHAPES)
    return torch.randn(2, count, DIM).double(), (torch.rand(2, count, coordinates) * 0.8 + 0.1).double(), torch.randn(2, tokens, DIM).double()


def bilinear(level, x, y):
    """The value [c] of a map [h,w,c] at a place in cells, whose middles lie at 0.5, 1.5, ...; zero outside."""
    height, width = level.shape[:2]
    total = torch.zeros(level.shape[2], dtype=level.dtype)
    for row in (math.floor(y - 0.5), math.floor(y - 0.5) + 1):
        for column in (math.floor(x - 0.5), math.floor(x - 0.5) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += level[row, column] * (1 - abs(y - 0.5 - row)) * (1 - abs(x - 0.5 - column))
    return total


def naive(module, queries, references, tokens, shapes):
    """Every head, query, level and point by itself."""
    batch, count, dim = queries.shape
    heads, levels, points, width = module.heads, len(shapes), module.points[0], dim // module.heads
    offsets = module.sampling_offsets(queries).view(batch, count, heads, levels, points, 2)
    weights = module.attention_weights(queries).view(batch, count, heads, -1).softmax(-1).view(batch, count, heads, levels, points)
    values, found = module.value_proj(tokens), torch.zeros(batch, count, dim, dtype=queries.dtype)
    for b in range(batch):
        parts = values[b].split([h * w for h, w in shapes])
        for q in range(count):
            for head in range(heads):
                own = slice(head * width, (head + 1) * width)
                for number, (h, w) in enumerate(shapes):
                    level, reference = parts[number].view(h, w, dim)[..., own], references[b, q]
                    for point in range(points):
                        offset = offsets[b, q, head, number, point]
                        reach = offset / torch.tensor([w, h]) if len(reference) == 2 else offset / points * reference[2:] / 2
                        x, y = ((reference[:2] + reach) * torch.tensor([w, h])).tolist()
                        found[b, q, own] += weights[b, q, head, number, point] * bilinear(level, x, y)
    return module.output_proj(found)


@pytest.mark.parametrize("coordinates", [2, 4])
def test_deformable_attention_is_the_naive_loop(coordinates):
    module, (queries, references, tokens) = attention(), looked_at(5, coordinates)
    with torch.no_grad():
        assert torch.allclose(module(queries, references, tokens, SHAPES), naive(module, queries, references, tokens, SHAPES), atol=1e-12)


@pytest.mark.parametrize("coordinates", [2, 4])
def test_gradients_of_deformable_attention_are_right(coordinates):
    module, (queries, references, tokens) = attention(), looked_at(2, coordinates)
    given = [each.requires_grad_() for each in (queries, references, tokens)]
    assert torch.autograd.gradcheck(lambda *values: module(*values, SHAPES), given)
    names, parameters = zip(*module.named_parameters(), strict=True)

    def by_parameters(*values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (*(each.detach() for each in given), SHAPES))

    assert torch.autograd.gradcheck(by_parameters, [each.detach().requires_grad_() for each in parameters])


def test_deformable_attention_starts_on_rays_with_equal_weights():
    module = ProjectedDeformableAttention(32, 8, 4, 4)
    assert not any(each.any() for each in (module.sampling_offsets.weight, module.attention_weights.weight, module.attention_weights.bias))
    assert module.sampling_offsets.bias.view(8, 4, 4, 2)[0, 2].tolist() == [[1, 0], [2, 0], [3, 0], [4, 0]]


# ---- where things are

def test_positions_of_a_map_are_the_published_sines():
    height, width, dim = 3, 5, 16
    ones = torch.ones(1, height, width)
    rows, columns = (ones.cumsum(axis) / (side + 1e-6) * 2 * math.pi for axis, side in ((1, height), (2, width)))
    scale = 10000 ** (2 * torch.div(torch.arange(dim // 2), 2, rounding_mode="floor") / (dim // 2))
    each = [angle[..., None] / scale for angle in (rows, columns)]
    expected = torch.cat([torch.stack((one[..., 0::2].sin(), one[..., 1::2].cos()), -1).flatten(3) for one in each], -1)[0]
    assert torch.allclose(torch.from_numpy(map_position(height, width, dim)), expected.flatten(0, 1), atol=1e-6)


def test_positions_of_boxes_are_the_published_sines():
    boxes, dim = torch.rand(2, 3, 4), 12
    scale = 10000 ** (2 * torch.div(torch.arange(dim // 2), 2, rounding_mode="floor") / (dim // 2))
    parts = []
    for coordinate in (1, 0, 2, 3):
        angle = boxes[..., coordinate, None] * 2 * math.pi / scale
        parts.append(torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), -1).flatten(2))
    assert torch.allclose(box_position(boxes, dim), torch.cat(parts, -1), atol=1e-6)


def test_centres_run_along_rows_from_level_to_level():
    found = centres(((1, 2), (2, 1)), torch.zeros(1))
    assert found.tolist() == [[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]


def test_proposals_double_from_level_to_level_and_leave_out_the_rim():
    logits, inside = proposals(((2, 2), (60, 60)))
    assert inside[:4].all()
    expected = torch.tensor([[0.25, 0.25, 0.05, 0.05], [0.75, 0.25, 0.05, 0.05], [0.25, 0.75, 0.05, 0.05], [0.75, 0.75, 0.05, 0.05]])
    assert torch.allclose(torch.from_numpy(logits[:4]).sigmoid(), expected)
    rim = torch.ones(60, 60, dtype=torch.bool)
    rim[1:-1, 1:-1] = False
    assert torch.equal(torch.from_numpy(~inside[4:, 0]).view(60, 60), rim)
    assert (logits[4:][rim.flatten()] == math.inf).all()
    assert logits[4:][~rim.flatten()][:, 2:] == pytest.approx(math.log(0.1 / 0.9))


# ---- choosing

def test_boxes_around_masks_are_those_of_torchvision():
    masks = torch.rand(6, 9, 12) > 0.9
    masks[:, 4, 5] = True
    expected = box_convert(masks_to_boxes(masks), "xyxy", "cxcywh") / torch.tensor([12, 9, 12, 9])
    assert torch.allclose(tight_boxes(masks), expected)


def test_an_empty_mask_becomes_a_point_at_the_far_corner():
    masks = MaskProduct(-torch.ones(1, 1, 4), torch.ones(1, 4, 8, 8))
    assert mask_boxes(masks).sigmoid()[0, 0] == pytest.approx(torch.tensor([1.0, 1.0, 0.0, 0.0]), abs=1e-4)


def test_the_strongest_rows_are_those_with_the_largest_single_value():
    logits = torch.tensor([[[0.0, 1.0], [5.0, -9.0], [2.0, 2.0]]])
    assert strongest(logits, 2).tolist() == [[1, 2]]
    assert strongest(logits, 50).tolist() == [[1, 2, 0]]
    assert pick(logits, strongest(logits, 2)).tolist() == [[[5.0, -9.0], [2.0, 2.0]]]


def test_a_token_with_an_empty_mask_starts_from_its_own_box_where_that_is_wanted():
    features = torch.zeros(1, 2, 8, 8)
    features[0, 0] = -1.0
    features[0, 1] = -1.0
    features[0, 1, 2:5, 3:7] = 1.0
    masks = MaskProduct(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), features)
    own = torch.tensor([[[0.3, 0.4, 0.2, 0.1], [0.9, 0.9, 0.1, 0.1]]])
    corner, kept = mask_boxes(masks).sigmoid(), mask_boxes(masks, own).sigmoid()
    assert corner[0, 0, 2:].max() < 1e-4
    assert torch.allclose(kept[0, 0], own[0, 0], atol=1e-5)
    assert torch.equal(corner[0, 1], kept[0, 1])
    assert torch.allclose(kept[0, 1], torch.tensor([4.5, 3.0, 3.0, 2.0]) / 8, atol=1e-5)


def test_a_quarter_of_the_points_lies_in_the_box_where_that_is_wanted():
    boxes = torch.tensor([[0.2, 0.3, 0.08, 0.16], [0.9, 0.9, 0.4, 0.4]])
    truth = TruthMasks([torch.zeros(2, 16, 16, dtype=torch.bool)], (16, 16), [boxes])
    torch.manual_seed(0)
    points = uncertain_points(torch.randn(3, 2, 8, 8), 100, uniform, truth.around(0))
    low, high = boxes[:, None, :2] - 0.625 * boxes[:, None, 2:], boxes[:, None, :2] + 0.625 * boxes[:, None, 2:]
    inside = ((points >= low.clamp(0, 1) - 1e-6) & (points <= high.clamp(0, 1) + 1e-6)).all(-1)
    assert points.shape == (3, 2, 100, 2)
    assert inside[:, :, 75:].all()
    assert inside[:, 0, :75].float().mean() < 0.2
    assert TruthMasks(truth.masks, (16, 16)).around(0) is None
