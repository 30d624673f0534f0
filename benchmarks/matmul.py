"""Matrix products at training shapes: the forward product of a linear layer and its two backward forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

#: (batch, outputs, inputs); the last one is the square product that libraries are usually judged by.
SHAPES = ((64, 1024, 784), (64, 128, 784), (600, 400, 784), (2048, 2048, 2048))


def operands(form: str, batch: int, outputs: int, inputs: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """The two factors of one form, with the strides that they have in training: transposed ones are views."""
    rng = np.random.default_rng(0)
    x, w, g = (rng.uniform(-1, 1, s).astype(dtype) for s in ((batch, inputs), (outputs, inputs), (batch, outputs)))
    return {"forward": (x, w.T), "dX": (g, w), "dW": (g.T, x)}[form]


def ours(*where: Any) -> Any:
    import pyneural as pn

    a, b = (pn.from_numpy(m) for m in operands(*where))
    return lambda: a @ b


def in_numpy(*where: Any) -> Any:
    a, b = operands(*where)
    return lambda: a @ b


def in_torch(*where: Any) -> Any:
    import torch

    a, b = (torch.from_numpy(m) for m in operands(*where))
    return lambda: a @ b


@case("matmul")
def matmul(quick: bool) -> Iterator[Job]:
    """x W^T, g W and g^T x in float32, and the square product in float64 as well."""
    for batch, outputs, inputs in SHAPES[: 3 if quick else 4]:
        square = batch == outputs == inputs
        for form in ("forward",) if square else ("forward", "dX", "dW"):
            for dtype in ("float32", "float64") if square else ("float32",):
                where = (form, batch, outputs, inputs, dtype)
                yield Job(
                    f"{batch}x{outputs}x{inputs} {form}" + (" f64" if dtype == "float64" else ""),
                    {
                        "pyneural": Way(lambda w=where: ours(*w)),
                        "torch": Way(lambda w=where: in_torch(*w)),
                        "numpy": Way(lambda w=where: in_numpy(*w)),
                    },
                    flops=2.0 * batch * outputs * inputs,
                    dtype=dtype,
                    goals={"torch": 1.5, "numpy": 1.5, "roof": 0.8 if form == "forward" and not square else 0.85},
                )
