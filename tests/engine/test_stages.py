"""Training of areas and tags from end to end: repeated, resumed, in stages, on plateaus, stopped early, and begun from files of all kinds."""

import json
import math
import random
import time

import pytest
import torch

from engine import runs
from engine.config import TrainConfig
from engine.datasets.collection import load as load_data
from engine.datasets.samples import generate
from engine.evaluate import evaluate
from engine.models import create
from engine.predict import load as load_model
from engine.schedule import Plateau
from engine.session import Session
from engine.types import UserError
from engine.weights import safe_load
from engine.worker import work


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "tissue"
    generate("semantic", folder, images=14, seed=1)
    return folder


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "eyes"
    generate("classify", folder, images=24, seed=1)
    return folder


MODELS = {
    "unet": {"task": "semantic", "image_size": 64, "options": {"architecture": "unet", "encoder": "tu-test_resnet"}},
    "timm": {"task": "classify", "image_size": 32, "options": {"backbone": "test_resnet"}},
    "hybridmednet": {"task": "classify", "image_size": 32, "options": {
        "backbone": "test_resnet", "fpn_channels": 32, "fusion_channels": 32, "use_cross_scale_attention": False}},
}


def tiny(data, model="timm", **changes):
    values = {"data": str(data), "model": model, "epochs": 2, "batch": 4, "precision": "none", "threads": 1, "workers": 0, "device": "cpu",
              "weights": "none"}
    return TrainConfig(**{**values, **MODELS[model], **changes})


def of(model, tissue, eyes):
    return tissue if model == "unet" else eyes


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def rows_of(run, split=None):
    told = [row for row in run.metrics()[0] if split in (None, row["split"])]
    return [{k: v for k, v in row.items() if k not in ("time", "images_per_s", "trained_s")} for row in told]


def finished(config, folder, stop_at=None):
    """A run to its end, stopped and gone on with after `stop_at` rows when that is given."""
    run, seen = runs.create(folder, config), []

    def watch(event):
        seen.append(event.kind == "step")
        if stop_at and sum(seen) == stop_at:
            run.request_stop()

    assert work(run, watch) == ("stopped" if stop_at else "done")
    if stop_at:
        runs.requeue(run)
        assert work(run) == "done"
    return run


# ---- to the end and back


@pytest.mark.parametrize("model", list(MODELS))
def test_the_best_model_is_measured_as_in_its_validation(model, tissue, eyes, tmp_path):
    data = of(model, tissue, eyes)
    run = finished(tiny(data, model), tmp_path / "run")
    best = [row for row in rows_of(run, "valid") if row["best"]][-1]
    predictor = load_model(run.folder)
    samples = load_data(data, tmp_path).split("valid")
    aligned = predictor.task.align(predictor.task.trainable(samples), load_data(data, tmp_path).classes, predictor.classes)
    found = evaluate(predictor, aligned, split="valid")["metrics"]
    names = ("dice", "iou", "dice_global", "dice_with_empty") if model == "unet" else ("auroc", "average_precision", "f1", "sensitivity")
    for name in names:
        assert found[name] == (best[name] if best[name] is None else pytest.approx(best[name], abs=1e-6)), name
    assert (run.folder / "training_history.png").stat().st_size > 1000 and run.validation()["epoch"] == best["epoch"]
    recorded = runs.create(tmp_path / "again", TrainConfig.from_dict(json.loads((run.folder / "config.json").read_text())))
    assert work(recorded) == "done" and same(safe_load(run.last)["model"], safe_load(recorded.last)["model"]) and rows_of(run) == rows_of(recorded)


@pytest.mark.parametrize("model, more, stop_at", [
    ("unet", {"stages": "32x1, 64x2@5e-4, 96x1", "epochs": 0}, 5), ("unet", {"stages": "32x1, 64x2@5e-4, 96x1", "epochs": 0, "resize": "crop"}, 4),
    ("timm", {"schedule": "plateau", "plateau_patience": 1, "epochs": 5}, 12), ("timm", {"sampling": "balanced", "accumulate": 2}, 1),
    ("hybridmednet", {"stages": "32x1, 64x1", "epochs": 0}, 5),
])
def test_a_resumed_run_is_the_same_as_an_unbroken_one(model, more, stop_at, tissue, eyes, tmp_path):
    config = tiny(of(model, tissue, eyes), model, **more)
    whole, broken = finished(config, tmp_path / "whole"), finished(config, tmp_path / "broken", stop_at)
    assert rows_of(whole) == rows_of(broken)
    for name in ("last.pt", "best.pt"):
        assert same(safe_load(whole.folder / name)["model"], safe_load(broken.folder / name)["model"])
    assert safe_load(whole.best)["thresholds"] == safe_load(broken.best)["thresholds"]


