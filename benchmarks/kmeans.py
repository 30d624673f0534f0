"""k-means on images: passes of Lloyd's iteration, and its start."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from pyneural import Generator
from pyneural.benchmarking import Job, Way, case

from ._training import images

PASSES = 20


@cache
def rows(quick: bool, kind: str) -> np.ndarray:
    """MNIST as rows: float32 in [0, 1], or bytes."""
    x = images()[0][: 10_000 if quick else None]
    return np.rint(255 * x).astype(np.uint8) if kind == "uint8" else x


def ours(x: np.ndarray, k: int) -> Any:
    from pyneural.learn import kmeans

    return lambda: kmeans(x, k, init=x[:k], max_iter=PASSES, tol=0).labels


def theirs(x: np.ndarray, k: int) -> Any:
    from sklearn.cluster import KMeans

    def run() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return KMeans(k, init=x[:k], n_init=1, max_iter=PASSES, tol=0, algorithm="lloyd").fit(x).labels_

    return run


def same_labels(a: np.ndarray, b: np.ndarray) -> str:
    """Rounding of sums in float32 moves the centres a little, and with them a few labels."""
    share = float((a != b).mean())
    return "" if share < 0.01 else f"{share:.1%} of the labels differ"


def start(library: str, x: np.ndarray, k: int) -> Any:
    def run() -> np.ndarray:
        if library == "pyneural":
            from pyneural.learn.lloyd import Rows, starting_centers

            return starting_centers(Rows(x), k, "k-means++", Generator(0))
        from sklearn.cluster import kmeans_plusplus

        return kmeans_plusplus(x, k, random_state=0)[0]

    return run


@case("kmeans")
def kmeans_jobs(quick: bool) -> Iterator[Job]:
    """20 passes from the same centres, rows of MNIST; sklearn converts bytes to float64. Then greedy k-means++."""
    for kind, k, goal in (("float32", 10, 3.5), ("float32", 100, 2.2), ("uint8", 10, 5.0)):
        x = rows(quick, kind)
        yield Job(
            f"{PASSES} passes, {kind}, k = {k}",
            {"pyneural": Way(lambda x=x, k=k: ours(x, k)), "sklearn": Way(lambda x=x, k=k: theirs(x, k))},
            flops=2.0 * x.size * k * PASSES,
            agrees=same_labels,
            goals={} if quick else {"sklearn": goal},
        )
    x = rows(quick, "float32")

    def as_good(a: np.ndarray, b: np.ndarray) -> str:
        from pyneural.learn.lloyd import nearest

        one, two = (float(nearest(x, c)[1].mean()) for c in (a, b))
        return "" if abs(one / two - 1) < 0.05 else f"inertia {one:.4g} against {two:.4g} per row"

    yield Job(
        "k-means++, k = 100",
        {n: Way(lambda n=n: start(n, x, 100)) for n in ("pyneural", "sklearn")},
        agrees=as_good,
        goals={} if quick else {"sklearn": 2.0},
    )
