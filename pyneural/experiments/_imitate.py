"""Networks of threshold-like units that imitate a network of step functions: data, networks, training.

Several networks are trained side by side, each from a start and in an order of its own: every array has the number of
the network as its first dimension, so that one step moves all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import nn, optim, plots

SIDE = 2.0  # the points lie in [-SIDE, SIDE]^2
CORNERS = np.array([[-1.0, -1.0], [2.0, -1.0], [-1.0, 2.0]])  # of the triangle that the step network marks
STEP_W = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
STEP_B, STEP_U, STEP_C = np.ones(3), np.ones(3), -2.5


def step_network(x: np.ndarray) -> np.ndarray:
    """The network to be imitated, (..., 2) -> (...): 1 where x1 > -1, x2 > -1 and x1 + x2 < 1, else 0."""
    hidden = (x @ STEP_W.T + STEP_B > 0).astype(np.float64)
    return (hidden @ STEP_U + STEP_C > 0).astype(np.float64)


def points(n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """n points uniform on [-2, 2]^2, the same ones in all runs, and their labels: (n, 2) and (n,), float32."""
    x = np.random.default_rng(0).uniform(-SIDE, SIDE, (n, 2)).astype(np.float32)
    return x, step_network(x).astype(np.float32)


class Nets(nn.Module):
    """`count` networks 2-H-1: z = phi(W x + b), f = phi(U z + c), phi(v) = 1 / (1 + exp(-a v)).

    Network s starts from N(0, spread^2), drawn from the generator with seed s.
    """

    def __init__(self, count: int, hidden: int = 3, *, a: float = 5.0, spread: float = 0.1) -> None:
        super().__init__()
        self.a = a
        shapes = ((2, hidden), (1, hidden), (hidden, 1), (1, 1))
        drawn = [[spread * rng.standard_normal(s) for s in shapes] for rng in map(np.random.default_rng, range(count))]
        self.w, self.b, self.u, self.c = (
            nn.Parameter(pn.tensor(np.stack(column).astype(np.float32))) for column in zip(*drawn, strict=True)
        )

    def forward(self, x: pn.Tensor) -> pn.Tensor:
        """x (count, B, 2), or (B, 2) for all networks; returns f (count, B, 1)."""
        z = pn.sigmoid(self.a * (x @ self.w + self.b))
        return pn.sigmoid(self.a * (z @ self.u + self.c))

    def values(self, x: np.ndarray) -> np.ndarray:
        """f at the points x (n, 2), as an array (count, n)."""
        with pn.no_grad():
            return np.asarray(self(pn.tensor(x.astype(np.float32))))[..., 0]


def train(
    nets: Nets,
    x: np.ndarray,
    y: np.ndarray,
    epochs: int,
    *,
    eta: float = 0.01,
    batch: int = 1,
    summed: bool = False,
    shrink: float = 1.0,
    shuffle: bool = True,
    after_epoch: Callable[[int], Any] = lambda epoch: None,
) -> np.ndarray:
    """Gradient descent on (f - y)^2, `batch` points a step: their mean (or sum). Returns MSE (epochs + 1, count).

    The points come in a new order in each epoch, or as they lie. From the third epoch on, a network whose MSE has risen
    goes on with `shrink` times its step size.
    """
    count, n = len(nets.w), len(x)
    # Step sizes differ between the networks: they weigh the losses, and the optimiser's own is 1.
    step = pn.tensor(np.full((count, 1, 1), eta, np.float32))
    optimizer = optim.SGD(nets.parameters(), lr=1.0)

    @pn.compile  # recorded once, then replayed: the steps are too small to be taken one op at a time
    def move(x: pn.Tensor, y: pn.Tensor, step: pn.Tensor) -> None:
        error = pn.square(nets(x) - y)
        loss = (step * (error if summed else error / error.shape[1])).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    generators = [np.random.default_rng([s, 1]) for s in range(count)]
    mse = [np.mean((nets.values(x) - y) ** 2, axis=1)]
    for epoch in range(1, epochs + 1):
        order = np.stack([g.permutation(n) if shuffle else np.arange(n) for g in generators])
        xs, ys = pn.tensor(x[order]), pn.tensor(y[order][..., None])
        for rows in (slice(i, i + batch) for i in range(0, n, batch)):
            move(xs[:, rows], ys[:, rows], step)
        mse.append(np.mean((nets.values(x) - y) ** 2, axis=1))
        if shrink < 1 and epoch >= 3:
            step *= pn.tensor(np.where(mse[-1] > mse[-2], shrink, 1.0).astype(np.float32)[:, None, None])
        after_epoch(epoch)
    return np.array(mse)


def accuracy(nets: Nets, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of points (count,) on the right side of 1/2."""
    return np.mean((nets.values(x) > 0.5) == (y > 0.5), axis=1)


def grid(n: int = 121) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x1 (n, n), x2 (n, n), points (n * n, 2)) that cover the square."""
    axis = np.linspace(-SIDE, SIDE, n)
    x1, x2 = np.meshgrid(axis, axis)
    return x1, x2, np.stack([x1.ravel(), x2.ravel()], axis=1)


def boundary(ax: Any, f: np.ndarray, w: np.ndarray, b: np.ndarray, title: str) -> None:
    """f at the points of `grid` as shades, its level 1/2, the lines of the hidden units (w (2, H), b (1, H)), and the
    true triangle."""
    n = round(len(f) ** 0.5)
    x1, x2, everywhere = grid(n)
    with plots.style():
        ax.imshow(f.reshape(n, n), origin="lower", extent=(-SIDE, SIDE) * 2, cmap="Greys", vmin=0, vmax=2)
        if f.min() < 0.5 < f.max():
            ax.contour(x1, x2, f.reshape(n, n), levels=[0.5], colors=[plots.LINES[3]], linewidths=2.5)
        for line in (everywhere @ w + b).T:
            if line.min() < 0 < line.max():
                ax.contour(x1, x2, line.reshape(n, n), levels=[0], colors=[plots.LINES[4]], linestyles="--")
        ax.plot(*CORNERS[[0, 1, 2, 0]].T, color="black", linewidth=1)
        ax.set(xlabel="x1", ylabel="x2", title=title, xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE))
        ax.grid(False)
