"""The download of the weights that a run starts from: told while it goes on, ended when asked, and not begun where it is not needed."""

import json
import shutil
import time

import pytest
import timm
from safetensors.torch import save

from engine import fetching, hub, runs
from engine.commands import train as command
from engine.config import TrainConfig
from engine.datasets.samples import generate
from engine.fetching import Fetching, wanted_file
from engine.models import create
from engine.train import train
from engine.types import UserError
from engine.worker import work
from tests.engine.local_hub import LocalHub, serving
from ui.header import jobs_html
from ui.pages.train import pictures, words
from ui.pages.train.words import fetching_text


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "pieces"
    generate("detect", folder, images=4, seed=1)
    return folder


@pytest.fixture(scope="module")
def published():
    networks = {"ATTO_COCO": create("deimv2_atto", 80), "in1k": timm.create_model("test_resnet")}
    return {f"{name}/resolve/main/model.safetensors": save({key: value.clone() for key, value in network.state_dict().items()})
            for name, network in networks.items()}


@pytest.fixture
def local(published, monkeypatch, tmp_path):
    monkeypatch.setattr(fetching, "EVERY_S", 0.02)
    with serving(LocalHub(published)) as served:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
        yield served


def whole(data="", **changes):
    return TrainConfig(**{"data": str(data), "model": "deimv2_atto", "weights": "download", "epochs": 1, "batch": 2, "image_size": 64,
                          "precision": "none", "threads": 1, "workers": 0, "device": "cpu", **changes})


def part(data=""):
    return whole(data, model="timm", task="classify", image_size=32, options={"backbone": "test_resnet"})


def test_the_file_of_a_run_is_that_of_the_network_or_of_its_backbone():
    assert wanted_file(whole()) == ("Intellindust/DEIMv2_HGNetv2_ATTO_COCO", "model.safetensors")
    assert wanted_file(part()) == ("timm/test_resnet.r160_in1k", "model.safetensors")
    assert wanted_file(whole(weights="auto")) is wanted_file(whole(weights="none")) is wanted_file(whole(weights="some.pth")) is None
    assert wanted_file(TrainConfig(model="unet", weights="download")) == ("smp-hub/resnet34.imagenet", "model.safetensors")
    assert wanted_file(TrainConfig(model="hybridmednet", weights="download", options={"backbone": "resnet18", "hierarchical": True})) == (
        "timm/resnet18.a1_in1k", "model.safetensors")


@pytest.mark.parametrize("make", [whole, part])
def test_what_comes_is_told_from_the_beginning_to_the_end_and_never_again(make, local):
    local.chunk_s, local.chunk = 0.03, 1 << 17
    told = list(Fetching(make(), lambda: False))
    assert told[0]["whole"] == told[0]["come"] == 0 and told[0]["file"] == "/".join(wanted_file(make()))
    assert [each["come"] for each in told] == sorted(each["come"] for each in told) and len(told) > 3
    assert [each["come"] == each["whole"] for each in told[1:]] == [False] * (len(told) - 2) + [True]
    before = len(local.asked)
    assert list(Fetching(make(), lambda: False)) == [] and len(local.asked) == before


def test_a_stop_ends_it_at_once_and_what_has_come_stays(local):
    local.chunk_s, local.chunk = 0.05, 1 << 17
    begun, seen = time.monotonic(), []
    running = Fetching(whole(), lambda: bool(seen) and seen[-1]["come"] > 1 << 18)
    for values in running:
        seen.append(values)
    assert running.stopped and seen[-1]["come"] < seen[-1]["whole"] and time.monotonic() - begun < 5
    local.chunk_s = 0
    again = list(Fetching(whole(), lambda: False))
    assert again[-1]["come"] == again[-1]["whole"] == len(local.files["ATTO_COCO/resolve/main/model.safetensors"])
    assert local.fetched[0] is None and int(local.fetched[1].removeprefix("bytes=").rstrip("-")) >= 1 << 18


def test_a_stop_does_not_wait_for_a_hub_that_is_silent(local):
    local.silent = True
    begun = time.monotonic()
    running = Fetching(whole(), lambda: True)
    assert len(list(running)) == 1 and running.stopped and time.monotonic() - begun < 1


