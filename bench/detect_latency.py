#!/usr/bin/env python3
"""The part `latency` of bench/detect.py: one image through an exported graph, or through this project's network as it is.

  detect_latency.py export METHOD SPEC   writes SPEC's "file" with the exporter of METHOD: lightbox, libreyolo or ultralytics (each in its own Python)
  detect_latency.py serve SPEC           runs "file" (onnxruntime), or without one the network "model" (PyTorch), for bench/detect.py

SPEC is JSON: model (atto, pico, n, or an architecture of ultralytics), side, classes, threads, file, scratch. Weights are random. The scales and
shifts behind the activations of HGNetV2, which begin as 1 and 0, are set to SCALE and SHIFT in both programs: a trained model has none that
an exporter could leave out. Our score head of the first choice gets larger weights, so that the comparison with PyTorch is no toss-up.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from detect_peer import answers, serve

ROOT = Path(__file__).resolve().parent.parent
SCALE, SHIFT = 1.1, 0.05
SIZES = {"atto": 320, "pico": 640, "n": 640}
SCRIPT = str(Path(__file__).resolve())


# ---- in the process of bench/detect.py

def rows(arguments, work, runner, in_turns):
    """The table, one block for each size: `runner` and `in_turns` are those of bench/detect.py."""
    lines = ["| model | method | | ms | CPU ms | x, by time | x, by CPU time |", "|---|---|---|---|---|---|---|"]
    for size, side in SIZES.items():
        if arguments.sizes and size not in arguments.sizes:
            continue
        with ExitStack() as stack:
            runners = [stack.enter_context(runner(name, sys.executable, [SCRIPT, "serve"], spec, work / "runs"))
                       for name, spec in methods(arguments, work, size, side)]
            found = in_turns(runners, arguments, 1)
            notes = {each.name: each.note for each in runners}
        lines += block(found, notes, f"{size}, {side} px")
    return lines


def methods(arguments, work, size, side):
    """(name, SPEC) of what is compared at one size, everything exported."""
    common = {"side": side, "classes": arguments.latency_classes, "threads": arguments.threads}
    wanted = [(f"lightbox {size} onnx", "lightbox", size, sys.executable)]
    if arguments.peers_python:
        wanted.append((f"libreyolo {size} onnx", "libreyolo", size, arguments.peers_python))
        wanted += [(f"ultralytics {nano} {side} onnx", "ultralytics", nano, arguments.peers_python) for nano in arguments.nano]
    folder = work / "exported"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, method, model, python in wanted:
        spec = {**common, "model": model, "file": str(folder / f"{name.replace(' ', '_')}.onnx"), "scratch": str(folder)}
        told = folder / "spec.json"
        told.write_text(json.dumps(spec), encoding="utf-8")
        print(f"exporting: {name}", flush=True)
        subprocess.run([python, SCRIPT, "export", method, str(told)], check=True, stdout=subprocess.DEVNULL)
        made.append((name, spec))
    return [*made, (f"lightbox {size} eager", {**common, "model": size})]


def block(found, notes, model):
    """Rows of one size; ratios are medians of those of the rounds, libreyolo being 1 (without it: ours)."""
    base = next((name for name in found if name.startswith("libreyolo")), next(iter(found)))
    lines = []
    for name, values in found.items():
        speed, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        times, used = (statistics.median(part) for part in zip(
            *((a[0] / b[0], b[1] / a[1]) for a, b in zip(values, found[base], strict=True)), strict=True))
        lines.append(f"| {model} | {name} | {notes[name]} | {1e3 / speed:.1f} | {1e3 * cpu:.1f} | {times:.2f} | {used:.2f} |")
    return lines


# ---- in processes of their own


def as_trained(network):
    """Sets the learned scalars that begin as "does nothing"."""
    import torch

    found = 0
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("decoder.enc_score_head.weight"):
                parameter.mul_(100)
            if name.endswith(("lab.scale", "lab.bias")):
                parameter.fill_(SCALE if name.endswith("scale") else SHIFT)
                found += 1
    if not found:
        raise SystemExit("this network has no scales behind its activations")
    return network


def predictor(spec):
    """Ours, as `predict` would have it."""
    sys.path.insert(0, str(ROOT))
    import torch

    from engine.models import create, models
    from engine.predict import Predictor, Preprocess
    from engine.tasks.task import tasks

    torch.manual_seed(0)
    name = f"deimv2_{spec['model']}"
    return Predictor(as_trained(create(name, spec["classes"])), name=name, task=tasks.get("detect").bound({"num_classes": spec["classes"]}),
                     classes=[f"class {i}" for i in range(spec["classes"])], preprocess=Preprocess.of(models.get(name), spec["side"]),
                     device=torch.device("cpu"))


def export_lightbox(spec):
    """`engine.export` of a best.pt: verified, as the command line does it."""
    import torch

    found = predictor(spec)
    best = Path(spec["scratch"]) / "best.pt"
    torch.save({"model": found.network.state_dict(), "model_name": found.name, "options": {"num_classes": spec["classes"]}, "task": "detect",
                "classes": list(found.classes), "preprocess": found.preprocess.as_dict(), "thresholds": {}, "metrics": {}, "config": {},
                "version": "0"}, best)
    from engine.export import export

    export(best, Path(spec["file"]), force=True)


def export_libreyolo(spec):
    import torch
    from libreyolo.models.deimv2.model import LibreDEIMv2

    torch.manual_seed(0)
    model = LibreDEIMv2(model_path=None, size=spec["model"], nb_classes=spec["classes"], device="cpu")
    as_trained(model.model)
    model.export("onnx", output_path=spec["file"], imgsz=spec["side"])


def export_ultralytics(spec):
    os.environ.update(YOLO_CONFIG_DIR=spec["scratch"], YOLO_OFFLINE="true", YOLO_VERBOSE="false")
    os.chdir(spec["scratch"])
    from ultralytics import YOLO

    shutil.move(YOLO(f"{spec['model']}.yaml").export(format="onnx", imgsz=spec["side"]), spec["file"])


def image(spec):
    return np.random.default_rng(0).random((1, 3, spec["side"], spec["side"]), dtype=np.float32)


def graph(spec):
    """onnxruntime with the given threads and no other setting."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = spec["threads"], 1
    session = onnxruntime.InferenceSession(spec["file"], options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: image(spec)}

    def run(count):
        for _ in range(count):
            session.run(None, given)
    return run, f"{Path(spec['file']).stat().st_size / 1e6:.1f} MB"


def eager(spec):
    import torch

    torch.set_num_threads(spec["threads"])
    network, given = predictor(spec).network, torch.from_numpy(image(spec))

    def run(count):
        with torch.inference_mode():
            for _ in range(count):
                network(given)
    return run, ""


def main():
    if sys.argv[1] == "export":
        spec = json.loads(Path(sys.argv[3]).read_text(encoding="utf-8"))
        {"lightbox": export_lightbox, "libreyolo": export_libreyolo, "ultralytics": export_ultralytics}[sys.argv[2]](spec)
        return
    spec = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    stream = answers()
    run, note = (graph if spec.get("file") else eager)(spec)
    serve(run, stream, note)


if __name__ == "__main__":
    main()
