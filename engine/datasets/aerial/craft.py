"""Aircraft, ships and vehicles from above."""

from __future__ import annotations

import numpy as np

from engine.datasets.aerial.model import BLACK, GLASS, WHITE, Colour, Model, Part, Points, mirrored, pair, pick, rectangle, rounded, shade

LIVERIES: tuple[Colour, ...] = (WHITE, (222, 224, 226), (196, 203, 210), (238, 232, 214), (170, 178, 186))
ACCENTS: tuple[Colour, ...] = ((196, 40, 42), (28, 72, 150), (232, 150, 30), (24, 120, 92), (250, 205, 60), (92, 50, 130), (40, 44, 52))
CARS: tuple[Colour, ...] = (WHITE, (186, 190, 194), (48, 50, 54), (176, 34, 36), (30, 68, 140), (224, 180, 44), (60, 96, 74), (120, 124, 130))
HULLS: tuple[Colour, ...] = ((150, 44, 38), (32, 42, 62), (40, 78, 110), (70, 74, 78), (24, 84, 72), (236, 238, 238), (116, 40, 44))
CARGO: tuple[Colour, ...] = ((186, 60, 44), (40, 92, 150), (220, 160, 50), (60, 130, 90), (210, 212, 212), (120, 70, 50))


# -- aircraft -------------------------------------------------------------------------------------------------------------------------


def aircraft(rng: np.random.Generator, light: float) -> Model:
    """`light` is where the sun stands across the object: 1 on its left, -1 on its right."""
    kind = rng.choice(3, p=(0.5, 0.28, 0.22))
    length = float((rng.uniform(62, 106), rng.uniform(44, 70), rng.uniform(50, 78))[kind])
    body, accent = pick(rng, LIVERIES), pick(rng, ACCENTS)
    if kind == 1 and rng.random() < 0.5:
        body, accent = accent, body
    if kind == 2:
        body = pick(rng, ((120, 128, 134), (104, 116, 96), (150, 154, 158)))
    parts = (_airliner, _light_plane, _jet)[kind](rng, body, accent, light)
    return Model(tuple(Part(part.points * length, part.colour) for part in parts), 0.07 * length)


def _fuselage(width: float, body: Colour, light: float, nose: float = 0.5, tail: float = -0.5) -> list[Part]:
    half = width / 2
    side = [(nose, 0.0), (nose - 0.03, half * 0.62), (nose - 0.09, half), (tail + 0.28, half), (tail + 0.1, half * 0.6),
            (tail, half * 0.2), (tail, 0)]
    parts = pair(side, body, 1.6 * light)
    return [*parts, Part(np.array([[nose - 0.1, -half * 0.3], [nose - 0.1, half * 0.3], [tail + 0.25, half * 0.25], [tail + 0.25, -half * 0.25]]),
                         shade(body, 1.08))]


def _airliner(rng: np.random.Generator, body: Colour, accent: Colour, light: float) -> list[Part]:
    sweep, span = rng.uniform(0.14, 0.24), rng.uniform(0.42, 0.5)
    metal = shade(body, rng.uniform(0.8, 0.92))
    parts: list[Part] = []
    engine = shade(accent if rng.random() < 0.2 else metal, 0.72)
    for reach in ((0.17,), (0.15, 0.29))[int(rng.integers(2))]:
        ahead = 0.22 - sweep * reach / span
        right, left = mirrored([(ahead, reach - 0.025), (ahead, reach + 0.025), (ahead - 0.12, reach + 0.018), (ahead - 0.12, reach - 0.018)])
        parts += [Part(side, engine) for side in (right, left)]
    parts += pair([(0.16, 0.03), (0.14 - sweep, span), (0.08 - sweep, span), (-0.03, 0.16), (-0.1, 0.03)], metal, light)
    parts += pair([(-0.06 - 0.02, 0.05), (0.09 - sweep, span * 0.86), (0.075 - sweep, span * 0.86), (-0.1, 0.05)], shade(metal, 0.82), light)
    parts += pair([(-0.36, 0.02), (-0.43, 0.17), (-0.49, 0.17), (-0.46, 0.02)], metal, light)
    parts += _fuselage(rng.uniform(0.095, 0.12), body, light)
    fin = np.array([[-0.3, 0.0], [-0.42, -0.016], [-0.52, -0.012], [-0.52, 0.012], [-0.42, 0.016]])
    cockpit = np.array([[0.462, -0.02], [0.475, 0.0], [0.462, 0.02], [0.445, 0.028], [0.445, -0.028]])
    return [*parts, Part(fin, accent), Part(cockpit, GLASS)]


