"""Labels drawn on the stored pixels of a picture that EXIF turns, against the turned pixels themselves."""

import json

import numpy as np
import pytest
from PIL import Image

from engine.datasets.formats import formats
from engine.datasets.images import open_image, size_of
from engine.datasets.outlines import mask_of, rle_of_mask
from engine.datasets.turning import turn_for
from engine.types import Instances, Polygons, Problem, Sample

STORED = (64, 48)  # width, height
BOX = [8, 6, 40, 18]


@pytest.fixture
def lying(tmp_path):
    """Makes a PNG that EXIF turns: white in BOX, black around it."""
    def make(path, orientation=6):
        pixels = np.zeros((STORED[1], STORED[0], 3), np.uint8)
        pixels[BOX[1]:BOX[3], BOX[0]:BOX[2]] = 255
        exif = Image.Exif()
        exif[0x0112] = orientation
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, exif=exif)
        return path
    return make


def white(path):
    """x1, y1, x2, y2 of the white pixels as people see them."""
    ys, xs = np.nonzero(open_image(path)[:, :, 0] > 0)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_outlines_and_masks_follow_the_pixels(tmp_path, lying, orientation):
    path = lying(tmp_path / "a.png", orientation)
    x1, y1, x2, y2 = BOX
    mask = np.zeros(STORED[::-1], bool)
    mask[y1:y2, x1:x2] = True
    ring = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], float)
    turn = turn_for(STORED, size_of(path), path)
    labels = turn.upright(Instances([BOX] * 3, [0, 1, 2], shapes=(None, Polygons((ring,)), rle_of_mask(mask)), crowd=[False, False, True]))
    assert labels.boxes.tolist() == [white(path)] * 3
    for shape in labels.shapes[1:]:
        assert np.array_equal(mask_of(shape, size_of(path)), open_image(path)[:, :, 0] > 0)
    assert labels.crowd.tolist() == [False, False, True]


@pytest.mark.parametrize(("claimed", "orientation"), [((48, 64), 6), ((64, 47), 6), ((64, 48), 3), ((None, None), 6), (("x", 48), 6)])
def test_labels_of_any_other_size_are_left_alone(tmp_path, lying, claimed, orientation):
    path = lying(tmp_path / "a.png", orientation)
    assert turn_for(claimed, size_of(path), path) is None


def test_a_square_picture_tells_nothing(tmp_path, picture):
    assert turn_for((48, 48), (48, 48), picture(tmp_path / "a.png", 48, 48)) is None


X1, Y1, X2, Y2 = BOX
DOCUMENTS = {
    "coco": ("annotations.json", json.dumps({
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}], "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [X1, Y1, X2 - X1, Y2 - Y1]}]})),
    "labelme": ("a.json", json.dumps({
        "version": "5", "flags": {}, "imagePath": "a.png", "imageData": None, "imageHeight": 48, "imageWidth": 64,
        "shapes": [{"label": "cat", "points": [[X1, Y1], [X2, Y2]], "shape_type": "rectangle"}]})),
    "labelme_xml": ("a.xml", "<annotation><filename>a.png</filename><folder></folder><source><sourceImage>x</sourceImage></source><object>"
                    "<name>cat</name><deleted>0</deleted><type>bounding_box</type><polygon><username>me</username>"
                    f"<pt><x>{X1}</x><y>{Y1}</y></pt><pt><x>{X2}</x><y>{Y1}</y></pt><pt><x>{X2}</x><y>{Y2}</y></pt><pt><x>{X1}</x><y>{Y2}</y></pt>"
                    "</polygon></object><imagesize><nrows>48</nrows><ncols>64</ncols></imagesize></annotation>"),
    "voc": ("a.xml", "<annotation><filename>a.png</filename><size><width>64</width><height>48</height><depth>3</depth></size><object><name>cat</name>"
            f"<bndbox><xmin>{X1}</xmin><ymin>{Y1}</ymin><xmax>{X2}</xmax><ymax>{Y2}</ymax></bndbox></object></annotation>"),
    "cvat": ("annotations.xml", '<annotations><version>1.1</version><image id="0" name="a.png" width="64" height="48">'
             f'<box label="cat" xtl="{X1}" ytl="{Y1}" xbr="{X2}" ybr="{Y2}" occluded="0"></box></image></annotations>'),
    "vott": ("a-export.json", json.dumps({"name": "x", "tags": [{"name": "cat"}], "assets": {"1": {
        "asset": {"name": "a.png", "path": "file:a.png", "size": {"width": 64, "height": 48}, "state": 2}, "regions": [{
            "id": "r", "type": "RECTANGLE", "tags": ["cat"], "boundingBox": {"left": X1, "top": Y1, "width": X2 - X1, "height": Y2 - Y1}}]}}})),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_format_that_states_a_size_is_turned_with_one_note(tmp_path, lying, name):
    path = lying(tmp_path / "set/a.png")
    file, text = DOCUMENTS[name]
    (tmp_path / "set" / file).write_text(text)
    items = list(formats.get(name).read(tmp_path / "set").items)
    assert [item.labels.boxes.tolist() for item in items if isinstance(item, Sample)] == [[white(path)]]
    assert [(item.code, item.severity, item.values["count"]) for item in items if isinstance(item, Problem)] == [("labels_turned", "note", 1)]
