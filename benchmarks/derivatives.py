"""Derivatives of second order, and slices of a loss: what is asked of a network once it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from pyneural.benchmarking import Job, Way, case

from ._training import images

AUTOENCODER = ((30, 784), (30,), (784, 30), (784,))
CLASSIFIER = ((128, 784), (128,), (10, 128), (10,))


@cache
def weights(shapes: tuple[tuple[int, ...], ...], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Uniform up to 1 / sqrt(last dimension)."""
    rng = np.random.default_rng(seed)
    return tuple([rng.uniform(-1, 1, s).astype(np.float32) / s[-1] ** 0.5 for s in shapes])


@cache
def some(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pixels in [0, 1], and labels."""
    x, y = images()
    return np.ascontiguousarray(x[:count]), np.ascontiguousarray(y[:count])


def modules(library: str) -> tuple[Any, Any]:
    """The library and its functions, under PyTorch's names."""
    if library == "torch":
        import torch

        return torch, torch.nn.functional
    import pyneural

    return pyneural, pyneural.functional


# ---- slices ----


def squared(lib: Any, functional: Any, x: Any, p: Any) -> Any:
    """Half the squared error of the autoencoder with a ReLU and a sigmoid, averaged over the rows."""
    hidden = lib.relu(functional.linear(x, p[0], p[1]))
    return functional.mse_loss(lib.sigmoid(functional.linear(hidden, p[2], p[3])), x, reduction="sum") / (2 * len(x))


def crossed(lib: Any, functional: Any, x: Any, p: Any) -> Any:
    """Its cross-entropy."""
    hidden = lib.relu(functional.linear(x, p[0], p[1]))
    z = functional.linear(hidden, p[2], p[3])
    return functional.binary_cross_entropy_with_logits(z, x, reduction="sum") / len(x)


def our_slice(loss: Any, steps: np.ndarray) -> Any:
    import pyneural as pn

    lib, functional = modules("pyneural")
    x = pn.from_numpy(some(1000)[0])
    at, u, v = ([pn.from_numpy(w) for w in weights(AUTOENCODER, seed)] for seed in range(3))
    return lambda: pn.surfaces.slice_2d(lambda p: loss(lib, functional, x, p), at, u, v, steps).astype(np.float32)


def torch_slice(loss: Any, steps: np.ndarray) -> Any:
    """The same loop: the weights are moved, the loss is computed, for every point."""
    import torch

    lib, functional = modules("torch")
    x = torch.from_numpy(some(1000)[0])
    at, u, v = ([torch.from_numpy(w) for w in weights(AUTOENCODER, seed)] for seed in range(3))

    def run() -> np.ndarray:
        values = np.empty((len(steps), len(steps)), np.float32)
        with torch.no_grad():
            for i, s in enumerate(steps.tolist()):
                for j, t in enumerate(steps.tolist()):
                    p = [w + s * d + t * e for w, d, e in zip(at, u, v, strict=True)]
                    values[i, j] = loss(lib, functional, x, p).item()
        return values

    return run


# ---- Hessian-vector products ----


def entropy(lib: Any, functional: Any, x: Any, y: Any, p: Any) -> Any:
    hidden = lib.relu(functional.linear(x, p[0], p[1]))
    return functional.cross_entropy(functional.linear(hidden, p[2], p[3]), y)


def our_product() -> Any:
    import pyneural as pn

    lib, functional = modules("pyneural")
    x, y = map(pn.from_numpy, some(64))
    p, v = ([pn.from_numpy(w) for w in weights(CLASSIFIER, seed)] for seed in (0, 1))

    @pn.compile
    def step(p: Any, v: Any) -> Any:
        return pn.hvp(lambda q: entropy(lib, functional, x, y, q), (p,), (v,))[1]

    def run() -> Any:
        with pn.no_grad():
            return step(p, v)

    return run


def torch_product(forward: bool) -> Any:
    """Reverse over reverse, or forward over reverse by torch.func."""
    import torch

    lib, functional = modules("torch")
    x, y = map(torch.from_numpy, some(64))
    p, v = ([torch.from_numpy(w) for w in weights(CLASSIFIER, seed)] for seed in (0, 1))

    def loss(*q: Any) -> Any:
        return entropy(lib, functional, x, y, q)

    if forward:
        slope = torch.func.grad(loss, tuple(range(len(p))))
        return lambda: torch.func.jvp(slope, tuple(p), tuple(v))[1]

    def run() -> Any:
        made = [w.detach().requires_grad_() for w in p]
        slopes = torch.autograd.grad(loss(*made), made, create_graph=True)
        return torch.autograd.grad(slopes, made, v)

    return run


@case("derivatives")
def derivatives(quick: bool) -> Iterator[Job]:
    """A slice is timed per point, of 100 x 100 (10 x 10 with ``--quick``)."""
    count = 10 if quick else 100
    steps = np.linspace(-0.5, 0.5, count).astype(np.float32)
    for name, loss in (("square loss", squared), ("cross-entropy", crossed)):
        yield Job(
            f"{count}x{count} slice of 784-30-784, 1,000 images, {name}",
            {
                "pyneural": Way(lambda f=loss: our_slice(f, steps), steps=count**2),
                "torch": Way(lambda f=loss: torch_slice(f, steps), steps=count**2),
            },
            step="point",
            flops=1000 * 2 * 2.0 * 784 * 30,
            tolerance=1e-4,
            goals={"torch": 5.0},
        )
    yield Job(
        "Hessian-vector product, 784-128-10, batch 64",
        {
            "pyneural": Way(our_product),
            "torch": Way(lambda: torch_product(False)),
            "torch func": Way(lambda: torch_product(True)),
        },
        tolerance=1e-4,
        goals={"torch": 1.0, "torch func": 1.0},
    )