def _light_plane(rng: np.random.Generator, body: Colour, accent: Colour, light: float) -> list[Part]:
    span, chord = rng.uniform(0.5, 0.62), rng.uniform(0.15, 0.19)
    parts = pair([(0.2, 0.0), (0.18, span), (0.2 - chord * 0.8, span), (0.2 - chord, 0.0)], body, light)
    parts += pair([(0.182, span - 0.09), (0.18, span), (0.2 - chord * 0.8, span), (0.2 - chord * 0.82, span - 0.09)], accent, light)
    parts += pair([(-0.34, 0.0), (-0.36, 0.2), (-0.45, 0.19), (-0.46, 0.0)], body, light)
    parts += _fuselage(0.12, body, light, 0.46)
    stripe = np.array([[-0.22, -0.014], [-0.5, -0.012], [-0.5, 0.012], [-0.22, 0.014]])
    spinner = rectangle(0.465, 0.0, 0.018, rng.uniform(0.12, 0.2))
    return [*parts, Part(stripe, accent), Part(rounded(0.2, 0.0, 0.13, 0.085, 3), GLASS), Part(spinner, BLACK)]


def _jet(rng: np.random.Generator, body: Colour, accent: Colour, light: float) -> list[Part]:
    span = rng.uniform(0.3, 0.36)
    parts = pair([(0.16, 0.03), (-0.2, span), (-0.3, span), (-0.33, 0.03)], body, light)
    parts += pair([(-0.2, span - 0.035), (-0.19, span), (-0.3, span), (-0.3, span - 0.035)], shade(accent, 0.9), light)
    parts += pair([(-0.3, 0.04), (-0.42, 0.19), (-0.49, 0.19), (-0.48, 0.04)], shade(body, 0.94), light)
    parts += pair([(0.1, 0.05), (0.08, 0.085), (-0.3, 0.075), (-0.46, 0.06), (-0.46, 0.0), (0.1, 0.0)], shade(body, 0.9), light)
    parts += _fuselage(0.1, shade(body, 1.06), light)
    return [*parts, Part(rounded(0.27, 0.0, 0.16, 0.055, 2.2), GLASS), Part(rectangle(-0.48, 0.0, 0.04, 0.08), BLACK)]


# -- ships ----------------------------------------------------------------------------------------------------------------------------


def ship(rng: np.random.Generator, light: float) -> Model:
    kind = rng.choice(3, p=(0.4, 0.35, 0.25))
    length = float((rng.uniform(74, 106), rng.uniform(42, 72), rng.uniform(66, 102))[kind])
    beam = float(rng.uniform(*((0.19, 0.24), (0.28, 0.34), (0.2, 0.25))[kind]))
    parts = (_freighter, _yacht, _tanker)[kind](rng, beam, light)
    return Model(tuple(Part(part.points * length, part.colour) for part in parts), 0.045 * length)


def _hull(beam: float, shrink: float = 1.0) -> Points:
    half, bow, stern = beam / 2 * shrink, 0.5 * (0.7 + 0.3 * shrink), -0.5 * (0.5 + 0.5 * shrink)
    side = np.array([[bow, 0.0], [0.88 * bow, half * 0.4], [0.66 * bow, half * 0.82], [0.2, half], [-0.38, half], [stern, half * 0.8]])
    return np.vstack([side, side[::-1] * (1, -1)])


def _bridge(x: float, beam: float, light: float) -> list[Part]:
    return [Part(rectangle(x, 0, 0.13, beam * 0.86), shade(WHITE, 0.97)),
            Part(rectangle(x - 0.02, 0.14 * beam * light, 0.08, beam * 0.5), shade(WHITE, 0.78)),
            Part(rectangle(x + 0.055, 0, 0.018, beam * 0.8), GLASS)]


def _freighter(rng: np.random.Generator, beam: float, light: float) -> list[Part]:
    hull = pick(rng, HULLS[:5])
    parts = [Part(_hull(beam), hull), Part(_hull(beam, 0.86), shade(pick(rng, ((140, 136, 128), (120, 72, 60))), 1.0))]
    columns, rows = 6, 3 if beam < 0.21 else 4
    for column in range(columns):
        for row in range(rows):
            if rng.random() < 0.88:
                y = (row - (rows - 1) / 2) * beam * 0.8 / rows
                colour = shade(pick(rng, CARGO), 1 - 0.06 * light * float(np.sign(y)))
                parts.append(Part(rectangle(0.26 - column * 0.094, y, 0.084, beam * 0.72 / rows), colour))
    return [*parts, *_bridge(-0.38, beam, light)]


