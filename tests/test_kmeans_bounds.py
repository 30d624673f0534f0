"""Passes of k-means whose products are spared by bounds have the bits of passes that make all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyneural as pn
from pyneural._kernels import KMeansRows
from pyneural.learn import kmeans

KINDS = ["clouds", "lattice", "far", "huge", "tiny"]


def data(kind: str, n: int, d: int, k: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows and first centres. On the lattice many rows are as far from one centre as from another, and two centres are
    the same; the others are clouds whose centres start beside them, far from 0, or near the ends of float32."""
    rng = np.random.default_rng(n + d + k)
    if kind == "lattice":
        x = rng.integers(0, 3, (n, d)).astype(dtype)
        centers = x[:k].astype(np.float64)
        centers[-1] = centers[0]
        return x, centers
    middle = 4 * rng.normal(size=(k, d))
    x = middle[rng.integers(0, k, n)] + rng.normal(size=(n, d))
    scale = {"huge": 1e18, "tiny": 1e-30}.get(kind, 10.0)
    x = x * scale + (1e4 if kind == "far" else 128.0 if dtype == np.uint8 else 0.0)
    x = x.clip(0, 255).astype(dtype) if dtype == np.uint8 else x.astype(dtype)
    return x, x[rng.choice(n, k, replace=False)].astype(np.float64)


def passes(x: np.ndarray, centers: np.ndarray, weights: np.ndarray | None, count: int, fresh: bool) -> Any:
    """What each pass found, and of how many rows it made all products; ``fresh`` passes know of no former one."""
    k, d = centers.shape
    rows, labels = KMeansRows(x, weights), np.full(len(x), -1, np.int32)
    found, full = [], []
    for number in range(count):
        if fresh:
            rows = KMeansRows(x, weights)
        sums, held = np.empty((k, d)), np.empty(k)
        done = rows.step(centers, labels, sums, held)
        full.append(rows.full_rows)
        other = np.empty_like(labels)
        least = rows.assign(centers, other, number % 2 == 0)
        assert np.array_equal(labels, other)
        found.append(
            (done, labels.tobytes(), sums.tobytes(), held.tobytes(), None if least is None else least.tobytes())
        )
        centers = np.where(held[:, None] > 0, sums / np.maximum(held, 1e-300)[:, None], centers)
    return found, full


@pytest.mark.parametrize("isa", pn.available_isas())
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_bounds_change_no_bit(isa: str, kind: str, dtype: Any) -> None:
    if dtype == np.uint8 and kind in ("far", "huge", "tiny"):
        kind = "clouds"
    pn.set_isa(isa)
    for n, d, k in ((900, 150, 20), (700, 90, 21), (500, 33, 2), (400, 40, 9)):
        x, centers = data(kind, n, d, k, dtype)
        weights = np.random.default_rng(1).integers(0, 3, n).astype(np.float64) if k == 9 else None
        expected, all_full = passes(x, centers, weights, 12, fresh=True)
        found, full = passes(x, centers, weights, 12, fresh=False)
        for number, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert a == b, f"pass {number} of {(n, d, k)}"
        assert set(all_full) == {n}
        if kind == "clouds":
            assert min(full) < n / 2


def test_centres_of_another_number_or_far_away() -> None:
    x, centers = data("clouds", 600, 60, 12, np.float32)
    rows, labels = KMeansRows(x), np.full(600, -1, np.int32)
    sums, held = np.empty((12, 60)), np.empty(12)
    for c in (centers, centers, centers, -centers, centers[::-1].copy(), centers[:5], centers):
        k = len(c)
        rows.step(c, labels, sums[:k], held[:k])
        expected = ((x.astype(np.float64)[:, None] - c) ** 2).sum(axis=2).argmin(axis=1)
        np.testing.assert_array_equal(labels, expected)


def test_bounds_take_no_more_memory_than_the_rows() -> None:
    """With more centres than features of float32, all products are made in every pass."""
    x, centers = data("clouds", 500, 8, 9, np.float32)
    assert set(passes(x, centers, None, 8, fresh=False)[1]) == {500}


def test_bits_do_not_depend_on_threads_where_bounds_are_used() -> None:
    x, centers = data("clouds", 4000, 120, 30, np.float32)
    found = []
    for threads in (1, 2, 7):
        pn.set_num_threads(threads)
        r = kmeans(x, 30, init=centers, tol=0)
        found.append((r.centers.tobytes(), r.labels.tobytes(), r.inertia, [i[:3] for i in r.iterations]))
    assert found[0] == found[1] == found[2]
