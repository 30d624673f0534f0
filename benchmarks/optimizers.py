"""One update of an optimiser over the 1.6 million parameters of the 784-1024-2-1024-784 autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

from ._training import torch_like

SHAPES = ((1024, 784), (1024,), (2, 1024), (2,), (1024, 2), (1024,), (784, 1024), (784,))
COUNT = sum(int(np.prod(s)) for s in SHAPES)


def updating(name: str, compiled: bool = False, gone: int = 0, **options: Any) -> Any:
    """Adam's step with the gradients as they are, in pyneural or torch.

    With ``gone``, that many steps come before, every tenth gradient is 0 after the first one, and beta1 is 0.6: after
    250 steps those running means have decayed as far as they do.
    """
    lib = torch_like(name, fixed=False)
    rng = np.random.default_rng(0)
    parameters = [lib.nn.Parameter(lib.tensor(rng.uniform(-1, 1, s).astype(np.float32))) for s in SHAPES]
    for p in parameters:
        p.grad = lib.tensor(rng.uniform(-1, 1, tuple(p.shape)).astype(np.float32))
    optimizer = lib.optim.Adam(parameters, lr=1e-3, **{"betas": (0.6, 0.999)} if gone else {}, **options)

    def step() -> None:
        optimizer.step()

    if compiled:
        import pyneural as pn

        step = pn.compile(step)

    for k in range(gone):
        step()
        for p in parameters if k == 0 else ():
            p.grad.reshape(-1)[::10] = 0

    def run() -> Any:
        step()
        return parameters

    return run


def way(name: str, gone: int, compiled: bool = False, **options: Any) -> Way:
    # What is compared is made of few steps, whose roundings do not add up.
    return Way(
        lambda: updating(name, compiled, gone, **options),
        check=lambda: updating(name, compiled, min(gone, 5), **options),
    )


@case("optimizer")
def optimizer(quick: bool) -> Iterator[Job]:
    """Adam reads and writes 28 bytes for each parameter: w, m and v both ways, g once."""
    import pyneural as pn

    for name, gone in (("Adam, 1.6 M parameters", 0), ("Adam, a tenth of the gradients gone", 250)):
        ways = {"pyneural compiled": way("pyneural", gone, compiled=True)} if hasattr(pn, "compile") else {}
        ways |= {
            "pyneural eager": way("pyneural", gone),
            "torch fused": way("torch", gone, fused=True),
            "torch": way("torch", gone),
        }
        yield Job(name, ways, step="step", bytes=28.0 * COUNT, goals={"torch fused": 1.4})
