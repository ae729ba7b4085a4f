"""Every fault has its words, in every language, with the same places to fill."""

import re
import string
from pathlib import Path

import pytest

import engine
from engine.datasets.faults import counted, lines, printable
from engine.messages import LANGUAGES, catalogue
from engine.types import Problem, UserError

ENGINE = Path(engine.__file__).parent
FILES = [*(ENGINE / "datasets").glob("*.py"), *(ENGINE / "datasets/formats").glob("*.py"), ENGINE / "workspace.py",
         ENGINE / "commands/convert.py", ENGINE / "commands/check.py"]
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
ERRORS = set(re.findall(r'UserError\(\s*"([a-z_0-9]+)"', SOURCE)) | {"archive_unsupported", "dataset_newer", "dataset_damaged"}
PROBLEMS = set(re.findall(r'(?:Problem|fault|note)\(\s*"([a-z_0-9]+)"',
    SOURCE)) | set(re.findall(r'(?:code = |else )"((?:coco|yaml|archive)_[a-z_]+)"', SOURCE)) \
    | {"image_damaged", "image_empty", "image_too_large", "not_an_image", "file_too_large"}


def places(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", sorted([f"error.{key}" for key in ERRORS] + [f"problem.{code}" for code in PROBLEMS]))
def test_every_fault_has_a_text_and_a_remedy_in_every_language(key):
    for name in (key, f"{key}.remedy"):
        texts = [catalogue(language).get(name) for language in LANGUAGES]
        assert all(texts), name
        assert len({frozenset(places(text)) for text in texts}) == 1, name
        assert not any(mark in text for text in texts for mark in ("!", "！"))


def test_lines_are_grouped_capped_and_end_with_the_remedy():
    problems = [Problem("label_duplicate", "warning", f"a.txt:{number}") for number in range(30)] + [Problem("image_empty", "error",
        "x\x1b[2J\n.png")]
    told = list(lines(problems, "en", cap=3))
    assert told[0].startswith("error: x\\x1b[2J\\x0a.png: ")
    assert len([line for line in told if "a.txt" in line]) == 3
    assert "27" in told[-2]
    assert counted(problems) == {"error": 1, "warning": 30, "note": 0}
    assert printable("手术 a") == "手术 a"


def test_errors_survive_a_trip_through_a_process():
    import pickle
    error = pickle.loads(pickle.dumps(UserError("path_missing", path="x")))
    assert str(error) == str(UserError("path_missing", path="x"))
