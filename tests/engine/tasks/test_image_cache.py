"""Decoded images kept in memory or on disk: the same pixels, within bounds, and nothing left behind."""

import multiprocessing
import os
import tempfile

import numpy as np
import pytest
from PIL import Image

from engine.augment.copies import Copies
from engine.datasets import images
from engine.datasets.images import open_image, resize
from engine.tasks import image_cache, loading
from engine.tasks.image_cache import KEPT, PREFIX, ImageCache
from engine.tasks.loading import EpochBatches, TrainingImages, training_loader
from engine.types import Instances, Sample, UserError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def opened(monkeypatch):
    """Names of the files that were decoded."""
    names = []
    monkeypatch.setattr(image_cache, "open_image", lambda path: (names.append(path.name), open_image(path))[1])
    return names


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("side", [16, 200])
def test_every_way_of_keeping_gives_the_same_pixels(picture, tmp_path, place, opened, kept, side):
    file = picture(tmp_path / "a.png", seed=3)
    cache = ImageCache(side, kept=kept)
    first, again = cache(file), cache(file)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, ImageCache(side)(file))
    assert opened.count("a.png") == {"memory": 2, "disk": 2, "none": 3}[kept]
    assert min(first.shape[:2]) == min(2 * side, min(open_image(file).shape[:2]))


def test_a_file_that_changed_is_opened_anew_and_one_that_is_gone_is_told(picture, tmp_path, place):
    file = picture(tmp_path / "a.png", seed=3)
    cache = ImageCache(64, kept="disk")
    before = cache(file)
    picture(file, seed=4)
    os.utime(file, ns=(1, 1))
    assert not np.array_equal(before, cache(file))
    file.unlink()
    with pytest.raises(OSError, match="a.png"):
        cache(file)
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(UserError):
        cache(tmp_path / "b.png")


def test_files_are_gone_with_the_cache_and_those_of_ended_processes_too(picture, tmp_path, place):
    over = multiprocessing.get_context("fork").Process(target=int)
    over.start()
    over.join()
    left, foreign = place / f"{PREFIX}{over.pid}-x", place / f"{PREFIX}x"
    left.mkdir()
    foreign.mkdir()
    cache, other = ImageCache(64, kept="disk"), ImageCache(64, kept="disk")
    cache(picture(tmp_path / "a.png"))
    assert not left.exists() and foreign.exists() and len(list(place.glob(f"{PREFIX}{os.getpid()}-*"))) == 2
    del cache
    assert [other.files.folder] == list(place.glob(f"{PREFIX}{os.getpid()}-*"))
    del other
    assert list(place.iterdir()) == [foreign]


def test_no_more_than_a_share_of_the_disk_is_written_and_torn_files_do_no_harm(picture, tmp_path, place, opened):
    file = picture(tmp_path / "a.png")
    cache = ImageCache(64, kept="disk")
    whole = cache(file)
    stored = next(cache.files.folder.glob("*.npy"))
    stored.write_bytes(stored.read_bytes()[:-9])
    np.testing.assert_array_equal(cache(file), whole)
    assert stored.stat().st_size > whole.nbytes, "written again"
    cache.files.least = 1 << 62
    other = picture(tmp_path / "b.png", seed=5)
    np.testing.assert_array_equal(cache(other), cache(other))
    assert opened == ["a.png", "a.png", "b.png", "b.png"] and len(list(cache.files.folder.iterdir())) == 1


def test_memory_is_dealt_among_the_processes_that_load():
    alone, eight = ImageCache(64), ImageCache(64, sharers=8)
    assert 0.8 < 8 * eight.room / alone.room < 1.25
    assert ImageCache(64, sharers=0).room > 0 and ImageCache(64, kept="none").room == ImageCache(64, kept="disk").room == 0


def encode(sample, image, seed, strong, pick):
    return image, {"box": image.sum(dtype=np.int64)}


def sums(samples, kept, workers):
    batches = EpochBatches(len(samples), 2, 0)
    loader = training_loader(TrainingImages(samples, 64, encode, 0, kept=kept, workers=workers), batches, workers, loading.torch.device("cpu"))
    found = []
    for batches.epoch in (1, 2):
        found += [target["box"] for batch in loader for target in batch.targets]
    return found


def test_processes_share_what_lies_on_disk_and_leave_it_to_the_owner(picture, tmp_path, place):
    samples = [Sample(picture(tmp_path / f"{i}.png", seed=i), (64, 48), Instances.empty(), name=f"{i}.png") for i in range(6)]
    assert sums(samples, "disk", 2) == sums(samples, "memory", 0) == sums(samples, "none", 0)
    assert not list(place.glob(f"{PREFIX}*"))


@pytest.mark.parametrize("turned", [1, 6])
def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same(tmp_path, opened, turned):
    coarse = np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8)
    exif = Image.Exif()
    exif[images.ORIENTATION] = turned
    Image.fromarray(resize(coarse, (1201, 721))).save(tmp_path / "a.jpg", quality=92, exif=exif)
    seen, whole = ImageCache(64)(tmp_path / "a.jpg"), resize(open_image(tmp_path / "a.jpg"), (213, 128) if turned == 1 else (128, 213))
    assert not opened and seen.shape == whole.shape and np.abs(seen.astype(int) - whole).mean() < 4, "sharp noise, half a pixel apart"
    assert ImageCache(64, whole=True)(tmp_path / "a.jpg").shape[:2] in ((721, 1201), (1201, 721))
    torn = tmp_path / "torn.jpg"
    torn.write_bytes((tmp_path / "a.jpg").read_bytes()[:-4000])
    with pytest.raises(UserError, match="torn.jpg"):
        ImageCache(64)(torn)


def test_copies_are_made_once_while_the_image_lives():
    image, size = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8), (30, 20)
    copies = Copies(room=5000)
    made = copies(image, size)
    np.testing.assert_array_equal(made, resize(image, size))
    assert copies(image, size) is made and copies(image, (60, 40)) is image
    assert copies(image, (50, 40)) is not copies(image, (50, 40)), "no room for more"
    assert copies.room == 5000 - made.nbytes
    del image
    assert copies.room == 5000 and not copies._found
