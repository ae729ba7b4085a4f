"""The border between pages and engine."""

import inspect
import logging
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.context import LocalContext

from engine import messages
from engine.types import UserError
from ui.guard import guarded


@guarded
def wants_a_model(name: str, request: gr.Request | None = None, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008
    if name == "bug":
        raise ZeroDivisionError("secret path")
    if name == "toast":
        raise gr.Error("mine")
    if name != "deimv2_atto":
        raise UserError("unknown_model", name=name, known="deimv2_atto")
    return messages.current_language()


@guarded
def counts(last: int):
    yield from range(last)
    raise UserError("unknown_model", name="x", known="y")


@pytest.fixture
def chinese_visitor():
    token = LocalContext.request.set(SimpleNamespace(query_params={"lang": "zh-CN"}, cookies={}, headers={}))
    yield
    LocalContext.request.reset(token)


def test_a_result_passes_through():
    assert wants_a_model("deimv2_atto") == "en"


def test_the_signature_stays_so_that_gradio_still_injects_request_and_progress():
    parameters = inspect.signature(wants_a_model).parameters
    assert list(parameters) == ["name", "request", "progress"]
    assert isinstance(parameters["progress"].default, gr.Progress)
    assert inspect.isgeneratorfunction(counts)


def test_a_user_error_becomes_a_message_with_its_remedy():
    with pytest.raises(gr.Error) as caught:
        wants_a_model("resnet")
    assert "There is no model called resnet." in caught.value.message
    assert "Choose one of: deimv2_atto." in caught.value.message
    assert caught.value.print_exception is False
    assert caught.value.duration >= 10


def test_what_people_named_cannot_bring_markup_into_the_page():
    with pytest.raises(gr.Error) as caught:
        wants_a_model("<img src=x onerror=alert(1)>")
    assert "<img" not in caught.value.message


def test_the_message_is_in_the_language_of_the_visitor(chinese_visitor):
    with pytest.raises(gr.Error) as caught:
        wants_a_model("resnet")
    assert caught.value.message.startswith(messages.catalogue("zh-CN")["error.unknown_model"].split("{")[0])
    assert wants_a_model("deimv2_atto") == "zh-CN"


def test_a_bug_becomes_an_apology_and_its_traceback_goes_to_the_log(caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as caught:
        wants_a_model("bug")
    assert "secret path" not in caught.value.message
    number = caplog.records[0].getMessage().split()[1]
    assert number in caught.value.message
    assert "ZeroDivisionError" in caplog.text


def test_an_error_that_is_already_a_message_stays_as_it_is():
    with pytest.raises(gr.Error, match="mine"):
        wants_a_model("toast")


def test_a_generator_gives_its_steps_before_its_error():
    steps = counts(2)
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(gr.Error, match="no model called"):
        next(steps)


def test_closing_a_guarded_generator_closes_the_handler():
    closed = []

    @guarded
    def stream():
        try:
            yield 1
        finally:
            closed.append(True)

    steps = stream()
    next(steps)
    steps.close()
    assert closed == [True]
