"""What a run starts from."""

import pytest
import torch

from engine.models import create, models
from engine.opening import start_weights
from engine.types import UserError

SIZES = {"backbone": {"depths": [1, 1, 1, 1], "dims": [8, 16, 24, 32]}, "hidden_dim": 32, "encoder_layers": 1, "encoder_ffn": 32,
         "decoder_layers": 2, "decoder_ffn": 32, "queries": 12, "first_selected": 20}


@pytest.fixture
def saved(tmp_path):
    torch.save({"model": create("di_maskdino", 7, **SIZES).state_dict()}, tmp_path / "other.pth")
    return str(tmp_path / "other.pth")


def test_weights_for_another_number_of_classes_fill_all_but_the_classes(saved):
    coverage, _ = start_weights(create("di_maskdino", 3, **SIZES), models.get("di_maskdino"), saved)
    assert not coverage.missing and not coverage.unexpected
    assert set(coverage.reshaped) == {"heads.class_embed.weight", "heads.class_embed.bias", "label_enc.weight"}


def test_weights_of_which_hardly_any_fit_are_refused_and_the_sizes_that_would_fit_are_told(saved):
    with pytest.raises(UserError) as caught:
        start_weights(create("di_maskdino", 7, **{**SIZES, "hidden_dim": 64}), models.get("di_maskdino"), saved)
    assert caught.value.key == "weights_other_sizes"
    assert all(told in caught.value.remedy("en") for told in ("di_maskdino", "hidden_dim=32", "encoder_ffn=32", '"depths"'))
