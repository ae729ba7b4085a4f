"""Fine-tuning on other classes: what was learnt of a class goes with its name."""

import pytest
import torch

from engine.class_heads import COCO, partners, plain
from engine.models import create
from engine.predict import load
from engine.weights import load_into


def saved(tmp_path, name, classes, told=True):
    torch.manual_seed(1)
    network = create(name, len(classes)).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1 and parameter.numel() == len(classes):
            torch.nn.init.normal_(parameter)
    file = tmp_path / "weights.pt"
    torch.save({"model": network.state_dict(), **({"classes": list(classes)} if told else {})}, file)
    return network, file


def fresh(name, classes):
    torch.manual_seed(2)
    return create(name, len(classes)).eval()


def test_spelling_does_not_part_names():
    assert plain("Traffic_Light ") == plain("traffic light") == plain("traffic-light")
    assert plain("ＣＡＲ") == plain("car")
    assert plain("红细胞") != plain("白细胞")


def test_names_that_stand_twice_have_no_partner():
    assert partners(["a", "b", "b"], ["b", "a", "c"]) == {1: 0}
    assert partners(["a", "b"], ["A", "a", "b"]) == {2: 1}


def test_coco_has_its_80_names():
    assert len(COCO) == 80 and len(set(COCO)) == 80
    assert COCO[0] == "person" and COCO[16] == "dog" and COCO[79] == "toothbrush"


def test_the_same_classes_in_another_order_give_the_same_scores(tmp_path):
    """Every query of the new network says of each class what the old one said of the class of that name."""
    before, after = ("RBC", "WBC", "Platelets"), ("platelets", "rbc", "wbc")
    network, file = saved(tmp_path, "deimv2_atto", before)
    other = fresh("deimv2_atto", after)
    coverage = load_into(other, file, after)
    assert coverage.complete and coverage.adapted == after
    images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        old, new = network(images), other(images)
    assert torch.allclose(new["logits"], old["logits"][..., [2, 0, 1]], atol=1e-6)
    assert torch.allclose(new["boxes"], old["boxes"], atol=1e-6)


@pytest.mark.parametrize("name", ["deimv2_atto", "di_maskdino_atto"])
def test_new_classes_keep_their_start_and_known_ones_what_was_learnt(tmp_path, name):
    network, file = saved(tmp_path, name, ("a", "b", "c"))
    other = fresh(name, ("x", "c", "y", "a", "z"))
    start = {key: value.clone() for key, value in other.state_dict().items()}
    coverage = load_into(other, file, ("x", "c", "y", "a", "z"))
    assert coverage.adapted == ("c", "a") and coverage.reshaped
    old, new = network.state_dict(), other.state_dict()
    for key in coverage.reshaped:
        axis = next(place for place, (a, b) in enumerate(zip(old[key].shape, new[key].shape, strict=True)) if a != b)
        rows, theirs, begun = new[key].movedim(axis, 0), old[key].movedim(axis, 0), start[key].movedim(axis, 0)
        assert torch.equal(rows[1], theirs[2]) and torch.equal(rows[3], theirs[0]), key
        assert all(torch.equal(rows[place], begun[place]) for place in (0, 2, 4)), key
        assert all(torch.equal(rows[5 + extra], theirs[3 + extra]) for extra in range(rows.shape[0] - 5)), key


def test_a_class_that_was_only_renamed_keeps_its_place(tmp_path):
    network, file = saved(tmp_path, "deimv2_atto", ("cat", "dog", "bird"))
    other = fresh("deimv2_atto", ("dog", "鸟", "cat"))
    coverage = load_into(other, file, ("dog", "鸟", "cat"))
    assert coverage.adapted == ("dog", "cat") and not coverage.placed
    key = "decoder.enc_score_head.weight"
    rows, theirs = other.state_dict()[key], network.state_dict()[key]
    assert torch.equal(rows[0], theirs[1]) and torch.equal(rows[2], theirs[0])
    assert not torch.equal(rows[1], theirs[1])  # its old place holds the dog now


def test_what_became_of_each_class_is_told(tmp_path):
    _, file = saved(tmp_path, "deimv2_atto", ("cat", "dog", "bird"))
    for ours, adapted, placed in ((("cat", "狗", "bird"), ("cat", "bird"), ("狗",)), (("bird", "狗", "x"), ("bird",), ("狗", "x")[:1]),
                                  (("cat", "dog", "bird"), (), ()), (("x", "y"), (), ())):
        coverage = load_into(fresh("deimv2_atto", ours), file, ours)
        assert (coverage.adapted, coverage.placed) == (adapted, placed)
    other = load_into(fresh("deimv2_n", ("a", "b", "c")), saved(tmp_path, "deimv2_atto", ("x", "y", "z"))[1], ("a", "b", "c"))
    assert not other.placed, "the last layers of another network do not fit"


def test_other_names_for_the_same_number_of_classes_change_nothing(tmp_path):
    network, file = saved(tmp_path, "deimv2_atto", ("cat", "dog"))
    other = fresh("deimv2_atto", ("猫", "狗"))
    coverage = load_into(other, file, ("猫", "狗"))
    assert not coverage.adapted and coverage.placed == ("猫", "狗")
    assert torch.equal(other.state_dict()["decoder.enc_score_head.weight"], network.state_dict()["decoder.enc_score_head.weight"])


def test_a_published_detector_of_80_classes_knows_those_of_coco(tmp_path):
    network, file = saved(tmp_path, "deimv2_atto", COCO, told=False)
    other = fresh("deimv2_atto", ("Person", "tumor", "dog"))
    coverage = load_into(other, file, ("Person", "tumor", "dog"))
    assert coverage.adapted == ("Person", "dog")
    rows, theirs = (each.state_dict()["decoder.enc_score_head.weight"] for each in (other, network))
    assert torch.equal(rows[0], theirs[0]) and torch.equal(rows[2], theirs[16])


def test_without_names_the_last_layers_begin_anew(tmp_path):
    _, file = saved(tmp_path, "deimv2_atto", ("a", "b", "c"), told=False)
    other = fresh("deimv2_atto", ("a", "b"))
    start = other.state_dict()["decoder.enc_score_head.weight"].clone()
    coverage = load_into(other, file, ("a", "b"))
    assert not coverage.adapted and coverage.reshaped
    assert torch.equal(other.state_dict()["decoder.enc_score_head.weight"], start)


@pytest.mark.parametrize("count", [63, 64])
def test_as_many_classes_as_a_layer_is_wide_move_whole(tmp_path, count):
    """Sides of equal length do not tell which is that of the classes; layers have their outputs first."""
    names = [f"class {place}" for place in range(count)]
    network, file = saved(tmp_path, "deimv2_atto", names)
    other = fresh("deimv2_atto", names[::-1])
    assert len(load_into(other, file, names[::-1]).adapted) == count
    old, new = network.state_dict(), other.state_dict()
    for key in ("enc_score_head.weight", "enc_score_head.bias", "dec_score_head.0.weight", "denoising_class_embed.weight"):
        assert torch.equal(new[f"decoder.{key}"][:count], old[f"decoder.{key}"][:count].flip(0)), key


def test_a_bare_detector_of_80_classes_is_named_as_it_was_trained(tmp_path):
    torch.manual_seed(0)
    torch.save({"ema": {"module": create("deimv2_atto", 80).state_dict()}}, tmp_path / "coco.pth")
    assert load(tmp_path / "coco.pth").classes == COCO
    assert load(tmp_path / "coco.pth", classes=["人"]).classes == ("人", *COCO[1:])
