"""1,000 points of the plane are labelled 0 or 1 by a network of step functions with three hidden units. A network of
the same form, with phi(v) = 1 / (1 + exp(-5 v)) in place of the step, is trained to imitate it: start N(0, 0.1^2),
gradient descent on (f - y)^2, one point a step, step size 0.01, 100 epochs.

1. Plot the mean squared error (MSE) after each epoch.
2. Plot (x1, x2, f(x1, x2)) in three dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyneural import plots
from pyneural.experiments import _imitate as im
from pyneural.experiments.frame import Run, experiment

EPOCHS, SEEDS = 100, 5
STUCK = 0.04  # a network that ends above has lost a side of the triangle


@experiment(
    "imitate-step-network",
    title="Imitating a network of step functions",
    source="002_e3b0b6e208b34aec.txt, homework 5, 2d and 2e, two figures",
    kind="train",
    topic="Learning by imitation",
)
def run(e: Run) -> None:
    x, y = im.points()
    share = float(y.mean())
    e.check("share of points labelled 1, of the triangle in the square", share, 4.5 / 16, 0.03)
    e.check("MSE of the best constant, p (1 - p)", float(np.mean((y - share) ** 2)), share * (1 - share), 1e-6)
    e.report("MSE of the best constant", share * (1 - share), printed=0.20)

    epochs = e.epochs(EPOCHS)
    nets = im.Nets(SEEDS)
    frames: list[tuple[int, np.ndarray, list[np.ndarray]]] = []
    shown = {1, epochs} | set(np.unique(np.geomspace(1, epochs, e.pick(quick=8, full=24)).round()).astype(int))
    x1, x2, everywhere = im.grid()
    bar = iter(e.progress(range(epochs), "training five networks side by side"))

    def after_epoch(epoch: int) -> None:
        next(bar, None)
        if epoch in shown:
            lines = [np.array(p.tolist()) for p in (nets.w, nets.b)]
            frames.append((epoch, nets.values(everywhere), lines))

    mse = im.train(nets, x, y, epochs, after_epoch=after_epoch)
    accuracy = im.accuracy(nets, x, y)
    best = int(mse[-1].argmin())
    alone = im.train(im.Nets(1), x, y, 2)
    e.check(
        "network 0 trained alone: MSE of two epochs bit for bit as in company", alone[:, 0], mse[:3, 0], kind="equal"
    )
    e.check("MSE of the best of five networks", mse[-1, best], 0.02, kind="below", profile="full")
    e.check("accuracy of the best of five networks", accuracy[best], 0.98, kind="above", profile="full")
    e.check(
        "the best network's MSE is below half that of a constant", mse[-1, best], share * (1 - share) / 2, kind="below"
    )
    e.report("share of the networks stuck above an MSE of 0.04", float(np.mean(mse[-1] > STUCK)))
    marks = [t for t in (1, 10, 20, 50, 100) if t <= epochs]
    e.table(
        "networks",
        ["generator seed", *(f"MSE, epoch {t}" for t in marks), "accuracy"],
        [[s, *mse[marks, s], accuracy[s]] for s in range(SEEDS)],
        f"One network misses a side of the triangle if its MSE stays near 0.066. Pictures show seed {best}.",
    )
    draw(e, mse, best, frames, (x1, x2), (x, y))
    e.note(
        """
        The labelling network and the points come from an earlier exercise that the source does not repeat. Chosen: x
        uniform on [-2, 2]^2, label 1 where x1 > -1, x2 > -1 and x1 + x2 < 1, which three hidden step units and a
        threshold of 2.5 on their sum compute. Each network starts from, and orders the points by, its own seed.
        """
    )


def draw(e: Run, mse: np.ndarray, best: int, frames: list[Any], mesh: Any, data: tuple[np.ndarray, np.ndarray]) -> None:
    """MSE by epoch, f over the plane, the learned lines over the true triangle, and how they got there."""
    epochs = np.arange(len(mse))
    series = {f"seed {s}": mse[:, s] for s in range(SEEDS)}
    fig = plots.learning_curves(series, ylabel="MSE", x=epochs)
    caption = "MSE on the 1,000 points after each epoch, for five starts; 0.20 is the constant, 0.066 a missing side."
    e.figure("mse", fig, caption, {"epoch": epochs} | {f"seed_{s}": mse[:, s] for s in range(SEEDS)})

    (x1, x2), (x, y) = mesh, data
    fig, old = plots.new(width=5.5, height=4.6)
    old.remove()
    f = frames[-1][1][best].reshape(x1.shape)
    with plots.style():
        ax = fig.add_subplot(projection="3d")
        ax.scatter(x1[::3, ::3], x2[::3, ::3], f[::3, ::3], c=f[::3, ::3], cmap="viridis", s=4)
        ax.set(xlabel="x1", ylabel="x2", zlabel="f", title="what the network learned")
        ax.view_init(elev=32, azim=-120)
    caption = "f over the square: a plateau at 1 over the triangle, 0 outside."
    e.figure("plateau", fig, caption, {"x1": x1, "x2": x2, "f": f})

    fig, ax = plots.new(width=4.8, height=4.4)
    _, f, (w, b) = frames[-1]
    im.boundary(ax, f[best], w[best], b[best], f"seed {best}, epoch {frames[-1][0]}")
    with plots.style():
        for value in (0, 1):
            ax.plot(*x[y == value].T, ".", ms=2.5, color=plots.LINES[value], zorder=0)
    arrays = {"w": w[best], "b": b[best], "f": f[best], "x": x, "y": y}
    caption = "Points by label, the true triangle (black), f = 1/2 (thick) and the lines of the hidden units (dashed)."
    e.figure("lines", fig, caption, arrays)

    pictures = []
    for epoch, f, (w, b) in frames:
        fig, ax = plots.new(width=4, height=3.7)
        im.boundary(ax, f[best], w[best], b[best], f"epoch {epoch}")
        pictures.append(fig)
    arrays = {"epoch": np.array([t for t, _, _ in frames]), "f": np.array([f[best] for _, f, _ in frames], np.float16)}
    e.animation("boundary", pictures, "The boundary f = 1/2 during training.", arrays, seconds_per_frame=0.4)