# ---- stages


def test_stages_change_the_size_of_the_images_and_the_rate_where_they_begin(tissue, tmp_path, monkeypatch):
    sizes = {}
    learn = Session.learn

    def watched(session, batch):
        sizes.setdefault(session.epoch, set()).add(batch.images.shape[-1])
        learn(session, batch)

    monkeypatch.setattr(Session, "learn", watched)
    config = tiny(tissue, "unet", stages="32x1, 64x2@0.0005, 96x1@1e-5", epochs=0, image_size=0, lr=1e-3, warmup=0, schedule="plateau")
    run = finished(config, tmp_path / "run")
    assert sizes == {1: {32}, 2: {64}, 3: {64}, 4: {96}}
    rates = {row["epoch"]: row["lr"] for row in rows_of(run, "train")}
    assert rates == pytest.approx({1: 1e-3, 2: 5e-4, 3: 5e-4, 4: 1e-5})
    recorded = run.config()
    assert recorded.image_size == 96 and recorded.epochs == 4
    best = safe_load(run.best)
    epoch = [row["epoch"] for row in rows_of(run, "valid") if row["best"]][-1]
    assert best["preprocess"]["size"] == max(sizes[epoch])


def test_each_stage_runs_through_the_schedule_of_its_own(tissue):
    session = Session(tiny(tissue, "unet", stages="32x2, 64x2", epochs=0, warmup=0, schedule="cosine"), tissue / "scratch", "none")
    rates = []
    for epoch in range(1, 5):
        session.epoch, session.step = epoch, (epoch - 1) * session.steps_per_epoch
        rates.append(session._rate())
    assert rates[:2] == rates[2:] and rates[0] == 1 > rates[1]


@pytest.mark.parametrize("words", ["32", "32x0", "33x1", "32x1@x", "32x1@2", "x", "32x1 64x1", "16384x1"])
def test_stages_that_cannot_be_are_refused(words):
    with pytest.raises(UserError, match=words):
        TrainConfig(stages=words)


@pytest.mark.parametrize("more", [{"epochs": 3}, {"minutes": 2.0}])
def test_stages_have_a_length_of_their_own(more):
    with pytest.raises(UserError):
        TrainConfig(stages="32x1", **more)


# ---- plateaus and early stopping


@pytest.mark.parametrize("seed", range(30))
def test_plateaus_are_those_of_torch(seed):
    draw = random.Random(seed)
    config = TrainConfig(plateau_patience=draw.randint(1, 4), plateau_factor=draw.choice([0.1, 0.5, 0.9]))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=config.plateau_factor, patience=config.plateau_patience, eps=0)
    ours, value = Plateau(), draw.choice([0.0, 0.5])
    for _ in range(60):
        value = draw.choice([value, value * (1 + 5e-5), value * (1 + 2e-4), value + draw.random() / 10, draw.random() * draw.choice([0, 1])])
        lowered = ours.judge(config, value)
        before = optimizer.param_groups[0]["lr"]
        other.step(value)
        assert lowered == (optimizer.param_groups[0]["lr"] < before)
        assert math.isclose(ours.scale, optimizer.param_groups[0]["lr"], rel_tol=1e-9)


def fixed_figures(monkeypatch, figures):
    """Validation finds these, whatever the weights are."""
    validate = Session.validate

    def pretended(session):
        measured, first = validate(session)
        measured["metrics"] = {**measured["metrics"], "auroc": figures[min(session.epoch, len(figures)) - 1], "average_precision": 0, "f1": 0}
        return measured, first

    monkeypatch.setattr(Session, "validate", pretended)


def test_a_run_ends_early_when_nothing_improves_and_its_config_repeats_that(eyes, tmp_path, monkeypatch):
    fixed_figures(monkeypatch, [0.5, 0.6, 0.6, 0.55])
    first = finished(tiny(eyes, epochs=9, patience=2), tmp_path / "first")
    state = first.state()
    assert state["epoch"] == state["epochs"] == 4 and first.config().epochs_plan == {"4": 4} and first.config().epochs == 9
    assert safe_load(first.last)["epoch"] == 5
    second = finished(first.config(), tmp_path / "second")
    assert second.state()["epochs"] == 4 and rows_of(first) == rows_of(second)
    assert same(safe_load(first.last)["model"], safe_load(second.last)["model"])


