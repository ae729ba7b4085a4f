"""Slices against an oracle that sees coloured rectangles, and with a model that was really trained."""

import json

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from engine import slicing
from engine.__main__ import main
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.models import create
from engine.predict import Predictor, Preprocess
from engine.slicing import AUTO, OFF
from engine.tasks.detect import Detect
from engine.tasks.task import Task
from engine.types import Instances, SemanticMask, UserError

COLOURS = np.array([[250, 30, 30], [30, 250, 30], [30, 30, 250]], np.uint8)
SIDE = 64


class Sees(Task):
    """Finds rectangles of pure colour, one class a colour; the larger, the surer. Nothing in a picture that was shrunk, where colours blend."""

    name = "detect"
    masks = False

    def decode(self, outputs, sizes):
        return [self.one(picture, size) if max(size) <= SIDE else Instances(np.zeros((0, 4)), [], [], () if self.masks else None)
                for picture, size in zip(outputs, sizes, strict=True)]

    def one(self, picture, size):
        pixels = (picture.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        scale = np.array([size[0] / SIDE, size[1] / SIDE] * 2)
        rows = []
        for class_id, colour in enumerate(COLOURS):
            count, parts, stats, _ = cv2.connectedComponentsWithStats((pixels == colour).all(-1).astype(np.uint8), connectivity=4)
            rows += [(stats[i, :4] + [0, 0, *stats[i, :2]], class_id, parts == i) for i in range(1, count)]
        boxes = np.array([row[0] * scale for row in rows]).reshape(-1, 4)
        shapes = tuple(rle_of_mask(row[2]) for row in rows) if self.masks else None
        return Instances(boxes, np.array([row[1] for row in rows], int), 0.5 + (boxes[:, 2:] - boxes[:, :2]).prod(1) / 1e6, shapes)


class SeesMasks(Sees):
    name = "instance"
    masks = True


class Counting(nn.Identity):
    """Passes pictures on and notes how many came at once."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, pictures):
        self.batches.append(len(pictures))
        return pictures


def oracle(task=Sees, slices=SIDE):
    predictor = Predictor(Counting(), name="oracle", task=task(), classes=("r", "g", "b"), device=torch.device("cpu"),
                          preprocess=Preprocess(SIDE, (0.0,) * 3, (1.0,) * 3))
    predictor.slices = slices
    return predictor


def scene(size, rows):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for class_id, (left, top, right, bottom) in rows:
        image[top:bottom, left:right] = COLOURS[class_id]
    return image


def strewn(size, seed, largest):
    """Rectangles of random colours that do not touch."""
    random, rows = np.random.default_rng(seed), []
    taken = np.zeros((size[1], size[0]), bool)
    for _ in range(400):
        w, h = random.integers(3, largest, 2)
        x, y = int(random.integers(0, size[0] - w + 1)), int(random.integers(0, size[1] - h + 1))
        if not taken[max(0, y - 3) : y + h + 3, max(0, x - 3) : x + w + 3].any():
            taken[y : y + h, x : x + w] = True
            rows.append((int(random.integers(3)), (x, y, x + int(w), y + int(h))))
    return rows


def as_rows(found):
    return sorted((int(c), tuple(box)) for c, box in zip(found.classes, found.boxes.round(3).tolist(), strict=True))


def test_tiles_cover_every_pixel_and_overlap():
    for size in ((64, 64), (65, 40), (500, 333), (64, 1000)):
        whole, *parts = slicing.tiles(size, SIDE)
        seen = np.zeros(size[::-1], int)
        for part in parts:
            seen[part.top : part.bottom, part.left : part.right] += 1
            assert part.size == (min(SIDE, size[0]), min(SIDE, size[1]))
        assert whole.size == size and seen.min() >= 1
        columns = sorted({part.left for part in parts})
        assert all(later - earlier <= SIDE * 0.75 + 1 for earlier, later in zip(columns, columns[1:], strict=False))


@pytest.mark.parametrize("largest", [15, 40, 150])
@pytest.mark.parametrize("seed", range(3))
def test_boxes_at_borders_are_exact_whether_smaller_or_larger_than_a_tile(seed, largest):
    size = (407, 291)
    rows = strewn(size, seed, largest)
    assert as_rows(oracle()(scene(size, rows))) == sorted(rows)


def test_neighbours_that_meet_near_a_border_stay_two():
    begin = slicing.tiles((200, 64), SIDE)[2].left + SIDE  # where the second tile ends
    rows = [(0, (begin - 14, 10, begin - 1, 20)), (0, (begin + 1, 10, begin + 12, 20))]
    assert as_rows(oracle()(scene((200, 64), rows))) == sorted(rows)


def test_an_object_larger_than_all_tiles_is_one():
    rows = [(1, (20, 30, 390, 200))]
    assert as_rows(oracle()(scene((407, 291), rows))) == rows


@pytest.mark.parametrize("seed", range(2))
def test_masks_that_tiles_cut_are_whole_again(seed):
    size = (230, 170)
    rows = strewn(size, seed, 90)
    found = oracle(SeesMasks)(scene(size, rows))
    assert as_rows(found) == sorted(rows)
    for box, shape in zip(found.boxes.astype(int), found.shapes, strict=True):
        filled = np.zeros(size[::-1], bool)
        filled[box[1] : box[3], box[0] : box[2]] = True
        assert shape.size == (170, 230) and np.array_equal(mask_of(shape, size), filled)


def test_what_one_view_tells_apart_stays_apart():
    tile = slicing.Tile(0, 0, 64, 64)
    near = Instances([[10, 10, 30, 30], [11, 11, 31, 31]], [0, 0], [0.9, 0.8])
    assert len(slicing.merged([(near, tile)], (64, 64))) == 2
    nothing = (Instances(np.zeros((0, 4)), [], []), slicing.Tile(0, 0, 100, 64))
    again = (Instances([[10, 10, 30, 31]], [0], [0.85]), slicing.Tile(0, 0, 64, 64))
    assert slicing.merged([nothing, (near, tile), again], (100, 64)).scores.tolist() == pytest.approx([0.9, 0.8])


def test_a_small_object_in_the_whole_image_counts_only_where_no_tile_shows_it():
    tile, whole = slicing.Tile(0, 0, 64, 64), slicing.Tile(0, 0, 100, 64)
    exact = (Instances([[10, 10, 20, 20]], [0], [0.6]), tile)
    for box, count in (([8, 8, 24, 24], 1), ([13, 13, 16, 16], 1), ([30, 30, 40, 40], 2), ([0, 0, 60, 60], 2)):
        assert len(slicing.merged([(Instances([box], [0], [0.9]), whole), exact], (100, 64))) == count
    assert len(slicing.merged([(Instances([[8, 8, 24, 24]], [1], [0.9]), whole), exact], (100, 64))) == 2, "another class is another object"


def test_a_sure_piece_is_not_given_up_for_an_unsure_whole():
    piece = (Instances([[40, 10, 64, 30]], [0], [0.9]), slicing.Tile(0, 0, 64, 64))
    for score, best in ((0.1, 0.9), (0.6, 0.6)):
        whole = (Instances([[38, 8, 80, 32]], [0], [score]), slicing.Tile(0, 0, 100, 64))
        assert slicing.merged([piece, whole], (100, 64)).scores[0] == pytest.approx(best)


def test_memory_is_bounded_by_a_few_tiles_at_once():
    predictor = oracle()
    predictor(np.zeros((600, 600, 3), np.uint8))
    assert max(predictor.network.batches) == 4 and sum(predictor.network.batches) == len(slicing.tiles((600, 600), SIDE))


def test_by_itself_only_large_images_are_cut():
    for size, tiles in (((90, 60), 1), ((96, 60), 1 + 2), ((4000, 3000), None)):
        predictor = oracle(slices=AUTO)
        predictor(np.zeros((size[1], size[0], 3), np.uint8))
        seen = sum(predictor.network.batches)
        assert seen == tiles if tiles else 200 < seen <= 401
    assert slicing.side_for((9999, 9999), SIDE, OFF) == 0


@pytest.mark.parametrize("text, side", [("off", OFF), (" Auto ", AUTO), ("640", 640)])
def test_what_a_person_writes_for_slices(text, side):
    assert slicing.wanted(text) == side


@pytest.mark.parametrize("text", ["", "31", "-1", "6.4", "6e2", "²", "９６", "always", "0"])
def test_nonsense_for_slices_is_told(text):
    with pytest.raises(UserError) as caught:
        slicing.wanted(text)
    assert caught.value.key == "slices_value"


def test_far_too_many_tiles_are_refused_with_a_size_that_works():
    with pytest.raises(UserError) as caught:
        oracle(slices=32)(np.zeros((3000, 3000, 3), np.uint8))
    assert caught.value.key == "slices_too_many"
    assert slicing.side_for((3000, 3000), SIDE, caught.value.values["least"]) == caught.value.values["least"]


def test_areas_are_not_for_slices():
    class Areas(Task):
        name = "semantic"

        def decode(self, outputs, sizes):
            return [SemanticMask() for _ in sizes]

    with pytest.raises(UserError) as caught:
        oracle(Areas)(np.zeros((300, 300, 3), np.uint8))
    assert caught.value.key == "slices_objects_only"


# ---- a model that was trained


class Small(nn.Module):
    """A detector of one class: each of 16 x 16 cells says whether an object's centre lies in it, and how large the object is."""

    def __init__(self):
        super().__init__()
        layers = [(3, 16, 2), (16, 32, 2), (32, 32, 1), (32, 32, 1)]
        self.body = nn.Sequential(*[part for i, o, s in layers for part in (nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o), nn.ReLU())])
        self.head = nn.Conv2d(32, 5, 1)

    def forward(self, pictures):
        out = self.head(self.body(pictures))
        grid = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="xy"), 0).to(out)
        if not self.training:  # of neighbours that see the same object the surest speaks
            out[:, 0][out[:, 0] < functional.max_pool2d(out[:, :1], 5, 1, 2)[:, 0]] = -9
        centres, sizes = (grid + out[:, 1:3].sigmoid()) / 16, out[:, 3:].sigmoid()
        return {"logits": out[:, :1].flatten(2).transpose(1, 2), "boxes": torch.cat([centres, sizes], 1).flatten(2).transpose(1, 2)}


