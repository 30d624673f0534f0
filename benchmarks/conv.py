"""Convolutions: layers forward and backward, and whole trainings of a convolutional autoencoder and of LeNet-5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case, difference

from ._training import images, torch_like


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


# ---- whole trainings ----


def autoencoder(nn: Any, dropout: float) -> Any:
    """Encoder and decoder of experiment conv-autoencoder, of either library's layers."""

    def hidden(layer: Any, norm: Any, features: int) -> list[Any]:
        return [layer, nn.ReLU(), norm(features), nn.Dropout(dropout)]

    down = (
        *hidden(nn.Conv2d(1, 20, 4, padding=1), nn.BatchNorm2d, 20),
        *hidden(nn.Conv2d(20, 20, 4, stride=2), nn.BatchNorm2d, 20),
        nn.MaxPool2d(2),
        nn.Flatten(),
        *hidden(nn.Linear(720, 360), nn.BatchNorm1d, 360),
        nn.Linear(360, 10),
    )
    up = (
        *hidden(nn.Linear(10, 360), nn.BatchNorm1d, 360),
        *hidden(nn.Linear(360, 720), nn.BatchNorm1d, 720),
        nn.Unflatten(1, (20, 6, 6)),
        nn.Upsample(scale_factor=2, mode="bicubic"),
        *hidden(nn.ConvTranspose2d(20, 20, 4, stride=2, output_padding=1), nn.BatchNorm2d, 20),
        nn.ConvTranspose2d(20, 1, 4, padding=1),
        nn.Sigmoid(),
    )
    return nn.ModuleList([nn.Sequential(*down), nn.Sequential(*up)])


def lenet(nn: Any, dropout: float) -> Any:
    """LeNet-5 as SimpleChains.jl times it: without padding, so that 256 numbers reach the dense layers."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def coded(lib: Any, model: Any, x: Any, y: Any) -> Any:
    """The mean square of the codes and of what their noisy decodings miss."""
    z = model[0](x)
    miss = model[1](z + lib.randn(*z.shape)) - x
    return ((z * z).sum() + (miss * miss).sum()) / (794 * x.shape[0])


def classified(lib: Any, model: Any, x: Any, y: Any) -> Any:
    return lib.cross_entropy(model(x), y)


def training(name: str, fixed: bool, make: Any, loss: Any, optimizer: str, rate: float) -> tuple[Any, Any, Any]:
    """(step(x, y), parameters, library) of a training; `fixed`: without dropout, with one noise for all steps."""
    lib = torch_like(name, fixed)
    model = make(lib.nn, 0.0 if fixed else 0.1)
    rng = np.random.default_rng(1)
    parameters = list(model.parameters())
    with lib.no_grad():
        for p in parameters:  # of vectors, those of batch normalisation are in the middle of their range
            bound = 0.1 if p.ndim == 1 else float(np.prod(p.shape[1:])) ** -0.5
            drawn = rng.uniform(-bound, bound, tuple(p.shape)) + (p.ndim == 1)
            p.copy_(lib.tensor(drawn.astype(np.float32)))
    made = getattr(lib.optim, optimizer)(parameters, lr=rate)

    def step(x: Any, y: Any) -> Any:
        made.zero_grad()
        value = loss(lib, model, x, y)
        value.backward()
        made.step()
        return value

    return step, parameters, lib


def train(name: str, rows: int, batch: int, fixed: bool, *how: Any, loader: bool = False) -> Any:
    """A run over so many shuffled images, batch by batch: ours in one call, PyTorch's in a loop.

    PyTorch indexes its tensors, which is the least that it can do, or, with `loader`, goes through its DataLoader.
    """
    import pyneural as pn

    step, parameters, lib = training(name, fixed, *how)
    x, y = images()
    x = x.reshape(-1, 1, 28, 28)
    order = np.random.default_rng(2).permutation(len(x))
    order = np.resize(order, rows)
    if name == "pyneural":
        compiled = pn.compile(step)

        def run() -> Any:
            compiled.epoch(x, y, batch_size=batch, order=order)
            return parameters

        return run
    inputs, labels = lib.tensor(x), lib.tensor(y)
    if loader:
        from torch.utils.data import DataLoader, TensorDataset

        loaded = DataLoader(TensorDataset(inputs, labels), batch_size=batch, sampler=order.tolist())
    batches = lib.tensor(order).split(batch)

    def loop() -> Any:
        for a, b in loaded if loader else ((inputs[chosen], labels[chosen]) for chosen in batches):
            step(a, b)
        return parameters

    return loop


def whole(name: str, steps: int, batch: int, goal: float, tolerance: float, *how: Any) -> Job:
    def way(library: str) -> Way:
        return Way(
            lambda: train(library, steps * batch, batch, False, *how),
            steps,
            lambda: train(library, 3 * batch, batch, True, *how),
        )

    def agrees(ours: Any, theirs: Any) -> str:
        return difference(ours, theirs, tolerance, overall=True)

    ways = {"pyneural": way("pyneural"), "torch": way("torch")}
    return Job(name, ways, step="step", goals={"torch": goal}, agrees=agrees)


def lenet_job(rows: int) -> Job:
    """Some of MNIST's 60,000 images, of which SimpleChains.jl's benchmark takes ten rounds."""
    how = (lenet, classified, "Adam", 1e-3)

    def way(library: str, loader: bool = False) -> Way:
        return Way(
            lambda: train(library, rows, 64, False, *how, loader=loader),
            1,
            lambda: train(library, 200, 64, True, *how, loader=loader),
        )

    def agrees(ours: Any, theirs: Any) -> str:
        return difference(ours, theirs, 2e-3, overall=True)

    ways = {"pyneural": way("pyneural"), "torch": way("torch"), "torch DataLoader": way("torch", True)}
    name = f"LeNet-5 on {rows:,} images of 10 x 60,000"
    return Job(name, ways, step="part", goals={"torch": 8.0}, agrees=agrees)


@case("conv")
def conv(quick: bool) -> Iterator[Job]:
    """float32, forward and backward: each layer, the autoencoder's four together; whole steps with MNIST.

    LeNet-5 is SimpleChains.jl's benchmark, ten epochs of MNIST, of which a part is timed: a fiftieth. PyTorch does it
    in two ways, by indexing its tensors and through its DataLoader. MNIST where it is found (``PYNEURAL_DATA``), else
    random numbers.
    """
    for it in LAYERS:
        yield job(it.name, (it,), {"torch": 1.0} if it.shape[0] == 16 else {})
    yield job("the autoencoder's four", LAYERS[:4], {"torch": 4.0, "torch channels_last": 3.0})
    steps = 10 if quick else 40
    yield whole("conv autoencoder, batch 64, SGD", steps, 64, 6.0, 1e-3, autoencoder, coded, "SGD", 0.1)
    yield lenet_job(3_000 if quick else 12_000)
