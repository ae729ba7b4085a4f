"""Long work in a page: what and how much, and its result or its error."""

import threading

import pytest

from engine import messages
from engine.types import UserError
from ui.progress import Step, Work


def test_work_gives_bars_and_then_its_result():
    work = Work(lambda report: [report(i, 3, "Reading") for i in range(1, 4)] and "done", "en", "Starting")
    bars = list(work)
    assert bars and all("progressbar" in bar for bar in bars)
    assert work.result == "done"


def test_an_error_is_raised_where_the_result_is_asked_for():
    def fails(report):
        raise UserError("unknown_model", name="x", known="y")

    work = Work(fails, "en", "Starting")
    list(work)
    with pytest.raises(UserError):
        _ = work.result


def test_the_job_speaks_the_language_of_its_visitor():
    messages.set_language("zh-TW")
    work = Work(lambda report: messages.current_language(), "zh-TW", "x")
    list(work)
    assert work.result == "zh-TW"


def test_the_job_goes_on_when_the_visitor_leaves():
    go, finished = threading.Event(), threading.Event()

    def job(report):
        go.wait(10)
        finished.set()

    steps = iter(Work(job, "en", "x"))
    next(steps)
    steps.close()
    go.set()
    assert finished.wait(10)


@pytest.mark.parametrize(("done", "total", "words"), [(0, 0, "Reading"), (1234, 0, "Reading 1,234"), (3210, 12000, "Reading 3,210 of 12,000")])
def test_a_step_says_what_and_how_much(done, total, words):
    assert f">{words}</p>" in Step("Reading", done, total).bar("en")


def test_a_step_says_how_fast_and_how_long_once_it_knows():
    step = Step("Reading", 50, 100)
    step.begun -= 10
    assert "5/s · 10 s left" in step.bar("en")
