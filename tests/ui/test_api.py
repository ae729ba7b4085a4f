"""The web API as a script meets it: typed, looked up by id, errors with a remedy, uploads only."""

import base64
import io
import shutil
import time
from types import SimpleNamespace

import gradio as gr
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from engine import runs
from engine.config import TrainConfig
from engine.datasets.images import save_image
from engine.datasets.samples import generate
from engine.settings import config_of
from engine.worker import work
from engine.workspace import Workspace
from ui import api


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generate("detect", folder / "scenes", images=12, seed=5)
    return shutil.make_archive(str(folder / "scenes"), "zip", folder / "scenes")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def served(workspace, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        with gr.Blocks() as blocks:
            api.build(SimpleNamespace(workspace=workspace, demo=False))
        _, url, _ = blocks.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
        yield Client(url, verbose=False)
        blocks.close()


@pytest.fixture(scope="module")
def dataset(served, archive):
    return served.predict(handle_file(archive), "Scenes & co", api_name="/import_dataset")["dataset"]


@pytest.fixture(scope="module")
def trained(workspace, dataset):
    run = runs.create(workspace.new_run_folder("tiny"), TrainConfig(
        data=str(workspace.dataset(dataset).folder), epochs=1, batch=2, image_size=64, precision="none", threads=1, workers=0, device="cpu"))
    work(run)
    return run.id


def test_exactly_the_promised_endpoints_are_public_typed_and_described(served):
    found = served.view_api(return_format="dict", print_info=False)
    assert sorted(found["named_endpoints"]) == sorted(f"/{name}" for name in api.PUBLISHED)
    assert not found["unnamed_endpoints"]
    for name, endpoint in found["named_endpoints"].items():
        assert endpoint["description"], name
        assert all(parameter["type"] for parameter in endpoint["parameters"]), name


def test_an_import_tells_what_it_found(served, dataset):
    listed = {each["dataset"]: each for each in served.predict(api_name="/datasets")["datasets"]}
    assert listed[dataset]["name"] == "Scenes & co"
    assert listed[dataset]["splits"]["train"]["images"] > 0


def test_a_conversion_answers_with_a_file(served, archive):
    answer = served.predict(handle_file(archive), "coco", api_name="/convert")
    assert "error" not in answer
    assert str(answer["file"]).endswith(".zip") or answer["file"]["path"].endswith(".zip")


def test_an_unknown_format_is_a_user_error_that_lists_the_known_ones(served, archive):
    error = served.predict(handle_file(archive), "papyrus", api_name="/convert")["error"]
    assert "papyrus" in error["message"]
    assert "coco" in error["remedy"]


def test_a_run_is_started_watched_stopped_and_resumed(served, workspace, dataset):
    started = served.predict(dataset, "deimv2_atto", {"epochs": 500, "batch": 2, "image_size": 64, "threads": 1}, api_name="/start_training")
    run = started["run"]
    assert started["state"] in ("starting", "running")
    rows, since = wait_for(lambda: metrics(served, run, 0))
    assert since > 0
    assert "loss" in rows[0]
    assert served.predict(run, api_name="/stop_training")["state"] in ("running", "stopping", "stopped")
    wait_for(lambda: served.predict(run, api_name="/run_status")["state"] == "stopped")
    assert metrics(served, run, since)[1] >= since
    assert served.predict(run, api_name="/resume_training")["state"] in ("queued", "starting", "running")
    served.predict(run, api_name="/stop_training")
    wait_for(lambda: served.predict(run, api_name="/run_status")["state"] in ("stopped", "done"))
    assert run in [each["run"] for each in served.predict(api_name="/runs")["runs"]]


def test_a_finished_run_says_so_instead_of_resuming(served, trained):
    assert "end" in served.predict(trained, api_name="/resume_training")["error"]["message"]


@pytest.mark.parametrize("config", [
    {"epochs": 10**6}, {"lrr": 1}, {"data": "/etc"}, {"model": "x"}, {"weights": "/etc/passwd"}, {"minutes": 1, "epochs": 1},
])
def test_a_bad_setting_is_refused_with_a_remedy(served, dataset, config):
    error = served.predict(dataset, "deimv2_atto", config, api_name="/start_training")["error"]
    assert error["message"]
    assert error["remedy"]


def test_predictions_have_the_form_of_the_command_line(served, trained, tmp_path):
    save_image(tmp_path / "a.png", np.full((40, 60, 3), 90, np.uint8))
    answer = served.predict(trained, handle_file(str(tmp_path / "a.png")), 0.0, api_name="/predict")
    image = answer["images"][0]
    assert (image["width"], image["height"]) == (60, 40)
    assert {"class", "class_id", "score", "box"} <= image["instances"][0].keys()
    assert served.predict(trained, handle_file(str(tmp_path / "a.png")), 2.0, api_name="/predict")["error"]["remedy"]


def test_boxes_may_overlap_as_told_and_only_outlines_have_every_class(served, trained, tmp_path):
    save_image(tmp_path / "a.png", np.full((40, 60, 3), 90, np.uint8))
    assert served.predict(trained, handle_file(str(tmp_path / "a.png")), nms=0.5, api_name="/predict")["task"] == "detect"
    refused = served.predict(trained, handle_file(str(tmp_path / "a.png")), every_class=True, api_name="/predict")["error"]
    assert "deimv2_atto" in refused["message"]
    assert "nms" in served.predict(trained, handle_file(str(tmp_path / "a.png")), nms=2.0, api_name="/predict")["error"]["message"]
    assert served.predict(trained, handle_file(str(tmp_path / "a.png")), tta=True, api_name="/predict")["task"] == "detect"


def test_an_evaluation_measures_a_split(served, trained):
    answer = served.predict(trained, "valid", api_name="/evaluate")
    assert answer["split"] == "valid"
    assert "AP50" in answer["metrics"]
    assert "error" in served.predict(trained, "nonsense", api_name="/evaluate")


@pytest.mark.parametrize("wanted", ["../../etc", "/etc", "", "."])
def test_ids_are_looked_up_and_never_joined_to_paths(served, wanted):
    for endpoint, arguments in (("run_status", ()), ("run_metrics", (0,)), ("stop_training", ()), ("evaluate", ("valid",))):
        assert "error" in served.predict(wanted, *arguments, api_name=f"/{endpoint}"), endpoint
    assert "error" in served.predict(wanted, "deimv2_atto", {}, api_name="/start_training")


@pytest.mark.parametrize("file", [
    "/etc/passwd", {"path": "/etc/passwd"}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, None, 3, ["/etc/passwd"],
    {"path": 3, "meta": {"_type": "gradio.FileData"}},
])
def test_a_path_of_the_server_is_no_upload(served, trained, file):
    answer = asked(served, "predict", [trained, file, 0.5])
    assert "root:" not in answer
    assert "must be an upload" in answer or "event: error" in answer


# ---- masks and tags


SMALL = {"epochs": 1, "batch": 4, "precision": "none", "threads": 1, "workers": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def segmenter(workspace, tmp_path_factory):
    return small_run(workspace, tmp_path_factory, "semantic", {"model": "unet", "image_size": 64, "encoder": "resnet18"})


@pytest.fixture(scope="module")
def classifier(workspace, tmp_path_factory):
    return small_run(workspace, tmp_path_factory, "classify", {"model": "timm", "image_size": 32, "backbone": "test_resnet"})


def small_run(workspace, tmp_path_factory, kind, settings):
    """A run on eight images: its weights hardly differ from random ones."""
    folder = tmp_path_factory.mktemp(kind) / "data"
    generate(kind, folder, images=10, seed=3)
    run = runs.create(workspace.new_run_folder(kind), config_of({**SMALL, **settings, "data": str(folder)}))
    work(run)
    assert run.state()["phase"] == "done", run.state()
    return run.id


def test_a_mask_comes_as_a_picture_with_what_its_values_mean(served, segmenter, tmp_path):
    save_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    answer = served.predict(segmenter, handle_file(str(tmp_path / "a.png")), api_name="/predict")
    image = answer["images"][0]
    assert answer["task"] == "semantic"
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["mask"].partition("base64,")[2]))))
    assert mask.shape == (40, 60)
    assert set(np.unique(mask).astype(str)) <= image["values"].keys()
    for area in image["areas"]:
        value = next(int(value) for value, name in image["values"].items() if name == area["class"])
        assert (mask == value).sum() == area["pixels"]


