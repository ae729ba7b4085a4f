import itertools
import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest

from engine.datasets import editing, store_query, store_rows, store_schema
from engine.datasets.health import Report
from engine.datasets.store import FILE, Dataset
from engine.datasets.store_classes import Classes
from engine.types import Instances, Problem, Reading, Sample, SemanticMask, Tags, UserError

NAMES = ["Müller/a_1.png", "MÜLLER%/b.png", "扫描/一.png", "scan/A10.jpg", "scan/a2.jpg", "x'; DROP TABLE images; --.png", "é/1.png", "e\u0301/2.png",
         "50%_off.png", "<b>.png", "scan/z.jpg", "Ж/жук.png"]
FILTERS = {
    "split": ["train", "valid", "test"], "class_id": [0, 1, 3, 99, -1], "state": ["labeled", "background", "unlabeled", "suggested"],
    "problem": ["boxes_outside", "image_damaged", "any", "never"], "group": ["g0", "g1", "none"], "size": ["small", "medium", "large"],
    "search": ["a", "SCAN", "扫", "%", "_", "'", "é", "É", "müller", "ж", "Ж", "zzz"], "trashed": [True, False]}


@pytest.fixture
def browsed(tmp_path):
    rng = np.random.default_rng(0)
    items = []
    for number in range(60):
        size = [(300, 200), (1000, 1000), (3000, 1000), (640, 480)][int(rng.integers(4))]
        many = int(rng.integers(0, 4))
        labels = [None, Instances([[1, 1, 9, 9]] * many, rng.integers(0, 4, many)), Instances([[1, 1, 9, 9]], [2], scores=[.5]),
                  Tags(rng.choice([0, 1, np.nan], 4))][int(rng.integers(4))]
        items.append(Sample(tmp_path / f"{number}.png", size, labels, ("train", "valid", "test")[int(rng.integers(3))],
                            None if number % 3 == 0 else f"g{number % 2}",
                            NAMES[number % len(NAMES)].replace(".", f"-{number // 12}.")))
    dataset = Dataset.create(tmp_path / "set", "x", Reading(("cat", "dog", "bird", "fish"), iter(items)), images="none")
    problems = {number: [Problem(code, "warning", "x") for code in ("boxes_outside", "image_damaged") if rng.random() < .3]
                for number in range(1, 61)}
    dataset.keep_report(Report("", "detect", dataset.classes, {}, []), problems)
    editing.trash(dataset, [3, 30, 31, 45])
    return dataset


def folded(text):
    return store_query.unicodedata.normalize("NFC", text).casefold()


def fits(row, dataset, trashed, name, value):
    pixels = row.size[0] * row.size[1]
    shown = row.labels.classes.tolist() if isinstance(row.labels, Instances) else np.flatnonzero(np.nan_to_num(row.labels.values) > .5).tolist() \
        if isinstance(row.labels, Tags) else []
    return {"split": row.split == value, "class_id": value in shown, "state": row.state == value, "group": row.group == value,
            "problem": bool(row.problems) if value == "any" else value in row.problems, "trashed": (row.id in trashed) == value,
            "search": folded(str(value)) in folded(row.name),
            "size": {"small": pixels < 300_000, "medium": 300_000 <= pixels <= 2_000_000, "large": pixels > 2_000_000}.get(value)}[name]


KEYS = {"id": lambda row: row.id, "name": lambda row: ("".join(char.lower() if char.isascii() else char for char in row.name).encode(), row.id),
        "objects": lambda row: (row.objects, row.id), "size": lambda row: (row.size[0] * row.size[1], row.id)}


def test_every_pair_of_filters_and_every_order_is_what_looking_at_each_image_gives(browsed):
    trashed = {3, 30, 31, 45}
    everything = [browsed.row(number) for number in range(1, 61)]
    single = [{name: value} for name, values in FILTERS.items() for value in values]
    pairs = [{**one, **other} for one, other in itertools.combinations(single, 2) if not set(one) & set(other)][::3]
    sorts = itertools.cycle([sign + name for name in KEYS for sign in ("", "-")])
    for filters, sort in zip([{}] * 8 + single + pairs, sorts, strict=False):
        asked = {"trashed": False, **filters}
        wanted = [row for row in everything if all(fits(row, browsed, trashed, name, value) for name, value in asked.items())]
        wanted.sort(key=KEYS[sort.removeprefix("-")], reverse=sort.startswith("-"))
        assert [row.id for row in browsed.page(0, 100, sort=sort, **filters)] == [row.id for row in wanted], (filters, sort)
        assert browsed.total(**filters) == len(wanted)
        half = len(wanted) // 2
        assert [row.id for row in browsed.page(half, 5, sort=sort, **filters)] == [row.id for row in wanted[half:half + 5]]


def test_rows_say_what_browsing_shows(browsed):
    row = next(row for row in browsed.page(0, 100, problem="any"))
    assert set(row.problems) <= {"boxes_outside", "image_damaged"}
    assert row.problems == tuple(sorted(row.problems))
    assert {row.group for row in browsed.page(0, 100)} == {None, "g0", "g1"}
    assert all(row.objects == (len(row.labels) if isinstance(row.labels, Instances) else 0) for row in browsed.page(0, 100))


