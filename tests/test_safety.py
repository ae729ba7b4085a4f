"""What a stranger must not be able to do: read files, run code, reach other hosts, or put markup into the page."""

import ast
import csv
import json
import os
import re
import shutil
import socket
import urllib.parse
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import numpy as np
import pytest
from PIL import Image

import app as program
import ui
from engine.datasets import source
from engine.datasets.collection import collect
from engine.datasets.formats import formats
from engine.datasets.images import is_image, open_image
from engine.datasets.samples import generate
from engine.types import Sample, Tags, UserError
from engine.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted([ROOT / "app.py", *(ROOT / "engine").rglob("*.py"), *(ROOT / "ui").rglob("*.py")])
SECRET = "nobody-may-read-this"


def write_picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(path)
    return path


# ---- files

@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The whole app with a data set, a run and a secret beside the workspace."""
    home = tmp_path_factory.mktemp("home")
    workspace = Workspace(home / "workspace")
    generate("detect", home / "scenes", images=4, seed=5)
    dataset, _ = workspace.import_dataset(home / "scenes", "scenes")
    run = workspace.new_run_folder("run")
    for file in (home / "secret.txt", workspace.weights / "best.pt", run / "config.json", workspace.root / "token"):
        file.write_text(SECRET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(program.private_folder(workspace.root)))
        blocks = ui.build(workspace)
        _, url, _ = blocks.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **program.look())
        yield SimpleNamespace(url=url.rstrip("/"), workspace=workspace, home=home, dataset=dataset, blocks=blocks)
        blocks.close()


def targets(served):
    """Files that exist, each in the spellings by which servers have been talked into giving them away."""
    files = [Path("/etc/passwd"), served.home / "secret.txt", ROOT / "app.py", served.workspace.weights / "best.pt", served.workspace.root / "token",
             served.dataset.folder / "labels.sqlite", next((served.dataset.folder / "images").iterdir()), Path.home() / ".bashrc"]
    for file in files:
        relative = os.path.relpath(file, Path.cwd())
        once = urllib.parse.quote(str(file), safe="")
        bare = str(file).lstrip("/")
        for spelling in (str(file), relative, "../" * 12 + bare, once, urllib.parse.quote(once, safe=""), f"file://{file}", bare.replace("/", "%2f"),
                         "%2e%2e/" * 12 + bare, f"//{file}", f"{file}%00.png", str(file).replace("/", "\\")):
            yield file, spelling


def test_no_route_gives_a_file_of_this_machine_away(served):
    leaked = []
    routes = ("gradio_api/file=", "file=", "gradio_api/file/", "gradio_api/proxy=", "static/", "assets/", "gradio_api/stream/", "custom_component/")
    with httpx.Client(timeout=10) as client:
        for file, spelling in targets(served):
            for route in routes:
                address = f"{served.url}/{route}{spelling}"
                try:
                    answer = client.get(address, follow_redirects=False)
                except httpx.TransportError:  # hung up on: nothing came
                    continue
                if answer.status_code < 400 and "text/html" not in answer.headers.get("content-type", ""):
                    leaked.append((file.name, address, answer.status_code))
                if SECRET in answer.text or "root:x:" in answer.text:
                    leaked.append((file.name, address, "content"))
    assert leaked == []


def test_a_file_route_never_sends_a_visitor_elsewhere(served):
    with httpx.Client(timeout=10) as client:
        for place in ("https://example.org/x", "//example.org/x", "https:/example.org", "http://127.0.0.1:1/x"):
            answer = client.get(f"{served.url}/gradio_api/file={place}", follow_redirects=False)
            assert answer.status_code >= 400 or "example.org" not in answer.headers.get("location", "")


def hostile_value(component, file):
    """A value of the right form for a component, which names a file that no visitor may have."""
    kind = type(component)
    if kind in (gr.File, gr.UploadButton, gr.Image, gr.Video, gr.DownloadButton):
        one = {"path": str(file), "meta": {"_type": "gradio.FileData"}, "orig_name": "x.png", "url": f"file://{file}"}
        return [one] if getattr(component, "file_count", "single") != "single" else one
    if kind in (gr.Slider, gr.Number):
        return 1
    if kind is gr.Checkbox:
        return True
    if kind in (gr.CheckboxGroup, gr.JSON):
        return []
    return str(file)


def test_no_event_of_the_page_takes_a_path_for_a_choice(served):
    """Events that are private to the page can be called by anyone too: whatever they are given, no file comes back."""
    secret, leaked = served.home / "secret.txt", []
    with httpx.Client(timeout=60) as client:
        for number, event in served.blocks.fns.items():
            if not event.queue and event.fn is None:
                continue
            data = [hostile_value(component, secret) for component in event.inputs]
            answer = client.post(f"{served.url}/gradio_api/run/predict", json={"fn_index": number, "data": data, "session_hash": "s"})
            if SECRET in answer.text:
                leaked.append((number, event.name))
    assert leaked == []


# ---- code and other hosts

def calls(*names):
    """(file:line, name, keywords) of calls of `names`: "load" alone, or "module.load"."""
    for file in CODE:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and f".{(name := ast.unparse(node.func))}".endswith(tuple(f".{each}" for each in names)):
                yield f"{file.relative_to(ROOT)}:{node.lineno}", name, {each.arg: ast.unparse(each.value) for each in node.keywords}


def test_checkpoints_are_loaded_in_one_place_and_without_code():
    found = list(calls("torch.load"))
    assert {place.split(":")[0] for place, _, _ in found} <= {"engine/weights.py"}
    assert all(keywords.get("weights_only") == "True" for _, _, keywords in found)


def test_nothing_that_runs_code_from_data_is_ever_called():
    assert list(calls("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "joblib.load", "read_pickle", "os.system", "extractall",
                      "yaml.load", "yaml.unsafe_load", "yaml.full_load")) == []
    assert [place for place, name, _ in calls("eval", "exec") if name in ("eval", "exec")] == []
    assert [place for place, _, keywords in calls("np.load", "numpy.load") if keywords.get("allow_pickle", "False") != "False"] == []
    assert [place for place, _, keywords in calls("subprocess.run", "subprocess.Popen", "Popen") if keywords.get("shell", "False") != "False"] == []


def test_xml_and_yaml_are_parsed_by_their_one_careful_reader():
    xml = calls("ElementTree.parse", "ET.parse", "ET.fromstring", "fromstring", "minidom.parse", "XMLParser", "iterparse")
    assert {place.split(":")[0] for place, _, _ in xml} <= {"engine/datasets/plain_xml.py"}
    assert {place.split(":")[0] for place, _, _ in calls("yaml.safe_load", "yaml.compose", "yaml.parse")} <= {"engine/datasets/plain_yaml.py"}


def test_no_package_with_a_strict_licence_is_imported():
    strict = {"albumentationsx", "ultralytics", "yolov5", "PyQt5", "PyQt6", "pymupdf", "fitz"}
    imported = set()
    for file in CODE:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    assert not imported & strict
    assert "albumentations==2.0.8" in (ROOT / "requirements.txt").read_text()


@pytest.fixture
def no_network(monkeypatch):
    """Every attempt to reach a host, by name or by number, is written down and refused."""
    tried = []

    def refuse(*arguments, **keywords):
        tried.append(arguments[1:] or arguments)
        raise OSError("no network here")
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tried


URL = "http://127.0.0.1:9/x.png"


def coco_with_addresses(root):
    write_picture(root / "a.png")
    images = [{"id": 1, "file_name": "a.png", "width": 64, "height": 48, "coco_url": URL, "flickr_url": URL},
              {"id": 2, "file_name": URL, "width": 8, "height": 8}]
    (root / "annotations.json").write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "x"}]}))


def yolo_with_addresses(root):
    write_picture(root / "images" / "a.png")
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("0 .5 .5 .5 .5\n")
    (root / "data.yaml").write_text(f"path: {URL}\ntrain: images\nval: {URL}\ndownload: {URL}\nnames: [x]\n")


def voc_with_addresses(root):
    write_picture(root / "a.png")
    (root / "a.xml").write_text(f'<?xml version="1.0"?><annotation><filename>a.png</filename><path>{URL}</path><source><url>{URL}</url></source>'
                                "<size><width>64</width><height>48</height></size></annotation>")


def voc_with_a_remote_dtd(root):
    voc_with_addresses(root)
    (root / "b.xml").write_text(f'<?xml version="1.0"?><!DOCTYPE annotation SYSTEM "{URL}"><annotation><filename>a.png</filename></annotation>')
    (root / "c.xml").write_text('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation><filename>&e;</filename></annotation>')


def label_studio_with_addresses(root):
    write_picture(root / "x.png")
    tasks = [{"id": 1, "data": {"image": URL}, "annotations": [{"id": 1, "result": [
        {"type": "rectanglelabels", "original_width": 64, "original_height": 48, "from_name": "l", "to_name": "image",
         "value": {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["x"]}}]}]}]
    (root / "project.json").write_text(json.dumps(tasks))


def csv_with_addresses(root):
    write_picture(root / "x.png")
    (root / "labels.csv").write_text(f"image,labels\nx.png,cat\n{URL},dog\n")


@pytest.mark.parametrize("make", [coco_with_addresses, yolo_with_addresses, voc_with_addresses, voc_with_a_remote_dtd, label_studio_with_addresses,
                                  csv_with_addresses], ids=lambda make: make.__name__)
def test_an_import_reaches_no_host(tmp_path, no_network, make):
    (tmp_path / "set").mkdir()
    make(tmp_path / "set")
    try:
        chosen, _ = source.recognise(tmp_path / "set")
        found = collect(chosen.read(tmp_path / "set"), chosen.name)
        assert all(Path(sample.image).is_relative_to(tmp_path) for sample in found.samples)
        assert "root:" not in json.dumps([problem.as_dict() for problem in found.problems])
    except UserError as error:
        assert "root:" not in str(error)
    assert no_network == []


# ---- markup and formulas

HOSTILE = ("<script>window.__xss=1</script>", '"><img src=x onerror="window.__xss=1">', '=HYPERLINK("http://evil")', "+1+1", "-2", "@SUM(A1)", "\tx",
           "${7*7}", "{{7*7}}")


def test_formulas_in_names_are_only_text_in_every_csv(tmp_path):
    """A spreadsheet runs what begins with = + - @, a tab or a carriage return."""
    image = write_picture(tmp_path / "=1+1.png")
    names = tuple(name.strip() for name in HOSTILE)
    writers = [entry for entry in formats.entries().values() if entry.write is not None]
    for entry in writers:
        samples = [Sample(image, (64, 48), Tags(np.eye(len(names))[0]), "train", "=group()", "=1+1.png"),
                   Sample(image, (64, 48), Tags(np.ones(len(names))), "train", "@group", "@x.png")]
        out = tmp_path / f"out-{entry.name}"
        out.mkdir()
        list(entry.write(names, samples, out, "copy"))
        for file in out.rglob("*.csv"):
            cells = [cell for row in csv.reader(file.open(encoding="utf-8-sig", newline="")) for cell in row]
            assert [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell and not re.fullmatch(r"[+-]?\d+(\.\d+)?", cell)] == []


def test_pictures_that_can_hold_scripts_are_refused(tmp_path):
    for name, content in (("a.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"), ("b.png", "<html><script>1</script></html>"),
                          ("c.jpg", "<?xml version='1.0'?><svg/>")):
        (tmp_path / name).write_text(content)
        assert not is_image("a.svg")
        with pytest.raises(UserError):
            open_image(tmp_path / name)


# ---- what lies about

def test_the_workspace_is_for_its_owner_alone(tmp_path):
    workspace = Workspace(tmp_path / "w")
    assert all((folder.stat().st_mode & 0o077) == 0 for folder in workspace.root.iterdir()) or os.name == "nt"
    assert (program.private_folder(workspace.root).stat().st_mode & 0o077) == 0 or os.name == "nt"


def test_deleting_a_data_set_only_moves_it(tmp_path):
    workspace = Workspace(tmp_path / "w")
    generate("detect", tmp_path / "scenes", images=4, seed=5)
    dataset, _ = workspace.import_dataset(tmp_path / "scenes", "scenes")
    count = len(list((dataset.folder / "images").iterdir()))
    moved = workspace.delete_dataset(dataset.id)
    assert len(list((moved / "images").iterdir())) == count
    shutil.rmtree(moved)
