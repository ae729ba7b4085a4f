"""The XML of LabelMe's old web tool."""

import numpy as np
import pytest
from PIL import Image

from engine.datasets.collection import collect
from engine.datasets.convert import convert
from engine.datasets.formats.labelme_xml import detects, read
from engine.datasets.outlines import mask_of


def thing(name="cat", points=((1, 1), (20, 1), (20, 30)), inside="", deleted=0):
    pts = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
    return f"<object><name>{name}</name><deleted>{deleted}</deleted><id>7</id>{inside or f'<polygon>{pts}</polygon>'}</object>"


@pytest.fixture
def folder(tmp_path, picture):
    def make(*objects, image="a.png", xml="a.xml", named="a.png", rows=48, columns=64):
        picture(tmp_path / "set" / image)
        size = f"<imagesize><nrows>{rows}</nrows><ncols>{columns}</ncols></imagesize>"
        text = f"<annotation><filename>{named}</filename><folder>f</folder>{''.join(objects)}{size}</annotation>"
        (tmp_path / "set" / xml).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / xml).write_text(text, encoding="utf-8")
        return tmp_path / "set"
    return make


def codes(found):
    return [problem.code for problem in found.problems]


def test_polygons_boxes_and_deleted_objects(folder):
    box = thing("dog", inside="<type>bounding_box</type><polygon>" + "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in
                                                                           ((30, 4), (10, 4), (10, 20), (30, 20))) + "</polygon>")
    found = collect(read(folder(thing(), box, thing("gone", deleted=1))))
    labels = found.samples[0].labels
    assert (found.classes, found.task) == (("cat", "dog"), "instance")
    assert labels.boxes.tolist() == [[1, 1, 20, 30], [10, 4, 30, 20]]
    assert [shape is None for shape in labels.shapes] == [False, True]
    assert [(problem.code, problem.values) for problem in found.problems] == [("labelme_deleted_left_out", {"count": 1})]


def test_a_painted_mask_counts_where_it_is_not_transparent(folder):
    root = folder(thing(inside="<segm><mask>m.png</mask></segm>"), thing("dog", inside="<segm><mask>../../gone.png</mask></segm>"))
    pixels = np.zeros((48, 64, 4), np.uint8)
    pixels[10:20, 5:9] = (255, 0, 0, 8)
    (root / "Masks").mkdir()
    Image.fromarray(pixels).save(root / "Masks" / "m.png")
    found = collect(read(root))
    assert len(found.samples) == 1
    assert mask_of(found.samples[0].labels.shapes[0], (64, 48)).sum() == 40
    assert codes(found) == ["mask_missing"]


def test_a_mask_of_another_size_is_named(folder):
    root = folder(thing(inside="<segm><mask>m.png</mask></segm>"))
    (root / "Masks").mkdir()
    Image.new("L", (10, 10), 255).save(root / "Masks" / "m.png")
    found = collect(read(root))
    assert (found.samples[0].labels, codes(found)) == (None, ["mask_size_differs", "images_without_labels"])


def test_trees_of_images_and_annotations_run_side_by_side(folder):
    found = collect(read(folder(thing(), image="Images/f/a.png", xml="Annotations/f/a.xml")))
    assert [(sample.name, len(sample.labels)) for sample in found.samples] == [("Images/f/a.png", 1)]


def test_faults_are_named_and_cost_only_themselves(folder):
    root = folder(thing(points=((1, 1), (2, "x"), (3, 3))), thing(), rows=480)
    (root / "b.xml").write_text("<annotation><object>")
    (root / "c.xml").write_text(f"<annotation><filename>gone.png</filename>{thing()}</annotation>")
    found = collect(read(root))
    assert len(found.samples[0].labels) == 1
    assert sorted(codes(found)) == ["image_missing", "label_size_differs", "outline_too_short", "xml_damaged"]


def test_pascal_voc_is_left_to_its_own_reader(folder):
    assert detects(folder(thing())) == "a.xml"
    assert detects(folder("<object><name>x</name><bndbox><xmin>1</xmin></bndbox></object>", xml="a.xml")) is None


def test_the_sample_is_read_whole(reference, tmp_path):
    root = reference / "data" / "formats" / "annotations" / "datumaro_labelme_dataset"
    found = collect(read(root))
    labels = found.samples[0].labels
    assert (len(found.samples), len(labels), found.problems) == (1, 7, [])
    names = [found.classes[each] for each in labels.classes]
    areas = {name: mask_of(shape, (102, 77), box).sum() for name, shape, box in zip(names, labels.shapes, labels.boxes, strict=True)}
    assert (areas["license plate"], areas["m1"], areas["b1"]) == (10, 130, 110)
    assert labels.boxes[names.index("b1")].tolist() == [13, 19, 23, 30]
    assert convert(root, tmp_path / "out", to="coco").boxes == 7
