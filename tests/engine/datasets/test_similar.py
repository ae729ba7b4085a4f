import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.datasets import similar
from engine.datasets.similar import clusters, look_of, see, see_all, similar_pairs


def photo(seed=0, width=320, height=240):
    """Something with structure at every scale, as photographs have."""
    chance, picture = np.random.default_rng(seed), np.zeros((height, width, 3), np.float32)
    for side in (4, 8, 16, 32, 64):
        rough = chance.normal(0, 160 / side ** 0.5, (side, side, 3)).astype(np.float32)
        picture += cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture + 128, 0, 255).astype(np.uint8)


def apart(one, other):
    """Bits between two looks, by the views that fit best."""
    views = [[np.frombuffer(look, np.uint8)[start:start + 32] for start in (0, 32)] for look in (one, other)]
    return min(int(np.bitwise_count(views[0][a] ^ views[1][b]).sum()) for a, b in ((0, 0), (0, 1), (1, 0)))


def cropped(picture, share):
    rows, columns = (round(side * share) for side in picture.shape[:2])
    return picture[rows:picture.shape[0] - rows, columns:picture.shape[1] - columns]


def compressed(picture, quality):
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


COPIES = {
    "half the size": lambda picture: cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "larger": lambda picture: cv2.resize(picture, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC),
    "squeezed": lambda picture: cv2.resize(picture, None, fx=0.6, fy=0.45, interpolation=cv2.INTER_AREA),
    "JPEG at 40": lambda picture: compressed(picture, 40),
    "brighter": lambda picture: np.clip(picture.astype(int) + 15, 0, 255).astype(np.uint8),
    "darker": lambda picture: (picture * 0.9).astype(np.uint8),
    "cropped by 1%": lambda picture: cropped(picture, 0.01),
    "cropped by 2%": lambda picture: cropped(picture, 0.02),
    "cropped by 4%": lambda picture: cropped(picture, 0.04),
}


@pytest.mark.parametrize("change", COPIES)
def test_a_changed_copy_looks_like_its_original(change):
    for seed in range(5):
        assert apart(look_of(photo(seed)), look_of(COPIES[change](photo(seed)))) <= similar.NEAR


def test_different_pictures_do_not_look_alike():
    looks = [look_of(photo(seed)) for seed in range(40)]
    assert min(apart(looks[a], looks[b]) for a in range(40) for b in range(a)) > 2 * similar.NEAR


@pytest.mark.parametrize("name", ["multilabel_nih64_csv", "det_bccd_voc", "sem_membrane_png"])
def test_pictures_of_one_kind_are_told_apart_and_planted_copies_are_found(reference, tmp_path, name):
    folder = reference / "data" / name
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png") and "mask" not in str(path.relative_to(folder)))[:200]
    planted = [tmp_path / f"{number}.jpg" for number in range(0, len(paths), 10)]
    for number, path in zip(range(0, len(paths), 10), planted, strict=True):
        picture = cv2.imread(str(paths[number]))
        small = cv2.resize(picture, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(path), small, [cv2.IMWRITE_JPEG_QUALITY, 60])
    seen = list(see_all([*paths, *planted]))
    pairs = {tuple(pair) for pair in similar_pairs([(each.digest, each.look) for each in seen]).tolist()}
    wanted = {(number, len(paths) + place) for place, number in enumerate(range(0, len(paths), 10))}
    assert wanted <= pairs
    names = [path.stem for path in paths]
    others = {tuple(sorted((names[a], names[b if b < len(paths) else 10 * (b - len(paths))]))) for a, b in pairs - wanted}
    if name == "multilabel_nih64_csv":  # patients who were X-rayed again in the same pose
        assert len(others) <= 3
        assert all(one[:8] == other[:8] for one, other in others)
    else:
        assert others == ({("BloodImage_00037", "BloodImage_00038")} if name == "det_bccd_voc" else set())


def test_the_tumour_sets_leaks_are_found(reference):
    folder = reference / "data/inst_brain_tumor_coco"
    paths = sorted(folder.rglob("*.jpg"))
    seen = list(see_all(paths))
    splits = [path.parent.name for path in paths]
    leaks = {"valid": set(), "test": set()}
    for a, b in similar_pairs([(each.digest, each.look) for each in seen]).tolist():
        for image, other in ((a, b), (b, a)):
            if splits[image] != "train" and splits[other] == "train":
                leaks[splits[image]].add(image)
    assert (len(leaks["valid"]), len(leaks["test"])) == (14, 30)


