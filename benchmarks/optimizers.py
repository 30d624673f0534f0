"""One update of an optimiser over the 1.6 million parameters of the 784-1024-2-1024-784 autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

from ._training import torch_like

SHAPES = ((1024, 784), (1024,), (2, 1024), (2,), (1024, 2), (1024,), (784, 1024), (784,))
COUNT = sum(int(np.prod(s)) for s in SHAPES)


def updating(name: str, compiled: bool = False, gone: bool = False, **options: Any) -> Any:
    """Adam's step with the gradients as they are, in pyneural or torch.

    With ``gone``, every tenth gradient is 0 after the first step and beta1 is 0.5: 150 steps later those running means
    have decayed as far as they do.
    """
    lib = torch_like(name, fixed=False)
    rng = np.random.default_rng(0)
    parameters = [lib.nn.Parameter(lib.tensor(rng.uniform(-1, 1, s).astype(np.float32))) for s in SHAPES]
    for p in parameters:
        p.grad = lib.tensor(rng.uniform(-1, 1, tuple(p.shape)).astype(np.float32))
    optimizer = lib.optim.Adam(parameters, lr=1e-3, **{"betas": (0.5, 0.999)} if gone else {}, **options)

    def step() -> None:
        optimizer.step()

    if compiled:
        import pyneural as pn

        step = pn.compile(step)

    for k in range(150 if gone else 0):
        step()
        for p in parameters if k == 0 else ():
            p.grad.reshape(-1)[::10] = 0

    def run() -> Any:
        step()
        return parameters

    return run


def way(*args: Any, **options: Any) -> Way:
    return Way(lambda: updating(*args, **options), check=lambda: updating(*args, **options))


@case("optimizer")
def optimizer(quick: bool) -> Iterator[Job]:
    """Adam reads and writes 28 bytes for each parameter: w, m and v both ways, g once."""
    import pyneural as pn

    for name, gone in (("Adam, 1.6 M parameters", False), ("Adam, a tenth of the gradients gone", True)):
        ways = {"pyneural compiled": way("pyneural", compiled=True, gone=gone)} if hasattr(pn, "compile") else {}
        ways |= {
            "pyneural eager": way("pyneural", gone=gone),
            "torch fused": way("torch", fused=True, gone=gone),
            "torch": way("torch", gone=gone),
        }
        yield Job(name, ways, step="step", bytes=28.0 * COUNT, goals={"torch fused": 1.4})
