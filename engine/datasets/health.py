"""What is wrong, or merely risky, in a data set: everything the readers met, and what only the whole can show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.datasets import health_facts, health_images, health_labels, health_splits, images, similar, store_journal, store_report
from engine.datasets.collection import Collection
from engine.datasets.health_facts import Facts, Finding
from engine.datasets.health_sizes import sizes
from engine.datasets.similar import Seen
from engine.types import Problem, UserError

if TYPE_CHECKING:
    from engine.datasets.store import Dataset

IMAGE_SIZE = 640
CAPACITY = 300  # objects that our detectors can answer in one image
MAX_LISTED = 200  # problems of one kind in a report
LISTED = {"image_first_page": 3, "image_windowed": 3, "image_cmyk": 3, "class_unused": 20, "class_rare": 20}
TOLD_BY = {"unlabeled_share": "images_without_labels", "no_objects": "only_images"}  # what a reader may have said already
UNREADABLE = ("image_damaged", "image_empty", "not_an_image", "image_unsupported", "image_too_large", "image_file_too_large", "file_unreadable")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """The health of a data set; `splits` are its counts, `extras["sizes"]` sums up images and boxes in numbers."""

    format: str
    task: str
    classes: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    problems: list[Problem]
    extras: dict[str, Any] = field(default_factory=dict)

    def as_dict(self, language: str | None = None) -> dict[str, Any]:
        return {"format": self.format, "task": self.task, "classes": list(self.classes), "splits": self.splits,
                "problems": [problem.as_dict(language) for problem in self.problems], "sizes": self.extras.get("sizes", {})}


def check(collection: Collection, *, image_size: int = IMAGE_SIZE, capacity: int | None = None, decode: bool = False, look: bool = True,
          progress: Progress | None = None) -> Report:
    """The health of what was read. `look` compares the images by digest and look; `decode` also tells those that cannot be opened.

    Both open every image, which takes its time; `progress(done, of)` may raise to end that. `image_size` is what training will use, `capacity`
    how many objects a model can answer in an image (None: as many as ours can).
    """
    facts = health_facts.of_samples(collection.classes, collection.task, collection.samples)
    seen = list(similar.see_all(facts.paths, look=look, progress=progress)) if look or decode else []
    pairs = similar.similar_pairs([(each.digest, each.look) for each in seen])
    findings = _findings(facts, image_size, capacity or CAPACITY, seen, pairs, decode, said={each.code for each in collection.problems})
    problems = _capped([*collection.problems, *(each.problem for each in findings)])
    return Report(collection.format, collection.task, collection.classes, facts.counts(), problems, {"sizes": sizes(facts, image_size)})


def examine(dataset: Dataset, *, image_size: int = IMAGE_SIZE, capacity: int | None = None, decode: bool = True,
            progress: Progress | None = None, reading: Progress | None = None) -> Report:
    """The health of a stored set, kept there with the problems of each image. Digests and looks are computed once an image.

    `reading` is told how far the labels are read, then `progress` how many images are opened. Problems of the import are included. With
    `decode`, images that are not known yet are opened; without, what is known of the files is taken.
    """
    revision = dataset.revision
    imported, facts = dataset.problems(), health_facts.of_dataset(dataset, reading)
    seen = _seen_before(dataset, facts, decode=decode, progress=progress)
    pairs = similar.similar_pairs([(each.digest, each.look) for each in seen])
    findings = _findings(facts, image_size, capacity or CAPACITY, seen, pairs, True, said={each.code for each in imported})
    lost = [facts.ids[place] for place, each in enumerate(seen) if each.error is not None and each.error.key in UNREADABLE]
    extras = {"sizes": sizes(facts, image_size), "unreadable": lost, "options": {"image_size": image_size, "capacity": capacity},
              "at": store_journal.now() if decode else _checked_at(dataset)}
    problems = _capped([*imported, *(each.problem for each in findings)])
    report = Report(dataset.format, facts.task, facts.classes, facts.counts(), problems, extras)
    if not dataset.readonly:
        clusters = similar.clusters([(each.digest, each.look) for each in seen], pairs)
        dataset.keep_fingerprints({}, clusters=dict(zip(facts.ids, clusters, strict=True)))
        dataset.keep_report(report, _by_image(facts, findings, imported), revision=revision)
    return report


def _checked_at(dataset: Dataset) -> str:
    """When the files were last looked at (UTC); empty when nobody knows."""
    before = dataset.report()
    return str(before.extras.get("at", "")) if before is not None else ""


def _findings(facts: Facts, image_size: int, capacity: int, seen: Sequence[Seen], pairs: np.ndarray, decoded: bool,
              said: set[str]) -> list[Finding]:
    """Everything but what the reader has `said` already."""
    counts = facts.counts()
    found = [*health_splits.of_splits(facts, counts), *health_splits.of_classes(facts, counts), *health_splits.of_groups(facts),
             *health_splits.of_sizes(facts), *health_labels.of_objects(facts, image_size, capacity), *health_labels.of_tags(facts),
             *health_labels.of_masks(facts)]
    if seen:
        found += health_images.of_files(facts, seen, decoded=decoded)
        found += health_images.of_copies(facts, [each.digest for each in seen], pairs)
    return [each for each in found if TOLD_BY.get(each.problem.code) not in said]


def _seen_before(dataset: Dataset, facts: Facts, *, decode: bool, progress: Progress | None) -> list[Seen]:
    """What is known of every image; with `decode` those that are not known are opened, and what was seen is kept even when that is ended."""
    known, remarks, errors = dataset.fingerprints(), _remarks_before(dataset), dict[int, UserError]()
    with dataset.connection() as connection:
        for number, told in store_report.seen(connection).items():
            remarks[number] = tuple(told.get("remarks", ()))
            if "error" in told:
                errors[number] = UserError(told["error"][0], **told["error"][1])
    seen = [Seen(*known.get(number, (b"", b"")), remarks.get(number, ()), errors.get(number)) for number in facts.ids]
    fresh = [place for place, number in enumerate(facts.ids) if number not in known]
    if not decode or not fresh:
        return seen
    opened: dict[int, Seen] = {}
    try:
        for place, each in zip(fresh, similar.see_all([facts.paths[place] for place in fresh], progress=progress), strict=True):
            seen[place] = opened[facts.ids[place]] = each
    finally:
        if opened and not dataset.readonly:
            _keep_seen(dataset, opened)
    return seen


def _keep_seen(dataset: Dataset, opened: dict[int, Seen]) -> None:
    dataset.keep_fingerprints({number: (each.digest, each.look) for number, each in opened.items() if each.error is None})
    with dataset.transaction() as connection:
        told = {number: {"remarks": each.remarks} if each.error is None else {"error": [each.error.key, each.error.values]}
                for number, each in opened.items()}
        store_report.keep_seen(connection, told)


def _remarks_before(dataset: Dataset) -> dict[int, tuple[str, ...]]:
    """What the last check remarked on each image, so that its file need not be opened again."""
    codes = {f"image_{remark}": remark for remark in images.REMARKS.values()}
    found: dict[int, tuple[str, ...]] = {}
    with dataset.connection() as connection:
        for number, code in connection.execute("SELECT image_id, code FROM image_problems WHERE code LIKE 'image!_%' ESCAPE '!'"):
            if code in codes:
                found[number] = (*found.get(number, ()), codes[code])
    return found


def _capped(problems: Iterable[Problem]) -> list[Problem]:
    """At most so many of a kind, and then how many more."""
    counts: dict[str, int] = {}
    kept: list[Problem] = []
    last: dict[str, Problem] = {}
    for problem in problems:
        counts[problem.code] = counts.get(problem.code, 0) + 1
        if counts[problem.code] <= LISTED.get(problem.code, MAX_LISTED):
            kept.append(problem)
        else:
            last[problem.code] = problem
    more = ((problem, counts[code] - LISTED.get(code, MAX_LISTED)) for code, problem in last.items())
    return kept + [Problem("problems_more", problem.severity, ".", {"kind": problem.code, "count": count}) for problem, count in more]


def _by_image(facts: Facts, findings: Iterable[Finding], imported: Iterable[Problem]) -> dict[int, list[Problem]]:
    """{image id: problems}, those of the import included where their place names an image or its label file."""
    found: dict[int, list[Problem]] = {}
    for finding in findings:
        for image in finding.images:
            found.setdefault(facts.ids[image], []).append(finding.problem)
    places: dict[str, int] = {}
    for number, name in zip(facts.ids, facts.names, strict=True):
        places.setdefault(name, number)
        places.setdefault(_key(name), number)
    for problem in imported:
        place = problem.where.rpartition(":")[0] if problem.where.rpartition(":")[2].isdigit() else problem.where
        image_id = places.get(place, places.get(_key(place)))
        if image_id is not None:
            found.setdefault(image_id, []).append(problem)
    return found


def _key(name: str) -> str:
    """What an image and its label file have in common: "train/labels/a.txt" and "train/images/a.png" -> "train/a"."""
    parts = name.rsplit(".", 1)[0].split("/")
    return "/".join(part for part in parts[:-1] if part.casefold() not in ("images", "labels", "annotations", "jpegimages")) + "/" + parts[-1]
