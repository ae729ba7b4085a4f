"""SAM 2: weights under both names, and the same outlines as the library's own way from image to mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine import sam2, weights
from engine.sam2 import Sam2, Size, fitting, renamed
from engine.types import UserError

SMALL = Size(1, (4, 2, 4, 2), (3,), side=64)


@pytest.fixture(scope="module")
def network():
    from transformers.models.sam2.configuration_sam2 import Sam2Config
    from transformers.models.sam2.modeling_sam2 import Sam2Model

    torch.manual_seed(0)
    trunk = {
        "model_type": "sam2_hiera_det_model", "image_size": [64, 64], "hidden_size": 8, "num_attention_heads": 1, "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64], "num_attention_heads_per_stage": [1, 2, 4, 8], "window_positional_embedding_background_size": [4, 4],
        "window_size_per_stage": [4, 2, 4, 2], "global_attention_blocks": [3]}
    vision = {"backbone_channel_list": [64, 32, 16, 8], "backbone_config": trunk, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
    made = Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config={"image_size": 64}))
    for value in made.parameters():
        torch.nn.init.normal_(value, std=0.3)
    made.prompt_encoder.shared_embedding.positional_embedding.copy_(made.shared_image_embedding.positional_embedding)  # one in what is published
    return made.eval()


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(sam2.SIZES, (8, 5), SMALL)


@pytest.fixture
def file(network, small, tmp_path):
    save_file({name: value.contiguous().clone() for name, value in network.state_dict().items()}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module")
def image():
    return cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8), (120, 90), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("inside", "outside", "box"), [([(40.0, 30.0)], [], None), ([(40.0, 30.0), (60.0, 50.0)], [(10.0, 9.0)], None)])
def test_outlines_are_those_of_the_librarys_own_processor(network, file, image, inside, outside, box):
    from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor
    from transformers.models.sam2.processing_sam2 import Sam2Processor

    processor = Sam2Processor(Sam2ImageProcessor(size={"height": 64, "width": 64}), target_size=64)
    asked = processor(images=image, input_points=[[[list(point) for point in (*inside, *outside)]]],
                      input_labels=[[[1] * len(inside) + [0] * len(outside)]], return_tensors="pt")
    alone = len(inside) + len(outside) == 1
    with torch.inference_mode():
        told = network(**{name: asked[name] for name in ("pixel_values", "input_points", "input_labels")}, multimask_output=alone)
    masks = processor.post_process_masks(told.pred_masks, asked["original_sizes"])[0][0]
    expected = masks[int(told.iou_scores[0, 0].argmax())].numpy()
    ours = Sam2(file, "cpu")
    found = ours.outlined(ours.seen(image), (120, 90), inside, outside, box)
    assert found.shape == (90, 120)
    assert 0.02 < expected.mean() < 0.98
    assert (found & expected).sum() / (found | expected).sum() > 0.98  # the processor resizes 8-bit pixels


def test_a_box_is_two_points_of_its_own_kind(file, image):
    ours = Sam2(file, "cpu")
    maps = ours.seen(image)
    assert ours.outlined(maps, (120, 90), [], [], (20.0, 10.0, 80.0, 70.0)).shape == (90, 120)
    with pytest.raises(UserError):
        ours.outlined(maps, (120, 90), [], [(3.0, 3.0)])


def official_names(blocks: int, stages: tuple[int, ...]) -> list[str]:
    """The tensors of the image part in the official repository."""
    def both(*names: str) -> list[str]:
        return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]

    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.layers.0", "mlp.layers.1")
    trunk = ["pos_embed", "pos_embed_window", *both("patch_embed.proj"), *both(*(f"blocks.{number}.proj" for number in stages)),
             *both(*(f"blocks.{number}.{part}" for number in range(blocks) for part in parts))]
    attention = [f"{part}_proj" for part in ("q", "k", "v", "out")]
    ways = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
    layers = [f"transformer.layers.{number}." for number in range(2)]
    heads = (*(f"output_hypernetworks_mlps.{each}" for each in range(4)), "iou_prediction_head", "pred_obj_score_head")
    decoder = [*both(*(f"{layer}{way}.{part}" for layer in layers for way in ways for part in attention)),
               *both(*(f"{layer}norm{number}" for layer in layers for number in range(1, 5))),
               *both(*(f"{layer}mlp.layers.{number}" for layer in layers for number in range(2))),
               *both(*(f"transformer.final_attn_token_to_image.{part}" for part in attention), "transformer.norm_final_attn"),
               "iou_token.weight", "mask_tokens.weight", "obj_score_token.weight",
               *both(*(f"output_upscaling.{number}" for number in (0, 1, 3)), "conv_s0", "conv_s1"),
               *both(*(f"{head}.layers.{number}" for head in heads for number in range(3)))]
    prompts = ["pe_layer.positional_encoding_gaussian_matrix", *(f"point_embeddings.{number}.weight" for number in range(4)),
               "not_a_point_embed.weight", "no_mask_embed.weight", *both(*(f"mask_downscaling.{number}" for number in (0, 1, 3, 4, 6)))]
    return ["no_mem_embed", *(f"image_encoder.trunk.{name}" for name in trunk),
            *both(*(f"image_encoder.neck.convs.{number}.conv" for number in range(4))),
            *(f"sam_mask_decoder.{name}" for name in decoder), *(f"sam_prompt_encoder.{name}" for name in prompts)]


def test_the_names_of_the_official_repository_lead_to_every_tensor_once(network):
    names = official_names(5, (1, 2, 4))
    videos = {"memory_encoder.fuser.layers.0.gamma": torch.zeros(1), "maskmem_tpos_enc": torch.zeros(1)}
    found = renamed({**{name: torch.zeros(1, 1) for name in names}, **videos})
    assert found.keys() == network.state_dict().keys()
    assert len(names) == len(found) + 2  # four points in one table, one matrix under two names


def test_a_checkpoint_under_official_names_gives_the_same_network(network, file, small, tmp_path):
    own = network.state_dict()
    official: dict[str, Tensor] = {}
    for name in official_names(5, (1, 2, 4)):
        if "point_embeddings" in name:
            official[name] = own["prompt_encoder.point_embed.weight"][int(name.split(".")[2])][None].clone()
        else:
            official[name] = own[next(iter(renamed({name: torch.zeros(1)})))]
    torch.save({"model": official}, tmp_path / "sam2.1_hiera.pt")
    assert fitting(tmp_path / "sam2.1_hiera.pt") and fitting(file)
    ours = Sam2(tmp_path / "sam2.1_hiera.pt", "cpu").network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in own.items())


def test_other_weights_are_told_apart_and_a_part_is_refused(network, small, tmp_path):
    torch.save({"model": {"layer1.0.conv1.weight": torch.zeros(3)}}, tmp_path / "other.pt")
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    assert not fitting(tmp_path / "other.pt") and not fitting(tmp_path / "broken.pt")
    part = {name: value.clone() for name, value in network.state_dict().items() if "iou_prediction_head" not in name}
    save_file(part, tmp_path / "part.safetensors")
    with pytest.raises(UserError) as caught:
        Sam2(tmp_path / "part.safetensors", "cpu")
    assert caught.value.key == "sam2_incomplete"
    save_file({name: value.clone() for name, value in network.state_dict().items() if "blocks.4." not in name}, tmp_path / "short.safetensors")
    with pytest.raises(UserError) as caught:
        Sam2(tmp_path / "short.safetensors", "cpu")
    assert caught.value.key == "sam2_unknown_size"
    with pytest.raises(UserError):
        weights.safe_load(tmp_path / "broken.pt")
