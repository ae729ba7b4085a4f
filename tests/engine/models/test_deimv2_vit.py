"""The sizes of DEIMv2 on vision transformers: against timm's DINOv3, and against what the official implementation made of seeded weights."""

import hashlib
import math
from functools import partial

import pytest
import timm
import torch
from timm.models.eva import Eva
from torch import nn

from engine.models import create, models
from engine.models.deimv2.config import ViT
from engine.models.deimv2.vit import BASE, HEAD, RotaryAngles, VisionTransformer, turned
from engine.weights import load_into

SIZES = ["deimv2_s", *(pytest.param(f"deimv2_{size}", marks=pytest.mark.slow) for size in "mlx")]
FIXED = ("periods", "num_points_scale", "decoder.up", "reg_scale", "num_batches_tracked", "bias_mask")
NORMS = (".scale", "norm.weight", "norm1.weight", "norm2.weight", "norms.0.weight", "norms.1.weight", "norms.2.weight")
TARGETS = [
    {"labels": torch.tensor([0, 3]), "boxes": torch.tensor([[0.3, 0.4, 0.2, 0.3], [0.6, 0.6, 0.5, 0.2]])},
    {"labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.4, 0.6]])},
]
# What the official implementation (commit 0fff8d4, 4 classes, CPU) answers to the weights of `seeded`: a digest of names and shapes; mean,
# deviation, largest and smallest logit, mean and deviation of the boxes; sums over all sets of each term, before and after the matcher changes.
OFFICIAL = {
    "deimv2_s": (
        "235d39f466f8be5a", [-0.02447, 0.6233, 1.21559, -1.534, 0.53262, 0.60171, 0.04822, 0.04782, 0.29618, 0.28623, 0.01479, 0.02332],
        {"mal": 2734.7501, "bbox": 34.0778, "giou": 20.1163, "fgl": 3.1093, "ddf": 2.6587},
        {"mal": 2734.7867, "bbox": 31.351, "giou": 19.8802, "fgl": 3.4917, "ddf": 2.7398},
    ),
    "deimv2_m": (
        "9662116ca9c321c2", [0.67164, 1.32706, 3.45007, -1.12514, 0.51966, 0.57613, 0.10876, 0.11104, 0.27817, 0.24592, 0.01177, 0.02073],
        {"mal": 2990.9396, "bbox": 29.6354, "giou": 19.6295, "fgl": 3.4855, "ddf": 4.0598},
        {"mal": 2991.0979, "bbox": 29.6889, "giou": 19.6477, "fgl": 3.6247, "ddf": 4.0833},
    ),
    "deimv2_l": (
        "14691e4056878f28", [0.35223, 0.97492, 2.53855, -1.16559, 0.44062, 0.43551, 0.06858, 0.07502, 0.29003, 0.29619, 0.03172, 0.05926],
        {"mal": 2467.5351, "bbox": 22.9839, "giou": 17.3488, "fgl": 5.7051, "ddf": 3.6488},
        {"mal": 2467.5679, "bbox": 23.3655, "giou": 16.8969, "fgl": 6.1628, "ddf": 3.6744},
    ),
    "deimv2_x": (
        "16e6a874fae5b8ee", [0.82214, 0.74058, 2.44226, -0.40878, 0.47778, 0.60905, 0.04687, 0.07551, 0.27473, 0.26349, 0.03651, 0.03057],
        {"mal": 3038.7797, "bbox": 43.5981, "giou": 27.8881, "fgl": 4.8398, "ddf": 11.082},
        {"mal": 3038.7404, "bbox": 47.9113, "giou": 28.2755, "fgl": 4.9169, "ddf": 11.0891},
    ),
}


def seeded(name):
    """The network in training mode but for its batch norms, with weights that depend on names and shapes alone."""
    network = create(name, 4)
    state = network.state_dict()
    torch.manual_seed(0)
    for key in sorted(state):
        value = state[key]
        if key.endswith(FIXED):
            continue
        noise = torch.randn(value.shape)
        if key.endswith("running_var"):
            value.copy_((0.2 * noise).exp())
        elif key.endswith("gamma"):
            value.copy_(0.3 + 0.1 * noise)
        elif key.endswith(NORMS) or (".sta." in key and value.ndim == 1 and key.endswith("weight")):
            value.copy_(1 + 0.1 * noise)
        else:
            value.copy_(noise / math.sqrt(value[0].numel()) if value.ndim > 1 else 0.1 * noise)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return network


@pytest.fixture(scope="module", params=SIZES)
def official(request):
    return seeded(request.param), *OFFICIAL[request.param]


def test_tensors_have_the_names_and_shapes_of_the_official_checkpoints(official):
    network, digest, *_ = official
    layout = "\n".join(sorted(f"{name} {tuple(value.shape)}" for name, value in network.state_dict().items() if "num_batches" not in name))
    assert hashlib.sha256(layout.encode()).hexdigest()[:16] == digest


def test_detections_are_the_official_ones(official):
    network, _, expected, *_ = official
    network.eval()
    torch.manual_seed(1)
    with torch.no_grad():
        found = network(torch.rand(2, 3, 160, 160))
    logits, boxes = found["logits"], found["boxes"]
    numbers = [logits.mean(), logits.std(), logits.max(), logits.min(), *boxes.mean((0, 1)), *boxes.std((0, 1))]
    assert [number.item() for number in numbers] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("late", [False, True])
def test_losses_are_the_official_ones(official, late):
    """In training mode: DINOv3 draws a factor in each block before the noise of the denoising queries is drawn."""
    network, _, _, *moments = official
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    network.set_progress(float(late))
    torch.manual_seed(1)
    images = torch.rand(2, 3, 160, 160)
    torch.manual_seed(2)
    with torch.no_grad():
        terms = network.loss(images, TARGETS)
    for term, total in moments[late].items():
        assert sum(value.item() for name, value in terms.items() if name.split("_")[1] == term) == pytest.approx(total, rel=5e-4), term


@pytest.mark.parametrize("name", SIZES)
def test_a_step_of_training_moves_every_weight(name):
    spec = models.get(name)
    torch.manual_seed(0)
    network = create(name, 4)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.01 * torch.randn_like(parameter)
    groups = network.parameter_groups(spec.learning_rate, spec.learning_rate * spec.backbone_lr_ratio, spec.weight_decay)
    optimizer = torch.optim.AdamW(groups)
    before = {key: value.detach().clone() for key, value in network.named_parameters() if value.requires_grad}
    loss = sum(network.loss(torch.rand(2, 3, 320, 320), TARGETS).values())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
    optimizer.step()
    assert loss.isfinite()
    assert [key for key, value in network.named_parameters() if key in before and torch.equal(value, before[key])] == []


def test_official_and_hub_files_load_completely(tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(1)
    source = create("deimv2_s", 4)
    tables = {"decoder.anchors": torch.full((1, 8400, 4), math.inf), "decoder.valid_mask": torch.ones(1, 8400, 1, dtype=torch.bool)}
    state = {**source.state_dict(), **tables}
    torch.save({"date": "", "last_epoch": 3, "model": create("deimv2_s", 4).state_dict(), "ema": {"module": state, "updates": 9}}, tmp_path / "a.pth")
    once = {name: value for name, value in state.items() if name not in ("decoder.decoder.up", "decoder.decoder.reg_scale")}
    save_file(once, tmp_path / "b.safetensors")
    for file in ("a.pth", "b.safetensors"):
        network = create("deimv2_s", 4)
        coverage = load_into(network, tmp_path / file)
        assert coverage.missing == coverage.unexpected == coverage.reshaped == ()
        assert set(coverage.ignored) == set(tables)
        assert all(torch.equal(value, source.state_dict()[name]) for name, value in network.state_dict().items())


def as_timm(state, *, gated):
    """The names of timm for tensors named as in the official checkpoints; timm has no keys' bias."""
    named = {}
    for name, value in state.items():
        if name.endswith(("periods", "bias_mask", "mask_token")):
            continue
        if name.endswith("qkv.bias"):
            query, _, part = value.chunk(3)
            stem = name.removesuffix("qkv.bias")
            named |= {f"{stem}q_bias": query, f"{stem}v_bias": part}
            continue
        pairs = [("storage_tokens", "reg_token"), ("ls1.gamma", "gamma_1"), ("ls2.gamma", "gamma_2")]
        for ours, theirs in pairs + ([("mlp.w1", "mlp.fc1_g"), ("mlp.w2", "mlp.fc1_x"), ("mlp.w3", "mlp.fc2")] if gated else []):
            name = name.replace(ours, theirs)
        named[name] = value
    return named


def shaken(vit, taps):
    torch.manual_seed(0)
    network = VisionTransformer(vit, taps).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            value += (0.3 if name.endswith("gamma") else 0.05) * torch.randn_like(value)
    return network


@pytest.mark.parametrize(("timm_name", "gated"), [("vit_small_patch16_dinov3_qkvb", False), ("vit_small_plus_patch16_dinov3_qkvb", True)])
def test_dinov3_agrees_with_timm(timm_name, gated):
    network = shaken(ViT(384, 32, dinov3=True, gated=gated), (5, 8, 11))
    other = timm.create_model(timm_name, num_classes=0, dynamic_img_size=True).eval()
    other.load_state_dict(as_timm(network.state_dict(), gated=gated))
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        theirs = other.forward_intermediates(images, indices=[5, 8, 11], norm=True, intermediates_only=True)
        for mine, expected in zip(network(images), theirs, strict=True):
            assert torch.allclose(mine, expected, atol=1e-4)


def test_the_tiny_transformer_agrees_with_timm_without_a_bias_of_the_keys():
    network = shaken(ViT(192, 16), (3, 7, 11))
    for block in network.blocks:
        nn.init.zeros_(block.attn.qkv.bias.data.view(3, -1)[1])
    other = Eva(
        patch_size=16, embed_dim=192, depth=12, num_heads=3, num_classes=0, num_reg_tokens=0, init_values=None, use_rot_pos_emb=True,
        use_abs_pos_emb=False, rope_type="dinov3", rope_temperature=BASE, rope_rotate_half=True, qkv_bias=True, use_fc_norm=False,
        dynamic_img_size=True, norm_layer=partial(nn.LayerNorm, eps=1e-6),
    ).eval()
    kept = as_timm(network.state_dict(), gated=False)
    assert set(other.load_state_dict(kept, strict=False).missing_keys) <= {"norm.weight", "norm.bias"}
    images = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        theirs = other.forward_intermediates(images, indices=[3, 7, 11], norm=False, intermediates_only=True)
        for mine, expected in zip(network(images), theirs, strict=True):
            assert torch.allclose(mine, expected, atol=1e-4)


def test_turning_depends_on_the_distance_of_two_patches_alone():
    cosines, sines = RotaryAngles()(4, 4, 1, None)
    query, key = torch.randn(2, HEAD)
    queries, keys = (turned(each.expand(1, 17, 1, HEAD), cosines, sines)[0, :, 0] for each in (query, key))
    products = queries @ keys.T
    assert torch.allclose(products[1, 2], products[10, 11], atol=1e-4)
    assert torch.allclose(products[1, 6], products[6, 11], atol=1e-4)
    assert not torch.allclose(products[1, 2], products[1, 5], atol=1e-2)
    assert torch.equal(queries[0], query)


def test_dinov3_stretches_places_anew_in_every_block_of_training_only():
    network = VisionTransformer(ViT(64, 16, dinov3=True, blocks=3), (2,))
    network.blocks.requires_grad_(False)
    torch.manual_seed(4)
    network.eval()(torch.zeros(1, 3, 32, 32))
    untouched = torch.rand(1)
    torch.manual_seed(4)
    assert torch.equal(untouched, torch.rand(1))
    torch.manual_seed(4)
    network.train()(torch.zeros(1, 3, 32, 32))
    left = torch.rand(1)
    torch.manual_seed(4)
    assert torch.equal(left, torch.rand(4)[3:])


def test_the_bias_of_the_keys_counts_in_the_tiny_transformer_only():
    for vit, counts in ((ViT(64, 16, blocks=2), True), (ViT(64, 16, dinov3=True, blocks=2), False)):
        network, images = shaken(vit, (1,)), torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            before = network(images)[0]
            for block in network.blocks:
                block.attn.qkv.bias[64:128] += 3 * torch.randn(64)
            assert torch.allclose(before, network(images)[0], atol=1e-6) != counts


def groups_of(name):
    network, spec = create(name, 4), models.get(name)
    names = {id(value): key for key, value in network.named_parameters()}
    groups = network.parameter_groups(spec.learning_rate, spec.learning_rate * spec.backbone_lr_ratio, spec.weight_decay)
    return {names[id(value)]: (group["lr"], group["weight_decay"]) for group in groups for value in group["params"]}


def test_rates_and_decay_are_those_of_the_published_recipe():
    found = groups_of("deimv2_s")
    expected = {
        "backbone.dinov3._model.blocks.0.attn.qkv.weight": (2.5e-5, 1e-4), "backbone.dinov3._model.blocks.0.attn.qkv.bias": (2.5e-5, 0),
        "backbone.dinov3._model.blocks.0.norm1.weight": (2.5e-5, 0), "backbone.dinov3._model.cls_token": (2.5e-5, 1e-4),
        "backbone.sta.stem.0.weight": (5e-4, 1e-4), "backbone.sta.stem.1.weight": (5e-4, 1e-4), "backbone.sta.stem.1.bias": (5e-4, 0),
        "backbone.norms.0.bias": (5e-4, 1e-4), "backbone.convs.0.weight": (5e-4, 1e-4), "encoder.lateral_convs.0.norm.weight": (5e-4, 0),
        "decoder.enc_score_head.bias": (5e-4, 0), "decoder.decoder.layers.0.norm1.scale": (5e-4, 0), "decoder.enc_score_head.weight": (5e-4, 1e-4),
    }
    for name, (lr, decay) in expected.items():
        assert found[name] == pytest.approx((lr, decay)), name


def test_small_sizes_decay_their_whole_backbone_and_atto_its_biases():
    atto, nano = groups_of("deimv2_atto"), groups_of("deimv2_n")
    assert atto["backbone.stem.stem1.bn.weight"] == pytest.approx((1e-3, 1e-4))
    assert nano["backbone.stem.stem1.lab.bias"] == pytest.approx((4e-4, 1e-4))
    assert atto["decoder.enc_score_head.bias"][1] == pytest.approx(1e-4)
    assert nano["decoder.enc_score_head.bias"][1] == 0


@pytest.mark.parametrize(("name", "lr", "ratio", "decay"), [
    ("deimv2_s", 5e-4, 2.5e-5, 1e-4), ("deimv2_m", 5e-4, 2.5e-5, 1e-4), ("deimv2_l", 5e-4, 1.25e-5, 1.25e-4), ("deimv2_x", 5e-4, 1e-5, 1.25e-4)])
def test_what_is_known_without_building(name, lr, ratio, decay):
    spec = models.get(name)
    assert (spec.image_size, spec.stride, spec.reference_batch, spec.capacity) == (640, 32, 32, 300)
    assert (spec.learning_rate, spec.learning_rate * spec.backbone_lr_ratio, spec.weight_decay) == pytest.approx((lr, ratio, decay))
    assert (spec.mean, spec.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert models.get("deimv2_n").mean == (0.0, 0.0, 0.0)
