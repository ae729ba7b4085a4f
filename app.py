"""Start Lightbox in the browser: `python app.py --help`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import ipaddress
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import __version__, messages
from engine.__main__ import Parser, chosen_language
from engine.types import UserError

MAX_UPLOAD = "20gb"


def build_parser() -> argparse.ArgumentParser:
    text = messages.text
    parser = Parser(prog="python app.py", description=text("app.description"))
    parser.add_argument("--host", default="127.0.0.1", help=text("app.help.host"))
    parser.add_argument("--port", type=int, default=7860, help=text("app.help.port"))
    parser.add_argument("--workspace", type=Path, default=Path("workspace"), help=text("app.help.workspace"))
    parser.add_argument("--auth", metavar="USER:PASSWORD", help=text("app.help.auth"))
    parser.add_argument("--no-auth", action="store_true", help=text("app.help.no_auth"))
    parser.add_argument("--share", action="store_true", help=text("app.help.share"))
    parser.add_argument("--demo", action="store_true", help=text("app.help.demo"))
    parser.add_argument("--mcp", action="store_true", help=text("app.help.mcp"))
    parser.add_argument("--lang", choices=messages.LANGUAGES, help=text("cli.help.lang"))
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def credentials(auth: str | None) -> tuple[str, str] | None:
    """--auth, or LIGHTBOX_AUTH, which does not show in the list of processes."""
    auth = auth or os.environ.get("LIGHTBOX_AUTH")
    if not auth:
        return None
    user, _, password = auth.partition(":")
    if not user or not password:
        raise UserError("auth_form")
    return user, password


def check_exposure(options: argparse.Namespace, auth: tuple[str, str] | None) -> None:
    """Anyone who reaches the page can read the data and start jobs, so an open door has to be asked for by name."""
    if auth is None and not options.no_auth and (options.share or not is_loopback(options.host)):
        raise UserError("open_without_auth", host="--share" if options.share else options.host)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_port(host: str, port: int) -> None:
    """Raises UserError when nobody can listen there: taken, forbidden, or not an address of this machine."""
    if not 1 <= port <= 65535:
        raise UserError("port_range", port=port)
    try:
        family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            if os.name != "nt":
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise UserError("port_taken", host=host, port=port, reason=error.strerror or str(error)) from error


def private_folder(workspace: Path) -> Path:
    """Where uploads go: inside the workspace, for its owner alone. Raises UserError when it cannot be written."""
    folder = workspace / "tmp" / "gradio"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError("workspace_not_writable", path=str(workspace), reason=error.strerror or str(error)) from error
    return folder


@contextlib.contextmanager
def no_proxy(*own: str) -> Iterator[None]:
    """Meanwhile no proxy of the environment stands before the hosts given, "*" for all: none of them knows this machine's own addresses.

    Gradio asks its own server whether it has started, and fails where it is imported beside a proxy of a kind that it does not know.
    """
    given = os.environ.get("no_proxy")
    os.environ["no_proxy"] = ",".join(filter(None, (given or os.environ.get("NO_PROXY"), *own)))
    try:
        yield
    finally:
        if given is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = given


def serve(options: argparse.Namespace) -> None:
    """Checks what can be checked without loading anything, then builds the page and serves it until Ctrl-C."""
    auth = credentials(options.auth)
    check_exposure(options, auth)
    if options.mcp and importlib.util.find_spec("mcp") is None:
        raise UserError("mcp_missing")
    check_port(options.host, options.port)
    from engine.hub import check_proxies
    from engine.jobs import local
    from engine.workspace import Workspace

    workspace = Workspace(options.workspace)
    workspace.clean()
    os.environ["GRADIO_TEMP_DIR"] = str(private_folder(workspace.root))  # Gradio reads these when it is imported
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

    if options.share:
        check_proxies()
    with no_proxy("*"):
        import ui

    local.advance(workspace.runs_folder)
    blocks = ui.build(workspace, demo=options.demo)
    # Without _frontend=False Gradio gives up where its first page takes longer than 3 s, as on a busy machine.
    with no_proxy(*(("localhost", "127.0.0.1", options.host.strip("[]")) if options.share else "*")):
        _, url, public = blocks.launch(auth=auth, server_name=options.host, server_port=options.port, share=options.share, mcp_server=options.mcp,
                                       prevent_thread_lock=True, quiet=True, _frontend=False, **look())
    if options.share and not public:
        raise UserError("share_failed")
    sys.stdout.write(messages.text("app.ready", url=public or url) + "\n")
    sys.stdout.flush()
    blocks.block_thread()


def look() -> dict[str, Any]:
    """The arguments of launch() that do not depend on how the app was started."""
    from starlette.middleware import Middleware

    from ui import i18n, page, theme

    return {"theme": theme.theme(), "css": theme.css(), "i18n": i18n.catalogues(),
            "app_kwargs": {"middleware": [Middleware(page.FirstScript)]},
            "footer_links": [], "ssr_mode": False, "show_error": False, "max_file_size": MAX_UPLOAD, "enable_monitoring": False, "allowed_paths": [],
            "favicon_path": str(theme.ASSETS / "favicon.svg")}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    messages.set_language(chosen_language(arguments))
    try:
        serve(build_parser().parse_args(arguments))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
