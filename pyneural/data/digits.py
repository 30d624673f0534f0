"""The embedded data set: grey 28x28 digits in ten classes, drawn by the package itself.

No download and no file: :func:`digits` writes each image with a pen of its own. A glyph's skeleton
(:mod:`pyneural.data.glyphs`) is bent by a smooth random displacement, squeezed, slanted, turned, moved, and inked with
its own stroke width, pressure, sharpness, darkness and grain.

The images are the same bits on every machine and with every NumPy: the randomness is the raw output of a counter-based
generator (Philox, whose stream NumPy guarantees), and everything computed from it uses only additions, multiplications,
divisions and square roots, which IEEE 754 rounds exactly, in an order that is written out here.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .datasets import Dataset
from .glyphs import GLYPHS

SIDE = 28
PIXELS = SIDE * SIDE
SPLIT_SIZE = {True: 10_000, False: 2_000}

# Random words per image: the traits below (a class's rank, a glyph, and so on) take one or two each, the displacement
# takes 32.
WORDS = 64
GRAIN_WORDS = PIXELS // 8
CHUNK = 48  # images inked at once: three buffers of 48 x 784 float32 stay in a core's cache
CURVE_STEPS = 3  # line segments between two control points


class Glyph(NamedTuple):
    """A skeleton as line segments: corner points (P, 2), and the indices of each segment's two ends (S,), (S,)."""

    points: NDArray[np.float64]
    start: NDArray[np.intp]
    end: NDArray[np.intp]


