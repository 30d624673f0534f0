"""Capture time: what the first calls of a compiled training step take, until the next one runs compiled."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case, difference

from ._training import Training, in_jax, looping, prepare, torch_like
from .step import classify

MOST_CALLS = 10
IN_A_ROW = 9  # captures; what a peer's compiler has left in the caches of the CPU slows the first ones


@cache
def rows() -> tuple[np.ndarray, np.ndarray]:
    """One batch of 64 rows as wide as MNIST's, with labels."""
    rng = np.random.default_rng(0)
    return rng.random((64, 784), np.float32), rng.integers(0, 10, 64)


WIDTHS = (784, *[32] * 9, 10)
LAYERS = tuple((i, o, "relu" if o == 32 else "") for i, o in pairwise(WIDTHS))
#: Narrow, so that the calls themselves, of which ours needs three, weigh little beside recording and compiling.
TRAINING = Training(
    "10 layers, 784-32-...-32-10, batch 64, Adam", rows, 64, (LAYERS,), classify, "Adam", 1e-3, (1, 1),
    gathers=False, tolerance=2e-3,
)  # fmt: skip


def capturing(eager: bool = False) -> Any:
    """Calls of a fresh compiled step until it has a program; with `eager`, as many calls of the step as it is.

    The median of a few captures in a row, each of a fresh model.
    """
    import pyneural as pn

    lib = torch_like("pyneural", False)
    x, y = (lib.tensor(a) for a in rows())

    def calls_needed() -> tuple[int, float]:
        step, _ = prepare(TRAINING, lib)
        compiled = pn.compile(step)
        start = time.perf_counter()
        for n in range(1, MOST_CALLS + 1):
            compiled(x, y)
            if compiled.programs:
                return n, time.perf_counter() - start
        raise RuntimeError(f"no program after {MOST_CALLS} calls: {compiled.misses}")

    if not eager:
        return lambda: median(calls_needed()[1] for _ in range(IN_A_ROW))
    calls, _ = calls_needed()

    def once() -> float:
        step, _ = prepare(TRAINING, lib)
        return timed(lambda: [step(x, y) for _ in range(calls)])

    return lambda: median(once() for _ in range(IN_A_ROW))


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def torch_compiling() -> Any:
    """The first call of a fresh compiled loss: both passes are then compiled. Nothing comes from a cache on disk."""
    from torch._inductor import config

    def run() -> float:
        step = looping(TRAINING, 1, False, "torch", compiled=True, fused=True)
        with config.patch(force_disable_caches=True), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it has no caches
            return timed(step)

    run()  # loads the compiler, or says why there is none
    return run


def jax_compiling() -> Any:
    """The first call of a fresh jitted step."""

    def run() -> float:
        return timed(in_jax(TRAINING, 1, False, scan=False))

    run()
    return run


@case("capture")
def capture(quick: bool) -> Iterator[Job]:
    """From a fresh model. Beside ours stands what its calls take without being recorded."""

    def checked(make: Callable[[], Any], trained: Callable[..., Any], **how: Any) -> Way:
        return Way(make, check=lambda: trained(TRAINING, TRAINING.check_steps, False, **how))

    yield Job(
        TRAINING.name,
        {
            "pyneural compiled": checked(capturing, looping, name="pyneural", compiled=True),
            "pyneural eager": checked(lambda: capturing(eager=True), looping, name="pyneural"),
            "torch-compile": checked(torch_compiling, looping, name="torch", compiled=True, fused=True),
            "jax jit": checked(jax_compiling, in_jax, scan=False),
        },
        step="capture",
        measures="s",
        goals={"most": 5e-3},
        agrees=lambda a, b: difference(a, b, TRAINING.tolerance, overall=True),
    )
