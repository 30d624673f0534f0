"""LeNet-5 on MNIST, ten epochs, as a user waits for it: from the start of the interpreter to the trained network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from pyneural.benchmarking import Job, Way, case

from .conv import classified, lenet, train

ROWS = 60_000


def train_here(name: str, epochs: int, loader: bool) -> None:
    """What the process does. The images are read by pyneural, for either library."""
    train(name, epochs * ROWS, 64, False, lenet, classified, "Adam", 1e-3, loader=loader)()


def training(name: str, epochs: int, loader: bool = False) -> Any:
    """Seconds of an interpreter of its own that trains with as many threads as we have here."""

    def run() -> float:
        import pyneural as pn

        threads = str(pn.get_num_threads())
        code = f"from {__name__} import train_here; train_here({name!r}, {epochs}, {loader})"
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": threads, "PYNEURAL_NUM_THREADS": threads},
        )
        return time.perf_counter() - start

    return run


@case("lenet")
def whole_job(quick: bool) -> Iterator[Job]:
    """Batches of 64, Adam; PyTorch indexes its tensors, or goes through its DataLoader. Takes about seven minutes.

    `pyneural bench conv` compares the results of the same training.
    """
    epochs = 1 if quick else 10
    ways = {
        "pyneural": Way(lambda: training("pyneural", epochs)),
        "torch": Way(lambda: training("torch", epochs)),
        "torch DataLoader": Way(lambda: training("torch", epochs, loader=True)),
    }
    yield Job(f"LeNet-5 on MNIST, epochs: {epochs}", ways, step="job", measures="s", goals={"torch": 8.0})