def digits(train: bool = True, n: int | None = None, seed: int = 0) -> Dataset:
    """Draw the embedded digits.

    Args:
        train: the training images, or the test images; the two come from different random streams.
        n: how many; 10,000 for training and 2,000 for testing if not given. A smaller set is the beginning of a larger
            one. Every run of ten consecutive images holds each digit once.
        seed: another seed, another set of images; 0 is the set that the documentation's numbers speak of.

    Returns:
        A :class:`Dataset` with ``images`` uint8 (n, 28, 28), ink bright on dark ground as in MNIST, and ``labels``
        uint8 (n,).

    Raises:
        ValueError: if n is not positive or seed is not in 0 .. 2**64 - 1.
    """
    count = SPLIT_SIZE[bool(train)] if n is None else int(n)
    if count < 1:
        raise ValueError(f"digits: n is {n}, at least 1 image is wanted")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"digits: seed is {seed}, it must lie in 0 .. 2**64 - 1")

    blocks = -(-count // 10)
    stream = 0 if train else 1
    words = _random_words(seed, 2 * stream, blocks * 10 * WORDS).reshape(-1, WORDS)
    grain = _random_words(seed, 2 * stream + 1, count * GRAIN_WORDS).astype("<u8").view(np.uint8).reshape(count, PIXELS)

    # Each block of ten images holds the ten digits in the order in which their first random words would be sorted.
    labels = np.argsort(words[:, 0].reshape(blocks, 10), axis=1, kind="stable").astype(np.uint8).reshape(-1)[:count]
    words = words[:count]
    variants = np.array([len(glyphs) for glyphs in GLYPHS])[labels]
    choice = (words[:, 1] >> np.uint64(32)).astype(np.int64) % variants
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    images = np.empty((count, PIXELS), np.uint8)
    for digit, glyphs in enumerate(GLYPHS):
        for variant in range(len(glyphs)):
            chosen = np.flatnonzero((labels == digit) & (choice == variant))
            glyph = _glyph(digit, variant)
            for first in range(0, len(chosen), CHUNK):
                rows = chosen[first : first + CHUNK]
                images[rows] = _draw(glyph, uniform[rows], grain[rows])
    return Dataset(
        images=images.reshape(count, SIDE, SIDE),
        labels=labels,
        classes=tuple("0123456789"),
        name="digits",
        source=f"drawn by pyneural (seed {seed}, {'train' if train else 'test'})",
    )


def _random_words(seed: int, stream: int, count: int) -> NDArray[np.uint64]:
    """The first `count` words of a Philox stream: raw output, which NumPy keeps, unlike what is made of it."""
    return np.random.Philox(key=seed | stream << 64).random_raw(count)


@functools.cache
def _glyph(digit: int, variant: int) -> Glyph:
    points: list[NDArray[np.float64]] = []
    start: list[int] = []
    end: list[int] = []
    for stroke in GLYPHS[digit][variant].split("/"):
        control = np.array([[float(v) for v in point.split(",")] for point in stroke.split()]) / 100.0
        curve = _curve(control)
        first = sum(len(p) for p in points)
        points.append(curve)
        start.extend(range(first, first + len(curve) - 1))
        end.extend(range(first + 1, first + len(curve)))
    return Glyph(np.concatenate(points) - 0.5, np.array(start), np.array(end))


def _curve(control: NDArray[np.float64]) -> NDArray[np.float64]:
    """Catmull-Rom through the control points (K, 2), K >= 2; a curve that ends where it starts is closed smoothly."""
    if len(control) == 2:
        return control
    closed = bool((control[0] == control[-1]).all())
    before = control[-2] if closed else 2.0 * control[0] - control[1]
    after = control[1] if closed else 2.0 * control[-1] - control[-2]
    p = np.concatenate([before[None], control, after[None]])
    p0, p1, p2, p3 = p[:-3], p[1:-2], p[2:-1], p[3:]
    pieces = []
    for step in range(CURVE_STEPS):
        t = step / CURVE_STEPS
        pieces.append(
            p1 + 0.5 * t * ((p2 - p0) + t * ((2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3) + t * (3.0 * (p1 - p2) + p3 - p0)))
        )
    return np.concatenate([np.stack(pieces, axis=1).reshape(-1, 2), control[-1:]])


def _draw(glyph: Glyph, u: NDArray[np.float64], grain: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Ink one glyph for a few images: u uniform (n, WORDS), grain uint8 (n, 784) -> uint8 (n, 784)."""

    def spread(column: int) -> NDArray[np.float64]:  # in (-1, 1), peaked at 0: the sum of two uniforms
        return u[:, column] + u[:, column + 1] - 1.0

    # The skeleton, point by point: (n, P) each.
    x, y = _bend(glyph.points, u[:, 32:64])
    height = 19.0 + 3.0 * spread(2)
    width = height * (0.68 + 0.20 * spread(4))
    x, y = x * width[:, None], y * height[:, None]
    x = x - (0.12 + 0.42 * spread(6))[:, None] * y
    # A turn by the angle whose half has tangent t; no sine or cosine, whose last bit differs between machines.
    t = 0.18 * spread(8)
    scale = 1.0 / (1.0 + t * t)
    cosine, sine = (1.0 - t * t) * scale, 2.0 * t * scale
    x, y = x * cosine[:, None] - y * sine[:, None], x * sine[:, None] + y * cosine[:, None]
    x, y = _place(x, 3.0 * spread(10)), _place(y, 3.0 * spread(12))

    ink = _distance(x.astype(np.float32), y.astype(np.float32), glyph)

    # The pen: half its width in pixels, more or less of it along the height (pressure), and how soft its edge is.
    ramp = np.linspace(-1.0, 1.0, SIDE, dtype=np.float32)
    half_width = (1.25 + 0.75 * spread(14))[:, None] * (1.0 + 0.30 * spread(16)[:, None] * ramp)
    softness = 0.9 + 0.7 * u[:, 18]
    offset = (half_width / softness[:, None] + 0.5).astype(np.float32)
    ink *= (-1.0 / softness).astype(np.float32)[:, None, None]
    ink += offset[:, :, None]
    np.clip(ink, 0.0, 1.0, out=ink)

    # Darkness and grain: the paper takes a little of the grain, the ink a little more.
    darkness = 255.0 * (1.0 - 0.35 * u[:, 19] * u[:, 20])
    ink *= darkness.astype(np.float32)[:, None, None]
    strength = 0.40 * u[:, 21] * u[:, 22]
    noise = grain.astype(np.float32)
    noise -= np.float32(184.0)
    noise *= strength.astype(np.float32)[:, None]
    ink += noise.reshape(ink.shape)
    ink += np.float32(0.5)
    np.clip(ink, 0.0, 255.0, out=ink)
    return ink.astype(np.uint8).reshape(-1, PIXELS)


def _place(x: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move one coordinate of the points (n, P) to the middle, then by shift (n,), but not over the frame's edge."""
    x = x + ((SIDE - 1) / 2.0 + shift)[:, None]
    low, high = x.min(axis=1), x.max(axis=1)
    back = np.maximum(1.5 - low, 0.0) - np.maximum(high - (SIDE - 2.5), 0.0)
    placed: NDArray[np.float64] = x + back[:, None]
    return placed


def _bend(points: NDArray[np.float64], u: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Move the points (P, 2) of [-0.5, 0.5]^2 by a bicubic polynomial with random weights u (n, 32): x, y (n, P)."""
    t = points + 0.5
    r = 1.0 - t  # products, not powers: pow is not rounded alike everywhere
    basis = [r * r * r, 3.0 * t * r * r, 3.0 * t * t * r, t * t * t]
    x = np.broadcast_to(points[:, 0], (len(u), len(points))).copy()
    y = np.broadcast_to(points[:, 1], (len(u), len(points))).copy()
    for i in range(4):
        for j in range(4):
            weight = 0.42 * basis[i][:, 0] * basis[j][:, 1]
            k = 2 * (4 * i + j)
            x += (u[:, k, None] - 0.5) * weight
            y += (u[:, k + 1, None] - 0.5) * weight
    return x, y


def _distance(x: NDArray[np.float32], y: NDArray[np.float32], glyph: Glyph) -> NDArray[np.float32]:
    """Distance of every pixel centre from the nearest segment: points x, y (n, P) -> (n, 28, 28).

    With a the segment's start, b its vector and s = (p - a).b / |b|^2, the foot of the perpendicular is at t = clip(s,
    0, 1) and the squared distance is |p - a|^2 + |b|^2 t (t - 2 s). Both s and |p - a|^2 are a part that depends on
    the column plus a part that depends on the row, so that a pixel costs one addition for each.
    """
    n = len(x)
    pixel = np.arange(SIDE, dtype=np.float32)
    nearest = np.full((n, SIDE, SIDE), np.inf, np.float32)
    s = np.empty_like(nearest)
    t = np.empty_like(nearest)
    for a, b in zip(glyph.start, glyph.end, strict=True):
        bx, by = x[:, b] - x[:, a], y[:, b] - y[:, a]
        length2 = np.maximum(bx * bx + by * by, np.float32(1e-6))
        px, py = pixel - x[:, a, None], pixel - y[:, a, None]  # (n, 28)
        np.add((px * (bx / length2)[:, None])[:, None, :], (py * (by / length2)[:, None])[:, :, None], out=s)
        np.clip(s, 0.0, 1.0, out=t)
        s += s
        np.subtract(t, s, out=s)
        s *= t
        s *= length2[:, None, None]
        s += (px * px)[:, None, :]
        s += (py * py)[:, :, None]
        np.minimum(nearest, s, out=nearest)
    np.maximum(nearest, 0.0, out=nearest)  # the formula may round to just below 0 on the stroke itself
    return np.sqrt(nearest, out=nearest)
