"""Products of float32 operands in bfloat16: ours and PyTorch's autocast, both of which round the operands each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

#: (batch, outputs, inputs) of the linear layer.
SHAPES = ((64, 1024, 784), (64, 128, 784), (64, 784, 1024), (600, 400, 784), (2048, 2048, 2048))
CALLS = 4  # within one autocast block, which a training step enters once for all its layers
#: Both operands are rounded to 8 bits, by at most 2^-9 each, and PyTorch rounds the result to 8 bits as well. Held
#: against the largest result, of hundreds of products whose errors have either sign.
TOLERANCE = 2.0**-8


def operands(batch: int, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """x (batch, inputs) and weight (outputs, inputs), uniform in [-1, 1)."""
    rng = np.random.default_rng(0)
    x, w = (rng.uniform(-1, 1, s).astype(np.float32) for s in ((batch, inputs), (outputs, inputs)))
    return x, w


def repeated(call: Callable[[], Any], block: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with block():
            for _ in range(CALLS):
                result = call()
        return result

    return run


def ours(shape: tuple[int, int, int], enabled: bool) -> Any:
    import pyneural as pn

    x, w = (pn.from_numpy(a) for a in operands(*shape))
    return repeated(lambda: pn.functional.linear(x, w), lambda: pn.autocast(enabled))


def in_torch(shape: tuple[int, int, int], enabled: bool, dtype: str = "float32") -> Any:
    import torch

    x, w = (torch.from_numpy(a).to(getattr(torch, dtype)) for a in operands(*shape))
    linear = torch.nn.functional.linear
    return repeated(lambda: linear(x, w), lambda: torch.autocast("cpu", torch.bfloat16, enabled=enabled))


def way(make: Callable[..., Any], *how: Any) -> Way:
    def check() -> Any:
        run = make(*how)
        return lambda: run().float()  # NumPy has no bfloat16

    return Way(lambda: make(*how), CALLS, check)


@case("bf16")
def bf16(quick: bool) -> Iterator[Job]:
    """x W^T of float32 operands; "torch bf16 operands" does less, as its operands were rounded beforehand."""
    for shape in SHAPES[: 4 if quick else 5]:
        batch, outputs, inputs = shape
        yield Job(
            f"{batch}x{outputs}x{inputs} autocast",
            {
                "pyneural autocast": way(ours, shape, True),
                "torch autocast": way(in_torch, shape, True),
                "torch bf16 operands": way(in_torch, shape, False, "bfloat16"),
                "torch float32": way(in_torch, shape, False),
                "pyneural float32": way(ours, shape, False),
            },
            flops=2.0 * batch * outputs * inputs,
            dtype="",  # the peak of bfloat16 multiply-adds is not measured
            tolerance=TOLERANCE,
            goals={"torch autocast": 1.3},
        )
