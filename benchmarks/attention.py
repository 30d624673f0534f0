"""Attention and a transformer's encoder layer, forward and backward, beside PyTorch: time and memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Unavailable, Way, case


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def modules(library: str) -> tuple[Any, Any, Any]:
    """The library, its layers, and its tensors from arrays."""
    if library == "torch":
        import torch

        return torch, torch.nn, torch.from_numpy
    import pyneural
    from pyneural import nn

    return pyneural, nn, pyneural.from_numpy


def attending(library: str, shape: tuple[int, ...], backward: bool, options: dict[str, Any]) -> Any:
    """A run of attention among heads (N, heads, length, size)."""
    lib, nn, tensor = modules(library)
    q, k, v, g = (tensor(4 * values(*shape, seed=i)) for i in range(4))

    def forward() -> Any:
        with lib.no_grad():
            return nn.functional.scaled_dot_product_attention(q, k, v, **options)

    def both() -> Any:
        for t in (q, k, v):
            t.grad = None
        nn.functional.scaled_dot_product_attention(q, k, v, **options).backward(g)
        return [t.grad for t in (q, k, v)]

    if not backward:
        return forward
    for t in (q, k, v):
        t.requires_grad_()
    return both


def encoding(library: str, feedforward: int, dropout: float) -> Any:
    """A run of an encoder layer of 4 heads, size 64, on 32 sequences of 64; ours is replayed."""
    lib, nn, tensor = modules(library)
    layer = nn.TransformerEncoderLayer(64, 4, feedforward, dropout, batch_first=True)
    for i, p in enumerate(layer.parameters()):
        p.data = tensor(values(*p.shape, seed=i) * (p.shape[-1] ** -0.5 if p.ndim > 1 else 1))
    x, g = tensor(values(32, 64, 64)), tensor(values(32, 64, 64, seed=1))
    x.requires_grad_()
    kept = (x, *layer.parameters())

    def step() -> Any:
        for t in kept:
            t.grad = None
        y = layer(x)
        y.backward(g)
        return y.detach()

    def run() -> Any:
        y = done()
        return [y, *[t.grad for t in kept]]

    done = step if library == "torch" else lib.compile(step)
    return run


MEMORY = """
import re
import numpy as np
{imports}
def attend(n):
    given = [{tensor}(np.ones((1, 4, n, 16), np.float32)).requires_grad_() for _ in range(3)]
    y = {attention}(*given)
    y.backward({tensor}(np.ones((1, 4, n, 16), np.float32)))
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
before = attend(64)
print(attend({length}) - before)
"""
LIBRARIES = {
    "pyneural": {
        "imports": "import pyneural as pn",
        "tensor": "pn.from_numpy",
        "attention": "pn.functional.scaled_dot_product_attention",
    },
    "torch": {
        "imports": "import torch",
        "tensor": "torch.from_numpy",
        "attention": "torch.nn.functional.scaled_dot_product_attention",
    },
}


def memory(library: str, length: int) -> Any:
    """Bytes that the peak of a fresh process grows by when it attends, forward and backward."""
    if not Path("/proc/self/status").exists():  # getrusage's peak counts the process that started this one
        raise Unavailable("the peak of a process is read from /proc")
    program = MEMORY.format(length=length, **LIBRARIES[library])

    def run() -> float:
        return float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)

    return run


def in_both(make: Any, *args: Any) -> dict[str, Way]:
    return {name: Way(lambda name=name: make(name, *args)) for name in LIBRARIES}


@case("attention")
def attention(quick: bool) -> Iterator[Job]:
    """float32, 4 heads; a size of 64 is that of a head where it is said so, else of all heads together."""
    length = 2048
    for size, options, goal in ((16, {}, 1.0), (64, {}, 1.0), (16, {"is_causal": True}, 1.0)):
        name = f"length {length:,}, 4 heads of {size}{', causal' if options else ''}"
        shape = (1, 4, length, size)
        flops = 4 * 4.0 * length * length * size / (2 if options else 1)
        for backward in (False, True):
            yield Job(
                name + (", with gradient" if backward else ""),
                in_both(attending, shape, backward, options),
                flops=flops * (3.5 if backward else 1),
                tolerance=1e-4,
                goals={"torch": goal},
            )
        if quick:
            break
    for feedforward, dropout in ((2048, 0.0), (256, 0.0), (256, 0.1)):
        yield Job(
            f"encoder layer, size 64, inner {feedforward}, 32 sequences of 64"
            + (", dropout 0.1" if dropout else ", no dropout"),
            in_both(encoding, feedforward, dropout),
            step="step",
            flops=3 * 2.0 * 2048 * (4 * 64 * 64 + 2 * 64 * feedforward) + 3.5 * 4 * 32 * 64 * 64 * 64,
            tolerance=2e-4,
            goals={"torch": 2.0},
            agrees=(lambda ours, theirs: "") if dropout else None,
        )
    length = 16384  # whose scores are 4.3 GB
    yield Job(
        f"memory, length {length:,}, 4 heads of 16, with gradient",
        in_both(memory, length),
        measures="B",
        goals={"most": 4 * 4 * length * length / 50},
    )
