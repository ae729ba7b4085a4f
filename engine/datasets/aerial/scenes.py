"""Aerial scenes: a piece of land or sea with objects where they belong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from engine.datasets.aerial import ground
from engine.datasets.aerial.buildings import building, hangar
from engine.datasets.aerial.craft import aircraft, ship, vehicle
from engine.datasets.aerial.ground import SCALE, SIZE, Land, direction, distance
from engine.datasets.aerial.model import Model, Points, rectangle
from engine.datasets.aerial.site import Make, Scene, Site, Spot

CLASSES = ("aircraft", "ship", "vehicle", "building")
AIRCRAFT, SHIP, VEHICLE, BUILDING = range(4)


def generate(rng: np.random.Generator, kind: int) -> Scene:
    """A scene of one of the KINDS with at least one object."""
    while True:
        site = KINDS[kind % len(KINDS)](rng)
        if site.classes:
            return site.finish()


# -- where things belong --------------------------------------------------------------------------------------------------------------


def _anywhere(rng: np.random.Generator, headings: tuple[float, ...] = (), tries: int = 40) -> Iterable[Spot]:
    for _ in range(tries):
        heading = float(rng.choice(headings) + rng.normal(0, 0.03)) if headings else float(rng.uniform(0, 2 * np.pi))
        yield float(rng.uniform(10, SIZE - 10)), float(rng.uniform(10, SIZE - 10)), heading


def _along(rng: np.random.Generator, middle: Points, heading: float, sides: tuple[float, ...], step: float) -> list[Spot]:
    """Spots in rows beside a line, shuffled; those on the left side face the other way."""
    ahead, right = direction(heading), direction(heading + np.pi / 2)
    spots = [(*(middle + ahead * (at + rng.normal(0, 3)) + right * side), heading if side >= 0 else heading + np.pi)
             for at in np.arange(-220, 220, step) for side in sides]
    return [(float(spots[i][0]), float(spots[i][1]), float(spots[i][2])) for i in rng.permutation(len(spots))]


def _lit(make: Callable[[np.random.Generator, float], Model]) -> Make:
    """For models that only ask how far the sun stands on their left."""
    return lambda rng, sun: make(rng, -float(sun[1]))


def _parked(rng: np.random.Generator, sun: np.ndarray) -> Model:
    return vehicle(rng, -float(sun[1]), parked=True)


def _new_site(rng: np.random.Generator, texture: np.ndarray) -> Site:
    return Site(rng, Land(texture, direction(float(rng.uniform(0, 2 * np.pi)))))


def _middle(rng: np.random.Generator, spread: float = 50) -> np.ndarray:
    return SIZE / 2 + rng.uniform(-spread, spread, 2)


def _roads(site: Site, lines: Sequence[tuple[Points, float]], width: float) -> np.ndarray:
    """Two lanes along each line (a point, a heading), crossings kept clear; returns where, bool[SIZE,SIZE]."""
    rng = site.rng
    turns = [(middle, np.array([direction(heading), direction(heading + np.pi / 2)])) for middle, heading in lines]
    verge = ground.mottled(rng, ground.choose(rng, ground.DRY), 30)
    site.land.pave([rectangle(0, 0, 960, width + 9) @ turn + middle for middle, turn in turns], verge)
    asphalt = ground.mottled(rng, ground.choose(rng, ground.ASPHALT), 12)
    where = site.land.pave([rectangle(0, 0, 960, width) @ turn + middle for middle, turn in turns], asphalt)
    for middle, (ahead, right) in turns:
        for side in (-1, 1):
            edge = middle + right * side * (width / 2 - 2)
            site.land.line(edge - ahead * 480, edge + ahead * 480, 1.0, (206, 206, 200))
        site.land.line(middle - ahead * 480, middle + ahead * 480, 1.3, (226, 222, 208), (12, 10))
    if len(lines) > 1:
        (one, along), (other, across) = turns
        crossing = one + along[0] * float((other - one) @ along[0])
        site.land.pave([rectangle(0, 0, width - 1, width - 1) @ along + crossing], asphalt)
    return where


# -- scenes ---------------------------------------------------------------------------------------------------------------------------


def apron(rng: np.random.Generator) -> Site:
    """Aircraft parked on concrete, hangars behind."""
    site = _new_site(rng, ground.mottled(rng, ground.choose(rng, (*ground.MEADOWS, *ground.DRY)), 5))
    angle, offset = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(35, 110))
    ahead, right = direction(angle), direction(angle + np.pi / 2)
    edge = SIZE / 2 + ahead * offset
    turn = np.array([ahead, right])
    paved = site.land.pave([rectangle(-240, 0, 480, 960) @ turn + edge], ground.mottled(rng, ground.choose(rng, ground.CONCRETE), 6))
    for at in np.arange(-480, 0, 26):
        site.land.line(edge + ahead * at - right * 480, edge + ahead * at + right * 480, 0.8, (128, 128, 126))
    for at in np.arange(-468, 480, 26):
        site.land.line(edge + right * at - ahead * 480, edge + right * at, 0.8, (128, 128, 126))
    taxi = edge - ahead * float(rng.uniform(120, 200))
    site.land.line(taxi - right * 480, taxi + right * 480, 2.0, (222, 178, 40))
    site.land.trees(rng, int(rng.integers(0, 14)), distance(angle, offset) > 30)
    behind = [(*(edge + ahead * 38 + right * at), angle + np.pi) for at in rng.uniform(-140, 140, 6)]
    site.scatter(BUILDING, hangar, [(float(x), float(y), float(h)) for x, y, h in behind], int(rng.integers(0, 3)))
    headings = (angle, angle + np.pi, angle + np.pi / 2) if rng.random() < 0.6 else ()
    site.scatter(AIRCRAFT, _lit(aircraft), _anywhere(rng, headings, 60), int(rng.integers(2, 6)), paved)
    site.scatter(VEHICLE, _lit(vehicle), _anywhere(rng, tries=12), int(rng.integers(0, 3)), paved)
    return site


def runway(rng: np.random.Generator) -> Site:
    """Aircraft on a runway and a taxiway in the grass."""
    site = _new_site(rng, ground.mottled(rng, ground.choose(rng, (*ground.MEADOWS, *ground.DRY)), 4))
    heading, middle = float(rng.uniform(0, 2 * np.pi)), _middle(rng, 30)
    ahead, right = direction(heading), direction(heading + np.pi / 2)
    turn, gap = np.array([ahead, right]), float(rng.uniform(112, 130))
    strips = [rectangle(0, 0, 960, 92) @ turn + middle, rectangle(0, gap, 960, 56) @ turn + middle, rectangle(60, gap / 2, 44, gap) @ turn + middle]
    paved = site.land.pave(strips, ground.mottled(rng, ground.choose(rng, ground.ASPHALT), 5))
    site.land.line(middle - ahead * 480, middle + ahead * 480, 3.0, (232, 232, 228), (34, 24))
    for side in (-41, 41):
        site.land.line(middle - ahead * 480 + right * side, middle + ahead * 480 + right * side, 2.0, (226, 226, 222))
    site.land.line(middle - ahead * 480 + right * gap, middle + ahead * 480 + right * gap, 1.6, (222, 178, 40))
    threshold = middle - ahead * float(rng.uniform(90, 170))
    for bar in np.arange(-34, 35, 9.7):
        site.land.line(threshold + right * bar, threshold + right * bar - ahead * 30, 4.6, (234, 234, 230))
    site.scatter(AIRCRAFT, _lit(aircraft), _along(rng, middle, heading, (0.0, gap), 60), int(rng.integers(1, 5)))
    site.scatter(VEHICLE, _lit(vehicle), _anywhere(rng, (heading,), 10), int(rng.integers(0, 2)), paved)
    free = ~paved & (np.abs(distance(heading + np.pi / 2, 0)) > 90)
    site.scatter(BUILDING, building, _anywhere(rng, (heading, heading + np.pi / 2), 6), 1, free)
    return site


def coast(rng: np.random.Generator) -> Site:
    """A beach, ships at sea, houses behind the dunes."""
    angle = float(rng.uniform(0, 2 * np.pi))
    depth = distance(angle, float(rng.uniform(-60, 25))) + 16 * ground.noise(rng, 3, 3)
    water, beach = ground.sea(rng), ground.mottled(rng, ground.SAND, 6)
    grass = ground.mottled(rng, ground.choose(rng, (*ground.MEADOWS, *ground.DRY)), 5)
    water += np.clip(1 - depth / 46, 0, 1)[..., None] * np.array((34, 54, 44), np.float32)
    surf = np.exp(-(((depth - 5 + 3 * np.sin(depth * 0.2)) / 3) ** 2))[..., None]
    water += surf * 90
    wet, dune = np.clip(depth / 3 + 0.5, 0, 1)[..., None], np.clip(-(depth + 30) / 4, 0, 1)[..., None]
    site = _new_site(rng, wet * water + (1 - wet) * ((1 - dune) * beach + dune * grass))
    site.land.trees(rng, int(rng.integers(4, 22)), depth < -46)
    site.scatter(BUILDING, building, _anywhere(rng, (angle, angle + np.pi / 2), 14), int(rng.integers(0, 3)), depth < -34)
    _sail(site, int(rng.integers(1, 5)), depth > 12)
    return site


def open_sea(rng: np.random.Generator) -> Site:
    """Ships under way, and sometimes a quay with cranes of cargo behind it."""
    site = _new_site(rng, ground.sea(rng))
    free = np.ones((SIZE, SIZE), bool)
    if rng.random() < 0.55:
        angle, offset = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(40, 90))
        turn, edge = np.array([direction(angle), direction(angle + np.pi / 2)]), SIZE / 2 + direction(angle) * offset
        free = ~site.land.pave([rectangle(240, 0, 480, 960) @ turn + edge], ground.mottled(rng, ground.choose(rng, ground.CONCRETE), 8))
        site.land.line(edge - turn[1] * 480, edge + turn[1] * 480, 4.0, (92, 90, 86))
        site.land.line(edge + turn[0] * 9 - turn[1] * 480, edge + turn[0] * 9 + turn[1] * 480, 1.2, (214, 176, 60))
        moored = [(*(edge - turn[0] * 19 + turn[1] * at), angle + np.pi / 2) for at in rng.uniform(-120, 120, 4)]
        site.scatter(SHIP, _lit(ship), [(float(x), float(y), float(h)) for x, y, h in moored], 2, free)
        site.scatter(BUILDING, building, _anywhere(rng, (angle, angle + np.pi / 2), 10), int(rng.integers(0, 3)), distance(angle, offset + 34) > 0)
        site.scatter(VEHICLE, _lit(vehicle), _anywhere(rng, (angle + np.pi / 2,), 16), int(rng.integers(0, 4)), distance(angle, offset + 14) > 0)
    _sail(site, int(rng.integers(1, 5)), free)
    return site


def _sail(site: Site, count: int, water: np.ndarray) -> None:
    heading = float(site.rng.uniform(0, 2 * np.pi))
    headings = (heading, heading + np.pi) if site.rng.random() < 0.5 else ()
    foam = np.zeros((SIZE * SCALE, SIZE * SCALE), np.float32)
    before = len(site.masks)
    for x, y, course in site.scatter(SHIP, _lit(ship), _anywhere(site.rng, headings), count, water):
        if site.rng.random() < 0.7:
            foam = np.maximum(foam, _wake(site.masks[before], np.array([x, y]), course) * float(site.rng.uniform(0.35, 0.7)))
        before += 1
    if foam.any():
        churn = cv2.resize(np.clip(0.75 + 0.5 * ground.noise(site.rng, 40, 2), 0, 1) * water, (SIZE * SCALE, SIZE * SCALE))
        weight = cv2.GaussianBlur(foam, (0, 0), 2.5) * churn
        white, image = weight > 0.01, site.land.image
        image[white] = image[white] + (np.array((224, 234, 236), np.float32) - image[white]) * weight[white][:, None]


def _wake(mask: np.ndarray, middle: np.ndarray, course: float) -> np.ndarray:
    """Churned water behind the stern and two bow waves, fading astern; f32 0..1 at the painting scale."""
    rows, columns = np.nonzero(mask)
    length = float(np.ptp(np.stack([columns, rows], axis=1) @ direction(course))) / 2
    turn = np.array([direction(course), direction(course + np.pi / 2)])
    trail = np.array([[-0.9, 0.12], [-3.2, 0.34], [-3.2, -0.34], [-0.9, -0.12]])
    arms = [np.array([[0.75, side * 0.02], [-2.6, side * 1.02], [-2.4, side * 1.14], [0.6, side * 0.2]]) for side in (-1, 1)]
    wake = ground.fill([trail * length @ turn + middle]).astype(np.float32)
    wake = np.maximum(wake, 0.6 * ground.fill([arm * length @ turn + middle for arm in arms]))
    astern = -distance(course, float((middle - SIZE / 2) @ direction(course))) / length
    return wake * cv2.resize(np.clip(1 - (astern + 0.5) / 3.2, 0, 1), (SIZE * SCALE, SIZE * SCALE))


def street(rng: np.random.Generator) -> Site:
    """Houses along a road, with gardens, trees and traffic."""
    site = _new_site(rng, ground.mottled(rng, ground.choose(rng, (*ground.MEADOWS, *ground.MEADOWS, *ground.DRY)), 7))
    heading, middle, width = float(rng.uniform(0, 2 * np.pi)), _middle(rng, 45), float(rng.uniform(42, 48))
    roads = [(middle, heading)]
    if rng.random() < 0.4:
        roads.append((middle + direction(heading) * float(rng.uniform(-60, 60)), heading + np.pi / 2))
    paved = _roads(site, roads, width)
    verge = cv2.dilate(paved.astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)
    site.scatter(VEHICLE, _lit(vehicle), _along(rng, middle, heading, (width / 4, -width / 4), 44), int(rng.integers(1, 5)), paved)
    site.scatter(BUILDING, building, _along(rng, middle, heading, (82.0, -82.0), 54), int(rng.integers(2, 5)), ~verge)
    site.land.trees(rng, int(rng.integers(8, 32)), ~(verge | site.taken), 6)
    return site


def parking(rng: np.random.Generator) -> Site:
    """Cars in marked bays, a flat building beside them."""
    site = _new_site(rng, ground.mottled(rng, ground.choose(rng, (*ground.MEADOWS, *ground.CONCRETE)), 6))
    heading, middle = float(rng.uniform(0, 2 * np.pi)), _middle(rng, 40)
    ahead, right = direction(heading), direction(heading + np.pi / 2)
    turn = np.array([ahead, right])
    half = float(rng.uniform(80, 150))
    lot = site.land.pave([rectangle(0, 0, 2 * half, 176) @ turn + middle], ground.mottled(rng, ground.choose(rng, ground.ASPHALT), 8))
    bays = [(side, at) for side in (-62, 62) for at in np.arange(-half + 16, half - 15, 24.0)]
    for side, at in bays:
        for edge in (-12, 12):
            corner = middle + ahead * (at + edge) + right * side
            site.land.line(corner - right * 22, corner + right * 22, 1.0, (214, 214, 208))
    spots = []
    for i in rng.permutation(len(bays)):
        x, y = middle + ahead * bays[i][1] + right * (bays[i][0] + rng.normal(0, 1.5))
        spots.append((float(x), float(y), heading + float(rng.choice((-1, 1))) * np.pi / 2 + float(rng.normal(0, 0.03))))
    site.scatter(BUILDING, building, _along(rng, middle, heading, (136.0, -136.0), 70), int(rng.integers(0, 3)), ~lot)
    site.scatter(VEHICLE, _parked, spots, int(rng.integers(2, 7)), lot)
    site.land.trees(rng, int(rng.integers(0, 16)), ~(lot | site.taken), 4)
    return site


def farm(rng: np.random.Generator) -> Site:
    """Barns between fields, a lane with a vehicle or two."""
    site = _new_site(rng, ground.fields(rng))
    heading, middle, width = float(rng.uniform(0, 2 * np.pi)), _middle(rng), float(rng.uniform(38, 44))
    paved = _roads(site, [(middle, heading)], width)
    verge = cv2.dilate(paved.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    site.scatter(VEHICLE, _lit(vehicle), _along(rng, middle, heading, (width / 4, -width / 4), 50), int(rng.integers(0, 4)), paved)
    site.scatter(BUILDING, building, _anywhere(rng, (heading, heading + np.pi / 2), 20), int(rng.integers(1, 4)), ~verge)
    site.land.trees(rng, int(rng.integers(6, 24)), ~(verge | site.taken), 3)
    return site


KINDS: tuple[Callable[[np.random.Generator], Site], ...] = (apron, coast, street, runway, open_sea, parking, coast, apron, farm)
