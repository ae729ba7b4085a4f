"""`predict`: images and videos in, overlays and predictions.json out."""

from __future__ import annotations

import argparse
import glob
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import messages, slicing
from engine.datasets.faults import printable, writing
from engine.datasets.images import is_image, open_image, save_image
from engine.settings import pairs
from engine.types import Instances, Labels, SemanticMask, UserError
from engine.video import is_video
from engine.workspace import slug

if TYPE_CHECKING:
    from engine.predict import Predictor
LISTED = "predictions.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="MODEL", help=messages.text("cli.help.trained"))
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help=messages.text("cli.help.inputs"))
    parser.add_argument("--out", required=True, metavar="DIR", help=messages.text("cli.help.out"))
    add_bare(parser)
    parser.add_argument("--threshold", type=float, default=None, help=messages.text("cli.help.threshold"))
    parser.add_argument("--classes", help=messages.text("cli.help.classes"))
    parser.add_argument("--only", help=messages.text("cli.help.only"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help=messages.text("option.device.help"))
    parser.add_argument("--tta", action="store_true", help=messages.text("cli.help.tta"))
    add_outlines(parser)
    parser.add_argument("--slices", default="off", metavar="off|auto|N", help=messages.text("cli.help.slices"))
    parser.add_argument("--tiled", action="store_true", help=messages.text("cli.help.tiled"))
    parser.add_argument("--explain", action="store_true", help=messages.text("cli.help.explain"))
    parser.add_argument("--every", type=int, default=1, metavar="K", help=messages.text("cli.help.every"))
    parser.add_argument("--batch", type=int, default=4, help=messages.text("cli.help.batch"))


def add_bare(parser: argparse.ArgumentParser) -> None:
    """What a bare weights file may leave open."""
    parser.add_argument("--model", help=messages.text("cli.help.official"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=messages.text("cli.help.set_bare"))
    parser.add_argument("--image-size", type=int, default=0, help=messages.text("cli.help.image_size_bare"))


def add_outlines(parser: argparse.ArgumentParser) -> None:
    """What only models for objects understand, some of it those for outlines alone."""
    parser.add_argument("--nms", type=float, default=None, metavar="IOU", help=messages.text("cli.help.nms"))
    parser.add_argument("--every-class", action="store_true", help=messages.text("cli.help.every_class"))
    parser.add_argument("--detections", type=int, default=None, metavar="N", help=messages.text("cli.help.detections"))


def set_outlines(predictor: Predictor, arguments: argparse.Namespace) -> None:
    """Raises UserError where the model finds no objects, or no outlines."""
    given = {"nms": arguments.nms, "every_class": arguments.every_class or None, "detections": arguments.detections}
    asked = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if "--nms" in asked and predictor.task.name not in ("detect", "instance"):
        raise UserError("objects_only", names="--nms", model=predictor.name)
    if (masks := [name for name in asked if name != "--nms"]) and predictor.task.name != "instance":
        raise UserError("outlines_only", names=", ".join(masks), model=predictor.name)
    predictor.adjust(**given)


def run(arguments: argparse.Namespace) -> int:
    from engine.predict import load_named
    from engine.predictions import class_names, document

    check_numbers(arguments)
    slices = slicing.wanted(arguments.slices)
    files = found_images(arguments.inputs)
    predictor = load_named(arguments.target, arguments.model, class_names(arguments.classes) if arguments.classes else None,
                           device=arguments.device, options=pairs(arguments.set), image_size=arguments.image_size)
    predictor.tta, predictor.tiled = arguments.tta, arguments.tiled or predictor.tiled
    predictor.slices = slices
    if slices and predictor.task.name not in ("detect", "instance"):
        raise UserError("slices_objects_only", model=predictor.name)
    set_outlines(predictor, arguments)
    if arguments.explain and predictor.task.name != "classify":
        raise UserError("explain_task", model=predictor.name, task=predictor.task.name)
    only = _class_ids(class_names(arguments.only), predictor.classes) if arguments.only else None
    out = Path(arguments.out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    _tell_own_threshold(predictor, arguments)
    entries, failed = _predicted(predictor, [file for file in files if not is_video(file)], only, arguments)
    videos, broken = _videos(predictor, [file for file in files if is_video(file)], only, arguments)
    told = document(predictor.name, predictor.task.name, predictor.classes, entries)
    with writing(out):
        (out / LISTED).write_text(json.dumps({**told, "videos": videos} if videos else told, ensure_ascii=False, indent=1),
                                              encoding="utf-8")
    return 2 if failed + broken and not entries and not videos else 0


def _tell_own_threshold(predictor: Predictor, arguments: argparse.Namespace) -> None:
    """Boxes are shown from the same score on whatever the model; that validation found another one is said."""
    own = predictor.task.thresholds.get("score")
    if arguments.threshold is None and own not in (None, predictor.cut) and not predictor.exclusive:
        print(messages.text("cli.own_threshold", cut=f"{predictor.cut:g}", own=f"{own:g}"), file=sys.stderr)


def _predicted(predictor: Predictor, files: list[Path], only: list[int] | None, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """What is told of each image, each drawn already, and how many files could not be read."""
    from engine.datasets.spacing import spacing_of
    from engine.predictions import entry

    out, entries, failed = Path(arguments.out), [], 0
    threshold = predictor.cut if arguments.threshold is None else arguments.threshold
    for file, size, labels in predictor.stream(files, arguments.batch):
        if isinstance(labels, UserError):
            print(labels, file=sys.stderr)
            failed += 1
            continue
        shown = labels.above(threshold, only)
        with writing(out):
            stem = _draw(file, shown, predictor, out)
            told = entry(str(file), size, shown, predictor.classes, _keeper(out, stem), predictor.tag_thresholds(arguments.threshold),
                         spacing_of(file) if isinstance(shown, SemanticMask) else None, single=predictor.exclusive)
            entries.append(told)
            if arguments.explain:
                _explain(file, told["tags"], predictor, out, stem)
        for line in _listed(file, shown, predictor.classes, threshold) if isinstance(shown, Instances) else [_summary(file, entries[-1])]:
            print(printable(line))
    return entries, failed


def _videos(predictor: Predictor, files: list[Path], only: list[int] | None, arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """What is told of each video, each drawn already beside its tables, and how many could not be read."""
    from engine.predict_video import Choices, Outputs, annotate

    out, told, failed = Path(arguments.out), [], 0
    threshold = predictor.cut if arguments.threshold is None else arguments.threshold
    choices = Choices(arguments.every, lambda labels: labels.above(threshold, only), thresholds=tuple(predictor.tag_thresholds(arguments.threshold)))
    for file in files:
        outputs = Outputs.beside(out, _stem(file, out, ".mp4", ".json", ".csv"))
        try:
            with closing(annotate(predictor, predictor.task.name, file, outputs, choices)) as steps:
                for step in steps:
                    if sys.stderr.isatty():
                        print(f"\r{step.done}/{step.total}", end="", file=sys.stderr, flush=True)
        except UserError as error:
            print(error, file=sys.stderr)
            failed += 1
            continue
        print(printable(messages.text("cli.video", file=file.name, frames=step.done, looked=step.looked_at, rows=step.objects,
                                      video=outputs.video.name)))
        if step.breaks_off:
            print(printable(messages.text("cli.video_breaks_off", file=file.name, frames=step.done, total=step.total)), file=sys.stderr)
        told.append({"file": str(file), "width": step.size[0], "height": step.size[1], "fps": round(step.fps, 4), "frames": step.done,
                     "every": arguments.every, "video": outputs.video.name, "detections": outputs.found.name, "table": outputs.table.name})
    return told, failed


def _listed(file: Path, labels: Instances, classes: tuple[str, ...], threshold: float) -> Iterator[str]:
    """How many objects were found, and of each its class, its score and its corners in pixels."""
    yield messages.text("cli.found", file=file.name, count=len(labels), threshold=f"{threshold:g}")
    scores = labels.scores if labels.scores is not None else [1.0] * len(labels)
    for number, (class_id, score, box) in enumerate(zip(labels.classes, scores, labels.boxes.round().astype(int).tolist(), strict=True), 1):
        yield messages.text("cli.found_one", number=number, name=classes[class_id], score=f"{score:.3f}", box=", ".join(map(str, box)))


def _explain(file: Path, tags: list[dict[str, Any]], predictor: Predictor, out: Path, stem: str) -> None:
    """OUT/STEM_cam_CLASS.jpg for each class that is present; for the surest where none is."""
    from engine.explain import evidence
    from engine.overlay_labels import draw_heat

    picture = open_image(file)
    for tag in [each for each in tags if each["present"]] or tags[:1]:
        target = out / f"{stem}_cam_{slug(tag['class']) or tag['class_id']}.jpg"
        if target.exists():  # the names of two classes differ in their signs alone
            target = out / f"{target.stem}_{tag['class_id']}.jpg"
        save_image(target, draw_heat(picture, evidence(predictor, picture, tag["class_id"])))


def _keeper(out: Path, stem: str) -> Callable[[str, bytes], str]:
    """Puts mask pictures beside the overlay: STEM_mask.png, or one for each class."""
    def keep(name: str, png: bytes) -> str:
        number = name.rpartition(".")[2]
        file = out / (f"{stem}_mask_{number}.png" if number.isdigit() else f"{stem}_mask.png")
        file.write_bytes(png)
        return file.name
    return keep


def _summary(file: Path, told: dict[str, Any]) -> str:
    """One line: areas in pixels, or the tags that are there."""
    if "tags" in told:
        words = [f"{tag['class']} {tag['score']:.2f}" for tag in told["tags"] if tag["present"]]
    else:
        words = [f"{area['class']} {area['pixels']} px" + (f" ({area['mm2']:g} mm2)" if "mm2" in area else "") for area in told["areas"]]
    return f"{file.name}: {', '.join(words) or '-'}"


def check_numbers(arguments: argparse.Namespace) -> None:
    """Raises UserError for a number that makes no sense."""
    for name, low, high in (("batch", 1, 1024), ("threshold", 0, 1), ("nms", 0, 1), ("detections", 1, 2000), ("every", 1, 1000)):
        value = getattr(arguments, name, None)
        if value is not None and not low <= value <= high:
            raise UserError("option_bounds", name=name, value=value, low=low, high=high)


def found_images(inputs: list[str]) -> list[Path]:
    """Images and videos: files, folders (searched through) and globs, in order, each once. Raises UserError naming an input without any."""
    found: dict[Path, None] = {}
    for each in inputs:
        path = Path(each)
        if path.is_dir():
            matches = _without_masks(path, sorted(file for file in path.rglob("*") if _is_seen(file)))
        elif path.exists():
            matches = [path]
        else:
            matches = sorted(file for file in map(Path, glob.glob(each, recursive=True)) if _is_seen(file))  # noqa: PTH207
        if not matches:
            raise UserError("no_image_files", path=each)
        found.update(dict.fromkeys(matches))
    return list(found)


def _is_seen(file: Path) -> bool:
    return (is_image(file) or is_video(file)) and not file.name.startswith(".") and not file.is_dir()


def _without_masks(folder: Path, files: list[Path]) -> list[Path]:
    """Without the pictures in a folder `masks` whose images, of the same stem, lie in the folder `images` beside it; says how many these are."""
    images = {(file.parent, file.stem) for file in files}
    kept = [file for file in files if file.parent.name.casefold() != "masks" or (file.parent.with_name("images"), file.stem) not in images]
    if len(kept) < len(files):
        print(messages.text("cli.masks_left_out", path=folder, count=len(files) - len(kept)), file=sys.stderr)
    return kept


def _draw(file: Path, labels: Labels, predictor: Predictor, out: Path) -> str:
    """The overlay as OUT/<stem>.jpg; a second file of the same stem gets a number. Returns the stem."""
    from engine.overlay_labels import draw_labels

    stem = _stem(file, out, ".jpg")
    save_image(out / f"{stem}.jpg", draw_labels(open_image(file), labels, predictor.classes, thresholds=predictor.tag_thresholds(None)))
    return stem


def _stem(file: Path, out: Path, *suffixes: str) -> str:
    """A name in OUT that no file with one of these suffixes has yet, nor the list of all that is written in the end."""
    stem, number = file.stem, 2
    while any((out / f"{stem}{suffix}").exists() or f"{stem}{suffix}".casefold() == LISTED for suffix in suffixes):
        stem, number = f"{file.stem}_{number}", number + 1
    return stem


def _class_ids(wanted: list[str], classes: tuple[str, ...]) -> list[int]:
    for name in wanted:
        if name not in classes:
            raise UserError("unknown_class", name=name, known=", ".join(classes))
    return [classes.index(name) for name in wanted]
