"""Predictions as files, and what a file says of the size of its pixels."""

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from engine import predictions
from engine.datasets.spacing import spacing_of
from engine.types import NOTHING, SemanticMask, Tags


def told(labels, classes, **more):
    return predictions.entry("a.png", (4, 2), labels, classes, lambda name, png: f"{name}.png", **more)


def test_areas_are_told_in_square_millimetres_where_the_spacing_is_known():
    mask = SemanticMask(classes=np.array([[0, 1, 1, NOTHING], [0, 0, 1, 2]], np.uint16))
    plain = told(mask, ("background", "liver", "spleen"))
    assert plain["areas"] == [{"class": "liver", "class_id": 1, "pixels": 3}, {"class": "spleen", "class_id": 2, "pixels": 1}]
    assert "spacing_mm" not in plain
    measured = told(mask, ("background", "liver", "spleen"), spacing=(0.5, 0.25))
    assert measured["spacing_mm"] == [0.5, 0.25]
    assert [area["mm2"] for area in measured["areas"]] == [0.375, 0.125]


def test_small_areas_keep_their_digits():
    mask = SemanticMask(layers=np.ones((1, 2, 4), bool))
    assert told(mask, ("cell",), spacing=(0.00025, 0.00025))["areas"][0]["mm2"] == 5e-7


def test_a_tag_is_present_from_its_own_threshold_on_and_a_single_one_always():
    tags = Tags([0.3, 0.45, 0.1])
    several = told(tags, ("a", "b", "c"), thresholds=[0.2, 0.5, 0.5])["tags"]
    assert [(tag["class"], tag["present"]) for tag in several] == [("b", False), ("a", True), ("c", False)]
    assert [tag["present"] for tag in told(tags, ("a", "b", "c"), single=True)["tags"]] == [True, False, False]


# ---- how large a pixel is


def tiff(path, **tags):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for number, value in tags.items():
        info[int(number[1:])] = value
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(path, tiffinfo=info)
    return path


def dicom(path, **values):
    pydicom = pytest.importorskip("pydicom")
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.Rows, data.Columns = 4, 6
    for name, value in values.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=False, implicit_vr=False, little_endian=True)
    raw = path.read_bytes()
    if raw[128:132] != b"DICM":
        path.write_bytes(b"\0" * 128 + b"DICM" + raw)
    return path


def test_dicom_gives_rows_first_and_we_give_across_first(tmp_path):
    assert spacing_of(dicom(tmp_path / "a.dcm", PixelSpacing=[0.7, 0.5])) == (0.5, 0.7)
    assert spacing_of(dicom(tmp_path / "b.dcm", ImagerPixelSpacing=[0.14, 0.15])) == (0.15, 0.14)
    assert spacing_of(dicom(tmp_path / "c.dcm", PixelSpacing=[1, 1], ImagerPixelSpacing=[2, 2])) == (1, 1)
    assert spacing_of(dicom(tmp_path / "d.dcm")) is None


@pytest.mark.parametrize("values", [[0, 0], [-1, 1], [1e9, 1e9]])
def test_a_spacing_that_no_pixel_can_have_is_not_believed(tmp_path, values):
    assert spacing_of(dicom(tmp_path / "a.dcm", PixelSpacing=values)) is None


def test_a_resolution_for_paper_says_nothing_of_nature(tmp_path):
    picture = Image.new("L", (6, 4))
    for name in ("a.png", "a.jpg", "a.tif"):
        picture.save(tmp_path / name, dpi=(300, 300))
        assert spacing_of(tmp_path / name) is None
    assert spacing_of(tiff(tmp_path / "cm.tif", _282=118.11, _283=118.11, _296=3)) is None  # 300 dpi, said in centimetres


def test_microscopes_are_believed(tmp_path):
    assert spacing_of(tiff(tmp_path / "a.tif", _282=40000.0, _283=20000.0, _296=3)) == pytest.approx((0.00025, 0.0005))
    imagej = tiff(tmp_path / "b.tif", _270="ImageJ=1.53t\nunit=micron\n", _282=4.0, _283=2.0, _296=1)
    assert spacing_of(imagej) == pytest.approx((0.00025, 0.0005))
    ome = tiff(tmp_path / "c.tif", _270='<OME><Pixels PhysicalSizeX="0.5" PhysicalSizeY="2e-3" PhysicalSizeYUnit="mm"/></OME>')
    assert spacing_of(ome) == pytest.approx((0.0005, 0.002))
    turned = tiff(tmp_path / "d.tif", _282=40000.0, _283=20000.0, _296=3, _274=6)
    assert spacing_of(turned) == pytest.approx((0.0005, 0.00025))


@pytest.mark.parametrize("content", [b"", b"II*\0" + b"\xff" * 40, b"\0" * 128 + b"DICM" + b"\xff" * 50, b"plain text"])
def test_a_broken_file_says_nothing_and_breaks_nothing(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    assert spacing_of(tmp_path / "a.dcm") is None
    assert spacing_of(tmp_path / "missing.tif") is None
