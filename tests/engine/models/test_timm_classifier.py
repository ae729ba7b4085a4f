"""Classifiers of timm: their own names and numbers, any size, a loss, and a map that the logits come from."""

import copy

import pytest
import timm
import torch

from engine.config import TrainConfig
from engine.models import create, models
from engine.models.network import Network
from engine.types import UserError
from engine.weights import load_into

SMALL = ("resnet18", "mobilenetv3_small_100", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224")
ANY_SIZE = {"vit_tiny_patch16_224": {"dynamic_img_size": True}, "swin_tiny_patch4_window7_224": {"strict_img_size": False}}


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {name: create("timm", 3, backbone=name).eval() for name in SMALL}


def pictures(height=64, width=64, count=2):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def told(values):
    return [{"values": torch.tensor(row)} for row in values]


@pytest.mark.parametrize("name", SMALL)
def test_names_and_numbers_are_those_of_timm(networks, name):
    network = networks[name]
    original = timm.create_model(name, num_classes=3, **ANY_SIZE.get(name, {})).eval()
    assert isinstance(network, Network)
    assert network.state_dict().keys() == original.state_dict().keys()
    original.load_state_dict(network.state_dict())
    images = pictures(count=1)
    with torch.no_grad():
        torch.testing.assert_close(network(images), original(images), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("height, width", [(64, 96), (32, 32)])
def test_any_multiple_of_32_goes_in_and_the_map_is_on_the_way_to_the_logits(networks, name, height, width):
    network, images = networks[name], pictures(height, width, 1)
    logits, maps = network.explain(images)
    with torch.no_grad():
        torch.testing.assert_close(logits, network(images), atol=1e-5, rtol=1e-4)
    assert maps.ndim == 4
    assert maps.shape[0] == 1
    assert maps.shape[2] * width == maps.shape[3] * height
    gradient, = torch.autograd.grad(logits[:, 1].sum(), maps)
    assert gradient.abs().sum() > 0


def test_the_map_of_a_vit_has_its_patches_where_they_are_in_the_image(networks):
    network, seen = networks["vit_tiny_patch16_224"], []
    hook = network.blocks[-1].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        _, maps = network.explain(pictures(64, 96))
    hook.remove()
    assert maps.shape == (2, 192, 4, 6)
    torch.testing.assert_close(maps[:, :, 2, 5], seen[0][:, 1 + 2 * 6 + 5])


def test_the_map_of_a_swin_enters_its_last_block_and_has_channels_first(networks):
    network, seen = networks["swin_tiny_patch4_window7_224"], []
    hook = network.layers[-1].blocks[-1].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        maps = network.explain(pictures(64, 96, 1))[1]
    hook.remove()
    torch.testing.assert_close(maps, seen[0].permute(0, 3, 1, 2))


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "vit_tiny_patch16_224"])
def test_training_steps_lower_the_loss(name):
    torch.manual_seed(0)
    network = create("timm", 2, backbone=name, dropout=0.1).train()
    network.configure(TrainConfig(task="classify", model="timm", loss="focal"), None)
    optimizer = torch.optim.AdamW(network.parameter_groups(1e-3, 5e-4, 0.01))
    images, targets = pictures(32, 32, 4), told([[1.0, 0.0], [0.0, 1.0], [1.0, float("nan")], [0.0, 0.5]])
    losses = []
    for _ in range(3):
        terms = network.loss(images, targets)
        losses.append(sum(terms.values()))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_modes_have_their_own_losses_and_refuse_others():
    network = create("timm", 3, mode="multiclass").eval()
    labels = [{"label": torch.tensor(2)}, {"label": torch.tensor(0)}]
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(network(pictures()), torch.tensor([2, 0]))
        torch.testing.assert_close(network.loss(pictures(), labels)["loss_classes"], expected)
    with pytest.raises(UserError, match="asymmetric"):
        network.configure(TrainConfig(task="classify", model="timm", loss="asymmetric"), None)


def test_a_copy_is_a_network_of_its_own(networks):
    network = networks["resnet18"]
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.fc.bias.add_(1)
        torch.testing.assert_close(twin(pictures()), network(pictures()) + 1)
        assert twin.loss(pictures(), told([[1.0] * 3] * 2))["loss_classes"] < network.loss(pictures(), told([[1.0] * 3] * 2))["loss_classes"]


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_is_in_one_group_and_the_classifier_is_no_backbone(networks, name):
    network = networks[name]
    groups = network.parameter_groups(1.0, 0.1, 0.01)
    members = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, members)) == sorted(map(id, network.parameters()))
    head = {id(parameter) for parameter in network.get_classifier().parameters()}
    for group in groups:
        assert {id(parameter) in head for parameter in group["params"]} == {group["lr"] == 1.0}
        assert group["weight_decay"] == 0 or all(parameter.ndim > 1 for parameter in group["params"])
    if name.startswith("vit"):
        free = {id(parameter) for group in groups if group["weight_decay"] == 0 for parameter in group["params"]}
        assert {id(network.pos_embed), id(network.cls_token)} <= free


# ---- weights of others

def test_weights_for_other_classes_load_all_but_the_classifier(networks, tmp_path):
    torch.save(timm.create_model("resnet18", num_classes=1000).state_dict(), tmp_path / "imagenet.pth")
    coverage = load_into(create("timm", 3), tmp_path / "imagenet.pth")
    assert coverage.complete
    assert coverage.reshaped == ("fc.weight", "fc.bias")


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_a_common_network_is_recognised_by_its_tensors(networks, name):
    assert models.get("timm").infer(networks[name].state_dict()) == {"backbone": name, "num_classes": 3}


def test_a_network_that_is_unknown_or_has_a_twin_is_asked_for(networks):
    with pytest.raises(UserError) as caught:
        models.get("timm").infer(networks["mobilenetv3_small_100"].state_dict())
    assert "tf_mobilenetv3_small_100" in str(caught.value)
    for state in ({"odd": torch.zeros(3)}, {**networks["resnet18"].state_dict(), "extra": torch.zeros(1)}, {}):
        with pytest.raises(UserError):
            models.get("timm").infer(state)


# ---- names and sizes that do not work

@pytest.mark.parametrize("name, hint", [("resnet_18", "resnet18"), ("swin_tiny", "swin_tiny_patch4_window7_224"), ("ConvNext_Tinny", "convnext_tiny"),
                                        ("resnet18.no_such_weights", "resnet18.a1_in1k"), ("hf-hub:timm/resnet18", ""), ("", "")])
def test_an_unknown_name_is_refused_with_similar_ones(name, hint):
    with pytest.raises(UserError) as caught:
        create("timm", 2, backbone=name)
    assert hint in str(caught.value)


def test_a_name_with_a_tag_is_its_architecture():
    assert create("timm", 2, backbone="resnet18.a1_in1k").state_dict().keys() == create("timm", 2).state_dict().keys()


def test_a_size_that_does_not_fit_is_a_message_and_not_a_crash():
    network = create("timm", 2, backbone="levit_128s").eval()
    for call in (network, network.explain):
        with torch.no_grad(), pytest.raises(UserError, match="224"):
            call(pictures())
