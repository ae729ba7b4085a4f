"""Starting the app: what is refused before anything is loaded, in one clear line."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import app

ROOT = Path(__file__).resolve().parents[1]


def start(*arguments, timeout=60):
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    environment.pop("LIGHTBOX_AUTH", None)
    return subprocess.run([sys.executable, "app.py", *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True,
                          encoding="utf-8", timeout=timeout)


def one_clear_line(done, *words):
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_help_is_quick_and_names_every_option():
    begun = time.monotonic()
    done = start("--help")
    assert done.returncode == 0
    assert time.monotonic() - begun < 5
    for option in ("--host", "--port", "--workspace", "--auth", "--share", "--demo", "--mcp", "--lang"):
        assert option in done.stdout


def test_help_loads_neither_torch_nor_gradio():
    script = "import sys, app; app.build_parser().format_help(); print(sorted({'torch', 'gradio', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_help_comes_in_the_asked_language():
    assert "监听端口" in start("--lang", "zh-CN", "--help").stdout


def test_a_taken_port_is_said_in_one_line(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        one_clear_line(start("--port", port, "--workspace", tmp_path), str(port), "--port 7861")


def test_a_port_that_cannot_be_is_refused(tmp_path):
    one_clear_line(start("--port", 70000, "--workspace", tmp_path), "70000")


def test_a_workspace_that_cannot_be_written_is_said_in_one_line(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    one_clear_line(start("--workspace", file / "inside", "--port", free_port()), "--workspace")


@pytest.mark.parametrize("arguments", [("--share",), ("--host", "0.0.0.0"), ("--host", "::")])
def test_an_open_door_without_a_password_is_refused(arguments, tmp_path):
    one_clear_line(start(*arguments, "--workspace", tmp_path, "--port", free_port()), "--auth", "--no-auth")


def test_a_password_without_a_name_is_refused(tmp_path):
    one_clear_line(start("--auth", "onlyaname", "--workspace", tmp_path), "USER:PASSWORD")


def test_an_unknown_option_is_a_usage_error():
    assert start("--prot", "1").returncode == 2


@pytest.mark.parametrize(("host", "loopback"), [
    ("127.0.0.1", True), ("127.1.2.3", True), ("localhost", True), ("::1", True), ("[::1]", True),
    ("0.0.0.0", False), ("192.168.1.4", False), ("::", False), ("example.org", False), ("localhost.example.org", False),
])
def test_only_this_machine_counts_as_loopback(host, loopback):
    assert app.is_loopback(host) is loopback


def test_no_auth_and_auth_open_the_door_on_purpose():
    parser = app.build_parser()
    app.check_exposure(parser.parse_args(["--share", "--no-auth"]), None)
    app.check_exposure(parser.parse_args(["--host", "0.0.0.0"]), ("ana", "secret"))


def test_a_password_may_hold_a_colon():
    assert app.credentials("ana:se:cret") == ("ana", "se:cret")


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_folder_for_uploads_is_private_and_inside_the_workspace(tmp_path):
    temporary = app.private_folder(tmp_path / "space")
    assert temporary.is_relative_to(tmp_path / "space")
    assert temporary.stat().st_mode & 0o077 == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_proxies_that_do_not_know_this_machine_are_left_aside(tmp_path):
    """One that does not answer, and one of a kind that Gradio does not know."""
    environment = {key: given for key, given in os.environ.items() if "proxy" not in key.lower()}
    environment |= {"HTTP_PROXY": f"http://127.0.0.1:{free_port()}", "ALL_PROXY": "socks://127.0.0.1:9"}
    command = [sys.executable, "app.py", "--port", str(free_port()), "--workspace", str(tmp_path / "space"), "--lang", "en"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        told = process.stdout.readline()
        process.kill()
    assert "Lightbox is at" in told


def test_proxies_are_left_aside_only_meanwhile(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.delenv("no_proxy", raising=False)
    with app.no_proxy("localhost"):
        assert os.environ["no_proxy"] == "intranet.example,localhost"
    assert os.environ["NO_PROXY"] == "intranet.example" and (os.name == "nt" or "no_proxy" not in os.environ)
    monkeypatch.setenv("no_proxy", "a")
    with app.no_proxy("*"):
        assert os.environ["no_proxy"] == "a,*"
    assert os.environ["no_proxy"] == "a"
