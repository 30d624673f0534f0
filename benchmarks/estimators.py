"""Estimators beside scikit-learn's: an epoch of a perceptron, principal components."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

from ._training import images


def perceptron(library: str, x: np.ndarray, y: np.ndarray) -> Any:
    if library == "pyneural":
        from pyneural.estimators import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier

    def run() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            e = MLPClassifier((128,), batch_size=64, max_iter=1, random_state=0).fit(x, y)
        return np.array([e.score(x[:1000], y[:1000])])

    return run


def components(library: str, x: np.ndarray) -> Any:
    if library == "pyneural":
        from pyneural.estimators import PCA
    else:
        from sklearn.decomposition import PCA
    return lambda: PCA(50, random_state=0).fit(x).explained_variance_


def as_accurate(a: np.ndarray, b: np.ndarray) -> str:
    return "" if abs(a[0] - b[0]) < 0.03 else f"accuracy {a[0]:.3f} against {b[0]:.3f}"


@case("estimators")
def estimators(quick: bool) -> Iterator[Job]:
    """MLPClassifier 784-128-10, one epoch with batches of 64; PCA to 50 components; float32 rows of MNIST."""
    x, y = images()
    x, y = (x[:10_000], y[:10_000]) if quick else (x, y)
    yield Job(
        "MLPClassifier, an epoch",
        {n: Way(lambda n=n: perceptron(n, x, y)) for n in ("pyneural", "sklearn")},
        agrees=as_accurate,
        goals={} if quick else {"sklearn": 5.0},
    )
    yield Job(
        "PCA, 50 components",
        {n: Way(lambda n=n: components(n, x)) for n in ("pyneural", "sklearn")},
        tolerance=1e-3,
        goals={} if quick else {"sklearn": 1.0},
    )
