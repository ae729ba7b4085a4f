"""A real Chromium on the real app."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from engine.runs import Run

REPOSITORY = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        hint = "no Chromium found; install it with: apt-get install chromium (Debian), or put a Chrome on the PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(hint)
        pytest.skip(hint)
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=list(FLAGS))


def wait_for(condition, what, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s for {what}")


class App:
    """The real app, as its own process on a free port."""

    wait_for = staticmethod(wait_for)

    def __init__(self, workspace):
        self.workspace = workspace
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "app.py", "--port", str(self.port), "--workspace", str(self.workspace), "--lang", "en"]
        with (self.workspace.parent / "app.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        wait_for(self.answers, "the app to answer", 240)

    def answers(self):
        assert self.process.poll() is None, (self.workspace.parent / "app.log").read_text()
        try:
            return urllib.request.urlopen(self.url, timeout=2).status == 200  # noqa: S310
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def runs(self):
        return [run for run in map(Run, sorted((self.workspace / "runs").iterdir())) if run.exists()]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """One app for the tests of a file: each brings a data set of its own, and a page opens with the newest."""
    served = App(tmp_path_factory.mktemp("app") / "workspace")
    yield served
    served.kill()
    for run in served.runs():
        run.request_stop()
    wait_for(lambda: all(run.state()["phase"] not in ("starting", "running", "stopping") for run in served.runs()), "the runs to stop")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test tells what stood on the page and what its console said."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.when == "call" and report.failed and page is not None:
        with contextlib.suppress(Exception):
            shown = "\n".join(line for line in page.locator("body").inner_text(timeout=5000).splitlines() if line.strip())
            said = "\n".join(page.said[-40:])
            report.sections += [("The page's address", page.url), ("What stood on the page", shown[:6000]), ("What its console said", said)]
    return report


@pytest.fixture
def page(browser, app):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.foreign, page.said = [], []
    page.on("console", lambda message: page.said.append(f"{message.type}: {message.text[:300]}"))
    page.open_tab = lambda name: page.get_by_role("tab", name=name, exact=True).click()
    page.on("request", lambda request: page.foreign.append(request.url) if not request.url.startswith((app.url, "data:", "blob:")) else None)
    page.goto(f"{app.url}/?lang=en")
    yield page
    if folder := os.environ.get("LIGHTBOX_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / "last.png", full_page=True)
    context.close()