def test_a_threshold_of_one_leaves_no_area(served, segmenter, tmp_path):
    save_image(tmp_path / "a.png", np.full((40, 60, 3), 90, np.uint8))
    assert served.predict(segmenter, handle_file(str(tmp_path / "a.png")), 1.0, api_name="/predict")["images"][0]["areas"] == []


def test_tags_come_sorted_and_with_a_heat_map_on_request(served, classifier, tmp_path):
    save_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    picture = handle_file(str(tmp_path / "a.png"))
    tags = served.predict(classifier, picture, api_name="/predict")["images"][0]["tags"]
    assert [tag["score"] for tag in tags] == sorted((tag["score"] for tag in tags), reverse=True)
    assert not any(tag["present"] for tag in served.predict(classifier, picture, 1.0, api_name="/predict")["images"][0]["tags"])
    heat = served.predict(classifier, picture, None, tags[0]["class"], api_name="/predict")["images"][0]["heat"]
    assert Image.open(io.BytesIO(base64.b64decode(heat.partition("base64,")[2]))).size == (60, 40)
    assert tags[0]["class"] in served.predict(classifier, picture, None, "unicorn", api_name="/predict")["error"]["remedy"]


def test_objects_have_no_heat_map(served, trained, tmp_path):
    save_image(tmp_path / "a.png", np.full((40, 60, 3), 90, np.uint8))
    name = served.predict(trained, handle_file(str(tmp_path / "a.png")), api_name="/predict")["classes"][0]
    assert served.predict(trained, handle_file(str(tmp_path / "a.png")), None, name, api_name="/predict")["error"]["remedy"]


