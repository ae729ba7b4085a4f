"""What could be filled in is counted as it is done, stops when it takes long, and what lies beside the labels goes with images that are gone."""

import numpy as np
import pytest

from engine.datasets import editing, labeling, labeling_derive, labeling_suggested, labeling_tables
from engine.datasets.labeling_lists import Ranked, Suspect, put_ranks, put_suspects, ranks, suspects
from engine.datasets.outlines import box_of, rle_of_mask
from engine.datasets.store import Dataset
from engine.types import NOTHING, Instances, Polygons, Reading, Sample, SemanticMask, Tags

SIZE = (64, 48)
SQUARE = Polygons((np.array([[4, 4], [24, 4], [24, 20], [4, 20]], float),))


def disc(x=40, y=24, radius=9):
    rows, columns = np.mgrid[:SIZE[1], :SIZE[0]]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius ** 2


def painted(*areas):
    pixels = np.full(SIZE[::-1], NOTHING, np.uint16)
    for area in areas:
        pixels[area] = 0
    return SemanticMask(classes=pixels)


RLE_DISC = rle_of_mask(disc())
BOX = Instances([[1, 1, 9, 9]], [0])
TIGHT = Instances([[4, 4, 24, 20], box_of(RLE_DISC)], [0, 1], None, (SQUARE, RLE_DISC))
LOOSE = Instances([[0, 0, 63, 47]], [0], None, (RLE_DISC,))
THIN = Instances([[4, 4, 24, 20]], [0], None, (Polygons((np.array([[4.1, 4.1], [4.2, 4.1], [4.2, 4.2]], float),)),))
EVERY = (BOX, TIGHT, LOOSE, THIN, painted(disc()), painted(), Tags(np.array([1, 0])), None, Instances.empty(),
         SemanticMask(layers=np.stack([disc(), np.zeros(SIZE[::-1], bool)])))


@pytest.fixture
def make(tmp_path, picture):
    def made(*labels, name="set"):
        samples = [Sample(picture(tmp_path / "images" / f"{number}.png", *SIZE, seed=number), SIZE, each, "train", None, f"{number}.png")
                   for number, each in enumerate(labels)]
        return Dataset.create(tmp_path / name, name, Reading(("cat", "dog"), iter(samples), "instance"))
    return made


@pytest.mark.parametrize("what", labeling.KINDS)
def test_as_many_images_change_as_were_counted_and_they_come_back(make, what):
    dataset = make(*EVERY)
    counted = labeling_derive.derivable(dataset)
    before = [row.labels for row in dataset.page(0, 99)]
    assert counted.complete and 0 < counted.counts[what] < len(EVERY)
    assert [labeling_derive.derivable(dataset, [image]).counts[what] for image in dataset.ids()] == [
        int(labeling_derive.derived_labels(labels, what, SIZE, dataset.classes)[1] != []) for labels in before]
    assert labeling.derive(dataset, labeling_derive.candidates(dataset), what) == counted.counts[what]
    assert labeling_derive.derivable(dataset).counts[what] == 0
    edit, = editing.edits(dataset)
    assert edit.images == counted.counts[what]
    editing.undo(dataset, edit.id)
    assert labeling_derive.derivable(dataset) == counted
    assert not any(shape.get("derived") for image in dataset.ids() for shape in labeling.opened(dataset, image).document["shapes"])


def test_only_what_could_be_turned_is_looked_at(make):
    dataset = make(*EVERY)
    assert labeling_derive.candidates(dataset) == [2, 3, 4, 5, 6, 10]
    plain = make(BOX, None, Tags(np.array([1, 0])), name="plain")
    assert labeling_derive.derivable(plain) == labeling_derive.Derivable(dict.fromkeys(labeling.KINDS, 0), 0, 0)
    editing.trash(dataset, [2, 3])
    assert labeling_derive.candidates(dataset) == [4, 5, 6, 10]


def test_counting_ends_when_it_takes_long(make):
    found = labeling_derive.derivable(make(TIGHT, TIGHT, TIGHT), patience=0.0)
    assert (found.looked, found.images, found.complete) == (1, 3, False) and found.counts["masks_from_polygons"] == 1


def test_emptying_the_trash_takes_what_models_and_people_said_of_the_images_along(make):
    dataset = make(TIGHT, TIGHT, None, None)
    shape = {"kind": "box", "cls": 0, "box": [1, 1, 9, 9], "state": "suggested", "score": 0.9}
    for image in (3, 4):
        labeling_suggested.put(dataset, image, labeling_suggested.Suggestion("run", "", [shape]))
    put_ranks(dataset, [Ranked(3, 0.9, "uncertain"), Ranked(4, 0.5, "uncertain")], "run")
    put_suspects(dataset, [Suspect(1, "class", 0.9, (4, 4, 24, 20), 0, 1), Suspect(2, "class", 0.8, (4, 4, 24, 20), 0, 1)], "run")
    labeling.derive(dataset, [1, 2], "masks_from_polygons")
    for image in (1, 2):
        labeling.save(dataset, image, None, expected=dataset.row(image).revision, mark="skipped")
    labeling.queue(dataset, order="rare")
    labeling_suggested.accept(dataset, [3], threshold=0.5)
    other = editing.move(dataset, [2], "valid")
    editing.trash(dataset, [1, 3])
    assert editing.empty_trash(dataset) == 2
    with dataset.connection() as connection:
        known = labeling_tables.present(connection)
        left = {name: {image for image, in connection.execute(f"SELECT image_id FROM {name}")} for name in known}
    assert known == set(labeling_tables.TABLES) and all(images <= {2, 4} for images in left.values()), left
    assert left["suggestions"] == {4} and left["derived"] == {2} and left["suspect_order"] == {2}
    assert labeling_suggested.unseen(dataset) == 0 and [each.image_id for each in ranks(dataset)] == [4] and suspects(dataset) == []
    editing.undo(dataset, other.id)
    assert dataset.row(2).split == "train" and labeling_suggested.with_suggestions(dataset) == [4]


def test_what_was_there_before_a_fill_in_stands_in_the_history_of_the_image(make):
    dataset = make(BOX)
    drawn = {"looked": True, "tags": None, "shapes": [{"kind": "polygon", "cls": 0, "rings": [[4, 4, 24, 4, 24, 20]], "holes": []}]}
    labeling.save(dataset, 1, drawn, expected=dataset.row(1).revision, who="小明")
    before = dataset.row(1).revision
    assert labeling.derive(dataset, [1], "masks_from_polygons") == 1
    newest = labeling.history(dataset, 1)[0]
    assert newest[0] == before
    assert [type(shape).__name__ for shape in newest[3].shapes] == ["Polygons"]
    kept = labeling.version(dataset, 1, before)
    assert kept["shapes"][0]["kind"] == "polygon"
    labeling.save(dataset, 1, kept, expected=dataset.row(1).revision)
    assert [type(shape).__name__ for shape in dataset.row(1).labels.shapes] == ["Polygons"]
