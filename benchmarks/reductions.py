"""Sums and the softmax, along both axes of a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

SHAPES = ((1000, 800), (64, 10))


def matrix(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).uniform(-3, 3, shape).astype(np.float32)


def ours(name: str, axis: int, shape: tuple[int, int]) -> Any:
    import pyneural as pn

    op, x = getattr(pn, name), pn.from_numpy(matrix(shape))
    return lambda: op(x, axis)


def in_torch(name: str, axis: int, shape: tuple[int, int]) -> Any:
    import torch

    op, x = getattr(torch, name), torch.from_numpy(matrix(shape))
    return lambda: op(x, axis)


def in_numpy(name: str, axis: int, shape: tuple[int, int]) -> Any:
    x = matrix(shape)
    if name == "softmax":

        def softmax() -> np.ndarray:
            e = np.exp(x - x.max(axis, keepdims=True))
            return e / e.sum(axis, keepdims=True)

        return softmax
    op = {"sum": np.sum, "amax": np.max, "logsumexp": np.logaddexp.reduce}[name]
    return lambda: op(x, axis)


@case("reductions")
def reductions(quick: bool) -> Iterator[Job]:
    """float32, 1000x800 (in cache) and 64x10 (the scores of a batch). Axis 0 adds rows, axis 1 adds within rows."""
    for shape in SHAPES:
        for name, axis in (("sum", 0), ("sum", 1), ("amax", 1), ("softmax", 1), ("logsumexp", 1)):
            where = (name, axis, shape)
            size = 4.0 * shape[0] * shape[1]
            yield Job(
                f"{name} axis {axis}, {shape[0]}x{shape[1]}",
                {
                    "pyneural": Way(lambda w=where: ours(*w)),
                    "torch": Way(lambda w=where: in_torch(*w)),
                    "numpy": Way(lambda w=where: in_numpy(*w)),
                },
                bytes=(2 * size if name == "softmax" else size) if size > 2**16 else 0.0,
                roof="copy" if name == "softmax" else "read",
            )
