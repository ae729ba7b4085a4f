"""Tools > Weights without a browser."""

import os
import shutil

import pytest
import torch

from engine.messages import LANGUAGES
from engine.types import UserError
from ui.pages.tools import weights
from ui.pages.tools.weights_view import outcome_html


class Harm:
    def __reduce__(self):
        return os.system, ("echo <b>harm</b>",)


@pytest.fixture(autouse=True)
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


@pytest.fixture
def broken(reference, tmp_path):
    return shutil.copy(reference / "parity" / "checkpoints" / "c_pickle_tensors_NOauthor.pkl", tmp_path / "w.pkl")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_gives_numbers_verdict_and_remedy_in_every_language(broken, language):
    shown, usable = weights.told(broken, "", language)
    assert usable
    assert all(word in shown for word in ("w.pkl", "120", "__author__", "python -m engine weights inspect w.pkl", "lb-bad"))
    assert not any(key in shown for key in ("tools.weights.", "weights.family", "weights.container"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_repair_can_be_downloaded_and_says_what_was_done(broken, uploads, language):
    outcome = weights.repaired(broken)
    assert outcome.file.name == "w.repaired.pkl"
    assert uploads in outcome.file.parents
    shown = outcome_html(outcome, language)
    assert all(word in shown for word in ("matching_heuristics", "lb-good", "weights repair w.pkl"))
    assert "weights.deed" not in shown


def test_nothing_is_written_when_nothing_was_wrong(reference, uploads):
    outcome = weights.repaired(reference / "parity" / "checkpoints" / "b_pickle_numpy_author_mh.pkl")
    assert outcome.file is None
    assert list(uploads.iterdir()) == []
    assert "Nothing was wrong" in outcome_html(outcome, "en")


@pytest.mark.parametrize("to", weights.ENDINGS)
def test_each_target_gets_the_ending_that_it_reads(to, tmp_path, uploads):
    torch.save({"downsample_layers.0.0.weight": torch.zeros(4, 3, 4, 4), "stages.0.0.dwconv.weight": torch.zeros(4, 1, 7, 7)}, tmp_path / "w.pth")
    outcome = weights.converted(tmp_path / "w.pth", to)
    assert outcome.file.name == f"w-{to}{weights.ENDINGS[to]}"
    assert f"--to {to}" in outcome_html(outcome, "en")


def test_a_failed_conversion_leaves_nothing_behind(tmp_path, uploads):
    (tmp_path / "w.pth").write_bytes(b"x")
    with pytest.raises(UserError):
        weights.converted(tmp_path / "w.pth", "timm")
    assert list(uploads.iterdir()) == []


def test_a_hostile_file_is_described_escaped_and_not_offered_for_repair(tmp_path):
    torch.save({"model": {"a": torch.ones(1)}, "x": Harm()}, tmp_path / "w.pth")
    shown, usable = weights.told(tmp_path / "w.pth", "", "en")
    assert not usable
    assert "os.system" in shown
    assert "<b>harm" not in shown


def test_a_chosen_model_is_filled_and_its_coverage_shown(tmp_path):
    from engine.models import create

    state = create("deimv2_atto", 3).state_dict()
    torch.save(state, tmp_path / "w.pth")
    assert "Loads fully into deimv2_atto" in weights.told(tmp_path / "w.pth", "deimv2_atto", "en")[0]
    del state[next(name for name in state if name.endswith("conv.weight"))]
    torch.save(state, tmp_path / "w.pth")
    assert "Does not load fully into deimv2_atto" in weights.told(tmp_path / "w.pth", "deimv2_atto", "en")[0]
