import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from engine.datasets import images
from engine.types import UserError


def key_of(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return caught.value.key


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_every_exif_orientation_is_shown_upright_and_measured_so(tmp_path, orientation, suffix):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    path = tmp_path / f"turned.{suffix}"
    options = {"quality": 95} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(pixels).save(path, exif=exif, **options)
    with Image.open(path) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB")).astype(int)
    shown = images.open_image(path)
    assert images.size_of(path) == (upright.shape[1], upright.shape[0]) == (shown.shape[1], shown.shape[0])
    assert np.abs(shown.astype(int) - upright).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "F", "I"])
def test_every_colour_mode_becomes_eight_bit_rgb(tmp_path, mode):
    gray = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1)))
    picture = gray.convert("I").convert("I;16") if mode == "I;16" else gray.convert("RGB").convert(mode) if mode not in "FI" else gray.convert(mode)
    path = tmp_path / ("x.tif" if mode in ("F", "I", "I;16", "CMYK") else "x.jpg" if mode == "YCbCr" else "x.png")
    picture.save(path)
    shown = images.open_image(path)
    assert shown.shape == (48, 64, 3)
    assert shown.dtype == np.uint8
    assert shown[:, -1].mean() > 200 > 50 > shown[:, 0].mean()


def test_sixteen_bits_are_stretched_and_not_clipped_to_white(tmp_path):
    for peak in (4095, 65535):
        Image.fromarray(np.linspace(0, peak, 64 * 48).reshape(48, 64).astype(np.uint16)).save(tmp_path / "deep.png")
        shown = images.open_image(tmp_path / "deep.png")
        assert (shown.min(), shown.max()) == (0, 255)
        assert 120 < shown.mean() < 135


def test_transparency_shows_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert images.open_image(tmp_path / "clear.png").min() == 255


@pytest.mark.parametrize("suffix", ["gif", "tif"])
def test_the_first_frame_of_several_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / f"many.{suffix}", save_all=True, append_images=frames[1:])
    assert tuple(images.open_image(tmp_path / f"many.{suffix}")[4, 4]) == (255, 0, 0)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
def test_a_torn_image_is_refused_by_name_and_never_filled_with_gray(tmp_path, picture, suffix):
    whole = picture(tmp_path / f"whole.{suffix}", 400, 300).read_bytes()
    torn = tmp_path / f"torn.{suffix}"
    torn.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(UserError) as caught:
        images.open_image(torn)
    assert caught.value.key == "image_damaged"
    assert f"torn.{suffix}" in str(caught.value)


def test_every_prefix_of_an_image_gives_a_size_or_a_clear_error(tmp_path, picture):
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "whole.jpg", exif=exif)
    for whole in ((tmp_path / "whole.jpg").read_bytes(), picture(tmp_path / "whole.png", 20, 10).read_bytes()):
        for length in range(0, len(whole), 3):
            (tmp_path / "part").write_bytes(whole[:length])
            try:
                assert sorted(images.size_of(tmp_path / "part")) == [10, 20]
            except UserError as error:
                assert error.key in ("image_damaged", "image_empty", "not_an_image")


def test_a_header_that_claims_too_much_is_refused_before_decoding(tmp_path, picture):
    data = bytearray(picture(tmp_path / "x.jpg").read_bytes())
    start = data.find(b"\xff\xc0")
    data[start + 5:start + 9] = struct.pack(">HH", 65500, 65500)
    (tmp_path / "bomb.jpg").write_bytes(data)
    assert key_of(images.open_image, tmp_path / "bomb.jpg") == "image_too_large"
    chunk = struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + chunk + struct.pack(">I", zlib.crc32(b"IHDR" + chunk))
    (tmp_path / "bomb.png").write_bytes(png)
    assert key_of(images.size_of, tmp_path / "bomb.png") == "image_too_large"


