"""HybridMedNet: every backbone builds, learns and predicts; each option changes something; checkpoints are told apart."""

import numpy as np
import pytest
import torch

from engine.config import TrainConfig
from engine.losses import classification
from engine.messages import LANGUAGES, catalogue
from engine.models import create, models
from engine.models.hybridmednet.attention import CrossAttention
from engine.models.hybridmednet.config import LISTED, Config
from engine.models.hybridmednet.features import FeatureExtractor
from engine.models.hybridmednet.fingerprints import FINGERPRINTS
from engine.models.hybridmednet.fusion import _mean_when_resized
from engine.models.hybridmednet.hierarchy import Hierarchy
from engine.models.hybridmednet.keys import backbone_of, fingerprint, infer
from engine.models.hybridmednet.memory import memory_of
from engine.models.network import Balance
from engine.types import UserError

FAST = ("resnet34", "convnext_tiny", "swin_tiny", "efficientnetv2_s", "vim_tiny")
SMALL = {"fusion_channels": 16, "fpn_channels": 16}
TINY = {**SMALL, "backbone": "mobilenetv3_small_100"}


def tags(*rows):
    return [{"values": torch.tensor(row)} for row in rows]


def loss_of(network, images, targets):
    return sum(network.loss(images, targets).values())


@pytest.mark.parametrize("backbone", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in LISTED if name not in FAST)])
def test_every_listed_backbone_learns_and_predicts_at_two_sizes(backbone):
    torch.manual_seed(0)
    network = create("hybridmednet", 3, backbone=backbone, **SMALL).train()
    side = 32 if "vim" in backbone else 64
    loss_of(network, torch.randn(2, 3, side, side), tags([1.0, 0.0, 1.0], [0.0, 1.0, torch.nan])).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None and "backbone.model" not in name] == []
    network.eval()
    for height, width in ((side, side), (side + 32, side)):
        with torch.no_grad():
            logits = network(torch.randn(1, 3, height, width))
        assert logits.shape == (1, 3)
        assert torch.isfinite(logits).all()


def test_no_other_backbone_is_built_than_the_one_asked_for():
    for name in ("resnet35", "vim_huge", "convnext", ""):
        with pytest.raises(UserError) as caught:
            create("hybridmednet", 2, backbone=name)
        assert caught.value.key == "unknown_backbone"
        assert all(each in str(caught.value) for each in LISTED)


@pytest.mark.parametrize(("options", "key"), [
    ({"num_head": 4}, "unknown_option"), ({"num_heads": 7, "backbone": "convnext_atto"}, "attention_heads"), ({"dropout": 1.5}, "option_bounds"),
    ({"fusion_channels": 0}, "option_bounds"), ({"mode": "both"}, "option_choice"),
])
def test_options_that_cannot_be_are_refused(options, key):
    with pytest.raises(UserError) as caught:
        create("hybridmednet", 2, **{"backbone": "convnext_atto", **options})
    assert caught.value.key == key


def test_every_option_of_the_list_is_one_of_the_architecture_and_has_its_texts():
    spec = models.get("hybridmednet")
    defaults = Config(1)
    assert {each.name: each.default for each in spec.options} == {each.name: getattr(defaults, each.name) for each in spec.options}
    assert {each.name for each in spec.options} == set(Config.__dataclass_fields__) - {"num_classes"}
    for language in LANGUAGES:
        assert all(f"option.{each.name}{part}" in catalogue(language) for each in spec.options for part in ("", ".help"))


@pytest.mark.parametrize("change", [
    {"fusion_channels": 24}, {"use_modern_attention": False}, {"use_cross_scale_attention": False}, {"hierarchical": True},
    {"backbone": "mobilenetv3_small_075"}, {"backbone": "resnet18"},
])
def test_changing_an_option_changes_the_tensors(change):
    with torch.device("meta"):
        before, after = (create("hybridmednet", 2, **{**TINY, **each}) for each in ({}, change))
    shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (before, after)]
    assert shapes[0] != shapes[1]


