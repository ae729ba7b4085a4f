import numpy as np
import pytest
from PIL import Image, ImageOps

from engine.datasets import thumbnails
from engine.datasets.images import open_image, resize
from engine.types import Reading, Sample, UserError


def smooth(width, height):
    """A picture whose corners differ, without detail that decoders disagree on."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, np.full_like(x, 60)], 2).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1024, 512), (600, 900), (257, 200)])
def test_a_reduced_jpeg_shows_the_same_upright_picture(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x.jpg"
    Image.fromarray(smooth(*size)).save(path, quality=95, exif=exif)
    small = thumbnails.small(path, 128)
    whole = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    wanted = resize(whole, (small.shape[1], small.shape[0]))
    assert max(small.shape[:2]) == 128
    assert small.dtype == np.uint8
    assert small.flags.c_contiguous
    assert np.abs(small.astype(int) - wanted).mean() < 2
    assert np.abs(small.astype(int) - wanted).max() < 16


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_every_colour_mode_comes_out_as_opened_in_full(tmp_path, mode, suffix):
    if mode == "CMYK" and suffix == ".png":
        return
    path = tmp_path / f"x{suffix}"
    Image.fromarray(smooth(900, 700)).convert(mode).save(path)
    small = thumbnails.small(path, 100)
    assert small.shape == (78, 100, 3)
    assert np.abs(small.astype(int) - resize(open_image(path), (100, 78))).mean() < 3


def test_small_pictures_are_not_blown_up(tmp_path, picture):
    assert thumbnails.small(picture(tmp_path / "x.png", 20, 10), 256).shape == (10, 20, 3)
    assert thumbnails.small(picture(tmp_path / "y.png", 4000, 1), 256).shape == (1, 256, 3)


def test_a_torn_jpeg_is_told_and_not_filled_with_gray(tmp_path):
    path = tmp_path / "x.jpg"
    Image.fromarray(smooth(1600, 1200)).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UserError):
        thumbnails.small(path, 128)
    path.write_bytes(b"\xff\xd8" + bytes(100) + b"\xff\xd9")
    with pytest.raises(UserError):
        thumbnails.small(path, 128)


def test_many_are_made_at_once_and_the_unreadable_left_out(tmp_path, picture):
    from engine.datasets.store import Dataset
    items = (Sample(picture(tmp_path / f"{number}.png", 64, 48, number), (64, 48), name=f"{number}.png") for number in range(6))
    dataset = Dataset.create(tmp_path / "set", "x", Reading(("a",), items))
    dataset.row(2).path.write_bytes(b"<svg onload=alert(1)>")
    thumbnails.make_all(dataset, [1, 2, 3, 99], 32)
    made = sorted(path.name for path in (dataset.folder / "thumbs" / "32").iterdir())
    assert made == ["1.webp", "3.webp"]
    with pytest.raises(UserError) as caught:
        dataset.thumbnail(2, 32)
    assert caught.value.key == "not_an_image"