@pytest.mark.parametrize(("content", "key"), [(b"", "image_empty"), (b"<svg xmlns='x'/>", "not_an_image"), (b"<!doctype html>", "not_an_image"),
                                              (b"hello world, this is text", "not_an_image"), (b"\xff\xd8\xff", "image_damaged"),
                                              (b"\x89PNG\r\n\x1a\n", "image_damaged"), (b"II*\0\xff\xff\xff\xff", None), (b"GIF89a", None)])
def test_what_is_no_image_is_refused(tmp_path, content, key):
    (tmp_path / "page.jpg").write_bytes(content)
    assert key_of(images.open_image, tmp_path / "page.jpg") in ((key,) if key else ("image_damaged", "not_an_image"))


def test_the_content_counts_and_not_the_suffix(tmp_path, picture):
    picture(tmp_path / "x.png", 30, 20).rename(tmp_path / "x.jpg")
    assert images.size_of(tmp_path / "x.jpg") == (30, 20)
    assert images.open_image(tmp_path / "x.jpg").shape == (20, 30, 3)


def test_names_in_any_script_can_be_read_and_written(tmp_path):
    path = tmp_path / "手术 器械 (é).png"
    pixels = np.random.default_rng(1).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    images.save_image(path, pixels)
    assert np.array_equal(images.open_image(path), pixels)


def test_one_filter_shrinks_by_area_and_grows_by_interpolation():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    small = images.resize(np.repeat(checks[:, :, None], 3, 2).astype(np.uint8), (8, 8))
    assert np.abs(small.astype(int) - 128).max() <= 1
    assert images.resize(small, (20, 30)).shape == (30, 20, 3)
    assert images.resize(small, (8, 8)) is small


def test_suffixes_tell_images_in_any_case():
    assert images.is_image("A.JPG")
    assert images.is_image("a.b.tiff")
    assert not images.is_image("a.svg")
    assert not images.is_image("a.txt")


UNREADABLE = {"truncated.jpg", "empty.jpg", "text_named_jpg.jpg", "no_meta.dcm", "MR_truncated.dcm", "JPEG-lossy.dcm"}


def test_all_odd_images_of_the_reference_open_or_are_refused_by_name(reference):
    found = 0
    for path in sorted((reference / "data/formats/images").rglob("*")):
        if not images.is_image(path):
            continue
        found += 1
        if path.name in UNREADABLE or path.name.startswith("crash-"):
            with pytest.raises(UserError) as caught:
                images.open_image(path)
            assert path.name in str(caught.value)
        else:
            width, height = images.size_of(path)
            assert images.open_image(path).shape == (height, width, 3)
            assert set(images.remarks(path)) <= {"first_page", "windowed", "cmyk"}
    assert found >= 80


def test_the_reference_looks_as_another_reader_shows_it(reference):
    """Eight bits only: deeper ones are windowed, which has tests of its own."""
    folder = reference / "data/formats/images"
    compared = 0
    for path in sorted(path for name in ("derived", "exif_orientation", "pillow", "xray_full") for path in (folder / name).iterdir()):
        if not images.is_image(path) or path.name in UNREADABLE or path.name.startswith("crash-") or "windowed" in images.remarks(path):
            continue
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            ground = Image.new("RGBA", upright.size, "white")
            clear = upright.has_transparency_data
            expected = np.asarray((Image.alpha_composite(ground, upright.convert("RGBA")) if clear else upright).convert("RGB")).astype(int)
        assert np.abs(images.open_image(path) - expected).max() <= 3, path.name
        compared += 1
    assert compared >= 60


def test_a_hostile_text_chunk_does_not_unfold_in_memory(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    whole = buffer.getvalue()
    body = b"k\0\0" + zlib.compress(bytes(50 << 20), 9)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    (tmp_path / "text.png").write_bytes(whole[:33] + chunk + whole[33:])
    assert images.open_image(tmp_path / "text.png").shape == (8, 8, 3)
