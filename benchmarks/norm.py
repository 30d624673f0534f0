"""Normalisation, forward and backward: batch norm at the shapes of an autoencoder, layer norm and others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

Layers = tuple[tuple[str, tuple, tuple[int, ...]], ...]  # class in nn, its arguments, shape of x

#: Batch norm in experiment conv-autoencoder, batch 64: after each ReLU of both halves.
AUTOENCODER: Layers = (
    ("BatchNorm2d", (20,), (64, 20, 27, 27)),
    ("BatchNorm2d", (20,), (64, 20, 12, 12)),
    ("BatchNorm1d", (360,), (64, 360)),
    ("BatchNorm1d", (360,), (64, 360)),
    ("BatchNorm1d", (720,), (64, 720)),
    ("BatchNorm2d", (20,), (64, 20, 27, 27)),
)
OTHERS: Layers = (
    ("BatchNorm2d", (64,), (16, 64, 56, 56)),
    ("LayerNorm", (64,), (2048, 64)),
    ("LayerNorm", (1024,), (64, 1024)),
    ("RMSNorm", (64,), (2048, 64)),
    ("GroupNorm", (8, 64), (16, 64, 28, 28)),
    ("InstanceNorm2d", (64,), (16, 64, 28, 28)),
)


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0.5, 1.5, shape).astype(np.float32)


def prepare(library: Any, tensor: Any, layers: Layers, training: bool) -> Any:
    """A run that takes each layer forward and, in training, backward; gives results and gradients of the last one."""
    works = []
    for name, arguments, shape in layers:
        layer = getattr(library.nn, name)(*arguments).train(training)
        for p in layer.parameters():
            p.data = tensor(values(*p.shape))
        works.append((layer, tensor(values(*shape)).requires_grad_(training), tensor(values(*shape)[::-1].copy())))

    def train() -> Any:
        for layer, x, g in works:
            x.grad = None
            for p in layer.parameters():
                p.grad = None
            y = layer(x)
            y.backward(g)
        return [y.detach(), x.grad, *[p.grad for p in layer.parameters()]]

    def evaluate() -> Any:
        with library.no_grad():
            return [layer(x) for layer, x, _ in works]

    return train if training else evaluate


def ours(*job: Any) -> Any:
    import pyneural as pn

    return prepare(pn, pn.from_numpy, *job)


def in_torch(*job: Any) -> Any:
    import torch

    return prepare(torch, torch.from_numpy, *job)


def job(name: str, layers: Layers, training: bool = True) -> Job:
    # Forward reads x and writes y, backward reads dy and x and writes dx: what a cache that holds one channel asks for.
    size = sum(4.0 * np.prod(shape) for *_, shape in layers)
    ways = {"pyneural": Way(lambda: ours(layers, training)), "torch": Way(lambda: in_torch(layers, training))}
    return Job(name, ways, bytes=size * (5 if training else 2), roof="copy", goals={"torch": 2.0})


@case("norm")
def norm(quick: bool) -> Iterator[Job]:
    """float32, forward and backward: batch norm at an autoencoder's shapes, layer, RMS, group and instance norm."""
    for layer in (*dict.fromkeys(AUTOENCODER), *OTHERS):
        yield job(f"{layer[0]} {'x'.join(map(str, layer[2]))}", (layer,))
    yield job("batch norm: the autoencoder's six", AUTOENCODER)
    yield job("the same in evaluation", AUTOENCODER, False)
