"""The trainings of the experiments, each network once: the steps of `pyneural run ID`, beside the same in PyTorch.

A job is named after the experiment that trains so: ``pyneural bench "trainings/ae-*"``. All libraries start from the
same weights and see the same batches; what they compute is compared after the timing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, case

from ._training import Chain, Training, images, job
from .step import DECODER, ENCODER, classify, imitate, pixels, variational


@cache
def few() -> tuple[np.ndarray, np.ndarray]:
    """8,000 images and their classes: a step takes as long on digits as on clothes."""
    x, y = images()
    return x[:8000], y[:8000]


@cache
def few_pixels() -> tuple[np.ndarray, np.ndarray]:
    """8,000 images as inputs and as targets."""
    return few()[0], few()[0]


@cache
def features() -> tuple[np.ndarray, np.ndarray]:
    """8,000 rows of 32 numbers, and classes."""
    x = np.random.default_rng(0).standard_normal((8000, 32)).astype(np.float32)
    return x, np.argmax(x[:, :10], axis=1)


def half_loss(lib: Any, nets: Any, x: Any, y: Any) -> Any:
    """Half the squared distance of an image to its reconstruction, on average over the batch."""
    return lib.squares(nets[0](x), y) / (2 * x.shape[0])


def wide(activation: str) -> tuple[Chain, ...]:
    """784-1024-2-1024-784 with a sigmoid at the end."""
    down, up = ((784, 1024, activation), (1024, 2, "")), ((2, 1024, activation), (1024, 784, "sigmoid"))
    return (down + up,)


def autoencoder(name: str, nets: tuple[Chain, ...], steps: tuple[int, int], goal: float, **how: Any) -> Training:
    """One that is trained by Adam in batches of 128 on the mean squared error."""
    return Training(name, pixels, 128, nets, imitate, "Adam", 1e-3, steps, tolerance=2e-3, goals={"torch": goal}, **how)


def narrow(name: str, units: int, activation: str, rate: float) -> Training:
    """784-units-784 without biases, trained by plain SGD in batches of 50 on half losses."""
    nets = (((784, units, activation), (units, 784, "")),)
    return Training(name, pixels, 50, nets, half_loss, "SGD", rate, (100, 1000), bias=False, goals={"torch": 2.0})


def weighted(lib: Any, nets: Any, x: Any, y: Any) -> Any:
    """Squared error per pixel after sampling, plus half the divergence per dimension of the code."""
    encoder, means, log_variances, decoder = nets
    h = encoder(x)
    mean, log_variance = means(h), log_variances(h)
    seen = decoder(mean + lib.exp(0.5 * log_variance) * lib.randn(*mean.shape))
    divergence = 0.5 * (mean * mean + lib.exp(log_variance) - 1 - log_variance)
    return lib.mse(seen, y) + 0.5 * divergence.mean()


def chain(sizes: tuple[int, ...], activation: str) -> Chain:
    """Layers of these sizes with the activation after all but the last."""
    last = len(sizes) - 2
    return tuple((a, b, activation if i < last else "") for i, (a, b) in enumerate(pairwise(sizes)))


def classifier(name: str, activation: str, batch: int, rate: float, goal: float = 2.0) -> Training:
    """784-128-64-32-10 on 8,000 images."""
    nets = (chain((784, 128, 64, 32, 10), activation),)
    return Training(name, few, batch, nets, classify, "Adam", rate, (100, 500), tolerance=2e-3, goals={"torch": goal})


CODE = (((784, 30, ""),), ((30, 30, ""),), ((30, 30, ""),), ((30, 784, "tanh"),))
BACK = (784, 128, 64, 32, 64, 128, 784)

TRAININGS = (
    autoencoder("ae-bottleneck-2: 784-2-784", (((784, 2, ""), (2, 784, "sigmoid")),), (50, 400), 2.0),
    autoencoder("ae-relu-1024: 784-1024-2-1024-784", wide("relu"), (10, 20), 2.0),
    autoencoder("ae-linear-1024: the same without activation", wide(""), (10, 20), 2.0),
    autoencoder("ae-sigmoid-1024: the same with sigmoid, weight decay", wide("sigmoid"), (10, 20), 2.0, decay=1e-5),
    autoencoder("ae-bottleneck-30-tanh: 784-30-784", (((784, 30, ""), (30, 784, "tanh")),), (50, 200), 2.0),
    narrow("ae-activation-grid: 784-25-784 ReLU", 25, "relu", 0.005),
    narrow("ae-activation-grid: 784-50-784 sigmoid", 50, "sigmoid", 0.005),
    narrow("ae-activation-grid: 784-100-784 tanh", 100, "tanh", 0.01),
    narrow("ae-small-bottleneck: 784-5-784 identity", 5, "", 0.005),
    Training(
        "vae-kld-weight: 784-30-30-784", pixels, 128, CODE, weighted, "Adam", 1e-3, (50, 200), noise=True,
        tolerance=2e-3, goals={"torch": 2.0},
    ),
    Training(
        "vae-unit-variance: 784-400-200-40-400-784", pixels, 600, (ENCODER, DECODER), variational, "Adam", 1e-3,
        (10, 20), noise=True, tolerance=2e-3, goals={"torch": 2.0},
    ),
    classifier("mlp-activations: 784-128-64-32-10 ReLU", "relu", 128, 2e-5),
    classifier("mlp-activations: the same with sigmoid", "sigmoid", 128, 2e-5),
    classifier("mlp-grid-search: the same with ReLU, batch 32", "relu", 32, 2e-4),
    Training(
        "autoencode-regenerate: 784-128-64-32-64-128-784", few_pixels, 128, (chain(BACK, "relu"),), imitate, "Adam",
        2e-4, (50, 300), tolerance=2e-3, goals={"torch": 2.0},
    ),
    Training(
        "latent-features-classifier: 32-32-32-10", features, 128, (chain((32, 32, 32, 10), "relu"),), classify, "Adam",
        2e-4, (200, 2000), tolerance=2e-3, goals={"torch": 2.0},
    ),
)  # fmt: skip


@case("trainings")
def trainings(quick: bool) -> Iterator[Job]:
    """Time per step of the experiments' trainings. MNIST where it is found (``PYNEURAL_DATA``)."""
    for training in TRAININGS:
        yield job(training, quick)
