"""Drawn photographs of the back of the eye with up to five findings, several at once; a patient has two eyes that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine.datasets.sample_strokes import SHIFT, circle, ellipse, fixed, hexagonal, hills, turned

CLASSES = ("bleeding", "exudates", "laser scars", "cupped disc", "macular scar")
BLEEDING, EXUDATES, LASER, CUPPED, SCAR = range(5)
KINDS = ((), (), (), (BLEEDING,), (BLEEDING, EXUDATES), (BLEEDING, EXUDATES, LASER), (BLEEDING, LASER), (BLEEDING, SCAR), (EXUDATES, CUPPED),
         (CUPPED,), (CUPPED,), (SCAR,))
SIZE, SCALE = 128, 3  # pixels of the finished picture; how much finer it is painted
FINE = SIZE * SCALE
RADIUS = 0.485 * FINE  # of what the camera sees
DISC = 0.155 * RADIUS
STEP = 4.0  # length of a piece of a vessel
TONES = ((206, 96, 46), (188, 78, 34), (168, 68, 34), (216, 118, 66), (196, 104, 62), (150, 62, 38))
FIBRE = (250, 222, 160)


@dataclass(frozen=True)
class Patient:
    """What both eyes share: colour of the ground, how mottled it is, paleness of the disc, thickness of the vessels."""

    tone: np.ndarray
    mottled: float
    disc: float
    vessels: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Patient:
        tone = np.array(TONES[int(rng.integers(len(TONES)))]) * rng.uniform(0.94, 1.06, 3)
        return Patient(tone, float(rng.uniform(0.03, 0.13)), float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.85, 1.15)))


@dataclass
class _Eye:
    """The picture so far f32[FINE,FINE,3], and where the disc and the macula are (x, y). The disc lies on the right."""

    rng: np.random.Generator
    image: np.ndarray
    disc: np.ndarray
    macula: np.ndarray

    def layer(self) -> np.ndarray:
        return np.zeros((FINE, FINE), np.uint8)

    def cover(self, layer: np.ndarray, colour: tuple[float, float, float], strength: float, soft: float) -> None:
        """Blends a colour in where the layer is up to 255."""
        share = cv2.GaussianBlur(layer, (0, 0), soft).astype(np.float32)[..., None] * np.float32(strength / 255)
        self.image += share * (np.array(colour, np.float32) - self.image)

    def shade(self, layer: np.ndarray, factors: tuple[float, float, float], soft: float) -> None:
        """Multiplies by the factors where the layer is 255, by less where it is less."""
        share = cv2.GaussianBlur(layer, (0, 0), soft).astype(np.float32)[..., None] / np.float32(255)
        self.image *= 1 - share * (1 - np.array(factors, np.float32))

    def spot(self, layer: np.ndarray, at: np.ndarray, radius: float, uneven: float = 0.25) -> None:
        """A filled shape about a circle."""
        angles, rays = circle(24)
        reach = radius * np.ones_like(angles)
        for waves in (2, 3, 5):
            reach += radius * uneven * self.rng.uniform(0, 0.7) * np.cos(waves * angles + self.rng.uniform(0, 2 * np.pi))
        cv2.fillPoly(layer, [fixed(at + rays * reach[:, None])], 255, cv2.LINE_AA, SHIFT)

    def somewhere(self, from_macula: float, from_disc: float, outermost: float = 0.9) -> np.ndarray:
        """A place in the picture that keeps these distances, in shares of its radius."""
        while True:
            at = FINE / 2 + self.rng.uniform(-1, 1, 2) * RADIUS * outermost
            near = np.hypot(*(at - self.macula)) < from_macula * RADIUS or np.hypot(*(at - self.disc)) < from_disc * RADIUS
            if not near and np.hypot(*(at - FINE / 2)) < RADIUS * outermost:
                return at


def photograph(rng: np.random.Generator, patient: Patient, kind: int, *, left: bool) -> np.ndarray:
    """u8[SIZE,SIZE,3] RGB: an eye with the findings of one of the KINDS."""
    findings = KINDS[kind % len(KINDS)]
    tilt = rng.uniform(-0.12, 0.12)
    middle = FINE / 2 + rng.uniform(-0.05, 0.05, 2) * RADIUS
    apart = np.array([np.cos(tilt), np.sin(tilt)]) * RADIUS
    eye = _Eye(rng, _ground(rng, patient), middle + apart * rng.uniform(0.44, 0.52), middle - apart * rng.uniform(0.08, 0.16))
    _macula(eye)
    if LASER in findings:
        _laser_scars(eye)
    if SCAR in findings:
        _macular_scar(eye)
    if rng.random() < 0.25:
        _drusen(eye)
    if EXUDATES in findings:
        _exudates(eye)
    _disc(eye, patient, cupped=CUPPED in findings)
    _vessels(eye, patient.vessels)
    if BLEEDING in findings:
        _bleeding(eye)
    image = _exposed(eye)
    return image[:, ::-1].copy() if left else image


# -- a healthy eye --------------------------------------------------------------------------------------------------------------------


def _ground(rng: np.random.Generator, patient: Patient) -> np.ndarray:
    """Mottled orange with the deeper vessels showing through as faint ribbons."""
    ribbons = np.clip(0.22 - np.abs(hills(rng, FINE, 9, 2)), 0, None) / 0.22
    brightness = 1 + 0.06 * hills(rng, FINE, 4) + patient.mottled * (ribbons - 0.3) + 0.03 * hills(rng, FINE, 70, 2)
    return (brightness[..., None] * patient.tone).astype(np.float32)


def _macula(eye: _Eye) -> None:
    layer = eye.layer()
    eye.spot(layer, eye.macula, 0.2 * RADIUS, 0.1)
    eye.shade(layer, (0.74, 0.62, 0.6), 0.085 * RADIUS)
    layer = eye.layer()
    eye.spot(layer, eye.macula, 2.2, 0.0)
    eye.cover(layer, (255, 210, 150), float(eye.rng.uniform(0, 0.6)), 1.2)


def _disc(eye: _Eye, patient: Patient, *, cupped: bool) -> None:
    rng = eye.rng
    rim, cup = eye.layer(), eye.layer()
    size = DISC * float(rng.uniform(0.92, 1.08))
    eye.spot(rim, eye.disc, size * 1.16, 0.1)
    eye.shade(rim, (0.9, 0.8, 0.8), 3.0)
    rim = eye.layer()
    eye.spot(rim, eye.disc, size, 0.06)
    eye.cover(rim, (246, 178 * patient.disc, 104 * patient.disc), 0.92, 1.6)
    share = float(rng.uniform(0.62, 0.78) if cupped else rng.uniform(0.25, 0.48))
    eye.spot(cup, eye.disc + np.array([-0.08 * size, rng.uniform(-0.06, 0.06) * size]), size * share, 0.08)
    eye.cover(cup, (255, 238, 190), 0.95, 1.8)


def _vessels(eye: _Eye, thickness: float) -> None:
    """Veins and arteries from the disc: two pairs arch around the macula, two go the other way."""
    rng = eye.rng
    veins, arteries = eye.layer(), eye.layer()
    for layer, width, turn in ((veins, 5.2, 0.0), (arteries, 3.9, 0.16)):
        for side in (-1, 1):
            upright = side * (np.pi / 2 + float(rng.normal(0.02, 0.12)) + turn)
            _grow(eye, layer, upright, side * float(rng.uniform(0.036, 0.046)), width * thickness)
            sideways = side * float(rng.uniform(0.5, 1.0) + turn)
            _grow(eye, layer, sideways, -side * float(rng.uniform(-0.01, 0.02)), width * 0.75 * thickness)
        _grow(eye, layer, np.pi + float(rng.normal(0, 0.25)), 0.0, width * 0.4 * thickness)
    eye.shade(veins, (0.62, 0.34, 0.36), 0.8)
    eye.shade(arteries, (0.84, 0.47, 0.42), 0.8)


def _grow(eye: _Eye, layer: np.ndarray, heading: float, bend: float, width: float) -> None:
    """A vessel from the disc with its branches; the bend wears off."""
    rng = eye.rng
    waiting = [(eye.disc + rng.uniform(-0.15, 0.15, 2) * DISC, heading, bend, width)]
    while waiting:
        at, heading, bend, width = waiting.pop()
        while width > 0.7 and np.hypot(*(at - FINE / 2)) < RADIUS:
            ahead = at + STEP * np.array([np.cos(heading), np.sin(heading)])
            if width < 3 and np.hypot(*(ahead - eye.macula)) < 0.13 * RADIUS:
                break
            (start, end), strength = fixed(np.stack([at, ahead])).tolist(), 255 if width > 1.5 else round(170 * width)
            cv2.line(layer, start, end, strength, max(1, round(width)), cv2.LINE_AA, SHIFT)
            at, heading, bend, width = ahead, heading + bend + float(rng.normal(0, 0.045)), bend * 0.972, width * 0.988
            if width > 1.1 and rng.random() < 0.07:
                side = 1 if rng.random() < 0.5 else -1
                waiting.append((at, heading + side * float(rng.uniform(0.4, 0.8)), -side * 0.012, width * float(rng.uniform(0.5, 0.75))))


# -- findings -------------------------------------------------------------------------------------------------------------------------


def _bleeding(eye: _Eye) -> None:
    """Dark red blots, and some flames along the nerve fibres."""
    rng, layer = eye.rng, eye.layer()
    for _ in range(int(rng.integers(4, 13))):
        eye.spot(layer, eye.somewhere(0.05, 0.25), float(rng.uniform(3.5, 8.5)), 0.3)
    for _ in range(int(rng.integers(1, 6))):
        at = eye.somewhere(0.2, 0.25, 0.75)
        heading = float(np.arctan2(*(at - eye.disc)[::-1]) + rng.normal(0, 0.2))
        flame = ellipse(at, (float(rng.uniform(8, 17)), float(rng.uniform(2.5, 4.5))), heading, 24)
        cv2.fillPoly(layer, [fixed(flame)], 255, cv2.LINE_AA, SHIFT)
    eye.shade(layer, (0.54, 0.24, 0.3), 1.3)


def _exudates(eye: _Eye) -> None:
    """Clusters and rings of yellow crumbs, sharply outlined."""
    rng, layer = eye.rng, eye.layer()
    for _ in range(int(rng.integers(1, 4))):
        centre, ring = eye.somewhere(0.1, 0.35, 0.65), float(rng.uniform(10, 30))
        start, stretch = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(2.5, 6.3))
        for angle in start + rng.uniform(0, stretch, int(rng.integers(9, 22))):
            at = centre + (ring + rng.normal(0, 4)) * np.array([np.cos(angle), np.sin(angle)])
            eye.spot(layer, at, float(rng.uniform(1.5, 4.2)), 0.4)
    eye.cover(layer, (255, 226, 128), 0.9, 0.8)


def _drusen(eye: _Eye) -> None:
    """Dull soft dots of age around the macula; no finding here, but easily taken for exudates."""
    rng, layer = eye.rng, eye.layer()
    for at in eye.macula + rng.normal(0, 0.2 * RADIUS, (int(rng.integers(8, 30)), 2)):
        eye.spot(layer, at, float(rng.uniform(1.8, 4.2)), 0.2)
    eye.cover(layer, (240, 190, 110), float(rng.uniform(0.3, 0.5)), 1.6)


def _laser_scars(eye: _Eye) -> None:
    """Rows of round pale burns away from the macula, many with a dark middle."""
    rng = eye.rng
    pale, dark = eye.layer(), eye.layer()
    pigment, half = float(rng.uniform(0.2, 0.8)), rng.random() < 0.5
    grid = turned(hexagonal(float(rng.uniform(27, 38)), RADIUS), float(rng.uniform(0, np.pi)))
    for at in FINE / 2 + grid + rng.normal(0, 3.5, grid.shape):
        inside = np.hypot(*(at - eye.macula)) < 0.42 * RADIUS or np.hypot(*(at - eye.disc)) < 0.32 * RADIUS
        if inside or np.hypot(*(at - FINE / 2)) > RADIUS * 0.97 or rng.random() < 0.25 or (half and at[1] < FINE / 2):
            continue
        eye.spot(pale, at, float(rng.uniform(6, 8.5)), 0.2)
        if rng.random() < pigment:
            eye.spot(dark, at + rng.normal(0, 1, 2), float(rng.uniform(2.5, 4.5)), 0.4)
    eye.cover(pale, (236, 196, 140), float(rng.uniform(0.35, 0.6)), 1.6)
    eye.shade(dark, (0.45, 0.4, 0.44), 1.2)


def _macular_scar(eye: _Eye) -> None:
    """A pale patch where one looks most sharply, with clumps of pigment at its edge."""
    rng = eye.rng
    patch, clumps = eye.layer(), eye.layer()
    size = float(rng.uniform(0.08, 0.22)) * RADIUS
    eye.spot(patch, eye.macula + rng.normal(0, 3, 2), size, 0.22)
    eye.cover(patch, (238, 206, 150), float(rng.uniform(0.4, 0.8)), 2.2)
    for angle in rng.uniform(0, 2 * np.pi, int(rng.integers(2, 9))):
        at = eye.macula + size * rng.uniform(0.5, 1.0) * np.array([np.cos(angle), np.sin(angle)])
        eye.spot(clumps, at, float(rng.uniform(0.12, 0.3) * size), 0.4)
    eye.shade(clumps, (0.42, 0.4, 0.44), 1.6)


# -- the picture ----------------------------------------------------------------------------------------------------------------------


def _exposed(eye: _Eye) -> np.ndarray:
    """u8[SIZE,SIZE,3]: light that falls off towards the edge, haze, specks on the lens, noise; black around the round view."""
    rng = eye.rng
    dust, view = eye.layer(), eye.layer()
    for _ in range(int(rng.integers(0, 4))):
        eye.spot(dust, eye.somewhere(0, 0), float(rng.uniform(4, 9)), 0.1)
    eye.shade(dust, (0.86, 0.84, 0.84), 3.5)
    rows, columns = (np.mgrid[:FINE, :FINE].astype(np.float32) - FINE / 2) / np.float32(RADIUS)
    lamp = rng.uniform(-0.35, 0.35, 2)
    light = 1.08 - 0.34 * ((columns - lamp[0])**2 + (rows - lamp[1])**2)
    rim = np.clip((np.hypot(columns, rows) - 0.86) * 6, 0, 1)[..., None] * np.array(FIBRE, np.float32)
    image = eye.image * light[..., None] * float(rng.uniform(0.8, 1.18)) + rim * float(rng.uniform(0, 0.22))
    haze = float(rng.uniform(0, 0.12))
    image = image * (1 - haze) + haze * np.array((196, 150, 112), np.float32)
    cv2.circle(view, (FINE // 2, FINE // 2), round(RADIUS), 255, -1, cv2.LINE_AA)
    if rng.random() < 0.35:
        cut = round(float(rng.uniform(0.04, 0.09)) * FINE)
        view[:cut], view[-cut:] = 0, 0
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.6, 1.9))) * (cv2.GaussianBlur(view, (0, 0), 1.2)[..., None] / np.float32(255))
    small = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.clip(small + rng.normal(2.5, 1.8, small.shape), 0, 255).astype(np.uint8)
