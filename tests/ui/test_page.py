"""The first bytes that a browser gets."""

import asyncio

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ui import page, theme

SOURCE = '<!doctype html><html lang="en"><head><meta charset="utf-8"/><meta property="og:image" content="https://elsewhere/x.jpg" /></head></html>'


def client():
    app = Starlette(routes=[Route("/", lambda request: HTMLResponse(SOURCE)), Route("/data", lambda request: JSONResponse({"head": "<head>"}))],
                    middleware=[Middleware(page.FirstScript)])
    return TestClient(app)


def test_our_script_runs_before_anything_else_in_the_page():
    text = client().get("/").text
    assert text.index("<script>") < text.index("<meta")
    assert "lightbox_lang" in text


def test_the_page_names_the_language_of_the_visitor():
    assert '<html lang="zh-TW">' in client().get("/?lang=zh-TW").text
    assert '<html lang="zh-CN">' in client().get("/", headers={"accept-language": "zh-Hans-CN"}).text
    assert '<html lang="en">' in client().get("/").text


def test_nothing_in_the_page_points_elsewhere():
    assert "https://" not in client().get("/").text


def test_the_length_that_is_announced_is_the_length_that_comes():
    answer = client().get("/")
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_data_and_posts_pass_unchanged():
    assert client().get("/data").json() == {"head": "<head>"}
    assert client().post("/").status_code == 405


def test_what_is_no_request_passes_unchanged():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(page.FirstScript(app)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]


def test_the_style_holds_every_token_for_light_and_dark_and_fetches_nothing():
    css = theme.css()
    for tokens in (theme.LIGHT, theme.DARK):
        for name, value in tokens.items():
            assert f"--lb-{name}: {value};" in css
    assert "http" not in css and "@import" not in css


def contrast(one, two):
    def luminance(color):
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_reads_on_every_ground_and_edges_can_be_seen():
    for tokens in (theme.LIGHT, theme.DARK):
        for ground in ("page", "surface", "sunken"):
            assert min(contrast(tokens[name], tokens[ground]) for name in ("text", "muted")) >= 4.5
            assert min(contrast(tokens[name], tokens[ground]) for name in ("good", "warn", "bad", "edge")) >= 3
        assert contrast(tokens["accent"], tokens["surface"]) >= 4.5
        assert contrast(tokens["on-accent"], tokens["accent"]) >= 4.5
