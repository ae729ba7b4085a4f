"""Runs that minutes bound, on a machine whose speed changes: they end on time, with their schedule finished, and can be repeated and resumed."""

import pytest

from engine import clock, keeping, runs
from engine.config import TrainConfig
from engine.datasets.samples import generate
from engine.session import Session
from engine.train import train
from engine.types import UserError
from engine.worker import work

BETWEEN, FIRST = 0.5, 20.0  # seconds of a validation, and of one that is the first and slow


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "eyes"
    generate("classify", folder, images=52, seed=1)
    return folder


@pytest.fixture
def machine(monkeypatch):
    """A machine whose `speed(seconds)` says how long a batch takes; it notes the rate of every step."""
    class Machine:
        now, rates, speed, guess, first = 0.0, [], staticmethod(lambda seconds: 1.0), 1.0, BETWEEN

    made = Machine()
    made.rates = []
    monkeypatch.setattr(clock.time, "monotonic", lambda: made.now)

    def learn(session, batch):
        made.now += made.speed(made.now)
        made.rates.append(session._rate())
        session.batch += 1
        session.terms.append({"loss": 1.0, "lr": session.config.lr * made.rates[-1]})
        if session.between_steps:
            session.step += 1

    def validate(session):
        made.now += made.first if session.epoch == 1 else BETWEEN
        return {"metrics": {"auroc": 0.5}, "per_class": [], "thresholds": {}}, []

    def minutes(data, **changes):
        """The last config of a run and its events, without the files."""
        with monkeypatch.context() as quick:
            for name in ("save_last", "save_best"):
                quick.setattr(keeping, name, lambda *given: None)
            events = list(train(config(data, **changes)))
        return [each.values["config"] for each in events if each.kind == "recorded"][-1], events

    made.minutes = minutes
    monkeypatch.setattr(Session, "learn", learn)
    monkeypatch.setattr(Session, "validate", validate)
    monkeypatch.setattr(clock.Clock, "first_plan", lambda self, seconds, first=clock.Clock.first_plan: first(self, made.guess))
    return made


def config(data, **changes):
    values = {"data": str(data), "model": "timm", "task": "classify", "image_size": 32, "options": {"backbone": "test_resnet"}, "batch": 4,
              "precision": "none", "threads": 1, "workers": 0, "device": "cpu", "weights": "none", "schedule": "cosine", "final_lr": 0.01,
              "warmup": 0.05}
    return TrainConfig(**{**values, **changes})


SPEEDS = {
    "steady": lambda at: 1.0,
    "slow at first": lambda at: 20.0 if at < 150 else 1.0,
    "slow later": lambda at: 1.0 if at < 200 else 12.0,
    "slow for a while": lambda at: 15.0 if 100 < at < 250 else 1.0,
    "fast at last": lambda at: 6.0 if at < 450 else 1.0,
    "a step takes a twentieth": lambda at: 30.0,
}


@pytest.mark.parametrize("guess", [0.05, 1.0, 60.0])
@pytest.mark.parametrize("kind", SPEEDS)
def test_a_run_ends_on_time_with_its_schedule_finished_however_the_speed_changes(kind, guess, machine, eyes):
    machine.speed, machine.guess = SPEEDS[kind], guess
    last, _ = machine.minutes(eyes, minutes=10)
    assert 540 <= machine.now <= 630, last.epochs_plan
    assert machine.rates[-1] < 0.15 and max(machine.rates) > 0.8, machine.rates


def test_a_plan_goes_up_again_when_the_machine_becomes_faster(machine, eyes):
    machine.speed = SPEEDS["slow at first"]
    lengths = list(machine.minutes(eyes, minutes=10)[0].epochs_plan.values())
    low = lengths.index(min(lengths))
    assert lengths[0] > 2 * lengths[low] and lengths[-1] > 5 * lengths[low]


def test_a_slow_first_validation_is_soon_forgotten(machine, eyes):
    machine.first, machine.speed = FIRST, lambda at: 0.1
    plan = machine.minutes(eyes, minutes=4)[0].epochs_plan
    soon = [length for moment, length in plan.items() if int(moment) <= 30]
    assert plan["1"] < 30 and soon[-1] > 0.85 * list(plan.values())[-1], plan


