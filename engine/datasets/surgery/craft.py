"""The instruments, one function each. Sizes are those of the trade, a little stouter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engine.datasets.sample_strokes import turned
from engine.datasets.surgery.model import Groove, Instrument, Pair, Part, Points, bars, curve, loft, oval, screw, stroke


def scalpel(rng: np.random.Generator) -> Instrument:
    plastic = rng.random() < 0.5
    handle = loft([(-72, 5.5), (-70, 8.5), (-20, 9.5), (20, 8.0), (34, 5.5), (40, 4.6)])
    long = float(rng.uniform(0.9, 1.15))
    blade = np.array([[36, 2.3], [44, 3.6], [62 * long, 3.4], [72 * long, 1.2], [77 * long, -2.6], [66 * long, -3.4], [44, -3.6], [36, -2.2]])
    grip = bars(2, 24, 7, 6.0, 0.9) if plastic else (Groove(np.array([[-58.0, 0.0], [-8.0, 0.0]]), 2.6, 0.7), *bars(6, 22, 5, 2.6, 0.8))
    slit = Groove(np.array([[45.0, 0.0], [56.0, 0.0]]), 1.2, 0.6)
    edge = Groove(np.array([[46, -1.9], [64 * long, -1.9], [72 * long, -0.8]]), 0.5, 0.3)
    return Instrument((Part((blade,), "bright", 0.8, grooves=(slit, edge), steep=0.5),
                       Part((handle,), str(rng.choice(("teal", "orange"))) if plastic else "satin", 1.6, grooves=grip, steep=0.8)), 3.0)


def tweezers(rng: np.random.Generator) -> Instrument:
    """Two springy arms that part towards the tips."""
    long, spread = float(rng.uniform(0.85, 1.1)), float(rng.uniform(5.0, 9.0))
    material = "blue" if rng.random() < 0.4 else "satin"
    parts = []
    for side in (-1, 1):
        line = curve([(-66 * long, 0.0), (-52 * long, side * 1.4), (-5 * long, side * (spread + 1.5)), (38 * long, side * (spread + 0.5)),
                      (64 * long, side * spread * 0.72)])
        grip = tuple(Groove(np.array([[x, side * (spread + 1.5) - 2.2], [x, side * (spread + 1.5) + 2.2]]), 0.8) for x in np.linspace(-12, 16, 9))
        parts.append(Part((stroke(line, (7.0, 7.2, 7.0, 6.6, 5.4, 3.2, 1.5)),), material, 1.5, grooves=grip))
    parts.append(Part((loft([(-69 * long, 5.0), (-66 * long, 8.0), (-54 * long, 8.6), (-50 * long, 5.0)]),), material, 1.3))
    return Instrument(tuple(parts), 6.0)


def probe(rng: np.random.Generator) -> Instrument:
    """A slender rod with a hook at one end and a ball at the other."""
    long, hook = float(rng.uniform(0.9, 1.1)), float(rng.uniform(9, 14))
    line = curve([(-78 * long, 0.0), (-30, 0.0), (30, 0.0), (60 * long, 0.0), (72 * long, -hook * 0.15), (80 * long, -hook * 0.75),
                  (79 * long, -hook)])
    rod = stroke(line, (3.4, 3.4, 3.8, 4.0, 4.0, 3.8, 3.6, 3.2, 2.4))
    grips = [Part((loft([(x - 15, 3.6), (x - 13, 6.4), (x + 13, 6.4), (x + 15, 3.6)]),), "satin", 3.0, grooves=bars(x - 12, x + 12, 11, 3.2, 0.8))
             for x in (-24.0, 18.0)]
    return Instrument((Part((rod,), "steel", 2.0), Part((oval(-80 * long, 0.0, 3.7, 3.5, 0.0, 16),), "bright", 2.8), *grips), 3.0)


def curette(rng: np.random.Generator) -> Instrument:
    """A thick handle, a thin shaft, an open loop to scrape with."""
    long, colour = float(rng.uniform(0.9, 1.1)), str(rng.choice(("red", "orange", "violet")))
    handle = loft([(-72, 6.0), (-69, 10.5), (-50, 12.0), (-20, 10.0), (0, 11.5), (12, 8.0), (15, 5.0)])
    shaft = stroke(curve([(10.0, 0.0), (34.0, 0.6), (56 * long, 0.0)]), (4.4, 3.4, 2.8))
    loop = Part((shaft, oval(66 * long, 0.0, 11.5, 7.6)), "bright", 1.3, holes=(oval(66.5 * long, 0.0, 8.6, 4.9),))
    return Instrument((loop, Part((handle,), colour, 5.0, grooves=bars(-62, -40, 6, 7.0, 1.6, 0.9), steep=0.8)), 6.0)


def mirror(rng: np.random.Generator) -> Instrument:
    """A round mirror on a stem."""
    long, radius = float(rng.uniform(0.92, 1.12)), float(rng.uniform(11.5, 14.0))
    tip = 62 * long
    handle = loft([(-78, 4.0), (-76, 6.4), (0, 7.0), (6, 4.4), (9, 3.4)])
    stem = stroke(curve([(4.0, 0.0), (36.0, 0.0), (tip - radius + 3, 0.0)]), (3.6, 2.8, 2.8))
    frame = Part((stem, oval(tip, 0.0, radius, radius * 0.94)), "steel", 1.4)
    glass = Part((oval(tip, 0.0, radius - 2.0, radius * 0.94 - 2.0),), "glass", 0.5, steep=0.5)
    return Instrument((frame, Part((handle,), "satin", 3.4, grooves=bars(-70, -30, 14, 4.0, 0.9)), glass), 5.0)


def retractor(rng: np.random.Generator) -> Instrument:
    """A flat handle with a large hole, and a rake."""
    long, prongs = float(rng.uniform(0.9, 1.1)), int(rng.integers(3, 5))
    handle = loft([(-62, 19.0), (-48, 12.0), (-10, 8.5), (36 * long, 7.5), (48 * long, 9.0)])
    ring, hole = oval(-64.0, 0.0, 14.0, 11.5), np.concatenate([oval(-65.5, 0.0, 8.6, 6.8)[8:25], np.array([[-48.0, 0.0]])])
    half = 4.6 * (prongs - 1)
    bar = stroke(curve([(52 * long, -half), (46 * long, -half * 0.5), (45 * long, 0.0), (46 * long, half * 0.5), (52 * long, half)]), (5.0, 6.4, 5.0))
    teeth = [stroke(curve([(48 * long + 4 * abs(y) / half, y), (58 * long, y), (69 * long, y * 1.04)]), (4.6, 4.0, 1.8))
             for y in np.linspace(-half, half, prongs)]
    ribs = (Groove(np.array([[-36.0, 0.0], [30 * long, 0.0]]), 2.2, 0.6),)
    return Instrument((Part((handle, ring, bar, *teeth), "satin", 1.7, holes=(hole,), grooves=ribs, steep=0.9),), 6.0)


# -- instruments with finger rings ----------------------------------------------------------------------------------------------------


def scissors(rng: np.random.Generator) -> Instrument:
    long, back = float(rng.uniform(48, 62)), float(rng.uniform(62, 76))
    rings = "black" if rng.random() < 0.55 else None
    blade = [(0, 0), (long * 0.4, 0.6), (long, 0.0)]
    return _hinged(rng, back, blade, (7.5, 8.2, 6.0, 3.4, 1.0), opening=float(rng.uniform(0.07, 0.24)), rings=rings, bevel=1.5, ratchet=False)


def needle_holder(rng: np.random.Generator) -> Instrument:
    """Short stout jaws, gilded rings."""
    back, long = float(rng.uniform(86, 104)), float(rng.uniform(20, 26))
    return _hinged(rng, back, [(0, 0), (long * 0.5, 0.0), (long, 0.0)], (8.4, 7.8, 6.6, 4.6), opening=float(rng.uniform(0.03, 0.09)), rings="gold",
                   bevel=2.0, ratchet=True)


def clamp(rng: np.random.Generator) -> Instrument:
    """Long thin jaws, both bent to one side."""
    back, long, bend = float(rng.uniform(58, 76)), float(rng.uniform(44, 56)), float(rng.uniform(12, 19))
    jaw = [(0, 0), (long * 0.4, 0.0), (long * 0.75, bend * 0.32), (long, bend)]
    return _hinged(rng, back, jaw, (7.2, 5.4, 4.4, 3.6, 2.2), opening=float(rng.uniform(0.03, 0.12)), rings=None, bevel=1.8, ratchet=True)


def forceps(rng: np.random.Generator) -> Instrument:
    """Jaws that end in open ovals, to hold swabs."""
    back, long = float(rng.uniform(84, 98)), float(rng.uniform(62, 74))
    jaw = [(0, 0), (long * 0.5, 0.4), (long - 14, 0.0)]
    return _hinged(rng, back, jaw, (7.0, 4.6, 3.8), opening=float(rng.uniform(0.1, 0.17)), rings=None, bevel=1.7, ratchet=True, loop=long)


def _hinged(rng: np.random.Generator, back: float, jaw: Sequence[Pair], widths: Sequence[float], *, opening: float, rings: str | None, bevel: float,
            ratchet: bool, loop: float = 0.0) -> Instrument:
    """Two halves that cross at a screw at (0, 0): rings at -back, jaws along `jaw`, of which the y is the same for both halves."""
    parts: list[Part] = []
    for side in (1, -1):
        half = _Half(side, opening, back, rings, bevel)
        fills, holes = [stroke(half.open(curve(jaw)), widths), stroke(half.open(half.shank()), (4.6, 4.6, 4.8, 6.0, 8.0))], []
        if loop:
            fills.append(half.open(oval(loop, -side * 3.0, 15.0, 7.8, -side * 0.08)))
            holes.append(half.open(oval(loop + 0.5, -side * 3.0, 10.8, 4.4, -side * 0.08)))
        parts += half.parts(fills, holes, ratchet=ratchet)
    return Instrument((*parts, screw(0.0, 0.0, 2.6, "bright", float(rng.uniform(0, np.pi)))), 7.0)


class _Half:
    """One half: its ring lies on its side, its jaw on the other."""

    def __init__(self, side: int, opening: float, back: float, rings: str | None, bevel: float) -> None:
        self.side, self.opening, self.back, self.rings, self.bevel = side, opening, back, rings, bevel
        self.ring = (-back, side * 11.5)

    def open(self, points: Points) -> Points:
        return turned(points, -self.side * self.opening / 2)

    def shank(self) -> Points:
        x, y = self.ring
        return curve([(x + 10, y - self.side * 4.2), (x * 0.62, self.side * 4.6), (x * 0.25, self.side * 2.6), (0.0, 0.0), (8.0, -self.side * 0.6)])

    def parts(self, fills: list[Points], holes: list[Points], *, ratchet: bool) -> list[Part]:
        x, y = self.ring
        tilt = self.side * 0.22
        outer, inner = self.open(oval(x, y, 15.0, 12.0, tilt, 40)), self.open(oval(x - 0.5, y, 11.4, 8.5, tilt, 36))
        if ratchet:
            tooth = np.array([[-3.0, 5.0], [4.0, 5.0], [3.0, -2.5], [-2.0, -2.5]])
            fills.append(self.open(tooth * (1, self.side) + (x * 0.66, 0)))
        if self.rings is None:
            return [Part((*fills, outer), "steel", self.bevel, holes=(inner, *holes))]
        return [Part(tuple(fills), "steel", self.bevel, holes=(inner, *holes)), Part((outer,), self.rings, self.bevel, holes=(inner,))]


BUILDERS: dict[str, Callable[[np.random.Generator], Instrument]] = {
    "scalpel": scalpel, "scissors": scissors, "needle holder": needle_holder, "clamp": clamp, "forceps": forceps, "tweezers": tweezers,
    "retractor": retractor, "probe": probe, "mirror": mirror, "curette": curette,
}
