"""Show that for x and y in (0, 1)

    f(x, y) = x log(x/y) + (1-x) log((1-x)/(1-y)) - 2 (x-y)^2 >= 0,

and what it says about the cross-entropy and the squared error of an autoencoder.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import nn, optim, plots
from pyneural.distributions import Bernoulli, Categorical, kl_divergence
from pyneural.experiments._slips import slip
from pyneural.experiments._symbolic import symbolic
from pyneural.experiments.frame import Run, experiment

GRID = 2001


def divergence(x: Any, y: Any) -> pn.Tensor:
    """KL of two coins with chances x and y of heads."""
    return kl_divergence(Bernoulli(x), Bernoulli(y))


def f(x: Any, y: Any, c: float = 2.0) -> pn.Tensor:
    """The difference of both sides, with the constant c in the place of 2."""
    return divergence(x, y) - c * pn.square(pn.as_tensor(x) - y)


def curvature(x: Any, y: Any) -> Any:
    """The second derivative of f in y, by hand."""
    return x / y**2 + (1 - x) / (1 - y) ** 2 - 4


@experiment(
    "pinsker-bound",
    title="Cross-entropy is above the squared error",
    source="004_7b7278b8294b24c0.txt, 3.1",
    kind="proof",
    topic="Information and bounds",
    needs=("mnist",),
)
def run(e: Run) -> None:
    side = np.arange(1, GRID + 1) / (GRID + 1)
    smallest = min(f(x[:, None], side).numpy().min() for x in np.array_split(side, 20))
    e.check(f"f on a grid of {GRID} x {GRID} points: smallest", smallest, -1e-12, kind="at least")
    e.check("f on the diagonal", f(side, side).numpy(), 0, 1e-15)
    check_slope(e)
    check_parabola(e)
    value = f(np.array(0.5), 0.51, 2.01).item()
    e.check("the constant 2 is the best: with 2.01, f(0.5, 0.51)", value, 0, kind="below")
    step = 1e-3 * side * (1 - side)
    ratio = divergence(side, side + step).numpy() / step**2
    e.check("KL/(x-y)^2 next to the diagonal, times 2x(1-x)", ratio * 2 * side * (1 - side), 1, 2e-3)
    limit = 1 / (2 * side * (1 - side))
    e.check("that limit is 2 at x = 1/2", limit[GRID // 2], 2, 1e-12)
    e.check("and above 2 elsewhere: smallest", np.delete(limit, GRID // 2).min(), 2, kind="above")
    near = np.array([0.1, 0.01, 0.001])
    e.check("KL/(x-y)^2 at (1/2, 1/2 + d), d = 0.1, 0.01, 0.001: what is above 2, over d^2",
            (divergence(np.full(3, 0.5), 0.5 + near).numpy() / near**2 - 2) / near**2, 4, 0.3)  # fmt: skip
    check_classes(e)
    train(e)
    draw(e)
    e.note(
        """
        The source calls f a parabola in y. It is not even convex: at x = 0.1 its second derivative is -1.0779 at
        y = 0.3245, and y = 1/2 is a further stationary point. What carries the proof is the sign of its derivative
        alone: (x - y)(4 - 1/(y(1-y))), whose second factor is never positive, so that f falls up to y = x and rises
        from there.
        """
    )


def check_slope(e: Run) -> None:
    """df/dy = (x - y)(4 - 1/(y(1-y)))."""
    x, y = e.rng.uniform(0.02, 0.98, size=(2, 500))
    slope = pn.grad(lambda v: f(x, v).sum())(pn.tensor(y)).numpy()
    e.check("df/dy at 500 points, autodiff minus (x - y)(4 - 1/(y(1-y)))", slope, (x - y) * (4 - 1 / (y * (1 - y))),
            1e-11)  # fmt: skip
    e.check("4 - 1/(y(1-y)): largest", (4 - 1 / (y * (1 - y))).max(), 0, kind="at most")

    def exact(sympy: Any) -> None:
        a, b = sympy.symbols("x y", positive=True)
        expression = a * sympy.log(a / b) + (1 - a) * sympy.log((1 - a) / (1 - b)) - 2 * (a - b) ** 2
        found = sympy.diff(expression, b) - (a - b) * (4 - 1 / (b * (1 - b)))
        e.check("symbolic: df/dy = (x - y)(4 - 1/(y(1-y)))", sympy.simplify(found) == 0, kind="true")
        second = sympy.diff(expression, b, 2) - (a / b**2 + (1 - a) / (1 - b) ** 2 - 4)
        e.check("symbolic: second derivative x/y^2 + (1-x)/(1-y)^2 - 4", sympy.simplify(second) == 0, kind="true")

    symbolic(e, exact)


def check_parabola(e: Run) -> None:
    """f in y at x = 0.1: curved the other way, and flat at 1/2."""
    x = np.array(0.1)

    def second(y: float) -> float:
        return pn.hessian(lambda v: f(x, v))(pn.tensor(y, dtype=np.float64)).item()

    e.check("second derivative by autodiff at y = 0.2 minus the formula", second(0.2), curvature(0.1, 0.2), 1e-10)
    parabola = curvature(0.1, 0.1)  # that of f at its minimum y = x: a parabola has it everywhere
    slip(e, "second derivative in y at x = 0.1, y = 0.3245", second(0.3245), -1.0779, parabola, 1e-4,
         note="a parabola with the same minimum has this everywhere")  # fmt: skip
    slope = pn.grad(lambda v: f(x, v))(pn.tensor(0.5, dtype=np.float64)).item()
    e.check("slope in y at x = 0.1, y = 1/2: a further stationary point", slope, 0, 1e-14)
    points = [
        [y, f(x, y).item(), 0.5 * parabola * (y - 0.1) ** 2, curvature(0.1, y)] for y in (0.05, 0.1, 0.3, 0.5, 0.9)
    ]
    e.table("x = 0.1", ["y", "f", "parabola with the same minimum", "second derivative"], points)


def check_classes(e: Run) -> None:
    """Beyond: for k classes KL >= ||p - q||_1^2 / 2."""
    for k in (2, 5, 50):
        p, q = e.rng.dirichlet(np.full(k, 0.5), size=(2, 10_000))
        slack = kl_divergence(Categorical(p), Categorical(q)).numpy() - np.abs(p - q).sum(1) ** 2 / 2
        e.check(f"{k} classes, 10,000 pairs, KL - ||p - q||_1^2/2: smallest", slack.min(), 0, kind="at least")


def train(e: Run) -> None:
    """An autoencoder's cross-entropy less the entropy of its batch, and four times its half squared error."""
    images = e.mnist().flat()[0]
    if e.full:
        pixels = np.clip(images.astype(np.float64), 1e-300, 1)
        own = -np.sum(pixels * np.log(pixels) + (1 - pixels) * np.log1p(-np.minimum(pixels, 1 - 1e-16))) / len(images)
        e.check("entropy of the pixels per image, MNIST", own, 45.757, 1e-3)
    net = nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 784))
    optimizer = optim.Adam(net.parameters(), lr=3e-3)
    size = 100

    def step(x: pn.Tensor) -> tuple[pn.Tensor, pn.Tensor]:
        logits = net(x)
        cross = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / size
        squares = pn.square(pn.sigmoid(logits) - x).sum() / (2 * size)
        optimizer.zero_grad()
        cross.backward()
        optimizer.step()
        return cross, squares

    replay, rows = pn.compile(step), []
    batches = [images[i : i + size] for i in range(0, e.pick(quick=10_000, full=60_000), size)]
    for batch in e.progress(batches, "training the autoencoder"):
        cross, squares = (v.item() for v in replay(pn.tensor(batch)))
        x = batch.astype(np.float64)
        entropy = Bernoulli(x).entropy().numpy().sum() / size
        rows.append((cross - entropy, 4 * squares))
    left, right = np.array(rows).T
    e.check(
        f"E_ce - entropy over 4 E_sq at each of {len(rows)} steps: smallest", (left / right).min(), 1, kind="at least"
    )
    fig = plots.learning_curves({"cross-entropy - entropy": left, "4 x half squared error": right}, xlabel="step",
                                title="784-30-784", ylabel="per image", x=np.arange(1, len(rows) + 1))  # fmt: skip
    caption = "While an autoencoder is trained, its cross-entropy less the entropy of the pixels stays above the bound."
    e.figure("training", fig, caption, {"cross_entropy_less_entropy": left, "four_squared_errors": right})


