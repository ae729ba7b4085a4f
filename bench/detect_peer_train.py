"""Training runs of other tools for `bench/detect.py quality`, and what their weights find. Imported by detect_peer.py, inside a peer's Python.

SPEC also tells: minutes, train_batch (0: the tool's own), images (folder of pictures by split) and out, the folder for WEIGHTS_SPLIT.json: a list of
{"file", "category_id", "bbox" [x,y,w,h], "score"}. The answer says what was done.
"""

import json
import os
import time
from pathlib import Path

LEAST = 0.001  # score of what is judged
MOST = 300


def pictures(spec, split):
    return sorted(each for each in Path(spec["images"][split]).iterdir() if each.suffix.lower() in (".jpg", ".jpeg", ".png"))


def write_found(spec, weights, find):
    """`find(file)` gives (x0, y0, x1, y1, score, class) rows."""
    for split in spec["images"]:
        rows = [{"file": file.name, "category_id": int(row[5]), "bbox": [row[0], row[1], row[2] - row[0], row[3] - row[1]], "score": row[4]}
                for file in pictures(spec, split) for row in find(file)]
        Path(spec["out"], f"{weights}_{split}.json").write_text(json.dumps(rows), encoding="utf-8")


def rows_of(result):
    boxes = result.boxes
    if boxes is None or not len(boxes):
        return []
    return [[*map(float, corners), float(score), float(label)] for corners, score, label in zip(boxes.xyxy, boxes.conf, boxes.cls, strict=True)]


def ultralytics(spec):
    """As `yolo train` does, with its limit of time; the best weights as it keeps them."""
    os.environ.update(YOLO_CONFIG_DIR=spec["scratch"], YOLO_OFFLINE="true", WANDB_MODE="disabled")
    os.chdir(spec["scratch"])
    import torch
    from ultralytics import YOLO

    model = YOLO(f"{spec['nano']}.yaml")
    model.add_callback("on_train_start", lambda trainer: torch.set_num_threads(spec["threads"]))  # it sets its own number before
    own = {"batch": spec["train_batch"]} if spec["train_batch"] else {}
    begun = time.perf_counter()
    model.train(data=spec["data"]["yaml"], time=spec["minutes"] / 60, imgsz=spec["side"], device="cpu", workers=0, pretrained=False, plots=False,
                project=spec["scratch"], name="run", exist_ok=True, verbose=False, **own)
    taken, folder = time.perf_counter() - begun, Path(model.trainer.save_dir)
    torch.set_num_threads(spec["threads"])
    found = YOLO(folder / "weights/best.pt")
    write_found(spec, "saved", lambda file: rows_of(found.predict(str(file), imgsz=spec["side"], conf=LEAST, max_det=MOST, device="cpu",
                                                                  verbose=False)[0]))
    epochs = len((folder / "results.csv").read_text(encoding="utf-8").splitlines()) - 1
    return {"told": f"{epochs} epochs, batch {model.trainer.batch_size}", "seconds": taken}


def libreyolo(spec):
    """Its train(), of as many epochs as fit: two are measured first. The averaged weights that it saves, and the raw ones beside them."""
    os.chdir(spec["scratch"])
    import torch
    from libreyolo.models.deimv2 import trainer as module
    from libreyolo.models.deimv2.model import LibreDEIMv2

    durations, every, own_epoch = [], [], module.DEIMv2Trainer._train_epoch

    def timed(self, epoch):
        begun = time.perf_counter()
        done = own_epoch(self, epoch)
        durations.append(time.perf_counter() - begun)
        every.append(max(1, self.config.eval_interval))
        return done

    module.DEIMv2Trainer._train_epoch = timed

    def trained(name, epochs):
        torch.manual_seed(0)
        model = LibreDEIMv2(model_path=None, size=spec["model"], nb_classes=spec["classes"], device="cpu")
        own = {"batch": spec["train_batch"]} if spec["train_batch"] else {}
        result = model.train(data=spec["data"]["yaml"], epochs=epochs, imgsz=spec["side"], device="cpu", workers=0, project=spec["scratch"],
                             name=name, exist_ok=True, **own)
        return model, Path(result.get("save_dir") or Path(spec["scratch"], name))

    trained("measure", 2)
    plain, validation = durations[0], max(0.0, durations[1] - durations[0])  # the last epoch is always validated
    epochs = max(1, round((spec["minutes"] * 60 - validation) / (plain + validation / every[0])))
    begun = time.perf_counter()
    model, folder = trained("run", epochs)
    taken, last = time.perf_counter() - begun, folder / "weights/last.pt"
    best = folder / "weights/best.pt"

    def find(file):
        result = model.predict(str(file), conf=LEAST, imgsz=spec["side"], max_det=MOST)
        return rows_of(result[0] if isinstance(result, (list, tuple)) else result)

    for weights, file, key in (("saved", best if best.exists() else last, "model"), ("raw", last, "train_model")):
        state = torch.load(file, map_location="cpu", weights_only=True)
        model.model.load_state_dict(state[key])
        model.model.eval()
        write_found(spec, weights, find)
    return {"told": f"{epochs} epochs, {'batch ' + str(spec['train_batch']) if spec['train_batch'] else 'its own batch'}", "seconds": taken}


TRAINERS = {"ultralytics": ultralytics, "libreyolo": libreyolo}
