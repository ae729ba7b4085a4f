"""Files of the hub, from a mirror on this machine: the cache, the progress, a download that is broken off and goes on."""

from __future__ import annotations

import threading

import pytest

from engine import hub
from engine.types import UserError
from tests.engine.local_hub import LocalHub, serving

CONTENT = bytes(range(256)) * 12_000  # 3 MB
REPOSITORY, FILE = "someone/something", "model.safetensors"


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    with serving(LocalHub({FILE: CONTENT})) as local:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setenv("HF_ENDPOINT", local.endpoint)
        yield local


class Enough(Exception):
    """A listener has heard enough."""


def until(share):
    def listen(come, whole):
        if come >= share * len(CONTENT):
            raise Enough
    return listen


def test_a_download_tells_how_far_it_has_come_and_is_kept(mirror):
    told = []
    path = hub.fetch(REPOSITORY, FILE, lambda come, whole: told.append((come, whole)))
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [come for come, _ in told] == sorted(come for come, _ in told) and len(told) > 3
    before = len(mirror.asked)
    assert hub.fetch(REPOSITORY, FILE) == hub.cached_file(REPOSITORY, FILE) == path
    assert len(mirror.asked) == before and mirror.fetched == [None]


def test_an_exception_of_the_listener_ends_the_download_which_goes_on_from_there(mirror):
    with pytest.raises(Enough):
        hub.fetch(REPOSITORY, FILE, until(0.5))
    assert hub.cached_file(REPOSITORY, FILE) is None
    told = []
    assert hub.fetch(REPOSITORY, FILE, lambda come, whole: told.append(come)).read_bytes() == CONTENT
    first, again = mirror.fetched
    assert first is None and again is not None and again.startswith("bytes=")
    assert told[0] == int(again.split("=")[1].rstrip("-")) > 0


def test_a_connection_that_breaks_is_taken_up_again(mirror, monkeypatch):
    monkeypatch.setattr(hub, "PAUSE_S", 0)
    mirror.breaks = [1 << 20, 1 << 19]
    assert hub.fetch(REPOSITORY, FILE).read_bytes() == CONTENT
    starts = [int((each or "bytes=0-").split("=")[1].rstrip("-")) for each in mirror.fetched]
    assert starts[0] == 0 and starts == sorted(set(starts)) and len(starts) == 3


def test_a_hub_that_hands_out_whole_files_only_begins_again(mirror, monkeypatch):
    monkeypatch.setattr(hub, "PAUSE_S", 0)
    mirror.parts, mirror.breaks = False, [1 << 20]
    assert hub.fetch(REPOSITORY, FILE).read_bytes() == CONTENT


def test_a_connection_that_brings_nothing_is_given_up_and_what_came_is_kept(mirror, monkeypatch):
    monkeypatch.setattr(hub, "PAUSE_S", 0)
    mirror.breaks = [1 << 20] + [0] * hub.ATTEMPTS
    with pytest.raises(UserError) as caught:
        hub.fetch(REPOSITORY, FILE)
    assert caught.value.key == "weights_offline"
    told = []
    hub.fetch(REPOSITORY, FILE, lambda come, whole: told.append(come))
    assert told[0] > 0


def test_a_download_without_a_listener_is_the_same(mirror):
    assert hub.fetch(REPOSITORY, FILE).read_bytes() == CONTENT


def test_content_that_is_not_what_the_hub_announced_is_not_used(mirror):
    mirror.lies = True
    with pytest.raises(UserError) as caught:
        hub.fetch(REPOSITORY, FILE)
    assert caught.value.key == "weights_unavailable" and "SHA-256" in caught.value.message()
    mirror.lies = False
    assert hub.fetch(REPOSITORY, FILE).read_bytes() == CONTENT


def test_of_two_who_want_a_file_one_downloads_and_the_other_waits(mirror):
    mirror.chunk_s = 0.001
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(hub.fetch(REPOSITORY, FILE))) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert len(paths) == 2 and paths[0] == paths[1] and paths[0].read_bytes() == CONTENT
    assert mirror.fetched == [None]


def test_a_file_that_the_hub_does_not_have_is_named(mirror):
    with pytest.raises(UserError) as caught:
        hub.fetch(REPOSITORY, "other.bin")
    assert caught.value.key == "weights_unavailable"
    assert "other.bin" in caught.value.message()


def test_megabytes_of_small_files_have_a_tenth():
    assert hub.megabytes(12_400_000, 48_000_000) == ("12", "48")
    assert hub.megabytes(400_000, 1_900_000) == ("0.4", "1.9")
