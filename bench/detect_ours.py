#!/usr/bin/env python3
"""What bench/detect.py runs of this project: the step of engine.session on ready batches, and the training loader. See detect_peer.py for SPEC."""

import json
import sys
from pathlib import Path

from detect_peer import answers, over_epochs, ready_batches, same_threads, serve, taking

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 1000


def session_of(spec, **changes):
    """A run as `train` would begin it, nothing learnt yet."""
    from engine.config import TrainConfig
    from engine.session import Session

    config = {"data": spec["data"]["coco"], "model": f"deimv2_{spec['model']}", "image_size": spec["side"], "batch": spec["batch"], "epochs": EPOCHS,
              "augment": "official", "weights": "none", "device": "cpu", "threads": spec["threads"], "workers": spec["workers"], **changes}
    return Session(TrainConfig(**config), Path(spec["scratch"]), "none")


def step(spec):
    """Session.learn: images to floats, forward, loss, backward, clip, optimiser, average. `precision` auto: what is measured as the fastest."""
    from engine.measuring import fastest
    from engine.tasks.loading import Batch, normalised

    session = session_of(spec, augment="standard")
    batches = [Batch(images, [{"labels": a, "boxes": b} for a, b in zip(labels, boxes, strict=True)], [None] * len(images), [])
               for images, labels, boxes in ready_batches(spec)]
    precisions = ("none", "bf16") if spec["precision"] == "auto" else (spec["precision"],)
    way, _ = fastest(session.network, normalised(batches[0].images, session.mean, session.std), batches[0].targets, precisions)
    session.prepare(way)
    session.start_epoch()

    def run(count):
        for number in range(count):
            session.learn(batches[number % len(batches)])
            session.batch = 0
    return run, f"{sum(p.numel() for p in session.network.parameters() if p.requires_grad) / 1e6:.2f} M, {way}"


def loader(spec):
    """The training loader, in epochs where all parts of the augmentation are active, and the floats that a step makes of the bytes."""
    from engine.tasks.loading import normalised

    session = session_of(spec, augment=spec["augment"], **({"cache": spec["cache"]} if spec.get("cache") else {}))

    def start(epoch):
        session.epoch, session.batch = epoch, 0
        session.start_epoch()
    stream = over_epochs(session.loader, start, EPOCHS // 10)
    return taking(normalised(each.images, session.mean, session.std) for each in stream), ""


def main() -> None:
    sys.path.insert(0, str(ROOT))
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    stream = answers()
    same_threads(spec["threads"])
    run, note = {"step": step, "loader": loader}[spec["part"]](spec)
    serve(run, stream, note)


if __name__ == "__main__":
    main()