def speckled(size, random, count, range_of_sides):
    image = random.integers(0, 90, (size[1], size[0], 3), np.uint8)
    boxes = []
    for _ in range(count * 5):
        side = int(random.integers(*range_of_sides))
        x, y = (int(random.integers(0, length - side)) for length in size)
        if len(boxes) < count and all(x + side + 3 < b[0] or b[2] + 3 < x or y + side + 3 < b[1] or b[3] + 3 < y for b in boxes):
            image[y : y + side, x : x + side] = random.integers(170, 255, 3)
            boxes.append((x, y, x + side, y + side))
    return image, np.array(boxes, np.float32)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    random, network = np.random.default_rng(0), Small()
    learn = torch.optim.AdamW(network.parameters())
    for step in range(300):
        learn.param_groups[0]["lr"] = 8e-3 * (1 - step / 300)
        pairs = [speckled((SIDE, SIDE), random, 4, (7, 15)) for _ in range(16)]
        out = network(torch.from_numpy(np.stack([image for image, _ in pairs])).permute(0, 3, 1, 2) / 255)
        there, boxes = torch.zeros(16, 256), torch.zeros(16, 256, 4)
        for i, (_, truth) in enumerate(pairs):
            cells = torch.from_numpy(np.concatenate([(truth[:, :2] + truth[:, 2:]) / 2, truth[:, 2:] - truth[:, :2]], 1)) / SIDE
            place = (cells[:, 1] * 16).long() * 16 + (cells[:, 0] * 16).long()
            there[i, place], boxes[i, place] = 1, cells
        loss = functional.binary_cross_entropy_with_logits(out["logits"][..., 0], there, pos_weight=torch.tensor(8.0))
        loss = loss + 40 * ((out["boxes"] - boxes).abs().sum(-1) * there).sum() / there.sum()
        learn.zero_grad()
        loss.backward()
        learn.step()
    torch.set_num_threads(threads)
    return Predictor(network, name="small", task=Detect(), classes=("dot",), device=torch.device("cpu"),
                     preprocess=Preprocess(SIDE, (0.0,) * 3, (1.0,) * 3))


