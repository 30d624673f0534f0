"""Whole training steps: gather, forward, loss, backward, optimiser, in the setting in which people train."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, case

from ._training import Training, images, job


@cache
def pixels() -> tuple[np.ndarray, np.ndarray]:
    """The images as inputs and as targets."""
    return images()[0], images()[0]


@cache
def points() -> tuple[np.ndarray, np.ndarray]:
    """100,000 points of the plane, labelled 1 inside a circle."""
    x = np.random.default_rng(0).uniform(-1, 1, (100_000, 2)).astype(np.float32)
    return x, (np.sum(x * x, 1, keepdims=True) < 0.5).astype(np.float32)


@cache
def curves() -> tuple[np.ndarray, np.ndarray]:
    """10,000 rows of four numbers and four smooth functions of them."""
    x = np.random.default_rng(0).uniform(-1, 1, (10_000, 4)).astype(np.float32)
    return x, np.sin(2 * x[:, ::-1]) * x


def classify(lib: Any, nets: Any, x: Any, y: Any) -> Any:
    return lib.cross_entropy(nets[0](x), y)


def imitate(lib: Any, nets: Any, x: Any, y: Any) -> Any:
    return lib.mse(nets[0](x), y)


def variational(lib: Any, nets: Any, x: Any, y: Any) -> Any:
    """Squared error after sampling with unit variance, plus the divergence from N(0, I): half the squared mean."""
    encoder, decoder = nets
    mean = encoder(x)
    seen = decoder(mean + lib.randn(*mean.shape))
    return (lib.squares(seen, y) + 0.5 * (mean * mean).sum()) / x.shape[0]


TINY = ((4, 32, "tanh"), (32, 16, "tanh"), (16, 4, ""))
AUTOENCODER = ((784, 1024, "relu"), (1024, 2, ""), (2, 1024, "relu"), (1024, 784, "sigmoid"))
ENCODER = ((784, 400, "relu"), (400, 200, "relu"), (200, 40, "relu"))
DECODER = ((40, 400, "relu"), (400, 784, "sigmoid"))

TRAININGS = (
    Training(
        "784-128-10, batch 64, SGD", images, 64, (((784, 128, "relu"), (128, 10, "")),), classify,
        "SGD", 0.1, (100, 900), goals={"torch": 3.4, "jax scan": 1.7},
    ),
    Training(
        "784-1024-2-1024-784, batch 64, Adam", pixels, 64, (AUTOENCODER,), imitate,
        "Adam", 1e-3, (20, 40), tolerance=2e-3, goals={"torch": 2.4, "jax scan": 1.3},
    ),
    Training(
        "784-400-200-40 variational, batch 600, Adam", pixels, 600, (ENCODER, DECODER), variational,
        "Adam", 1e-3, (10, 20), noise=True, tolerance=2e-3, goals={"torch": 2.2},
    ),
    Training(
        "2-3-1 sigmoid, row by row, SGD", points, 1, (((2, 3, "sigmoid"), (3, 1, "sigmoid")),), imitate,
        "SGD", 0.5, (200, 100_000), check_steps=200, goals={"torch": 1500.0, "jax scan": 1.0},
    ),
    Training(
        "4-32-16-4 tanh, batch 32, Adam", curves, 32, (TINY,), imitate,
        "Adam", 1e-2, (200, 6000), tolerance=2e-3, goals={"torch": 30.0, "jax scan": 1.7},
    ),
    Training(
        "4-32-16-4 tanh, all 10,000 rows, Adam", curves, 10_000, (TINY,), imitate,
        "Adam", 1e-2, (20, 20), gathers=False, tolerance=2e-3, goals={"torch": 2.0, "jax scan": 1.2},
    ),
)  # fmt: skip


@case("step")
def step(quick: bool) -> Iterator[Job]:
    """Time per step. MNIST where it is found (``PYNEURAL_DATA``), else random numbers of its shape."""
    for training in TRAININGS:
        yield job(training, quick)
