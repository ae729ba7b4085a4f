"""What the browser gets first: Gradio's page with our script before its own, in the right language.

Gradio adds what `launch(head=)` holds only after it has chosen its language; the script that chooses has to come earlier.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui import theme
from ui.i18n import language_of

SOCIAL = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')


class FirstScript:
    """Middleware that rewrites HTML pages and passes everything else through."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.script = theme.head().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        language, start, parts = language_of(Request(scope)), None, []

        async def rewritten(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
            elif start is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    body = rewrite(b"".join(parts), self.script, language)
                    MutableHeaders(raw=start["headers"])["content-length"] = str(len(body))
                    await send(start)
                    await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, rewritten)


def rewrite(page: bytes, script: bytes, language: str) -> bytes:
    """The page with `script` first in its head, its language named, and without the tags made for social networks."""
    page = re.sub(rb'lang="en"', f'lang="{language}"'.encode(), page, count=1)
    return SOCIAL.sub(b"", page).replace(b"<head>", b"<head>" + script, 1)


def _is_page(message: dict[str, Any] | Message) -> bool:
    headers = {name.lower(): value for name, value in message["headers"]}
    return headers.get(b"content-type", b"").startswith(b"text/html") and b"content-encoding" not in headers
