"""Convolutions and max pooling, forward and backward: the four layers of a convolutional autoencoder, a wide 3x3."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        layer: Its class in ``nn``, and its arguments.
        shape: Of the input.
        multiplications: Of the forward pass, for one image.
        passes: Of this many multiplications: forward, weight gradient and, unless it comes first, input gradient.
    """

    name: str
    layer: tuple[str, tuple, dict[str, int]]
    shape: tuple[int, ...]
    multiplications: int
    passes: int = 3


#: The layers of experiment conv-autoencoder, batch 64, and one as classifiers have them.
LAYERS = (
    Layer("conv 1-20 4x4", ("Conv2d", (1, 20, 4), {"padding": 1}), (64, 1, 28, 28), 27 * 27 * 20 * 16, 2),
    Layer("conv 20-20 4x4 / 2", ("Conv2d", (20, 20, 4), {"stride": 2}), (64, 20, 27, 27), 12 * 12 * 400 * 16),
    Layer("conv^T 20-20 4x4 / 2", ("ConvTranspose2d", (20, 20, 4), {"stride": 2, "output_padding": 1}),
          (64, 20, 12, 12), 12 * 12 * 400 * 16),
    Layer("conv^T 20-1 4x4", ("ConvTranspose2d", (20, 1, 4), {"padding": 1}), (64, 20, 27, 27), 27 * 27 * 20 * 16),
    Layer("conv 64-64 3x3, 56x56", ("Conv2d", (64, 64, 3), {"padding": 1}), (16, 64, 56, 56), 56 * 56 * 64 * 64 * 9),
)  # fmt: skip
POOL = Layer("max pool 2x2, 20x24x24", ("MaxPool2d", (2,), {}), (64, 20, 24, 24), 0)


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def prepare(nn: Any, tensor: Any, layers: tuple[Layer, ...], formatted: Any) -> Any:
    """A run that takes each layer forward and backward and gives output and gradients of the last one."""
    works = []
    for it in layers:
        name, arguments, options = it.layer
        layer = formatted(getattr(nn, name)(*arguments, **options))
        for p in layer.parameters():
            p.data = formatted(tensor(values(*p.shape)))
        x = formatted(tensor(values(*it.shape))).requires_grad_(it.passes == 3)
        works.append((layer, x, formatted(tensor(values(*layer(x).shape)))))

    def run() -> Any:
        for layer, x, g in works:
            x.grad = None
            for p in layer.parameters():
                p.grad = None
            y = layer(x)
            y.backward(g)
        return [y.detach(), *([] if x.grad is None else [x.grad]), *[p.grad for p in layer.parameters()]]

    return run


def ours(layers: tuple[Layer, ...]) -> Any:
    import pyneural as pn
    from pyneural import nn

    return prepare(nn, pn.from_numpy, layers, lambda a: a)


def in_torch(layers: tuple[Layer, ...], channels_last: bool) -> Any:
    import torch

    kind = torch.channels_last if channels_last else torch.contiguous_format

    def formatted(a: Any) -> Any:
        return a.to(memory_format=kind) if isinstance(a, torch.nn.Module) or a.ndim == 4 else a

    return prepare(torch.nn, torch.from_numpy, layers, formatted)


def job(name: str, layers: tuple[Layer, ...], goals: dict[str, float]) -> Job:
    flops = sum(2.0 * it.shape[0] * it.multiplications * it.passes for it in layers)
    ways = {
        "pyneural": Way(lambda: ours(layers)),
        "torch": Way(lambda: in_torch(layers, False)),
        "torch channels_last": Way(lambda: in_torch(layers, True)),
    }
    return Job(name, ways, flops=flops, goals=goals)


@case("conv")
def conv(quick: bool) -> Iterator[Job]:
    """float32, forward and backward: each layer, the autoencoder's four together, max pooling."""
    for it in LAYERS:
        yield job(it.name, (it,), {"torch": 1.0} if it.shape[0] == 16 else {})
    yield job("the autoencoder's four", LAYERS[:4], {"torch": 4.0, "torch channels_last": 3.0})
    yield job(POOL.name, (POOL,), {"torch": 2.0})
