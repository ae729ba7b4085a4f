import io
import struct

import numpy as np
import pytest
from PIL import Image

from engine.datasets import images, jpeg_whole, similar, thumbnails
from engine.types import UserError


def detailed(width=640, height=480, mode="RGB"):
    blocks = np.random.default_rng(0).integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(blocks, np.ones((16, 16, 1), np.uint8))).convert(mode)


def jpeg(picture, **options):
    packed = io.BytesIO()
    picture.save(packed, "JPEG", **options)
    return packed.getvalue()


def opened(tmp_path, data):
    (tmp_path / "a.jpg").write_bytes(data)
    return images.open_image(tmp_path / "a.jpg")


def refused(tmp_path, data):
    with pytest.raises(UserError) as caught:
        opened(tmp_path, data)
    return caught.value.key


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"optimize": True}, {"subsampling": 0}])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_that_lost_its_end_is_damaged_although_an_end_mark_stands_there(tmp_path, mode, options, share):
    whole = jpeg(detailed(mode=mode), **options)
    assert refused(tmp_path, whole[:int(len(whole) * share)] + b"\xff\xd9") == "image_damaged"
    assert opened(tmp_path, whole).shape == (480, 640, 3)


def test_a_jpeg_that_lost_a_stretch_in_its_middle_is_damaged(tmp_path):
    whole = jpeg(detailed())
    assert refused(tmp_path, whole[:5000] + whole[6000:]) == "image_damaged"


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 2, "quality": 1, "optimize": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pictures_of_one_colour_are_whole_however_small_their_files(tmp_path, value, options, mode):
    data = jpeg(Image.new("RGB", (1600, 1200), (value,) * 3).convert(mode), **options)
    assert np.abs(opened(tmp_path, data).astype(int) - value).max() <= 2
    assert jpeg_whole.least_bytes(images._header_of_file(tmp_path / "a.jpg")) < len(data)


def test_a_gray_corner_and_bytes_that_nobody_needs_do_no_harm(tmp_path):
    picture = detailed()
    picture.paste((128, 128, 128), (320, 240, 640, 480))
    whole = jpeg(picture)
    assert tuple(opened(tmp_path, whole)[-1, -1]) == (128, 128, 128)
    assert opened(tmp_path, whole[:-2] + b"\0\1" * 40 + whole[-2:]).shape == (480, 640, 3)
    assert opened(tmp_path, whole + b"\0" * 20).shape == (480, 640, 3)


def test_a_thousand_bytes_cannot_hold_a_hundred_million_pixels(tmp_path):
    data = bytearray(jpeg(detailed(64, 48)))
    at = data.find(b"\xff\xc0")
    for side, call in ((10_000, images.size_of), (1500, images.open_image)):
        data[at + 5:at + 9] = struct.pack(">HH", side, side)
        (tmp_path / "a.jpg").write_bytes(data)
        with pytest.raises(UserError) as caught:
            call(tmp_path / "a.jpg")
        assert caught.value.key == "image_damaged"


def test_a_picture_of_arithmetic_codes_may_be_as_small_as_it_likes(tmp_path):
    data = bytearray(jpeg(detailed(64, 48)))
    at = data.find(b"\xff\xc0")
    data[at + 1:at + 2], data[at + 5:at + 9] = b"\xc9", struct.pack(">HH", 10_000, 10_000)
    (tmp_path / "a.jpg").write_bytes(data)
    assert images.size_of(tmp_path / "a.jpg") == (10_000, 10_000)


def test_a_small_tiff_that_unfolds_to_gigabytes_is_refused_by_its_header(tmp_path):
    path = tmp_path / "a.tif"
    tags = {256: 9000, 257: 9000, 258: 64, 259: 8, 262: 1, 277: 1, 339: 3}
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in tags.items()) + bytes(4))
    with pytest.raises(UserError) as caught:
        images.size_of(path)
    assert caught.value.key == "image_file_too_large"


def test_the_short_ways_to_a_small_picture_see_the_gray_end_as_well(tmp_path):
    whole = jpeg(detailed(2560, 1920))
    (tmp_path / "a.jpg").write_bytes(whole[:len(whole) // 2] + b"\xff\xd9")
    with pytest.raises(UserError):
        thumbnails.small(tmp_path / "a.jpg", 128)
    assert [each.error.key for each in similar.see_all([tmp_path / "a.jpg"])] == ["image_damaged"]
