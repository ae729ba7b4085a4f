#!/usr/bin/env python3
"""DEIMv2 beside the official trainer, libreyolo and ultralytics: training steps, loading, what equal minutes are worth, and latency.

  bench/detect.py step --official DEIMv2 --peers-python VENV/bin/python              images/s of N at 640 px, one thread
  bench/detect.py step --model atto --image-size 320 --threads 2 --official ...      other sizes and threads
  bench/detect.py loader --official DEIMv2 --peers-python VENV/bin/python            images/s of the loaders, 0 and 2 worker processes
  bench/detect.py quality --minutes 10 --ours atto n --peers-python ... --work DIR    AP after equal minutes from random weights
  bench/detect.py latency --peers-python VENV/bin/python                             ms of one image: Atto at 320 px, Pico and N at 640 px

Needed: the project's Python (this one); --peers-python, a virtual environment with libreyolo, ultralytics and psutil, and for the official trainer
faster-coco-eval, calflops, transformers, tensorboard, PyYAML, scipy; --official, a checkout of Intellindust-AI-Lab/DEIMv2 (needs --peers-python);
--data, the folder with the data sets det_bccd_voc and det_cones_yolo. What is not given is left out. Peers are never imported here, only run.

step: every tool gets the same images (bytes, made floats by each), boxes, classes and threads, random weights. Official and libreyolo run their own
train_one_epoch and _train_epoch on ready batches; of ultralytics it is the body of its loop over batches, with its optimizer_step at every
batch (by itself it gathers 64 images). "as measured": the precision that the engine finds the fastest. "bf16": the official trainer with use_amp,
ultralytics with amp=bf16.
loader: each tool's own data set, augmentation and loader, as floats; official in an epoch where all of its augmentation is active. Ours with the
official augmentation, with images decoded anew each time ("no cache") and kept in memory as runs have it, and with the standard one.
quality: each tool's defaults except image size, threads and what makes it fit the minutes (libreyolo also --libreyolo-batch); predictions of all
are judged here by pycocotools. A run that was broken off goes on with the next training (--work).
latency: graphs that each tool exported with its own exporter (peers: also onnx, onnxscript, onnxslim, onnxsim), all run by the onnxruntime of this
project in processes of one kind, on floats that lie ready; --threads threads. "eager" is our network in PyTorch. No graph has a post-processing.

All processes of a part stay alive and take turns, so that others on the machine disturb all alike. "CPU s" is the processor time of a process and its
workers. The table goes to the end of --out (bench/RESULTS.md) unless --no-results.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
SETS = {"bccd": "det_bccd_voc", "cones": "det_cones_yolo"}
CLASSES = {"bccd": 3, "cones": 2}
PEER = [str(HERE / "detect_peer.py"), "serve"]


# ---- data

def prepared(work: Path, data: Path, name: str) -> dict[str, str]:
    """The data set as COCO and as YOLO, converted by this project into `work`, and a data.yaml with absolute paths."""
    from engine.datasets.convert import convert

    made = {}
    for form in ("coco", "yolo"):
        folder = work / "data" / f"{name}_{form}"
        if not (folder / "complete").exists():
            convert(data / SETS[name], folder, to=form, images="link")
            (folder / "complete").touch()
        made[form] = str(folder)
    sheet = work / "data" / f"{name}.yaml"
    listed = (work / "data" / f"{name}_yolo" / "data.yaml").read_text(encoding="utf-8")
    sheet.write_text(f"path: {made['yolo']}\n{listed}", encoding="utf-8")
    images = Path(made["coco"]) / "train"
    return {**made, "yaml": str(sheet), "coco_images": str(images), "coco_labels": str(images / "_annotations.coco.json")}


def ready_file(work: Path, data: dict[str, str], side: int, batch: int, batches: int = 2) -> Path:
    """The first training images stretched to `side`, with their boxes."""
    import cv2
    import numpy as np

    listed = json.loads(Path(data["coco_labels"]).read_text(encoding="utf-8"))
    images, labels, boxes, counts = [], [], [], []
    for each in listed["images"][: batch * batches]:
        image = cv2.imread(str(Path(data["coco_images"]) / each["file_name"]))[..., ::-1]
        images.append(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).transpose(2, 0, 1))
        own = [a for a in listed["annotations"] if a["image_id"] == each["id"]]
        counts.append(len(own))
        labels += [a["category_id"] for a in own]
        size = np.array([each["width"], each["height"]] * 2)
        boxes += [np.array([x + w / 2, y + h / 2, w, h]) / size for x, y, w, h in (a["bbox"] for a in own)]
    file = work / f"ready_{side}_{batch}.npz"
    np.savez(file, images=np.stack(images), labels=np.array(labels, np.int64), boxes=np.array(boxes, np.float32), counts=np.array(counts))
    return file


# ---- processes that take turns

class Runner:
    """A method in a process of its own that waits for its turns."""

    def __init__(self, name: str, python: str, script: list[str], spec: dict, folder: Path) -> None:
        self.name = name
        scratch = folder / "".join(c if c.isalnum() else "_" for c in name)
        scratch.mkdir(parents=True, exist_ok=True)
        file = scratch / "spec.json"
        file.write_text(json.dumps({**spec, "scratch": str(scratch)}), encoding="utf-8")
        self.log = scratch / "log.txt"
        with self.log.open("w") as errors:
            self.process = subprocess.Popen([python, *script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                                            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": str(spec["threads"])})
        self.note = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
            raise SystemExit(f"{self.name} ended early:\n{tail}")
        return json.loads(line)

    def run(self, count: int) -> dict:
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return self.answer()


def in_turns(runners: list[Runner], arguments, images: int) -> dict[str, list[tuple[float, float]]]:
    """(images/s, CPU seconds an image) of every method and round; the first turns are not counted."""
    for each in runners:
        each.note = each.answer()["note"]
        each.run(arguments.warm)
        print(f"ready: {each.name} {each.note}", flush=True)
    found: dict[str, list[tuple[float, float]]] = {each.name: [] for each in runners}
    for number in range(arguments.rounds):
        for each in runners[number % 2 and slice(None, None, -1) or slice(None)]:
            said = each.run(arguments.steps)
            total = arguments.steps * images
            found[each.name].append((total / said["seconds"], said["cpu"] / total))
            speed, cpu = found[each.name][-1]
            print(f"round {number + 1}: {each.name}: {speed:.2f} images/s, {cpu:.4f} CPU s an image", flush=True)
    return found


def table(found: dict[str, list[tuple[float, float]]], notes: dict[str, str], base: str) -> list[str]:
    """A row per method; ratios are medians of those of the rounds, `base` being 1."""
    lines = ["| method | | images/s | CPU s an image | x, by time | x, by CPU time |", "|---|---|---|---|---|---|"]
    for name, values in found.items():
        speed, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        ratios = ["-", "-"] if base not in found else [
            f"{statistics.median(a[0] / b[0] for a, b in zip(values, found[base], strict=True)):.2f}",
            f"{statistics.median(b[1] / a[1] for a, b in zip(values, found[base], strict=True)):.2f}"]
        lines.append(f"| {name} | {notes.get(name, '')} | {speed:.2f} | {cpu:.4f} | {ratios[0]} | {ratios[1]} |")
    return lines


# ---- parts

def step(arguments, work: Path) -> list[str]:
    data = prepared(work, arguments.data, "bccd")
    ready = ready_file(work, data, arguments.image_size, arguments.batch)
    spec = {**common(arguments, data), "part": "step", "workers": 0, "ready": str(ready)}
    jobs = [("lightbox", sys.executable, None, {"precision": "none"}), ("lightbox as measured", sys.executable, None, {"precision": "auto"})]
    if arguments.official:
        jobs += [(f"official{words}", arguments.peers_python, "official", {"official": str(arguments.official), "precision": precision})
                 for words, precision in (("", "none"), (" use_amp (bf16)", "bf16"))]
    if arguments.peers_python:
        jobs.append(("libreyolo DEIMv2", arguments.peers_python, "libreyolo", {"precision": "none"}))
        jobs += [(f"ultralytics {nano}{words}", arguments.peers_python, "ultralytics", {"nano": nano, "precision": precision})
                 for nano in arguments.nano for words, precision in (("", "none"), (" (bf16)", "bf16"))]
    title = f"## Detection: a training step of {arguments.model} at {arguments.image_size} px, batch {arguments.batch}, threads {arguments.threads}"
    return measured(arguments, work, spec, jobs, title, "official")


def loader(arguments, work: Path) -> list[str]:
    data = prepared(work, arguments.data, "bccd")
    lines = []
    for workers in arguments.workers:
        spec = {**common(arguments, data), "part": "loader", "workers": workers, "precision": "none"}
        ours = {"lightbox official": ("official", ""), "lightbox official, no cache": ("official", "none"), "lightbox standard": ("standard", "")}
        jobs = [(name, sys.executable, None, {"augment": augment, "cache": cache}) for name, (augment, cache) in ours.items()]
        if arguments.official:
            jobs.append(("official", arguments.peers_python, "official", {"official": str(arguments.official)}))
        if arguments.peers_python:
            jobs += [("libreyolo", arguments.peers_python, "libreyolo", {}),
                     *((f"ultralytics {nano}", arguments.peers_python, "ultralytics", {"nano": nano}) for nano in arguments.nano[:1])]
        title = f"## Detection: loading at {arguments.image_size} px, batch {arguments.batch}, {workers} worker processes"
        lines += [*measured(arguments, work, spec, jobs, title, "official"), ""]
    return lines[:-1]


def common(arguments, data: dict[str, str]) -> dict:
    return {"model": arguments.model, "side": arguments.image_size, "batch": arguments.batch, "threads": arguments.threads, "data": data,
            "classes": CLASSES["bccd"]}


def measured(arguments, work: Path, spec: dict, jobs: list, title: str, base: str) -> list[str]:
    with ExitStack() as stack:
        chosen = [job for job in jobs if not arguments.only or any(job[0].startswith(each) for each in arguments.only)]
        runners = [stack.enter_context(Runner(name, python, [str(HERE / "detect_ours.py")] if peer is None else PEER + [peer], {**spec, **own},
                                              work / "runs")) for name, python, peer, own in chosen]
        found = in_turns(runners, arguments, arguments.batch)
        notes = {each.name: each.note for each in runners}
    return [title, "", f"{where(arguments)}; medians of {arguments.rounds} interleaved rounds of {arguments.steps}.", "", *table(found, notes, base)]


def where(arguments) -> str:
    versions = [f"Python {platform.python_version()}", f"torch {version_of(sys.executable, 'torch')}"]
    if arguments.peers_python:
        versions += [f"{name} {version_of(arguments.peers_python, name)}" for name in ("libreyolo", "ultralytics")]
        versions.append(f"peers' torch {version_of(arguments.peers_python, 'torch')}")
    if arguments.official:
        commit = subprocess.run(["git", "-C", arguments.official, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
        versions.append(f"official {commit.strip() or 'of unknown commit'}")
    return f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {', '.join(versions)}; `bench/detect.py {' '.join(sys.argv[1:])}`"


def version_of(python: str, name: str) -> str:
    asked = f"import importlib.metadata as m; print(m.version({name!r}))"
    return subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False).stdout.strip() or "-"


def quality(arguments, work: Path) -> list[str]:
    from detect_quality import rows

    folders = {name: prepared(work, arguments.data, name) for name in SETS}
    return [f"## Detection: AP after {arguments.minutes:g} minutes from random weights at {arguments.image_size} px, one thread each", "",
            f"{where(arguments)}.", "", *rows(arguments, work, folders, CLASSES)]


def latency(arguments, work: Path) -> list[str]:
    from detect_latency import rows

    return [f"## Detection: latency of exported models, threads {arguments.threads}", "",
            f"{where(arguments)}, onnxruntime {version_of(sys.executable, 'onnxruntime')}; medians of {arguments.rounds} interleaved rounds of "
            f"{arguments.steps} images, one at a time.", "", *rows(arguments, work, Runner, in_turns)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("step", "loader", "quality", "latency"))
    parser.add_argument("--official", type=Path, help="checkout of the official trainer")
    parser.add_argument("--peers-python", help="Python that has libreyolo and ultralytics")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of det_bccd_voc and det_cones_yolo")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lightbox-bench-detect")
    parser.add_argument("--model", default="n", help="size of DEIMv2 for step and loader")
    parser.add_argument("--ours", nargs="+", default=["atto"], help="quality: sizes of ours")
    parser.add_argument("--nano", nargs="+", default=["yolo11n"], help="architectures of ultralytics")
    parser.add_argument("--image-size", type=int, help="default: 640, for quality 320")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="loader: worker processes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="steps, batches of a loader or images in a turn (default: 4, loader 25, latency 20)")
    parser.add_argument("--warm", type=int, help="as many before the first round (default: 3, of a loader 60: all images once)")
    parser.add_argument("--minutes", type=float, default=10.0, help="quality: of each training")
    parser.add_argument("--libreyolo-batch", type=int, default=16, help="quality: its own of 128 is half of the images; 0: its own")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS), help="quality: data sets")
    parser.add_argument("--sizes", nargs="+", default=[], help="latency: some of atto, pico, n")
    parser.add_argument("--latency-classes", type=int, default=80, help="latency: number of classes")
    parser.add_argument("--only", nargs="+", default=[], help="methods whose names begin so")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/RESULTS.md")
    parser.add_argument("--no-results", action="store_true", help="print the table, write no file")
    arguments = parser.parse_args()
    arguments.image_size = arguments.image_size or (320 if arguments.part == "quality" else 640)
    arguments.steps = arguments.steps or {"loader": 25, "latency": 20}.get(arguments.part, 4)
    arguments.warm = arguments.warm or (60 if arguments.part == "loader" else 3)
    arguments.official = arguments.official and arguments.official.resolve()
    sys.path.insert(0, str(ROOT))
    arguments.work.mkdir(parents=True, exist_ok=True)
    text = "\n".join([*{"step": step, "loader": loader, "quality": quality, "latency": latency}[arguments.part](arguments, arguments.work), ""])
    print(text)
    if not arguments.no_results:
        with arguments.out.open("a", encoding="utf-8") as stream:
            stream.write("\n" + text)


if __name__ == "__main__":
    main()