def test_an_epoch_longer_than_the_time_is_cut_and_its_model_is_measured(machine, eyes, tmp_path):
    machine.speed = lambda at: 40.0 if at < 1 else 20.0
    run = runs.create(tmp_path / "run", config(eyes, minutes=5, batch=2))
    assert work(run) == "done" and run.best.is_file()
    assert 5 < len(machine.rates) < 18 and 220 <= machine.now <= 330
    assert machine.rates[-1] < 0.3 and run.state()["epochs"] == 1


@pytest.mark.parametrize("kind", ["slow for a while", "a step takes a twentieth"])
def test_the_record_of_a_run_repeats_its_rates_on_any_other_machine(kind, machine, eyes):
    machine.speed = SPEEDS[kind]
    recorded, _ = machine.minutes(eyes, minutes=10)
    first, machine.rates, machine.now, machine.speed = machine.rates, [], 0.0, lambda at: 0.3
    again, _ = machine.minutes(eyes, **{"minutes": 10, "epochs_plan": recorded.epochs_plan})
    assert machine.rates == first and again.epochs_plan == recorded.epochs_plan


def test_a_repetition_goes_on_as_one_after_a_stop(machine, eyes, tmp_path):
    machine.speed = SPEEDS["a step takes a twentieth"]
    recorded, _ = machine.minutes(eyes, minutes=10)
    first, machine.rates, machine.now, machine.speed = machine.rates, [], 0.0, lambda at: 0.3
    again, seen = runs.create(tmp_path / "again", recorded), []

    def watch(event):
        seen.append(event.kind == "step")
        if sum(seen) == 4:
            again.request_stop()

    assert work(again, watch) == "stopped"
    runs.requeue(again)
    assert work(again) == "done" and machine.rates == first


@pytest.mark.parametrize("guess", [0.05, 1.0, 60.0])
@pytest.mark.parametrize("kind", SPEEDS)
def test_the_time_left_is_never_more_than_what_is_left_of_the_minutes(kind, guess, machine, eyes):
    machine.speed, machine.guess = SPEEDS[kind], guess
    told = [each.values for each in machine.minutes(eyes, minutes=10)[1] if each.kind == "step"]
    assert told and all(0 <= each["eta_s"] <= max(0, 600 - each["row"]["trained_s"]) + 0.1 for each in told)


def test_a_repetition_tells_the_time_that_it_needs(machine, eyes):
    """It has the length of its record, whatever its machine makes of the minutes."""
    recorded, _ = machine.minutes(eyes, minutes=10)
    machine.now, machine.speed = 0.0, lambda at: 9.0
    again, events = machine.minutes(eyes, minutes=10, epochs_plan=recorded.epochs_plan)
    assert max(each.values["eta_s"] for each in events if each.kind == "step") > 900


def test_a_pause_is_no_time_that_a_run_has_trained(machine, eyes, tmp_path):
    run, seen = runs.create(tmp_path / "run", config(eyes, minutes=5)), []

    def watch(event):
        seen.append(event.kind == "step")
        if sum(seen) == 9:
            run.request_stop()

    assert work(run, watch) == "stopped"
    before, machine.now = machine.now, machine.now + 70
    runs.requeue(run)
    assert work(run) == "done"
    told = [each["trained_s"] for each in run.metrics()[0] if each["split"] == "train"]
    assert told == sorted(told) and any(each > before for each in told)
    assert machine.now - 70 - 5 <= told[-1] <= machine.now - 70


def test_what_was_planned_after_a_checkpoint_is_forgotten_by_a_resume(eyes, tmp_path):
    session = Session(config(eyes, minutes=10, epochs_plan={"0": 9, "3": 7, "4+2": 6.5, "5": 3}), tmp_path, "none")
    session.epoch, session.batch = 5, 2
    clock.Clock(session, replay=False).go_on()
    assert session.config.epochs_plan == {"0": 9, "3": 7, "4+2": 6.5}


@pytest.mark.parametrize("plan", [{"a": 1}, {"1+": 2}, {"1+x": 2}, {"1": "many"}, [1]])
def test_a_record_of_nonsense_is_refused(plan):
    with pytest.raises(UserError):
        TrainConfig(epochs_plan=plan)
