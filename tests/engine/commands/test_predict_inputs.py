import os

import pytest

from engine.commands.predict import found_images
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
