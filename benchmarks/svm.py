"""Support vector classification of images: fitting and predicting."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

from ._training import images

TEST = 5000


@cache
def parts(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first n images as rows in [0, 1], their labels, and the last 5,000 images of the training set."""
    x, y = images()
    return x[:n], y[:n], x[-TEST:]


def classifier(library: str) -> Any:
    if library == "pyneural":
        from pyneural.estimators import SVC

        return SVC(decision_function_shape="ovo")
    from sklearn.svm import SVC as Theirs

    return Theirs(decision_function_shape="ovo")


def fitting(library: str, n: int) -> Any:
    x, y, test = parts(n)
    return lambda: classifier(library).fit(x, y).decision_function(test[:200])


def predicting(library: str, n: int) -> Any:
    x, y, test = parts(n)
    machine = classifier(library).fit(x, y)
    return lambda: machine.decision_function(test)


def agree(ours: Any, theirs: Any) -> str:
    """Decision values: each is within the solvers' tolerance of 0.001 of the best one, and kernels add up."""
    off = float(np.abs(ours - theirs).max())
    return "" if off < 5e-3 else f"decision values differ by {off:.2g}"


@case("svm")
def svm(quick: bool) -> Iterator[Job]:
    """SVC with its default Gaussian kernel on rows of MNIST (float32): 10 classes, 45 machines."""
    n = 2000 if quick else 10_000
    for name, make, goal in (("fit", fitting, 3.0), ("decide 5,000", predicting, 10.0)):
        yield Job(
            f"SVC on {n:,} rows, {name}",
            {
                "pyneural": Way(lambda make=make: make("pyneural", n)),
                "sklearn": Way(lambda make=make: make("sklearn", n)),
            },
            agrees=agree,
            goals={} if quick else {"sklearn": goal},
        )