def _yacht(rng: np.random.Generator, beam: float, light: float) -> list[Part]:
    hull = WHITE if rng.random() < 0.6 else pick(rng, HULLS)
    deck = pick(rng, ((190, 156, 112), (214, 208, 196), (168, 130, 92)))
    cabin = pick(rng, ((236, 238, 240), (226, 222, 210)))
    parts = [Part(_hull(beam), hull), Part(_hull(beam, 0.8), deck), Part(rounded(0.0, 0.0, 0.5, beam * 0.64, 3.4), shade(cabin, 0.86))]
    parts += [Part(rounded(-0.03, 0.04 * beam * -light, 0.4, beam * 0.5, 3.4), cabin), Part(rounded(0.17, 0, 0.07, beam * 0.46, 3), GLASS)]
    if rng.random() < 0.5:
        parts.append(Part(rectangle(-0.38, 0, 0.1, beam * 0.5), pick(rng, ACCENTS)))
    return parts


def _tanker(rng: np.random.Generator, beam: float, light: float) -> list[Part]:
    deck = pick(rng, ((158, 70, 56), (88, 118, 100), (96, 110, 128)))
    parts = [Part(_hull(beam), pick(rng, HULLS[:5])), Part(_hull(beam, 0.86), deck), Part(rectangle(0.03, 0, 0.6, beam * 0.07), shade(deck, 1.45))]
    for x in (0.22, 0.08, -0.06, -0.2):
        parts.append(Part(rectangle(x, 0, 0.02, beam * 0.7), shade(deck, 0.62)))
        hatch = [(x + 0.085, beam * 0.12), (x + 0.085, beam * 0.28), (x + 0.045, beam * 0.28), (x + 0.045, beam * 0.12)]
        parts += pair(hatch, shade(deck, 1.25), light)
    return [*parts, *_bridge(-0.38, beam, light)]


# -- vehicles -------------------------------------------------------------------------------------------------------------------------


def vehicle(rng: np.random.Generator, light: float, *, parked: bool = False) -> Model:
    """A car; on the road sometimes a lorry or a bus."""
    if not parked and rng.random() < 0.3:
        return _lorry(rng, light)
    length = float(rng.uniform(29, 36))
    width, paint = length * float(rng.uniform(0.44, 0.49)), pick(rng, CARS)
    cabin = float(rng.uniform(-0.1, -0.04)) * length
    parts = [Part(rounded(0, 0, length, width, 5), shade(paint, 0.84)),
             Part(rounded(0, -0.04 * width * light, length * 0.97, width * 0.86, 5), paint),
             Part(rounded(cabin, 0, length * 0.58, width * 0.84, 4), GLASS),
             Part(rounded(cabin - 0.02 * length, -0.03 * width * light, length * 0.33, width * 0.74, 4), shade(paint, 1.1))]
    for side in (-1, 1):
        parts.append(Part(rectangle(length * 0.465, side * width * 0.32, length * 0.045, width * 0.18), (250, 246, 214)))
        parts.append(Part(rectangle(-length * 0.475, side * width * 0.34, length * 0.035, width * 0.18), (170, 26, 24)))
    return Model(tuple(parts), 3.0)


def _lorry(rng: np.random.Generator, light: float) -> Model:
    length = float(rng.uniform(44, 62))
    width, cab = float(rng.uniform(15, 17.5)), pick(rng, CARS)
    load = pick(rng, (WHITE, (200, 202, 204), (60, 100, 160), (190, 150, 60), (140, 60, 50)))
    front = length / 2 - 6
    parts = [Part(rectangle(length * 0.02, 0, length * 0.9, width * 0.6), BLACK), Part(rounded(front, 0, 12, width * 0.92, 6), cab),
             Part(rectangle(front + 4.2, 0, 2.4, width * 0.8), GLASS)]
    box = length - 14
    parts.append(Part(rectangle(-7, 0, box, width), shade(load, 0.86)))
    parts.append(Part(rectangle(-7, -0.05 * width * light, box - 2, width * 0.86), load))
    parts += [Part(rectangle(-7 + offset * box, 0, 0.8, width * 0.86), shade(load, 0.82)) for offset in (-0.25, 0.0, 0.25)]
    return Model(tuple(parts), 5.0)
