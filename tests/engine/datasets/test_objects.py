"""The objects of one image, checked."""

from engine.datasets import objects as module
from engine.datasets.objects import Objects


def test_objects_beyond_the_limit_are_said_once(monkeypatch):
    monkeypatch.setattr(module, "MAX_OBJECTS", 3)
    objects = Objects("a.txt", (64, 48))
    kept = [objects.add_box(0, (k, 0, k + 5, 5), k) for k in range(10)]
    assert (sum(kept), len(objects)) == (3, 3)
    assert [(problem.code, problem.where) for problem in objects.problems] == [("objects_too_many", "a.txt:3")]