def test_heads_and_dropout_change_the_outputs():
    def output(**options):
        torch.manual_seed(1)
        network = create("hybridmednet", 2, **{**TINY, "dropout": 0.0, **options}).train()
        network.feature_extractor.eval()
        torch.manual_seed(2)
        with torch.no_grad():
            return network(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)))

    base = output()
    assert torch.equal(base, output())
    assert not torch.equal(base, output(num_heads=4))
    assert not torch.equal(base, output(dropout=0.5))


def test_a_batch_of_one_image_can_be_learnt_from():
    network = create("hybridmednet", 2, hierarchical=True, backbone="resnet18", **SMALL).train()
    assert torch.isfinite(loss_of(network, torch.randn(1, 3, 64, 64), tags([1.0, 0.0])))
    network = create("hybridmednet", 2, backbone="convnext_atto", **SMALL).train()
    assert torch.isfinite(loss_of(network, torch.randn(1, 3, 32, 32), tags([1.0, 0.0])))


def test_attention_is_the_explicit_softmax():
    torch.manual_seed(4)
    attention = CrossAttention(24, 4)
    tokens, context = torch.randn(2, 7, 24), torch.randn(2, 11, 24)
    query, (key, value) = attention.q(tokens), attention.kv(context).chunk(2, -1)
    heads = []
    for h in range(4):
        part = slice(6 * h, 6 * h + 6)
        scores = query[..., part] @ key[..., part].mT / 6**0.5
        heads.append(scores.softmax(-1) @ value[..., part])
    assert torch.allclose(attention(tokens, context), attention.proj(torch.cat(heads, -1)), atol=1e-6)


@pytest.mark.parametrize("sizes", [((4, 4), (16, 16)), ((3, 5), (11, 7)), ((8, 8), (8, 8)), ((1, 1), (9, 4))])
def test_the_mean_of_an_enlarged_map_needs_no_enlargement(sizes):
    torch.manual_seed(5)
    maps = torch.randn(2, 3, *sizes[0])
    wanted = torch.nn.functional.interpolate(maps, size=sizes[1], mode="bilinear", align_corners=False).mean((2, 3), keepdim=True)
    assert torch.allclose(_mean_when_resized(maps, sizes[1]), wanted, atol=1e-6)


def test_the_map_to_explain_with_is_in_the_graph_of_the_logits():
    torch.manual_seed(6)
    network = create("hybridmednet", 2, **TINY).eval()
    images = torch.randn(1, 3, 64, 96)
    logits, maps = network.explain(images)
    assert torch.equal(logits, network(images))
    assert maps.shape == (1, 16, 16, 24)
    assert torch.autograd.grad(logits[0, 1], maps)[0].abs().sum() > 0


def test_only_the_pretrained_part_learns_at_the_rate_of_the_backbone():
    network = create("hybridmednet", 2, backbone="vit_tiny_patch16_224", **SMALL)
    groups = network.parameter_groups(1.0, 0.5, 0.1)
    rates = {id(each): group["lr"] for group in groups for each in group["params"]}
    named = dict(network.named_parameters())
    assert len(rates) == len(named) == sum(len(group["params"]) for group in groups)
    slow = {name for name, each in named.items() if rates[id(each)] == 0.5}
    assert slow == {name for name in named if name.startswith("feature_extractor.backbone.model.")}


