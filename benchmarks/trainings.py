"""The trainings of the experiments, each network once: the steps of `pyneural run ID`, beside the same in PyTorch.

A job is named after the experiment that trains so: ``pyneural bench "trainings/ae-*"``. All libraries start from the
same weights and see the same batches; what they compute is compared after the timing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyneural.benchmarking import Job, case

from ._training import Chain, Training, job
from .step import imitate, pixels


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
    """784-units-784 without biases, trained by plain SGD in batches of 10 on half losses."""
    nets = (((784, units, activation), (units, 784, "")),)
    return Training(name, pixels, 10, nets, half_loss, "SGD", rate, (200, 2000), bias=False, goals={"torch": 2.0})


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
)


@case("trainings")
def trainings(quick: bool) -> Iterator[Job]:
    """Time per step of the experiments' trainings. MNIST where it is found (``PYNEURAL_DATA``)."""
    for training in TRAININGS:
        yield job(training, quick)
