"""Minimise

    R(w) = 13 w1^2 - 10 w1 w2 + 4 w1 + 2 w2^2 - 2 w2 + 1

by gradient descent from w = (0, 0), with the step sizes 0.02, 0.05 and 0.1, 500 steps each.

1. What is the gradient, and where is the optimum?
2. How far from the optimum is w after each step?
3. Does a larger step size always help?
"""

from __future__ import annotations

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.experiments.frame import Run, experiment

STEPS = 500
OPTIMUM = np.array([1.0, 3.0])
HESSIAN = np.array([[26.0, -10.0], [-10.0, 4.0]])
SHOWN = (1, 10, 100, 500)
# The distances after SHOWN steps, from 40-digit arithmetic.
DISTANCES = {
    0.02: (3.15087289493, 3.07516344933, 2.41562570604, 0.826191038656),
    0.05: (3.1384709653, 2.95349552541, 1.61328378927, 0.109770619946),
    0.1: (3.1304951685, 142.753089134, 9.65113461345e28, 1.69571157938e148),
}


def risk(w: pn.Tensor) -> pn.Tensor:
    """R(w) as the exercise states it."""
    w1, w2 = w[0], w[1]
    return w1 * w1 * 13 - w1 * w2 * 10 + w1 * 4 + w2 * w2 * 2 - w2 * 2 + 1


def descend(eta: float, steps: int = STEPS) -> np.ndarray:
    """The iterates (steps + 1, 2) of gradient descent from 0, the gradient taken by autodiff."""
    gradient = pn.grad(risk)
    path = np.zeros((steps + 1, 2))
    for t in range(steps):
        path[t + 1] = path[t] - eta * np.asarray(gradient(pn.tensor(path[t])))
    return path


def closed_form(eta: float, steps: int = STEPS) -> np.ndarray:
    """The same iterates at once: along the eigenvector of lambda each step multiplies the error by 1 - eta lambda."""
    eigenvalues, vectors = np.linalg.eigh(HESSIAN)
    powers = (1 - eta * eigenvalues) ** np.arange(steps + 1)[:, None]
    return OPTIMUM + (powers * (vectors.T @ -OPTIMUM)) @ vectors.T


def momentum(largest: float, smallest: float, steps: int = STEPS) -> np.ndarray:
    """Heavy-ball descent with the step and the momentum that are best for the two eigenvalues."""
    step = 4 / (largest**0.5 + smallest**0.5) ** 2
    memory = ((largest**0.5 - smallest**0.5) / (largest**0.5 + smallest**0.5)) ** 2
    w = pn.tensor(np.zeros(2), requires_grad=True)
    optimizer = pn.optim.SGD([w], lr=step, momentum=memory)
    path = np.zeros((steps + 1, 2))
    for t in range(steps):
        optimizer.zero_grad()
        risk(w).backward()
        optimizer.step()
        path[t + 1] = w.numpy()
    return path


def conjugate_gradients() -> np.ndarray:
    """Two steps of conjugate gradients: enough for a quadratic in two variables."""
    gradient = pn.grad(risk)
    path = [np.zeros(2)]
    residual = -np.asarray(gradient(pn.tensor(path[0])))
    direction = residual
    for _ in range(2):
        path.append(path[-1] + (residual @ residual) / (direction @ HESSIAN @ direction) * direction)
        after = -np.asarray(gradient(pn.tensor(path[-1])))
        direction = after + (after @ after) / (residual @ residual) * direction
        residual = after
    return np.array(path)


def distance(path: np.ndarray) -> np.ndarray:
    """Distance of each iterate from the optimum; hypot, as at eta = 0.1 the squares near the end of the range."""
    return np.hypot(*(path - OPTIMUM).T)


