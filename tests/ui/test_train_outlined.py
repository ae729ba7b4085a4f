"""The train page's pictures of what the network will see, for objects with outlines and objects of other images laid on top."""

from types import SimpleNamespace

import numpy as np
import pytest

from engine import messages
from engine.augment.instance import unpacked
from engine.config import TrainConfig
from engine.datasets import samples
from engine.datasets.outlines import mask_of
from engine.tasks.instance import Instance
from engine.types import Instances, Polygons, Sample
from engine.workspace import Workspace
from ui.pages import home
from ui.pages.train import augmented, data, outlined, plan

SIDE = 96


@pytest.fixture(scope="module")
def looks():
    trays = [samples.instrument_tray(k, 1, (8, 8)) for k in range(2)]
    return [outlined.Look(tray.image, tray.labels, tray.image.shape[1::-1]) for tray in trays]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, "SAMPLE_IMAGES", 6)
        workspace = Workspace(tmp_path_factory.mktemp("w") / "w")
        return data.find(workspace, home.make_sample(workspace, lambda *told: None, "en", "instance"))


def sample_of(look, tmp_path):
    return Sample(tmp_path / "a.png", look.size, look.labels)


@pytest.mark.parametrize("augment", ["none", "flip", "standard", "large_scale"])
@pytest.mark.parametrize("copy_paste", [0.0, 0.5, 1.0])
def test_the_page_shows_what_training_makes_of_an_image(looks, tmp_path, augment, copy_paste):
    config = TrainConfig(task="instance", augment=augment, copy_paste=copy_paste, image_size=SIDE)
    for seed in range(4):
        shown = outlined.mixed(looks[0], config, seed, lambda seed: looks[1])
        pixels, target = Instance().encode_mixed(config, sample_of(looks[0], tmp_path), looks[0].picture, seed, True,
                                                 lambda seed: (sample_of(looks[1], tmp_path), looks[1].picture))
        assert np.array_equal(shown.picture, pixels)
        assert shown.labels.classes.tolist() == target["labels"].tolist()
        for shape, mask in zip(shown.labels.shapes, target["masks"].numpy(), strict=True):
            assert np.array_equal(mask_of(shape, (SIDE, SIDE)), unpacked(mask))


def test_what_was_laid_on_top_is_counted_and_comes_last(looks):
    config = TrainConfig(task="instance", augment="none", copy_paste=1.0, image_size=SIDE)
    plain = outlined.mixed(looks[0], config, 0, lambda seed: None)
    assert plain.pasted == 0
    for seed in range(4):
        seen = outlined.mixed(looks[0], config, seed, lambda seed: looks[1])
        whole = [mask_of(shape, looks[1].size) for shape in looks[1].labels.shapes]
        assert 1 <= seen.pasted <= len(whole) and len(seen.labels) <= len(plain.labels) + seen.pasted
        assert set(seen.labels.classes[-seen.pasted:]) <= set(looks[1].labels.classes)
        again = outlined.mixed(looks[0], config, seed, lambda seed: looks[1])
        assert np.array_equal(seen.picture, again.picture) and seen.pasted == again.pasted


def test_an_image_without_objects_can_be_shown_and_given_objects(looks):
    config = TrainConfig(task="instance", augment="standard", copy_paste=1.0, image_size=SIDE)
    empty = outlined.Look(looks[0].picture, Instances.empty(), looks[0].size)
    assert len(outlined.mixed(empty, config, 1, lambda seed: empty).labels) == 0
    seen = outlined.mixed(empty, config, 1, lambda seed: looks[1])
    assert 0 < seen.pasted == len(seen.labels)


def test_crowds_are_not_shown_for_they_are_not_learnt(looks):
    ring = Polygons((np.array([[0, 0], [80, 0], [80, 80], [0, 80.0]]),))
    labels = Instances(np.array([[0, 0, 80, 80], [0, 0, 80, 80]]), np.array([0, 1]), shapes=(ring, ring), crowd=np.array([True, False]))
    look = outlined.Look(looks[0].picture, labels, looks[0].size)
    seen = outlined.mixed(look, TrainConfig(task="instance", augment="none", image_size=SIDE), 0, lambda seed: None)
    assert seen.labels.classes.tolist() == [1]


@pytest.mark.parametrize("augment", ["none", "large_scale"])
def test_the_page_shows_eight_at_most_and_others_when_asked_again(found, augment):
    config = TrainConfig(task="instance", augment=augment, image_size=64)
    first, again, other = (augmented.grid(found, config, seed, "en") for seed in (0, 0, 1))
    assert first.count("<img") == 4
    assert first == again != other
    assert "figcaption" not in first and messages.text(f"option.choice.{augment}", "en") in first


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_under_a_picture_stands_how_many_objects_were_laid_on_it(found, language):
    config = TrainConfig(task="instance", augment="none", copy_paste=1.0, image_size=64)
    shown = augmented.grid(found, config, 0, language)
    assert shown.count("figcaption") == 2 * shown.count("<img") and "{n}" not in shown
    assert all(words in shown for words in messages.text("train.augmented_pasted", language, n="@").split("@"))


def test_a_set_with_outlines_begins_with_the_smallest_model_for_outlines(found):
    assert data.pick_model(found, None) == "di_maskdino_atto"
    assert data.pick_model(found, "deimv2_atto") == "deimv2_atto"


def test_a_model_for_boxes_is_not_carried_over_to_a_set_with_outlines(found):
    assert data.carried(found, "deimv2_atto") is None
    assert data.carried(found, "di_maskdino_tiny") == "di_maskdino_tiny"
    assert data.carried(None, "deimv2_atto") == "deimv2_atto"
    assert data.carried(SimpleNamespace(task="detect"), "deimv2_n") == "deimv2_n"


@pytest.mark.parametrize(("name", "shown"), [("deimv2_atto", "DEIMv2 Atto"), ("deimv2_n", "DEIMv2 N"), ("di_maskdino", "DI-MaskDINO"),
                                             ("di_maskdino_r50", "DI-MaskDINO R50"), ("vim_tiny", "Vision Mamba Tiny"), ("timm", "timm classifier")])
def test_models_are_called_as_their_papers_call_them(name, shown):
    assert plan.display_name(name) == shown
