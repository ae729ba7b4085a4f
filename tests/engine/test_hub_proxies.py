"""Downloads through the proxy of the environment, and a proxy that nothing here understands."""

import select
import socket
import struct
import threading
from contextlib import contextmanager

import huggingface_hub
import pytest

from engine import hub
from engine.types import UserError
from tests.engine.local_hub import LocalHub, serving

REPOSITORY, FILE = "someone/something", "model.safetensors"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@contextmanager
def socks():
    """A SOCKS 5 proxy (RFC 1928) without passwords, and the addresses that it was asked for."""
    asked, server = [], socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=through, args=(client,), daemon=True).start()

    def through(client):
        with client:
            client.recv(2 + client.recv(2, socket.MSG_PEEK)[1])
            client.sendall(b"\x05\x00")
            _, _, _, kind = client.recv(4)
            host = socket.inet_ntoa(client.recv(4)) if kind == 1 else client.recv(client.recv(1)[0]).decode()
            port = struct.unpack("!H", client.recv(2))[0]
            asked.append((host, port))
            with socket.create_connection((host, port)) as far:
                client.sendall(b"\x05\x00\x00\x01" + bytes(6))
                while True:
                    ready, _, _ = select.select([client, far], [], [], 20)
                    for end in ready:
                        if not (data := end.recv(1 << 16)):
                            return
                        (far if end is client else client).sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    with server:
        yield server.getsockname()[1], asked


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with serving(LocalHub({FILE: b"weights" * 1000})) as local:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setenv("HF_ENDPOINT", local.endpoint)
        huggingface_hub.close_session()
        yield local
    huggingface_hub.close_session()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_is_gone_through(mirror, monkeypatch, scheme):
    with socks() as (port, asked):
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{port}")
        assert hub.fetch(REPOSITORY, FILE).read_bytes() == mirror.files[FILE]
    assert asked and {f"http://{host}:{port}" for host, port in asked} == {mirror.endpoint}


def test_a_proxy_of_an_unknown_kind_is_named_without_its_password(mirror, monkeypatch):
    monkeypatch.setenv("all_proxy", "socks://me:secret@127.0.0.1:9")
    with pytest.raises(UserError) as caught:
        hub.fetch(REPOSITORY, FILE)
    assert caught.value.key == "proxy_scheme" and "ALL_PROXY" in str(caught.value) and "socks5://" in str(caught.value)
    assert "secret" not in str(caught.value) and not mirror.asked


def test_a_proxy_that_no_address_goes_through_is_no_hindrance(mirror, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "*")
    assert hub.fetch(REPOSITORY, FILE).read_bytes() == mirror.files[FILE]


def test_a_proxy_that_does_not_answer_is_no_crash(mirror, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{port}")
    with pytest.raises(UserError) as caught:
        hub.fetch(REPOSITORY, FILE)
    assert caught.value.key == "weights_offline"