def test_an_empty_filter_is_none_and_an_unknown_one_is_refused(browsed):
    assert browsed.total(split="", state=None, search="", problem="", group="", size="") == browsed.total() == 56
    for call in (lambda: browsed.page(0, 5, sort="beauty"), lambda: browsed.total(size="huge"), lambda: browsed.page(0, 5, sort="--id")):
        with pytest.raises(UserError) as caught:
            call()
        assert caught.value.key == "browse_unknown"
    with pytest.raises(TypeError):
        browsed.total(colour="red")


def test_no_page_needs_the_images_own_rows(browsed, monkeypatch):
    """They may hold masks; the plans of all queries stay within covering indexes."""
    plans = []
    with browsed.connection() as connection:
        classes = Classes.load(connection)

        class Spy:
            def execute(self, sql, values):
                plans.extend((sql, row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))
                return connection.execute(sql, values)
        choices = [None, "train"], [None, 1], [None, "labeled"], [None, "any", "x"], [None, "g0"], [None, "a"], [None, "small"]
        for values in itertools.product(*choices):
            filters = store_query.Filters(*values)
            store_query.count(Spy(), classes, filters)
            for sort in ("id", "-id", "name", "-objects"):
                store_query.ids_of_page(Spy(), classes, sort, 5, 50, filters)
    for sql, plan in plans:
        if " images" in plan:
            assert "COVERING INDEX" in plan, (sql, plan)
        assert "SCAN" not in plan or "CONSTANT" in plan, (sql, plan)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "set"
    (folder / "images").mkdir(parents=True)
    rng, count = np.random.default_rng(0), 50_000
    with closing(store_schema.connect(folder / FILE)) as connection:
        connection.execute("BEGIN")
        store_schema.create_all(connection)
        connection.executemany("INSERT INTO meta VALUES (?, ?)",
                               {"name": "x", "task": "detect", "revision": "0", "class_epoch": "0"}.items())
        connection.executemany("INSERT INTO classes (id, name, place) VALUES (?, ?, ?)", [(each, str(each), each) for each in range(5)])
        facts = zip(range(1, count + 1), rng.integers(300, 4000, count).tolist(), rng.integers(0, 9, count).tolist(), strict=True)
        connection.executemany("""INSERT INTO images (id, file, name, width, height, split, state, objects, kind)
            VALUES (?,?,?,?,600,?,'labeled',?,'objects')""",
                               ((number, f"{number}", f"scan/{number * 7919 % count}.jpg", width, "train" if number % 5 else "valid", objects)
                                for number, width, objects in facts))
        connection.executemany("INSERT INTO content VALUES (?,?,1,NULL)", ((number % 5, number) for number in range(1, count + 1)))
        connection.executemany("INSERT INTO image_problems VALUES (?, 'boxes_outside', 'warning')", ((number,) for number in range(1, count, 3)))
        store_schema.create_indexes(connection)
        connection.execute("COMMIT")
    return Dataset(folder)


@pytest.mark.parametrize("filters", [{}, {"class_id": 3}, {"problem": "any"}, {"search": "scan", "split": "train"}, {"size": "large", "class_id": 1},
                                     {"class_id": 2, "problem": "boxes_outside", "search": "1"}])
def test_any_page_of_fifty_thousand_images_takes_little_work(large, filters):
    """In processor time, so that a busy machine does not matter; bench/browse.py measures the whole."""
    for sort in ("id", "-name", "objects", "-size"):
        start = time.process_time()
        total = large.total(**filters)
        assert len(large.page(max(0, total - 24), 24, sort=sort, **filters)) == 24
        assert time.process_time() - start < 0.3


def test_a_set_without_its_index_is_damaged(browsed):
    with sqlite3.connect(browsed.folder / FILE) as connection:
        connection.execute("DROP INDEX images_browse")
    with pytest.raises(UserError) as caught:
        browsed.total(split="train")
    assert caught.value.key == "dataset_damaged"


def test_a_page_for_tiles_tells_the_kinds_of_labels_without_decoding_masks_and_outlines(tmp_path, picture, monkeypatch):
    size = (64, 48)
    labels = [SemanticMask(np.ones((48, 64), np.uint16)), SemanticMask(layers=np.ones((1, 48, 64), bool)), Tags([1.0]),
              Instances([[1, 1, 9, 9]] * 3, [0] * 3), None]
    samples = [Sample(picture(tmp_path / f"{number}.png"), size, each, "train", None, f"{number}.png") for number, each in enumerate(labels)]
    dataset = Dataset.create(tmp_path / "set", "x", Reading(("c",), iter(samples), "semantic"))
    full = dataset.page(0, 9)
    monkeypatch.setattr(store_rows, "shapes_of", None)
    monkeypatch.setattr(store_rows.cv2, "imdecode", None)
    brief = dataset.page(0, 9, brief=True)
    assert [type(row.labels) for row in brief] == [type(row.labels) for row in full]
    assert [(row.id, row.objects, row.state) for row in brief] == [(row.id, row.objects, row.state) for row in full]
    assert brief[2].labels.values.tolist() == [1.0] and brief[0].labels.classes is None and brief[3].objects == 3
