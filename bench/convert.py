#!/usr/bin/env python3
"""How fast data sets are read and converted, beside other tools, in interleaved rounds.

  bench/convert.py                          YOLO -> COCO of 20,000 small JPEGs with 120,000 boxes, images left where they are
  bench/convert.py --coco                   a COCO json of 100,000 images and 900,000 annotations: import, and conversion to COCO and YOLO
  bench/convert.py --peers-python VENV/bin/python      also globox, supervision and ultralytics, as far as that Python has them

Run it in the project's root with the project's Python. The data are made once in --work and found again by the next run. Every measurement
is a process of its own and is noted in WORK/measured.jsonl as soon as it is there: a run that was broken off goes on where it stopped
(--again starts anew). The table goes to the end of --out (bench/RESULTS.md). Peers are never imported here, only run.

What is measured: for the Python methods the time of the call alone, imports left out; for the command line the whole process. "CPU s" is the
processor time of the same stretch, which tells more where others use the machine. "read labels"
opens and reads every label file and does nothing with it; "labels to json" also parses the lines and writes the COCO json, given all image
sizes for nothing (a bare loop without a single check). Files are in the page cache: everything is read once before the first round.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from convert_data import CLASSES, make_coco, make_yolo

ROOT = Path(__file__).resolve().parent.parent
OURS = ("read labels", "labels to json", "lightbox", "lightbox command line")
PEERS = ("globox", "supervision", "ultralytics scan")
COCO = ("coco import", "coco to coco", "coco to yolo")


# ---- the methods: each gets ready and returns what is to be measured, which says what it did

def read_labels(data, out):
    def go():
        count = 0
        for entry in os.scandir(data / "labels/train"):
            with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123
                count += len(file.readall())
        return f"{count} bytes"
    return go


def labels_to_json(data, out):
    return lambda: _bare(data, out)


def _bare(data, out):
    """The bare minimum: no checks, sizes given."""
    images, annotations = [], []
    for entry in os.scandir(data / "labels/train"):
        width, height, number = 320, 240, len(images) + 1
        images.append({"id": number, "file_name": entry.name[:-3] + "jpg", "width": width, "height": height})
        with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123
            for line in file.readall().splitlines():
                kind, x, y, w, h = line.split()
                w, h = float(w) * width, float(h) * height
                box = [float(x) * width - w / 2, float(y) * height - h / 2, w, h]
                annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": int(kind), "bbox": box, "area": w * h,
                                    "iscrowd": 0, "segmentation": []})
    with (out / "labels.json").open("w") as file:
        file.write(json.dumps({"images": images, "annotations": annotations, "categories": [{"id": i, "name": n} for i, n in enumerate(CLASSES)]}))
    return f"{len(images)} images, {len(annotations)} boxes"


def lightbox(data, out, to="coco"):
    from engine.datasets.convert import convert
    from engine.datasets.formats import formats
    formats.entries()
    return lambda: _told(convert(data, out / "converted", to=to, images="none"))


def _told(summary):
    return f"{summary.images} images, {summary.boxes} boxes, {len(summary.problems)} problems"


def lightbox_command_line(data, out):
    command = [sys.executable, "-m", "engine", "convert", data, out / "converted", "--to", "coco", "--images", "none"]
    return lambda: subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def globox(data, out):
    from globox import AnnotationSet

    def go():
        found = AnnotationSet.from_yolo_v5(data / "labels/train", image_folder=data / "images/train")
        found.save_coco(out / "labels.json", auto_ids=True)
        return f"{len(found)} images"
    return go


def supervision(data, out):
    import supervision

    def go():
        found = supervision.DetectionDataset.from_yolo(str(data / "images/train"), str(data / "labels/train"), str(data / "data.yaml"))
        found.as_coco(annotations_path=str(out / "labels.json"))
        return f"{len(found)} images"
    return go


def ultralytics_scan(data, out):
    """Its scan of a data set, which checks every image; it writes no COCO."""
    os.environ.update(YOLO_CONFIG_DIR=str(out), YOLO_VERBOSE="false", YOLO_OFFLINE="true")
    from ultralytics.data.dataset import YOLODataset

    def go():
        (data / "labels/train.cache").unlink(missing_ok=True)
        found = YOLODataset(img_path=str(data / "images/train"), data={"names": dict(enumerate(CLASSES)), "nc": len(CLASSES), "channels": 3},
                            task="detect", augment=False, cache=False)
        (data / "labels/train.cache").unlink(missing_ok=True)
        return f"{len(found.labels)} images"
    return go


def coco_import(data, out):
    from engine.datasets.formats import formats
    from engine.workspace import Workspace
    formats.entries()
    workspace = Workspace(out / "workspace")

    def go():
        dataset, report = workspace.import_dataset(data, "big")
        return f"{dataset.total()} images, {len(report.problems)} problems"
    return go


METHODS = {"read labels": read_labels, "labels to json": labels_to_json, "lightbox": lightbox, "lightbox command line": lightbox_command_line,
           "globox": globox, "supervision": supervision, "ultralytics scan": ultralytics_scan, "coco import": coco_import,
           "coco to coco": lightbox, "coco to yolo": partial(lightbox, to="yolo")}


def measure(method, data):
    """Runs one method in this process; prints seconds, peak memory and what was done as one line of JSON."""
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(dir=data.parent) as out:
        prepared = METHODS[method](data, Path(out))
        who = resource.RUSAGE_CHILDREN if method == "lightbox command line" else resource.RUSAGE_SELF
        before, start = _cpu(who), time.perf_counter()
        said = prepared()
        seconds, cpu = time.perf_counter() - start, _cpu(who) - before
        peak = resource.getrusage(who).ru_maxrss / 1024 if method == "lightbox command line" else _peak_mb()
    print(json.dumps({"seconds": round(seconds, 4), "cpu": round(cpu, 4), "peak_mb": round(peak), "said": said}))


def _peak_mb():
    """Of this process alone; ru_maxrss also counts what its parent had filled when it started this one."""
    status = Path("/proc/self/status")
    found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")] if status.exists() else []
    return int(found[0]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


# ---- rounds

def run(method, arguments, data):
    """One measurement in a process of its own; None when the method is not installed or fails."""
    python = arguments.peers_python if method in PEERS else sys.executable
    done = subprocess.run([python, __file__, "--measure", method, "--data", data], capture_output=True, text=True, cwd=ROOT)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        print(f"{method}: failed\n{done.stderr[-800:]}", file=sys.stderr)
        return None
    return json.loads(lines[-1])


def rounds(methods, arguments, data, count):
    """All methods in turn, `count` times; a line of the journal for each, those of a broken run are taken over."""
    journal = arguments.work / "measured.jsonl"
    if arguments.again:
        journal.unlink(missing_ok=True)
    old = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    found = [entry for entry in old if entry["method"] in methods and entry["count"] == count]
    for number in range(arguments.rounds):
        for method in methods:
            if any(entry["method"] == method and entry["round"] == number for entry in found):
                continue
            result = run(method, arguments, data)
            if result is None:
                continue
            load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
            found.append({"method": method, "round": number, "count": count, "load": load, **result})
            with journal.open("a") as file:
                file.write(json.dumps(found[-1]) + "\n")
            print(f"round {number + 1}: {method:22} {result['seconds']:7.2f} s  {result['peak_mb']:6} MB  {result['said'][:90]}", flush=True)
    return found


def table(found, methods, count, title):
    """Medians as Markdown."""
    medians = {}
    for method in methods:
        entries = [entry for entry in found if entry["method"] == method]
        if entries:
            seconds, cpu = (statistics.median(entry[key] for entry in entries) for key in ("seconds", "cpu"))
            medians[method] = (seconds, cpu, max(entry["peak_mb"] for entry in entries), len(entries))
    loads = " to ".join(f"{pick(entry.get('load') or 0 for entry in found):.1f}" for pick in (min, max)) if found else "-"
    lines = [f"## {title}", "", f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; "
             f"medians of interleaved rounds, warm page cache, load average {loads}.", "",
             "| method | seconds | images/s | CPU s | peak MB | rounds |", "|---|---|---|---|---|---|"]
    lines += [f"| {method} | {s:.2f} | {count / s:,.0f} | {cpu:.2f} | {peak:,} | {n} |" for method, (s, cpu, peak, n) in medians.items()]
    peers = [method for method in PEERS if method in medians]
    if "lightbox" in medians:
        lines.append("")
        if peers:
            best = min(peers, key=medians.get)
            lines.append(f"- Lightbox does {_ratio(medians, best, 'lightbox')} the images/s of the fastest peer ({best}).")
        lines += [f"- It takes {_ratio(medians, 'lightbox', base)} the time of \"{base}\"." for base in OURS[:2] if base in medians]
    return "\n".join(lines) + "\n"


def _ratio(medians, one, other):
    return f"{medians[one][0] / medians[other][0]:.2f} x (by CPU time {medians[one][1] / medians[other][1]:.2f} x)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", action="store_true", help="the large COCO file instead of the YOLO set")
    parser.add_argument("--images", type=int, help="how many (20,000; with --coco 100,000)")
    parser.add_argument("--rounds", type=int, help="how often (3; with --coco 1)")
    parser.add_argument("--peers-python", help="a Python that has globox, supervision, ultralytics; without it they are left out")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lightbox-bench", help="where data and journal lie (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/RESULTS.md", help="the table is appended here (%(default)s)")
    parser.add_argument("--again", action="store_true", help="forget the measurements of an earlier run")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.data.resolve())
        return
    count = arguments.images or (100_000 if arguments.coco else 20_000)
    arguments.rounds = arguments.rounds or (1 if arguments.coco else 3)
    arguments.work = arguments.work.resolve()
    data = arguments.work / f"{'coco' if arguments.coco else 'yolo'}-{count}"
    arguments.work.mkdir(parents=True, exist_ok=True)
    print(f"data: {data}", flush=True)
    (make_coco if arguments.coco else make_yolo)(data, count)
    for path in data.rglob("*"):
        if path.is_file() and not arguments.coco:
            path.read_bytes()
    methods = COCO if arguments.coco else OURS + (PEERS if arguments.peers_python else ())
    found = rounds(methods, arguments, data, count)
    title = f"COCO json, {count:,} images, {9 * count:,} annotations" if arguments.coco else f"YOLO -> COCO, {count:,} images"
    text = table(found, methods, count, title)
    print(text)
    with arguments.out.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}")


if __name__ == "__main__":
    main()
