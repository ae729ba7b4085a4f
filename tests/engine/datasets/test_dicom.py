import logging
import sys
import warnings
import zlib

import numpy as np
import pytest

from engine.datasets import dicom, images, tones
from engine.types import UserError

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.pixels import apply_voi_lut  # noqa: E402
from pydicom.uid import (  # noqa: E402
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

GRADIENT = np.linspace(0, 4000, 48 * 32).reshape(32, 48).astype(np.uint16)


def write(path, pixels, syntax=ExplicitVRLittleEndian, preamble=True, **tags):
    """A DICOM file of uncompressed pixels [H,W], [H,W,3] or [frames,H,W]; `tags` override what follows from them."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.PatientID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4", "P-17"
    height, width = pixels.shape[:2] if pixels.ndim == 2 or pixels.shape[-1] == 3 else pixels.shape[1:3]
    data.Rows, data.Columns = height, width
    data.SamplesPerPixel = 3 if pixels.ndim == 3 and pixels.shape[-1] == 3 else 1
    data.PhotometricInterpretation = "RGB" if data.SamplesPerPixel == 3 else "MONOCHROME2"
    if data.SamplesPerPixel == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    if pixels.ndim == 3 and pixels.shape[-1] != 3:
        data.NumberOfFrames = len(pixels)
    for name, value in tags.items():
        setattr(data, name, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    body = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    data.add_new(0x7FE00010, "OW" if pixels.dtype.itemsize > 1 else "OB", body + b"\0" * (len(body) % 2))
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    if preamble:
        data.preamble = bytes(128)
        data.save_as(path, enforce_file_format=True)
    else:
        del data.file_meta
        data.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian)
    return path


def linear(values, centre, width):
    """DICOM PS3.3 C.11.2.1.2, over 0..255."""
    return np.clip(((values - (centre - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)


def gray(path):
    shown = images.open_image(path)
    assert (shown[:, :, 0] == shown[:, :, 1]).all()
    assert (shown[:, :, 0] == shown[:, :, 2]).all()
    return shown[:, :, 0].astype(float)


def error_of(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_slope_intercept_and_the_first_window_make_the_tones(tmp_path, syntax, kind):
    stored = (GRADIENT.astype(int) - (1000 if kind == np.int16 else 0)).astype(kind)
    path = write(tmp_path / "x.dcm", stored, syntax, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=[400, 40], WindowWidth=[1500, 80])
    assert images.size_of(path) == (48, 32)
    assert np.abs(gray(path) - linear(stored * 2.0 - 1024, 400, 1500)).max() <= 0.5001
    assert images.remarks(path) == ("windowed",)


def test_the_window_agrees_with_pydicom(tmp_path):
    path = write(tmp_path / "x.dcm", GRADIENT, BitsStored=12, HighBit=11, WindowCenter=1800, WindowWidth=2500)
    data = pydicom.dcmread(path)
    theirs = apply_voi_lut(data.pixel_array, data).astype(float) / 4095 * 255
    assert np.abs(gray(path) - theirs).max() <= 0.51


@pytest.mark.parametrize("tags", [{}, {"WindowCenter": 100, "WindowWidth": 0}, {"WindowCenter": None, "WindowWidth": None}])
def test_without_a_usable_window_the_percentiles_are_taken(tmp_path, tags):
    path = write(tmp_path / "x.dcm", GRADIENT, **tags)
    low, high = np.percentile(GRADIENT, (0.5, 99.5))
    assert np.abs(gray(path) - (GRADIENT.clip(low, high) - low) / (high - low) * 255).max() <= 0.5001


def test_filling_around_the_picture_does_not_count(tmp_path):
    stored = GRADIENT.astype(np.int16) + 1000
    stored[:10] = -2000
    path = write(tmp_path / "x.dcm", stored, PixelPaddingValue=-2000)
    low, high = np.percentile(stored[10:], (0.5, 99.5))
    assert np.abs(gray(path)[10:] - (stored[10:].clip(low, high) - low) / (high - low) * 255).max() <= 0.5001


def test_monochrome1_is_inverted_and_eight_bits_stay(tmp_path):
    stored = np.arange(48 * 4, dtype=np.uint8).reshape(4, 48)
    assert np.array_equal(gray(write(tmp_path / "two.dcm", stored)), stored)
    one = write(tmp_path / "one.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(gray(one), 255 - stored)
    assert images.remarks(one) == ()
    windowed = write(tmp_path / "w.dcm", GRADIENT, PhotometricInterpretation="MONOCHROME1", WindowCenter=2000, WindowWidth=3000)
    assert np.abs(gray(windowed) - (255 - linear(GRADIENT.astype(float), 2000, 3000))).max() <= 0.5001


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_other_window_functions_are_followed(tmp_path, function):
    path = write(tmp_path / "x.dcm", GRADIENT, WindowCenter=2000, WindowWidth=1000, VOILUTFunction=function)
    values = GRADIENT.astype(float)
    expected = 255 / (1 + np.exp(-4 * (values - 2000) / 1000)) if function == "SIGMOID" else np.clip((values - 1500) / 1000, 0, 1) * 255
    assert np.abs(gray(path) - expected).max() <= 0.5001


def test_a_table_of_tones_goes_before_a_window(tmp_path):
    table = Dataset()
    table.add_new(0x00283002, "US", [4096, 0, 12])
    table.add_new(0x00283006, "US", [4095 - value for value in range(4096)])
    path = write(tmp_path / "x.dcm", GRADIENT, VOILUTSequence=[table], WindowCenter=10, WindowWidth=20)
    assert np.abs(gray(path) - (4095 - GRADIENT) / 4095 * 255).max() <= 0.5001


def test_a_table_of_units_stands_in_for_slope_and_intercept(tmp_path):
    table = Dataset()
    table.add_new(0x00283002, "US", [4096, 0, 16])
    table.add_new(0x00283004, "LO", "US")
    table.add_new(0x00283006, "US", [min(value * 4, 65535) for value in range(4096)])
    path = write(tmp_path / "x.dcm", GRADIENT, ModalityLUTSequence=[table], WindowCenter=8000, WindowWidth=10_000)
    assert np.abs(gray(path) - linear(GRADIENT * 4.0, 8000, 10_000)).max() <= 0.5001


def test_enhanced_files_keep_their_tones_in_functional_groups(tmp_path):
    units, window, shared, frame = Dataset(), Dataset(), Dataset(), Dataset()
    units.RescaleSlope, units.RescaleIntercept, units.RescaleType = 3, -100, "HU"
    window.WindowCenter, window.WindowWidth = 3000, 4000
    shared.PixelValueTransformationSequence, frame.FrameVOILUTSequence = [units], [window]
    frames = np.stack([GRADIENT, GRADIENT[::-1]])
    path = write(tmp_path / "x.dcm", frames, SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=[frame, Dataset()])
    assert np.abs(gray(path) - linear(GRADIENT * 3.0 - 100, 3000, 4000)).max() <= 0.5001
    assert images.remarks(path) == ("first_page", "windowed")


def test_colours_come_as_rgb_from_every_layout(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(images.open_image(write(tmp_path / "rgb.dcm", colours)), colours)
    red, green, blue = (colours[:, :, k].astype(float) for k in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    ybr = np.stack([luma, (blue - luma) / 1.772 + 128, (red - luma) / 1.402 + 128], 2).round().clip(0, 255).astype(np.uint8)
    path = write(tmp_path / "ybr.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    assert np.abs(images.open_image(path).astype(int) - colours).max() <= 2


def test_a_palette_is_applied(tmp_path):
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tags = {}
    for name, step in (("Red", 1), ("Green", 3), ("Blue", 5)):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = (np.arange(256, dtype=np.uint16) * step % 256 * 257).astype("<u2").tobytes()
    path = write(tmp_path / "x.dcm", stored, PhotometricInterpretation="PALETTE COLOR", **tags)
    assert np.array_equal(images.open_image(path), np.stack([stored.astype(int) * step % 256 for step in (1, 3, 5)], 2))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_file_without_preamble_is_read_when_it_has_a_picture_and_its_name_says_dicom(tmp_path, syntax):
    path = write(tmp_path / "bare.dcm", GRADIENT, syntax, preamble=False, WindowCenter=2000, WindowWidth=3000)
    assert images.size_of(path) == (48, 32)
    assert np.abs(gray(path) - linear(GRADIENT.astype(float), 2000, 3000)).max() <= 0.5001
    path.rename(tmp_path / "bare.png")
    assert error_of(images.size_of, tmp_path / "bare.png").key == "not_an_image"


def test_a_name_without_suffix_is_enough_where_the_content_says_dicom(tmp_path):
    path = write(tmp_path / "IM0001", GRADIENT)
    assert images.size_of(path) == (48, 32)
    assert images.is_image("a.DCM")
    assert images.is_image("b.dicom")


def test_what_is_no_picture_is_refused_by_name(tmp_path):
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3"
    report.file_meta, report.preamble = FileMetaDataset(), bytes(128)
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    (tmp_path / "text.dcm").write_text("hello")
    (tmp_path / "page.dcm").write_text("<!doctype html>")
    (tmp_path / "none.dcm").write_bytes(b"")
    for name, key in (("report.dcm", "not_an_image"), ("text.dcm", "not_an_image"), ("page.dcm", "not_an_image"), ("none.dcm", "image_empty")):
        error = error_of(images.open_image, tmp_path / name)
        assert error.key == key
        assert name in str(error)


def test_every_prefix_of_a_file_is_read_or_refused_by_name(tmp_path):
    whole = write(tmp_path / "x.dcm", GRADIENT, WindowCenter=2000, WindowWidth=3000).read_bytes()
    for length in [*range(1, 700, 13), len(whole) - 100]:
        (tmp_path / "torn.dcm").write_bytes(whole[:length])
        assert "torn.dcm" in str(error_of(images.open_image, tmp_path / "torn.dcm"))


def test_too_many_pixels_are_refused_from_the_header(tmp_path, monkeypatch):
    path = write(tmp_path / "x.dcm", GRADIENT, Rows=20_000, Columns=20_000)
    monkeypatch.setattr(dicom, "picture", lambda path: pytest.fail("decoded"))
    for call in (images.size_of, images.open_image):
        assert error_of(call, path).key == "image_too_large"


def test_a_data_set_that_unfolds_without_end_is_refused_before_it_does(tmp_path, monkeypatch):
    path = write(tmp_path / "x.dcm", GRADIENT, DeflatedExplicitVRLittleEndian)
    with path.open("rb") as file:
        start = file.read()
    monkeypatch.setattr(dicom, "MAX_INFLATED_BYTES", 1 << 20)
    meta = 132 + 12 + int.from_bytes(start[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    (tmp_path / "bomb.dcm").write_bytes(start[:meta] + packer.compress(bytes(8 << 20)) + packer.flush())
    monkeypatch.setattr(pydicom, "dcmread", lambda *_, **__: pytest.fail("unfolded"))
    assert error_of(images.size_of, tmp_path / "bomb.dcm").key == "image_file_too_large"


def test_without_pydicom_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "x.dcm", GRADIENT)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for call in (images.size_of, images.open_image, images.remarks):
        assert "pip install pydicom" in str(error_of(call, path))
    assert images.group_of(path) is None


def test_the_patient_is_the_group_and_stands_in_no_log(tmp_path, caplog, capfd):
    path = write(tmp_path / "x.dcm", GRADIENT, PatientID="SECRET-1", PatientName="Secret^Name", PatientBirthDate="notadate-SECRET")
    torn = tmp_path / "torn.dcm"
    torn.write_bytes(path.read_bytes()[:-50])
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        assert images.group_of(path) == "SECRET-1"
        images.open_image(path)
        said = str(error_of(images.open_image, torn))
    for text in (caplog.text, said, *capfd.readouterr(), *(str(warning.message) for warning in heard)):
        assert "SECRET" not in text.upper()
    (tmp_path / "x.txt").write_text("x")
    assert images.group_of(tmp_path / "x.txt") is None
    assert images.group_of(tmp_path / "missing.dcm") is None
    assert images.group_of(write(tmp_path / "anonymous.dcm", GRADIENT, PatientID="")) is None


def test_the_reference_files_open_as_their_pixels_and_windows_say(reference):
    folder = reference / "data/formats/images/dicom"
    for path in sorted(folder.glob("M*.dcm")):
        if path.name == "MR_truncated.dcm":
            assert path.name in str(error_of(images.open_image, path))
            continue
        stored = pydicom.dcmread(path).pixel_array.astype(float)
        assert np.abs(gray(path) - linear(stored, 600, 1600)).max() <= 0.5001
    computed = pydicom.dcmread(folder / "CT_small.dcm").pixel_array.astype(float) - 1024
    assert np.array_equal(gray(folder / "CT_small.dcm"), tones.to_8_bits(computed, keep=False))
    fake = folder / "torchxrayvision_Fake_MONOHR1.dcm"
    assert np.array_equal(gray(fake), 255 - pydicom.dcmread(fake).pixel_array)
    frames = pydicom.dcmread(folder / "SC_rgb_rle_2frame.dcm").pixel_array
    assert np.array_equal(images.open_image(folder / "SC_rgb_rle_2frame.dcm"), frames[0])
    assert images.remarks(folder / "SC_rgb_rle_2frame.dcm") == ("first_page",)
    lossless = images.open_image(folder / "JPEG2000.dcm")
    assert lossless.shape == (1024, 256, 3)


def test_a_compression_without_decoder_names_itself_and_the_package(reference):
    error = error_of(images.open_image, reference / "data/formats/images/dicom/JPEG-lossy.dcm")
    assert error.key == "dicom_codec_missing"
    assert "JPEG Extended" in str(error)
    assert "pip install python-gdcm" in str(error)
    assert error_of(images.size_of, reference / "data/formats/images/dicom/no_meta.dcm").key == "not_an_image"
