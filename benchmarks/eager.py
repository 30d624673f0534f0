"""What one eager op costs when there is next to nothing to compute: 1,000 calls of a tiny op in a Python loop."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

CALLS = 1000


def loop(call: Any) -> Any:
    """A run of CALLS calls that gives the last result."""

    def run() -> Any:
        y = None
        for _ in repeat(None, CALLS):
            y = call()
        return y

    return run


def prepare(library: Any, tensor: Any, what: str) -> Any:
    """The call to time, for any library with PyTorch's names; `tensor` makes its tensors of NumPy arrays."""
    rng = np.random.default_rng(0)
    x, w = (tensor(rng.uniform(0.5, 1.5, s).astype(np.float32)) for s in ((4, 4), (4, 4)))
    if what != "x * x, no gradient":
        x.requires_grad_()
    if what == "x * x, scalar":
        x = tensor(np.array(1.5, np.float32)).requires_grad_()
    if what == "linear":
        linear = library.nn.functional.linear if hasattr(library.nn, "functional") else library.functional.linear
        return lambda: linear(x, w)
    if what == "exp":
        return lambda: library.exp(x)
    if what == "x * x, backward":
        one = tensor(np.ones((4, 4), np.float32))

        def forward_and_back() -> Any:
            x.grad = None
            (x * x).backward(one)
            return x.grad

        return forward_and_back
    return lambda: x * x


def ours(what: str) -> Any:
    import pyneural as pn

    return loop(prepare(pn, pn.tensor, what))


def in_torch(what: str) -> Any:
    import torch

    return loop(prepare(torch, torch.from_numpy, what))


@case("eager")
def eager(quick: bool) -> Iterator[Job]:
    """Gradients are recorded unless the name says otherwise; 4x4 but for the scalar."""
    for what in ("x * x", "x * x, no gradient", "x * x, scalar", "exp", "linear", "x * x, backward"):
        yield Job(
            what,
            {
                "pyneural": Way(lambda w=what: ours(w), steps=CALLS),
                "torch": Way(lambda w=what: in_torch(w), steps=CALLS),
            },
            goals={"torch": 1.0},
        )
