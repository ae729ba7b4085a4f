"""The course of a run as a picture."""

import numpy as np
import pytest
from PIL import Image

from engine.history import _epochs_by_step, draw_history

ROWS = [row for epoch in range(1, 4) for row in (
    {"split": "train", "epoch": epoch, "step": 4 * epoch - 2, "loss": 1 / epoch, "lr": 1e-3},
    {"split": "train", "epoch": epoch, "step": 4 * epoch, "loss": 0.9 / epoch, "lr": 1e-3},
    {"split": "valid", "epoch": epoch, "step": 4 * epoch, "dice": None if epoch == 1 else epoch / 4, "auroc": None, "AP50": 0.1})]


@pytest.mark.parametrize("task", ["detect", "semantic", "classify", "other"])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [], [row for row in ROWS if row["split"] == "valid"]])
def test_any_course_can_be_drawn(task, rows, tmp_path):
    draw_history(rows, task, tmp_path / "a.png")
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert picture.std() > 1 and [each.name for each in tmp_path.iterdir()] == ["a.png"]


def test_steps_lie_evenly_in_their_epoch():
    assert _epochs_by_step(ROWS) == {2: 0.5, 4: 1.0, 6: 1.5, 8: 2.0, 10: 2.5, 12: 3.0}


def test_an_epoch_without_a_row_before_it_does_not_break_the_picture(tmp_path):
    draw_history([row for row in ROWS if row["epoch"] == 3], "semantic", tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()