@experiment(
    "quadratic-gd",
    title="Gradient descent on a quadratic",
    source="002_e3b0b6e208b34aec.txt, homework 5, 1a-1c",
    kind="hand",
    topic="Calculations by hand",
)
def run(e: Run) -> None:
    points = e.rng.normal(scale=3, size=(50, 2))
    by_autodiff = np.array([np.asarray(pn.grad(risk)(pn.tensor(w))) for w in points])
    by_hand = np.stack([26 * points[:, 0] - 10 * points[:, 1] + 4, -10 * points[:, 0] + 4 * points[:, 1] - 2], axis=1)
    e.check(
        "gradient at 50 points, autodiff against (26 w1 - 10 w2 + 4, -10 w1 + 4 w2 - 2)", by_autodiff, by_hand, 1e-11
    )
    values = np.array([risk(pn.tensor(w)).item() for w in points])
    squares = (3 * points[:, 0] - points[:, 1]) ** 2 + (2 * points[:, 0] - points[:, 1] + 1) ** 2
    e.check("R is the sum of two squares (3 w1 - w2)^2 + (2 w1 - w2 + 1)^2", values, squares, 1e-11)
    hessian = np.asarray(pn.hessian(risk)(pn.tensor(np.zeros(2))))
    e.check("Hessian by autodiff", hessian, HESSIAN, kind="equal")
    e.check("optimum from hessian w = (-4, 2)", np.linalg.solve(hessian, [-4, 2]), OPTIMUM, 1e-12)
    e.check("gradient at (1, 3)", pn.grad(risk)(pn.tensor(OPTIMUM)), 0, kind="equal")
    e.check("R at (1, 3)", risk(pn.tensor(OPTIMUM)).item(), 0, kind="equal")
    smallest, largest = np.linalg.eigvalsh(hessian)
    e.check("eigenvalues 15 -+ sqrt 221", [smallest, largest], [0.133931, 29.866069], 1e-6)

    paths = {eta: descend(eta) for eta in DISTANCES}
    for eta, expected in DISTANCES.items():
        far = distance(paths[eta])
        e.check(
            f"distance after {SHOWN} steps, eta = {eta}",
            far[list(SHOWN)],
            expected,
            1e-3 if eta == 0.1 else 1e-6,
            "relative",
        )
        exact = closed_form(eta)
        gap = np.hypot(*(paths[eta] - exact).T) / distance(exact)
        e.check(f"every iterate against the closed form, relative to the distance, eta = {eta}", gap, 0, 1e-11)

    limit = 2 / largest
    e.check("largest step size that converges, 2 / 29.866", limit, 0.066966, 1e-6)
    top = np.linalg.eigh(hessian)[1][:, 1]
    for name, eta, kind in (("below", 0.999 * limit, "below"), ("above", 1.001 * limit, "above")):
        growth = abs((descend(eta)[-1] - OPTIMUM) @ top / (OPTIMUM @ top))
        e.check(f"steep component after 500 steps over that at the start, 0.1 % {name} the limit", growth, 1, kind=kind)
    best = descend(2 / 30)
    e.check(
        "best constant step, 2 / (sum of eigenvalues) = 2/30: distance after 500",
        distance(best)[-1],
        0.0356811541275,
        1e-6,
        "relative",
    )
    heavy = momentum(largest, smallest)
    e.check("momentum: distance after 500", distance(heavy)[-1], 1e-9, kind="below")
    conjugate = conjugate_gradients()
    e.check("conjugate gradients: distance after 2 steps", distance(conjugate)[-1], 0, 1e-12)

    every = {
        "eta = 0.02": paths[0.02],
        "eta = 0.05": paths[0.05],
        "eta = 0.1": paths[0.1],
        "eta = 2/30": best,
        "momentum": heavy,
    }
    e.table(
        "distance from the optimum",
        ["method", *(f"{t} steps" if t > 1 else "1 step" for t in SHOWN)],
        [[name, *distance(path)[list(SHOWN)]] for name, path in every.items()],
        "Conjugate gradients arrive after 2 steps.",
    )
    draw(e, paths, every, conjugate)
    e.note(
        """
        The source answers the third question with "not always, the first-order model holds only nearby". The exact
        reason is that the error along an eigenvector is multiplied by 1 - eta lambda in each step: it grows as soon as
        |1 - eta lambda| > 1, that is above eta = 2/29.866 = 0.066966, for a quadratic at any distance from the
        optimum.
        """
    )


def draw(e: Run, paths: dict[float, np.ndarray], every: dict[str, np.ndarray], conjugate: np.ndarray) -> None:
    """The two pictures: distances over the steps, and the paths on the contours of R."""
    steps = np.arange(STEPS + 1)
    distances = {name: distance(path) for name, path in every.items()}
    distances["eta = 0.1"] = distances.pop("eta = 0.1")  # last, so that the others have the same colours in both panels
    fig, (left, right) = plots.new(1, 2)
    falling = {name: d for name, d in distances.items() if name != "eta = 0.1"}
    plots.lines(steps, falling, title="linear, without eta = 0.1", xlabel="step", ylabel="distance", axes=left)
    plots.lines(steps, distances, title="logarithmic", xlabel="step", ylabel="distance", log=True, axes=right)
    right.set(ylim=(1e-17, 1e152), yticks=[1e-15, 1, 1e50, 1e100, 1e150])
    right.minorticks_off()
    e.figure(
        "distances",
        fig,
        "Distance from the optimum: two fall, the third explodes; beside them the best constant step and momentum.",
        {"step": steps} | {name.replace(" ", ""): d for name, d in distances.items()},
    )

    fig, panels = plots.new(1, 2, height=4.2)
    arrays = {"conjugate": conjugate} | {f"path_{eta}": path for eta, path in paths.items()}
    views = (("The whole valley", (-0.8, 1.6), (-0.5, 4.0)), ("The first steps", (-0.45, 0.5), (-0.3, 0.45)))
    for ax, (title, xlim, ylim) in zip(panels, views, strict=True):
        w1, w2 = np.meshgrid(np.linspace(*xlim, 201), np.linspace(*ylim, 201))
        height = (3 * w1 - w2) ** 2 + (2 * w1 - w2 + 1) ** 2
        with plots.style():
            ax.contour(w1, w2, height, levels=np.geomspace(0.02, 40, 12), colors="#c4c4c4", linewidths=0.8)
            for (eta, path), width, colour in zip(paths.items(), (5, 1.4, 1.4), plots.LINES, strict=False):
                shown = path if eta < 0.1 else path[:3]  # its third step leaves the picture
                ax.plot(*shown.T, marker=".", linewidth=width, color=colour, label=f"eta = {eta}")
            ax.plot(
                *conjugate.T, marker="s", mfc="none", ms=7, color="black", lw=0.8, ls=":", label="conjugate gradients"
            )
            ax.plot(*OPTIMUM, marker="*", ms=13, color="black", ls="", label="optimum (1, 3)")
            ax.set(xlabel="w1", ylabel="w2", title=title, xlim=xlim, ylim=ylim)
            ax.grid(False)
            if ax is panels[0]:
                ax.legend()
        arrays |= {f"{name}_{title.split()[-1]}": a for name, a in (("w1", w1), ("w2", w2), ("R", height))}
    e.figure(
        "contours",
        fig,
        "Paths on the contours of R. The valley is 15 times longer than wide: gradient descent creeps along its floor, "
        "with eta = 0.1 it jumps ever higher up the walls, and conjugate gradients take two straight steps.",
        arrays,
    )