def draw(e: Run) -> None:
    """The surface of f and two slices."""
    side = np.linspace(0.005, 0.995, 100)
    height = f(side[:, None], side).numpy()
    shown = np.minimum(height, 1.5)
    fig = plots.surface(side, side, shown, title="f(x, y)", xlabel="x", ylabel="y", zlabel="f")
    caption = "f is 0 along the diagonal x = y and positive elsewhere (cut at 1.5)."
    e.figure("surface", fig, caption, {"x": side, "y": side, "f": height})
    fig, axes = plots.new(1, 2, width=9, height=3.8)
    side = np.linspace(0.005, 0.995, 199)
    data: dict[str, np.ndarray] = {"y": side}
    for ax, at in ((axes[0], 0.1), (axes[1], 0.5)):
        values = f(np.full(side.shape, at), side).numpy()
        second = curvature(at, at)
        bent = curvature(at, side) < 0
        plots.lines(side, {"f": values, "parabola with its minimum": second / 2 * (side - at) ** 2},
                    title=f"x = {at}", xlabel="y", axes=ax)  # fmt: skip
        with plots.style():
            if bent.any():
                ax.fill_between(side, -0.05, 1.6, where=bent, color="#dddddd", label="curved downwards")
            ax.set(ylim=(-0.05, 1.6))
            ax.legend(loc="upper left" if bent.any() else "upper center")
        data |= {f"slice_{at}": values}
    caption = "Left: f bends down in the grey range and is flat at y = 1/2. Right: flat to third order at y = 1/2."
    e.figure("slices", fig, caption, data)