def test_pictures_of_one_colour_have_no_look_and_only_equal_bytes_make_them_the_same(tmp_path):
    for number, colour in enumerate((200, 200, 90)):
        Image.new("RGB", (64, 48), (colour,) * 3).save(tmp_path / f"{number}.png")
    assert look_of(np.full((50, 50), 7, np.uint8)) == b""
    seen = list(see_all([tmp_path / f"{number}.png" for number in range(3)]))
    assert similar_pairs([(each.digest, each.look) for each in seen]).tolist() == [[0, 1]]


def test_an_image_turned_by_its_exif_tag_looks_like_the_upright_one(tmp_path):
    picture = Image.fromarray(photo(3, 640, 480))
    picture.save(tmp_path / "upright.jpg", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(tmp_path / "turned.jpg", quality=90, exif=exif)
    one, other = see(tmp_path / "upright.jpg"), see(tmp_path / "turned.jpg")
    assert apart(one.look, other.look) <= 10


def test_large_jpegs_are_read_small_and_look_the_same(tmp_path):
    picture = Image.fromarray(photo(4, 1600, 1200))
    picture.save(tmp_path / "large.jpg", quality=85)
    picture.save(tmp_path / "large.png")
    assert apart(see(tmp_path / "large.jpg").look, see(tmp_path / "large.png").look) <= 10


def test_what_cannot_be_read_says_why_and_the_others_go_on(tmp_path, picture):
    picture(tmp_path / "a.png")
    whole = picture(tmp_path / "torn.jpg", 400, 300).read_bytes()
    (tmp_path / "torn.jpg").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    found = list(see_all([tmp_path / name for name in ("a.png", "torn.jpg", "empty.png", "gone.png")]))
    assert [each.error and each.error.key for each in found] == [None, "image_damaged", "image_empty", "file_unreadable"]


def test_progress_may_end_it(tmp_path, picture):
    paths = [picture(tmp_path / f"{number}.png", seed=number) for number in range(60)]

    def impatient(done, total):
        assert total == 60
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(see_all(paths, progress=impatient))


def test_clusters_join_chains_and_copies():
    chance = np.random.default_rng(0)
    first = chance.integers(0, 256, 64, np.uint8)
    second, third = first.copy(), first.copy()
    second[:4] ^= 0xFF  # 32 of the bits of the whole view
    second[32:36] ^= 0xFF
    third[:8] ^= 0xFF
    third[32:40] ^= 0xFF
    stranger = chance.integers(0, 256, 64, np.uint8)
    looks = [first.tobytes(), second.tobytes(), third.tobytes(), stranger.tobytes(), b"", b""]
    found = clusters(list(zip((b"1", b"2", b"3", b"4", b"1", b"5"), looks, strict=True)))
    assert found[0] is not None
    assert found[0] == found[1] == found[2] == found[4]
    assert found[3] is None
    assert found[5] is None


def test_nothing_and_one_image_have_no_pairs():
    assert similar_pairs([]).shape == (0, 2)
    assert clusters([(b"1", bytes(range(64)))]) == [None]


def test_the_search_finds_what_comparing_all_finds():
    looks = [look_of(photo(seed, 96, 96)) for seed in range(150)]
    looks += [look_of(compressed(cropped(photo(seed, 96, 96), 0.02), 50)) for seed in range(0, 150, 3)]
    brute = {(a, b) for b in range(len(looks)) for a in range(b) if apart(looks[a], looks[b]) <= similar.NEAR}
    assert {tuple(pair) for pair in similar_pairs([(b"", look) for look in looks]).tolist()} == brute
    assert len(brute) >= 40


def test_forty_thousand_looks_are_searched_within_seconds():
    chance = np.random.default_rng(0)
    looks = chance.integers(0, 256, (40_000, 64), np.uint8)
    planted = np.arange(0, 20_000, 50)
    noise = np.packbits(chance.random((len(planted), 512)) < 0.08, axis=1)  # about 20 of 256 bits
    looks[20_000 + planted] = looks[planted] ^ noise
    started = time.perf_counter()
    pairs = similar_pairs([(b"", look.tobytes()) for look in looks])
    assert time.perf_counter() - started < 20  # about 2 s alone
    near = np.bitwise_count(noise[:, :32]).sum(1) <= similar.NEAR
    wanted = {(int(number), int(number) + 20_000) for number in planted[near]}
    assert len(wanted & {tuple(pair) for pair in pairs.tolist()}) >= 0.999 * len(wanted)


def test_a_crowd_of_nearly_equal_frames_is_one_cluster():
    chance = np.random.default_rng(1)
    frame = chance.integers(0, 256, 64, np.uint8)
    looks = [(frame ^ np.packbits(chance.random(512) < 0.02)).tobytes() for _ in range(2000)]
    assert len(set(clusters([(b"", look) for look in looks]))) == 1


def test_paths_may_be_texts(tmp_path, picture):
    assert see(str(picture(tmp_path / "a.png"))).look == see(Path(tmp_path / "a.png")).look