class TestHierarchy:
    """The coarse head learns from coarse labels that are made of the fine ones."""

    def network(self, **options):
        torch.manual_seed(7)
        return create("hybridmednet", 4, hierarchical=True, num_coarse_classes=2, dropout=0.0, **{**TINY, **options})

    def test_both_answers_come_out_and_forward_gives_the_fine_one(self):
        network = self.network().eval()
        images = torch.randn(2, 3, 64, 64)
        coarse, fine = network.forward_hierarchical(images)
        assert coarse.shape == (2, 2)
        assert torch.equal(fine, network(images))

    def test_without_a_hierarchy_there_are_no_coarse_logits(self):
        with pytest.raises(ValueError, match="hierarchical"):
            create("hybridmednet", 2, **TINY).forward_hierarchical(torch.randn(1, 3, 64, 64))

    @pytest.mark.parametrize(("values", "wanted"), [
        ([1.0, 0.0, 0.0, 0.0], [1.0, 0.0]), ([0.0, torch.nan, torch.nan, torch.nan], [0.0, torch.nan]), ([0.5, 0.0, 1.0, 0.5], [0.5, 1.0]),
    ])
    def test_a_coarse_class_is_there_when_one_of_its_classes_is(self, values, wanted):
        hierarchy = Hierarchy(Config(4, num_coarse_classes=2))
        found = hierarchy._coarse_target({"values": torch.tensor(values)})["values"]
        assert torch.equal(found.nan_to_num(9), torch.tensor(wanted).nan_to_num(9))

    def test_groups_of_the_data_replace_the_order(self):
        hierarchy = Hierarchy(Config(4, num_coarse_classes=2, mode="multiclass"))
        balance = Balance(np.array([10.0, 20, 30, 40]), np.array([90.0, 80, 70, 60]), groups=(0, 1, 0, 1))
        hierarchy.configure(TrainConfig(), balance)
        assert [int(hierarchy._coarse_target({"label": torch.tensor(each)})["label"]) for each in (0, 1, 2, 3, -1)] == [0, 1, 0, 1, -1]
        coarse = hierarchy._coarse_balance(balance)
        assert coarse.positives.tolist() == [40, 60]
        assert coarse.negatives.tolist() == [60, 40]

    @pytest.mark.parametrize("groups", [(0, 1), (0, 1, 2, 1), (0, 1, -1, 1)])
    def test_groups_that_do_not_fit_are_refused(self, groups):
        with pytest.raises(UserError) as caught:
            Hierarchy(Config(4, num_coarse_classes=2)).configure(TrainConfig(), Balance(np.ones(4), np.ones(4), groups=groups))
        assert caught.value.key == "coarse_groups"

    @pytest.mark.parametrize("mode", ["multilabel", "multiclass"])
    def test_the_coarse_head_learns_what_only_coarse_labels_can_teach(self, mode):
        network = self.network(mode=mode).train()
        network.configure(TrainConfig(coarse_weight=2.0), None)
        targets = [{"label": torch.tensor(i)} for i in range(4)] if mode == "multiclass" else tags(*torch.eye(4).tolist())
        maps = torch.randn(4, 16, 8, 8) + torch.randn(4, 16, 1, 1)
        optimizer = torch.optim.AdamW(network.classifier.parameters(), 1e-2)
        losses: list[float] = []
        for _ in range(20):
            coarse, fine = network._heads(maps)
            loss = network.hierarchy(coarse, fine, targets)["loss_coarse"]
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < 0.5 * losses[0]

    def test_the_weight_scales_the_coarse_terms(self):
        terms = []
        for weight in (0.5, 1.0):
            network = self.network().eval()
            network.configure(TrainConfig(coarse_weight=weight), None)
            terms.append(network.loss(torch.ones(1, 3, 64, 64), tags([1.0, 0.0, 0.0, 1.0])))
        assert torch.allclose(terms[1]["loss_coarse"], 2 * terms[0]["loss_coarse"])
        assert torch.allclose(terms[1]["loss_consistency"], 2 * terms[0]["loss_consistency"])
        assert torch.equal(terms[1]["loss_classes"], terms[0]["loss_classes"])

    def test_a_class_may_not_be_likelier_than_its_group(self):
        hierarchy = Hierarchy(Config(2, num_coarse_classes=1))
        low, high = torch.tensor([[-2.0]]), torch.tensor([[2.0]])
        assert hierarchy._disagreement(high, torch.tensor([[0.0, -1.0]])) == 0
        assert hierarchy._disagreement(low, torch.tensor([[0.0, -1.0]])) > 0


def test_the_settings_of_the_loss_reach_it():
    torch.manual_seed(8)
    network = create("hybridmednet", 2, **TINY).eval()
    images, targets = torch.randn(2, 3, 64, 64), tags([1.0, 0.5], [0.0, 1.0])
    base = loss_of(network, images, targets)
    for change in ({"loss": "focal"}, {"loss": "asymmetric"}, {"uncertain": "ones"}, {"label_smoothing": 0.2}):
        network.configure(TrainConfig(**change), None)
        assert not torch.isclose(loss_of(network, images, targets), base)
    network.configure(TrainConfig(class_weights="balanced"), Balance(np.array([1.0, 5.0]), np.array([9.0, 5.0])))
    assert not torch.isclose(loss_of(network, images, targets), base)
    network.configure(TrainConfig(), None)
    assert torch.isclose(loss_of(network, images, targets), classification.build(None, None, "multilabel")(network(images), targets))


