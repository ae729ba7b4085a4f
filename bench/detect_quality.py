"""The part `quality` of bench/detect.py: one training after the other, each judged by pycocotools on its own predictions."""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SPLITS = ("valid", "test")


def rows(arguments, work: Path, folders: dict[str, dict[str, str]], classes: dict[str, int]) -> list[str]:
    """The table; what is there already from a run that was broken off is not trained again."""
    lines = ["| data | method | weights | valid AP50 / AP | test AP50 / AP | minutes | told |", "|---|---|---|---|---|---|---|"]
    for name in arguments.sets:
        for method, kind, own in _methods(arguments):
            label = "".join(c if c.isalnum() else "_" for c in f"{name}_{method}_{arguments.minutes:g}_{arguments.image_size}_{arguments.threads}")
            folder = work / "quality" / label
            result = folder / "result.json"
            if not result.exists():
                print(f"training: {name}, {method}", flush=True)
                spec = _spec(arguments, folder, folders[name], classes[name]) | own
                done = _trained(arguments, spec, kind, folder)
                done["judged"] = {weights: {split: judged(folders[name]["coco"], split, folder / f"{weights}_{split}.json") for split in SPLITS}
                                  for weights in ("saved", "raw") if (folder / f"{weights}_test.json").exists()}
                result.write_text(json.dumps(done), encoding="utf-8")
            done = json.loads(result.read_text(encoding="utf-8"))
            for weights, found in done["judged"].items():
                figures = " | ".join(f"{found[split][0]:.3f} / {found[split][1]:.3f}" for split in SPLITS)
                lines.append(f"| {name} | {method} | {weights} | {figures} | {done['seconds'] / 60:.1f} | {done['told']} |")
                print(lines[-1], flush=True)
    return [*lines, "", "saved: the weights that a person is left with; raw: those of the last step, without averaging."]


def _methods(arguments) -> list[tuple[str, str, dict]]:
    methods = [(f"lightbox {size}", "ours", {"model": size}) for size in arguments.ours]
    if arguments.peers_python:
        methods += [(f"ultralytics {nano}", "ultralytics", {"nano": nano, "train_batch": 0}) for nano in arguments.nano]
        methods.append(("libreyolo DEIMv2 atto", "libreyolo", {"model": "atto", "train_batch": arguments.libreyolo_batch}))
    return [each for each in methods if not arguments.only or any(each[0].startswith(begin) for begin in arguments.only)]


def _spec(arguments, folder: Path, data: dict[str, str], classes: int) -> dict:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return {"side": arguments.image_size, "threads": arguments.threads, "minutes": arguments.minutes, "classes": classes, "data": data,
            "images": {split: str(Path(data["coco"]) / split) for split in SPLITS}, "out": str(folder), "scratch": str(scratch)}


def _trained(arguments, spec: dict, kind: str, folder: Path) -> dict:
    file = folder / "spec.json"
    file.write_text(json.dumps(spec), encoding="utf-8")
    command = [arguments.peers_python, str(HERE / "detect_peer.py"), "train", kind, str(file)]
    command = [sys.executable, str(HERE / "detect_quality.py"), str(file)] if kind == "ours" else command
    with (folder / "log.txt").open("w") as errors:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=HERE.parent, check=False,
                              env={**os.environ, "OMP_NUM_THREADS": str(spec["threads"])})
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"{folder.name} ended early, see {folder / 'log.txt'}")
    return json.loads(done.stdout.splitlines()[-1])


def judged(coco: str, split: str, found: Path) -> tuple[float, float]:
    """(AP50, AP) of predictions by file name."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(Path(coco) / split / "_annotations.coco.json"))
        ids = {each["file_name"]: each["id"] for each in truth.loadImgs(truth.getImgIds())}
        listed = [{**each, "image_id": ids[each["file"]]} for each in json.loads(found.read_text(encoding="utf-8"))]
        if not listed:
            return 0.0, 0.0
        meter = COCOeval(truth, truth.loadRes(listed), "bbox")
        meter.evaluate()
        meter.accumulate()
        meter.summarize()
    return float(meter.stats[1]), float(meter.stats[0])


# ---- ours, in a process of its own

def ours(spec: dict) -> dict:
    """`train --minutes` with nothing else said but size, threads and random weights; then best.pt on the pictures."""
    from detect_peer_train import pictures

    from engine.datasets.images import size_of
    from engine.evaluate import predict_samples
    from engine.predict import load
    from engine.types import Sample

    run = Path(spec["scratch"]) / "run"
    command = [sys.executable, "-m", "engine", "train", "--data", spec["data"]["coco"], "--model", f"deimv2_{spec['model']}", "--run", str(run),
               "--minutes", str(spec["minutes"]), "--image-size", str(spec["side"]), "--weights", "none", "--device", "cpu", "--workers", "0",
               "--set", f"threads={spec['threads']}"]
    if (run / "last.pt").exists():
        command = [sys.executable, "-m", "engine", "train", "--resume", str(run)]
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr, stderr=sys.stderr)
    taken = time.perf_counter() - begun
    predictor = load(run, device="cpu")
    for split in SPLITS:
        samples = [Sample(file, size_of(file), None, name=file.name) for file in pictures(spec, split)]
        listed = [{"file": sample.name, "category_id": int(label), "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()], "score": float(score)}
                  for sample, labels in predict_samples(predictor, samples)
                  for box, label, score in zip(labels.boxes, labels.classes, labels.scores, strict=True)]
        (Path(spec["out"]) / f"saved_{split}.json").write_text(json.dumps(listed), encoding="utf-8")
    return {"told": "", "seconds": taken}


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    print(json.dumps(ours(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