def test_an_evaluation_of_masks_and_of_tags_says_what_it_measured(served, segmenter, classifier):
    masks = served.predict(segmenter, "valid", api_name="/evaluate")
    assert {"dice", "iou", "dice_global"} <= masks["metrics"].keys()
    tags = served.predict(classifier, "valid", api_name="/evaluate")
    assert {"auroc", "average_precision", "f1"} <= tags["metrics"].keys()


def test_options_of_a_model_stand_among_the_settings(served, dataset):
    for config, wrong in (({"epochs": 1, "backbone": "resnet18"}, "backbone"), ({"epochs": 10**6, "encoder": "resnet18"}, "epochs")):
        assert wrong in served.predict(dataset, "unet", config, api_name="/start_training")["error"]["message"]


def test_a_broken_image_is_named(served, trained, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 50)
    assert "torn.png" in served.predict(trained, handle_file(str(tmp_path / "torn.png")), 0.5, api_name="/predict")["error"]["message"]


def metrics(served, run, since):
    answer = served.predict(run, since, api_name="/run_metrics")
    return (answer["rows"], answer["next"]) if answer["rows"] or since else None


def wait_for(answer, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := answer():
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s")


def asked(served, endpoint, data):
    """The raw answer to a raw request, as a hostile client sends it."""
    base = served.src.rstrip("/")
    event = httpx.post(f"{base}/gradio_api/call/{endpoint}", json={"data": data}, timeout=30).json().get("event_id")
    return httpx.get(f"{base}/gradio_api/call/{endpoint}/{event}", timeout=60).text


def test_a_bare_weights_file_predicts_with_what_it_does_not_tell_itself(served, workspace, tmp_path):
    import timm
    import torch

    torch.save(timm.create_model("test_resnet", num_classes=2).state_dict(), workspace.weights / "bare.pth")
    save_image(tmp_path / "a.png", np.full((40, 60, 3), 90, np.uint8))
    picture = handle_file(str(tmp_path / "a.png"))
    assert "backbone" in served.predict("weights/bare.pth", picture, api_name="/predict")["error"]["remedy"]
    told = {"backbone": "test_resnet", "mode": "multiclass"}
    answer = served.predict("weights/bare.pth", picture, None, "", "timm", told, api_name="/predict")
    assert answer["model"] == "timm" and sum(tag["score"] for tag in answer["images"][0]["tags"]) == pytest.approx(1, abs=1e-3)


def test_an_encoder_that_does_not_exist_is_refused_when_the_run_is_queued(served, dataset):
    for model, config in (("unet", {"encoder": "resnet35"}), ("timm", {"backbone": "resnet_18"}), ("timm", {"loss": "dice_bce"})):
        assert "resnet" in str(error := served.predict(dataset, model, config, api_name="/start_training")["error"]) or "bce" in str(error)
    assert not any(run["failure"] for run in served.predict(api_name="/runs")["runs"] if run["state"] == "queued")