@pytest.mark.parametrize("make", [whole, part])
def test_offline_it_fails_within_seconds(make, local, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(UserError) as caught:
        list(Fetching(make(), lambda: False))
    assert caught.value.key == "weights_offline" and time.monotonic() - begun < 5


def test_a_hub_that_never_answers_counts_as_offline(local, monkeypatch):
    local.silent = True
    monkeypatch.setattr(hub, "TIMEOUT", 0.3)
    with pytest.raises(UserError) as caught:
        list(Fetching(whole(), lambda: False))
    assert caught.value.key == "weights_offline"


# ---- in a run


def test_a_run_tells_of_its_download_in_its_folder_and_on_the_command_line(local, pieces, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("engine.worker.STATE_EVERY_S", 0.05)
    local.chunk_s, local.chunk = 0.03, 1 << 17
    run, states = runs.create(tmp_path / "run", whole(pieces)), []

    def watch(event):
        command._show(event)
        if event.kind == "fetching":
            states.append(json.loads((run.folder / "state.json").read_text()))

    assert work(run, watch) == "done"
    amid = [each["fetching"] for each in states if each["fetching"]]
    assert {each["phase"] for each in states} == {"starting"} and len({each["come"] for each in amid}) > 3
    assert states[-1]["fetching"] is None is run.state()["fetching"]
    name = "Intellindust/DEIMv2_HGNetv2_ATTO_COCO/model.safetensors"
    for told in ((run.folder / "log.txt").read_text(), capsys.readouterr().err):
        assert told.count(f"Downloading {name}.") == told.count(f"Downloaded {name}: ") == 1
        assert told.index("Downloaded") < told.index("tensors loaded")


def test_a_run_that_is_stopped_amid_its_download_can_be_resumed(local, pieces, tmp_path):
    local.chunk_s, local.chunk = 0.05, 1 << 17
    run, asked = runs.create(tmp_path / "run", whole(pieces)), []

    def watch(event):
        if event.kind == "fetching" and event.values["come"] > 1 << 18 and not asked:
            asked.append(time.monotonic())
            run.request_stop()

    assert work(run, watch) == "stopped" and time.monotonic() - asked[0] < 1
    state = run.state()
    assert state["phase"] == "stopped" and state["fetching"] is None and words.can_resume(state["phase"])
    local.chunk_s = 0
    runs.requeue(run)
    assert work(run) == "done" and local.fetched[1].startswith("bytes=")
    before = len(local.asked)
    shutil.rmtree(tmp_path / "cache")
    assert [event.kind for event in train(whole(pieces), run.folder)].count("fetching") == 0 and len(local.asked) == before


def test_a_backbone_that_was_downloaded_is_told_apart_from_a_whole_network(local, tmp_path):
    generate("classify", tmp_path / "eyes", images=8, seed=1)
    run = runs.create(tmp_path / "run", part(tmp_path / "eyes"))
    assert work(run) == "done"
    told = (run.folder / "log.txt").read_text()
    assert "Weights from timm/test_resnet.r160_in1k hold the backbone alone" in told


# ---- on the page


AMID = {**runs.EMPTY_STATE, "phase": "starting", "fetching": {"file": "a/b", "come": 12_000_000, "whole": 48_000_000}}


@pytest.mark.parametrize(("language", "words"), [("en", "Downloading weights: 12 of 48 MB"), ("zh-CN", "正在下载权重：12 / 48 MB"),
                                                 ("zh-TW", "正在下載權重：12 / 48 MB")])
def test_the_monitor_shows_how_much_has_come(language, words):
    shown = pictures.headline(AMID, [], language)
    assert words in shown and 'aria-valuenow="25"' in shown
    begins = pictures.headline({**AMID, "fetching": {"file": "a/b", "come": 0, "whole": 0}}, [], language)
    assert words.split("：")[0].split(":")[0] in begins and "lb-busy" in begins and " of 0" not in begins
    stopped, later = ({**AMID, "phase": "stopped", "epochs": epochs} for epochs in (0, 9))
    assert pictures.progress_text(stopped, language) != pictures.progress_text(later, language)
    for other in ({"phase": "running"}, {"fetching": None}, {"fetching": "odd"}, {"phase": "stopped"}):
        assert fetching_text({**AMID, **other}, language, "train.fetching") == ""


def test_the_list_of_jobs_shows_it_too(tmp_path, monkeypatch):
    from engine.workspace import Workspace

    workspace = Workspace(tmp_path / "ws")
    run = runs.create(workspace.runs_folder / "some", whole())
    run.claim()
    run.write_state(fetching=AMID["fetching"])
    shown = jobs_html(workspace, "en")
    assert "Downloading weights: 12 of 48 MB" in shown and 'aria-valuenow="25"' in shown
