"""Layers without a large product, forward and backward, beside PyTorch: dropout, pooling, upsampling."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def prepare(library: Any, nn: Any, tensor: Any, layer: Any, x: np.ndarray, backward: bool) -> Any:
    """A run that applies the layer and gives its result; with `backward` the gradients too."""
    module = layer(nn)
    for p in module.parameters():
        p.data = tensor(values(*p.shape))
    parameters = list(module.parameters())
    inputs = tensor(x)
    if backward and not parameters:
        inputs.requires_grad_()
    g = tensor(values(*module(inputs).shape))

    def forward() -> Any:
        with library.no_grad():
            return module(inputs)

    def both() -> Any:
        for t in (inputs, *parameters):
            t.grad = None
        y = module(inputs)
        y.backward(g)
        return [y.detach(), *[t.grad for t in (inputs, *parameters) if t.grad is not None]]

    return both if backward else forward


def ours(*job: Any) -> Any:
    import pyneural as pn
    from pyneural import nn

    return prepare(pn, nn, pn.from_numpy, *job)


def in_torch(*job: Any) -> Any:
    import torch

    return prepare(torch, torch.nn, torch.from_numpy, *job)


def job(name: str, layer: Any, x: np.ndarray, goal: float, backward: bool = True, **rest: Any) -> Job:
    ways = {"pyneural": Way(lambda: ours(layer, x, backward)), "torch": Way(lambda: in_torch(layer, x, backward))}
    return Job(name, ways, goals={"torch": goal} if goal else {}, **rest)


def read_points(library: Any, tensor: Any, *shape: int) -> Any:
    """A run that reads images of this shape at as many random points and goes back to both."""
    x, grid = tensor(values(*shape)).requires_grad_(), tensor(values(shape[0], *shape[2:], 2)).requires_grad_()
    g = tensor(values(*shape)[::-1].copy())

    def both() -> Any:
        x.grad = grid.grad = None
        y = library.nn.functional.grid_sample(x, grid, align_corners=False)
        y.backward(g)
        return [y.detach(), x.grad, grid.grad]

    return both


def points_in_ours(*shape: int) -> Any:
    import pyneural as pn

    return read_points(pn, pn.from_numpy, *shape)


def points_in_torch(*shape: int) -> Any:
    import torch

    return read_points(torch, torch.from_numpy, *shape)


def as_dropout(ours: Any, theirs: Any) -> str:
    """Masks are random: the share of zeros and the scale of the rest are compared; the gradient must have the mask."""
    for result in (ours, theirs):
        y, *gradient = [np.asarray(a.detach()) for a in (result if isinstance(result, list) else [result])]
        kept = y != 0
        if abs(kept.mean() - 0.9) > 0.003:
            return f"{kept.mean():.4f} of the elements are kept, not 0.9"
        if not np.allclose(y[kept], values(*y.shape)[kept] / 0.9, rtol=1e-5):
            return "what is kept is not scaled by 1 / 0.9"
        if gradient and not np.array_equal(gradient[0] != 0, kept):
            return "the gradient has another mask"
    return ""


@case("layers")
def layers(quick: bool) -> Iterator[Job]:
    """float32: dropout, pooling, upsampling, embedding; the autoencoder's shapes at batch 64."""
    x = values(800_000)
    yield job("dropout 0.1 of 800,000, forward", lambda nn: nn.Dropout(0.1), x, 10.0, False, agrees=as_dropout)
    yield job("dropout 0.1 of 800,000", lambda nn: nn.Dropout(0.1), x, 10.0, agrees=as_dropout)
    x = values(64, 20, 12, 12)
    yield job("max pool 2x2, 20x12x12", lambda nn: nn.MaxPool2d(2), x, 2.0)
    x = values(64, 20, 24, 24)
    yield job("max pool 2x2, 20x24x24, forward", lambda nn: nn.MaxPool2d(2), x, 2.0, False)
    yield job("max pool 2x2, 20x24x24", lambda nn: nn.MaxPool2d(2), x, 2.0)
    yield job("max pool 3x3 / 2, 64x56x56, batch 16", lambda nn: nn.MaxPool2d(3, 2, 1), values(16, 64, 56, 56), 2.0)
    for mode, goal in (("bicubic", 2.0), ("bilinear", 2.0), ("nearest", 1.0)):
        yield job(f"{mode} x2, 20x6x6", upsample(mode), values(64, 20, 6, 6), goal)
    words = np.random.default_rng(0).integers(0, 10_000, (64, 50))
    yield job("embedding 10,000x64, 64x50 words", lambda nn: nn.Embedding(10_000, 64), words, 1.0)
    yield job("bicubic x2, 3x128x128, batch 4", upsample("bicubic"), values(4, 3, 128, 128), 2.0)
    for shape in ((64, 1, 28, 28), (8, 32, 32, 32)):
        ways = {"pyneural": Way(partial(points_in_ours, *shape)), "torch": Way(partial(points_in_torch, *shape))}
        yield Job(f"read {'x'.join(map(str, shape))} at points", ways)


def upsample(mode: str) -> Any:
    return lambda nn: nn.Upsample(scale_factor=2, mode=mode)