def found_of(truth, found):
    """How many true boxes are met (IoU 0.5), and how many found ones meet none."""
    wide = np.minimum(truth[:, None, 2:], found[None, :, 2:]) - np.maximum(truth[:, None, :2], found[None, :, :2])
    shared = np.maximum(wide, 0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (truth, found)]
    met = shared / (areas[0][:, None] + areas[1][None] - shared) > 0.5
    return int(met.any(1).sum()), int((~met.any(0)).sum())


def test_a_trained_model_finds_in_slices_the_small_objects_that_it_misses_in_the_whole_image(trained):
    image, truth = speckled((420, 330), np.random.default_rng(5), 60, (7, 15))
    trained.slices = OFF
    without = found_of(truth, trained(image).above(0.5).boxes)
    trained.slices = AUTO
    sliced, wrong = found_of(truth, trained(image).above(0.5).boxes)
    assert without[0] <= 2
    assert sliced >= 0.9 * len(truth) and wrong <= 0.1 * len(truth)


def test_the_command_line_takes_slices(tmp_path, picture):
    torch.manual_seed(0)
    torch.save({"model": create("deimv2_atto", 2).state_dict()}, tmp_path / "a.pth")
    picture(tmp_path / "a.png", 200, 140)
    command = ["predict", str(tmp_path / "a.pth"), str(tmp_path / "a.png"), "--model", "deimv2_atto", "--image-size", "96", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "o"), "--threshold", "0.05", "--slices", "96", "--tta"]) == 0
    assert json.loads((tmp_path / "o" / "predictions.json").read_text())["images"][0]["width"] == 200
    assert main([*command, "--out", str(tmp_path / "p"), "--slices", "many"]) == 2