@pytest.mark.parametrize("options", [
    {}, {"use_cross_scale_attention": False}, {"use_modern_attention": False, "use_cross_scale_attention": False}, {"fusion_channels": 24},
    {"hierarchical": True, "num_coarse_classes": 2}, {"backbone": "resnet18", "fpn_channels": 32, "use_modern_attention": False,
                                                    "use_cross_scale_attention": False},
    {"backbone": "vit_tiny_patch16_224"}, {"backbone": "vim_tiny", "num_classes": 1}, {"backbone": "efficientnetv2_s"},
])
def test_options_are_read_back_from_the_tensors(options):
    wanted = {"num_classes": 5, "fusion_channels": 16, "backbone": "mobilenetv3_small_100", **options}
    with torch.device("meta"):
        state = create("hybridmednet", **wanted).state_dict()
    found = infer(state)
    assert {name: found[name] for name in wanted} == wanted
    with torch.device("meta"):
        again = create("hybridmednet", **found).state_dict()
    assert {name: value.shape for name, value in again.items()} == {name: value.shape for name, value in state.items()}


@pytest.mark.parametrize("backbone", [*(name for name in FAST), *(pytest.param(name, marks=pytest.mark.slow)
                                                                  for name in dict.fromkeys((*LISTED, *FINGERPRINTS.values())) if name not in FAST)])
def test_every_backbone_is_known_by_its_tensors(backbone):
    with torch.device("meta"):
        extractor = FeatureExtractor(Config(1, backbone=backbone))
    sizes = [(f"feature_extractor.{name}", value.numel()) for name, value in extractor.state_dict().items()]
    assert FINGERPRINTS[fingerprint(sizes)] == backbone.partition(".")[0]


@pytest.mark.parametrize("backbone", ["convnext_nano.in12k", "resnetv2_50"])
def test_a_backbone_is_never_guessed(backbone):
    with torch.device("meta"):
        state = create("hybridmednet", 2, backbone=backbone, use_cross_scale_attention=False, **SMALL).state_dict()
    if backbone == "resnetv2_50":
        with pytest.raises(UserError) as caught:
            infer(state)
        assert caught.value.key == "weights_backbone_unknown"
    else:
        assert backbone_of(state) == "convnext_nano"


def test_tensors_of_something_else_are_refused():
    with pytest.raises(UserError) as caught:
        infer({"conv1.weight": torch.zeros(3)})
    assert caught.value.key == "weights_not_hybridmednet"


def test_the_memory_of_attention_across_scales_is_stated_before_it_is_needed():
    with torch.device("meta"):
        crossing = create("hybridmednet", 14, num_heads=8)
        plain = create("hybridmednet", 14, use_cross_scale_attention=False)
    stated = memory_of(crossing, 224)
    assert stated.scores == 3136 * 9408 * 8 * 4
    assert memory_of(plain, 224).scores == 0
    assert memory_of(plain, 224).total < stated.total < memory_of(crossing, 224, batch=2).total
    assert memory_of(crossing, 448).scores == 16 * stated.scores


def test_what_is_stated_is_near_what_a_step_keeps():
    torch.manual_seed(9)
    network = create("hybridmednet", 2, fusion_channels=64, backbone="convnext_atto").train()
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    owned = {each.untyped_storage().data_ptr() for each in network.parameters()}
    with torch.no_grad():
        levels = network.feature_extractor(torch.randn(1, 3, 128, 128))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda each: each):
        fused = network.fusion(network.attention([each.requires_grad_() for each in levels]))
    assert fused.requires_grad
    stated = memory_of(network, 128)
    measured = sum(size for place, size in kept.items() if place not in owned)
    assert 0.6 < (stated.attention + stated.fusion) / measured < 1.7
