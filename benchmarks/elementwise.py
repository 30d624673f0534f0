"""Elementwise ops on 800,000 numbers, out of their records: the NumPy side is the record's own reference; and choices
by a mask."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case
from pyneural.ops.record import RECORDS

COUNT = 800_000
#: Op, and the range of its inputs.
OPS = {
    "exp": (-10, 10), "log": (0.01, 100), "tanh": (-4, 4), "sigmoid": (-10, 10), "erf": (-3, 3), "relu": (-1, 1),
    "add": (-1, 1), "mul": (-1, 1),
}  # fmt: skip
#: References that loop in Python or go through lists of numbers are there to be read, not raced.
READABLE = ("erf",)
DROPPED = 0.5


def inputs(name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    low, high = OPS.get(name, (0.5, 1.0))
    return [rng.uniform(low, high, COUNT).astype(np.float32) for _ in RECORDS[name].inputs]


def ours(name: str) -> Any:
    import pyneural as pn

    op, values = getattr(pn, name), [pn.from_numpy(x) for x in inputs(name)]
    return lambda: op(*values)


def in_numpy(name: str) -> Any:
    op, values = RECORDS[name].reference, inputs(name)
    return lambda: op(*values)


def in_torch(name: str) -> Any:
    import torch

    op, values = getattr(torch, name), [torch.from_numpy(x) for x in inputs(name)]
    return lambda: op(*values)


def masked(library: Any, array: Any, what: str) -> Any:
    """A run of where(mask, a, b), a[mask] or nonzero(mask), with a random mask, half of it true."""
    rng = np.random.default_rng(0)
    mask, a, b = (array(v) for v in (rng.random(COUNT) < 0.5, *rng.uniform(-1, 1, (2, COUNT)).astype(np.float32)))
    return {
        "where": lambda: library.where(mask, a, b),
        "a[mask]": lambda: a[mask],
        "nonzero": lambda: np.asarray(library.nonzero(mask)).reshape(-1),
    }[what]


def masked_in_ours(what: str) -> Any:
    import pyneural as pn

    return masked(pn, pn.from_numpy, what)


def masked_in_torch(what: str) -> Any:
    import torch

    return masked(torch, torch.from_numpy, what)


def dropout_ours() -> Any:
    import pyneural as pn

    x = pn.ones(COUNT)
    return lambda: pn.dropout(x, DROPPED)


def dropout_in_torch() -> Any:
    import torch

    x = torch.ones(COUNT)
    return lambda: torch.nn.functional.dropout(x, DROPPED)


def a_dropout(_: Any, result: Any) -> str:
    """Two libraries draw different masks: what must hold is the share of zeros and the value of the rest."""
    y = np.asarray(result)
    share, rest = float(np.mean(y == 0)), np.unique(y[y != 0])
    if abs(share - DROPPED) > 5 * np.sqrt(DROPPED * (1 - DROPPED) / COUNT):
        return f"{share:.4f} of the values are 0"
    return "" if np.array_equal(rest, [np.float32(1 / (1 - DROPPED))]) else f"the others are {rest[:3]}"


@case("elementwise")
def elementwise(quick: bool) -> Iterator[Job]:
    """float32. The roof is a copy of as many bytes as the op reads and writes."""
    for name in OPS:
        ways = {"pyneural": Way(lambda n=name: ours(n)), "torch": Way(lambda n=name: in_torch(n))}
        if name not in READABLE:
            ways["numpy"] = Way(lambda n=name: in_numpy(n))
        yield Job(f"{name} 800k", ways, bytes=4.0 * COUNT * (len(RECORDS[name].inputs) + 1), tolerance=1e-6)
    for what in ("where", "a[mask]", "nonzero"):
        ways = {
            "pyneural": Way(partial(masked_in_ours, what)),
            "torch": Way(partial(masked_in_torch, what)),
            "numpy": Way(partial(masked, np, np.asarray, what)),
        }
        yield Job(f"{what} 800k, a random mask", ways)
    yield Job(
        "dropout 800k",
        {"pyneural": Way(dropout_ours), "torch": Way(dropout_in_torch)},
        bytes=8.0 * COUNT,
        agrees=a_dropout,
    )
