"""The labeling canvas: one gr.HTML component. Its script is put together from the modules of this folder, without a build step.

The modules are plain ES modules, so that node can test each alone; the page gets them in one piece, in the order of their imports, without the
lines that join them. Their top-level names are therefore unique among them all.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import gradio as gr

from engine.workspace import Workspace
from ui.annotator.server import functions

FOLDER = Path(__file__).parent
ENTRY = "main.js"
IMPORT = re.compile(r"^import \{[^}]*\} from '\./([\w.]+)';\n", re.MULTILINE)
EXPORT = re.compile(r"^export (?=const|class|function|let)", re.MULTILINE)
STYLE = """
const styles = document.getElementById('lb-an-styles') ?? document.head.appendChild(make('style', {id: 'lb-an-styles'}));
styles.textContent = %s;
"""


@cache
def script() -> str:
    """All modules as the body of one function, which Gradio calls with element, props, server, watch and trigger."""
    parts = [EXPORT.sub("", IMPORT.sub("", _read(name))) for name in _in_order(ENTRY)]
    return "\n".join([*parts, STYLE % json.dumps(_read("annotator.css")), "start({element, props, server, watch});"])


def _in_order(name: str, seen: dict[str, None] | None = None) -> list[str]:
    """A module after everything that it imports."""
    seen = {} if seen is None else seen
    for needed in IMPORT.findall(_read(name)):
        if needed not in seen:
            _in_order(needed, seen)
    seen[name] = None
    return list(seen)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def annotator(workspace: Workspace, *, demo: bool = False, value: str = "", elem_id: str | None = None) -> gr.HTML:
    """Labels the images of one data set; its value is the id of that set, "" for none. Everything else it asks the server for itself."""
    return gr.HTML(value, html_template='<div class="lb-an" hidden></div>', js_on_load=script(), elem_id=elem_id, apply_default_css=False,
                   server_functions=functions(workspace, demo))
