"""Every text that the code asks for is there, in all three languages, with the same values to fill in."""

import ast
import dataclasses
import string
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import messages
from engine.config import TrainConfig
from ui import i18n

ROOT = Path(__file__).resolve().parents[2]
TEXT_CALLS = {"t", "label", "text"}


def source_files() -> list[Path]:
    return [ROOT / "app.py", *sorted((ROOT / "ui").rglob("*.py")), *sorted((ROOT / "engine").rglob("*.py"))]


def asked_for(file: Path) -> Iterator[tuple[str, int]]:
    """(key, line) of each text that a file names; a key that ends with * is the constant start of a computed one."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        for key in keys_of(node.args[0]):
            if name in TEXT_CALLS and "." in key:
                yield key, node.lineno
            elif name in ("UserError", "Problem"):
                prefix = "error" if name == "UserError" else "problem"
                yield f"{prefix}.{key}", node.lineno
                if not key.endswith("*"):
                    yield f"{prefix}.{key}.remedy", node.lineno


def keys_of(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from keys_of(node.body)
        yield from keys_of(node.orelse)
    elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        yield f"{node.values[0].value}*"


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("file", source_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_text_that_a_file_asks_for_is_in_the_catalogue(file):
    known = messages.catalogue("en")
    missing = []
    for key, line in asked_for(file):
        there = any(each.startswith(key[:-1]) for each in known) if key.endswith("*") else key in known
        if not there:
            missing.append(f"{file.name}:{line} {key}")
    assert not missing


def test_every_training_option_has_a_label_and_a_help_text():
    known = messages.catalogue("en")
    names = [field.name for field in dataclasses.fields(TrainConfig) if field.metadata.get("group") != "recorded"]
    assert [name for name in names if f"option.{name}" not in known or f"option.{name}.help" not in known] == []


@pytest.mark.parametrize("language", messages.LANGUAGES[1:])
def test_each_language_has_the_same_keys_and_the_same_values_to_fill_in(language):
    english, other = messages.catalogue("en"), messages.catalogue(language)
    assert set(english) == set(other)
    assert [key for key in english if placeholders(english[key]) != placeholders(other[key])] == []
    assert [key for key in other if english[key] and not other[key].strip()] == []


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_no_text_shouts_or_decorates(language):
    assert [key for key, text in messages.catalogue(language).items() if "!" in text or "！" in text or any(ord(c) > 0x1F000 for c in text)] == []


def visitor(query=None, cookies=None, accept=""):
    return SimpleNamespace(query_params=query or {}, cookies=cookies or {}, headers={"accept-language": accept})


@pytest.mark.parametrize(("request_", "language"), [
    (visitor({"lang": "zh-TW"}, {i18n.COOKIE: "en"}, "zh-CN"), "zh-TW"),
    (visitor({}, {i18n.COOKIE: "zh-CN"}, "en"), "zh-CN"),
    (visitor(accept="zh-Hant-HK,en;q=0.8"), "zh-TW"),
    (visitor(accept="fr-FR,zh;q=0.5"), "zh-CN"),
    (visitor(accept="fr"), "en"),
    (visitor(), "en"),
])
def test_the_address_goes_before_the_cookie_and_the_cookie_before_the_browser(request_, language):
    assert i18n.language_of(request_) == language


def test_a_request_made_without_a_browser_is_answered_in_english():
    assert i18n.language_of(SimpleNamespace(query_params=None)) == "en"


def test_a_text_is_made_in_the_language_of_the_visitor():
    assert i18n.t("page.home", visitor({"lang": "zh-CN"})) == "首页"
    assert i18n.t("page.home", "zh-TW") == "首頁"


def test_the_browser_gets_the_labels_but_not_the_error_texts():
    texts = i18n.catalogues().translations_dict
    assert set(texts) == set(messages.LANGUAGES)
    assert "page.home" in texts["en"]
    assert not [key for key in texts["en"] if key.startswith("error.")]