def test_early_stopping_waits_for_the_last_stage(tissue, tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "validate", lambda session: ({"metrics": {"dice": 0.5}, "per_class": [], "thresholds": {}}, []))
    run = finished(tiny(tissue, "unet", stages="32x3, 64x4", epochs=0, patience=1), tmp_path / "run")
    assert run.state()["epoch"] == 5


def test_a_plateau_lowers_the_rate_of_the_epochs_after_it(eyes, tmp_path, monkeypatch):
    fixed_figures(monkeypatch, [0.5, 0.5, 0.5, 0.5])
    run = finished(tiny(eyes, epochs=4, schedule="plateau", plateau_patience=1, plateau_factor=0.1, warmup=0, lr=1e-3, patience=0), tmp_path / "run")
    rates = {row["epoch"]: row["lr"] for row in rows_of(run, "train")}
    assert rates == pytest.approx({1: 1e-3, 2: 1e-3, 3: 1e-3, 4: 1e-4})


# ---- weights to start from


def started(data, model, wanted, **changes):
    config = tiny(data, model, **changes)
    return Session(config, data / "scratch", wanted)


@pytest.mark.parametrize("model", list(MODELS))
def test_a_file_with_only_the_backbone_fills_the_backbone(model, tissue, eyes, tmp_path):
    options = MODELS[model]["options"]
    if model == "unet":
        donor = create("unet", 3, **options).encoder.state_dict()
    else:
        donor = {name: value for name, value in create("timm", 5, backbone="test_resnet").state_dict().items() if not name.startswith("fc.")}
    torch.save(donor, tmp_path / "backbone.pth")
    session = started(of(model, tissue, eyes), model, str(tmp_path / "backbone.pth"))
    assert session.coverage is not None and session.source == str(tmp_path / "backbone.pth")
    wanted = next(value for name, value in donor.items() if value.ndim == 4)
    assert any(each.shape == wanted.shape and torch.equal(each, wanted) for each in session.network.state_dict().values())
    assert session.coverage.matched and session.config.lr > 0


def test_a_run_goes_on_from_the_best_of_another_one_with_other_classes(eyes, tmp_path):
    network = create("timm", 7, backbone="test_resnet")
    torch.save(network.state_dict(), tmp_path / "full.pth")
    session = started(eyes, "timm", str(tmp_path / "full.pth"))
    assert set(session.coverage.reshaped) == {"fc.weight", "fc.bias"} and not session.coverage.missing
    assert torch.equal(session.network.state_dict()["layer1.0.conv1.weight"], network.state_dict()["layer1.0.conv1.weight"])


@pytest.mark.parametrize("model", list(MODELS))
def test_weights_that_do_not_belong_to_the_network_are_refused(model, tissue, eyes, tmp_path):
    torch.save({"nothing.like.it": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError) as caught:
        started(of(model, tissue, eyes), model, str(tmp_path / "other.pth"))
    assert caught.value.key.startswith("weights_") and "other.pth" in str(caught.value)
    with pytest.raises(UserError) as caught:
        started(of(model, tissue, eyes), model, str(tmp_path / "absent.pth"))
    assert caught.value.key == "weights_not_found"


PUBLISHED = {"unet": {"encoder": "tu-resnet18"}, "timm": {"backbone": "resnet18"}, "hybridmednet": {"backbone": "resnet18"}}


@pytest.mark.parametrize("model", list(MODELS))
def test_a_download_without_a_network_fails_soon_and_says_so(model, tissue, eyes, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    begun = time.monotonic()
    with pytest.raises(UserError) as caught:
        started(of(model, tissue, eyes), model, "download", options={**MODELS[model]["options"], **PUBLISHED[model]})
    assert time.monotonic() - begun < 10 and caught.value.key in ("weights_offline", "weights_unavailable")


# ---- crashes


class Crash(Exception):
    """Stands for the sudden end of the process."""


def test_a_crash_amid_an_epoch_changes_nothing_that_is_kept(eyes, tmp_path):
    config = tiny(eyes, epochs=3)
    whole, run = finished(config, tmp_path / "whole"), runs.create(tmp_path / "crashed", config)

    def crash(event):
        if event.kind == "step" and event.epoch == 2:
            raise Crash

    with pytest.raises(Crash):
        work(run, crash)
    runs.requeue(run)
    assert work(run) == "done"
    assert rows_of(run) == rows_of(whole) and same(safe_load(run.last)["model"], safe_load(whole.last)["model"])
