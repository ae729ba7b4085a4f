import os
from pathlib import Path

import pytest

from engine.commands.predict import _stem, found_images
from engine.datasets import archive, images
from engine.types import UserError


def test_a_folder_named_like_an_image_is_none(tmp_path, picture):
    (tmp_path / "f.jpg").mkdir()
    picture(tmp_path / "f.jpg" / "a.png")
    assert [file.name for file in found_images([str(tmp_path)])] == ["a.png"]
    assert [file.name for file in found_images([str(tmp_path / "f.jpg")])] == ["a.png"]
    with pytest.raises(UserError) as caught:
        found_images([str(tmp_path / "*.jpg")])
    assert caught.value.key == "no_image_files"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_or_a_device_is_told_and_never_waited_for(tmp_path):
    pipe = tmp_path / "f.jpg"
    os.mkfifo(pipe)
    assert found_images([str(tmp_path)]) == found_images([str(pipe)]) == [pipe]
    for call in (images.open_image, archive.kind_of, lambda path: archive.unpack(path, tmp_path / "out")):
        for path in (pipe, os.devnull):
            with pytest.raises(UserError) as caught:
                call(type(pipe)(path))
            assert caught.value.key == "special_file"


def test_a_file_that_is_called_like_the_list_of_all_keeps_what_was_found_in_it(tmp_path):
    assert _stem(Path("predictions.mp4"), tmp_path, ".mp4", ".json", ".csv") == "predictions_2"
    assert _stem(Path("Predictions.mp4"), tmp_path, ".mp4", ".json", ".csv") == "Predictions_2"
    assert _stem(Path("predictions.png"), tmp_path, ".jpg") == "predictions"


def test_hidden_files_of_a_folder_are_left_alone_and_found_by_their_name(tmp_path, picture):
    seen, hidden = picture(tmp_path / "a.png"), picture(tmp_path / "._a.png")
    assert found_images([str(tmp_path)]) == [seen] and found_images([str(hidden)]) == [hidden]
