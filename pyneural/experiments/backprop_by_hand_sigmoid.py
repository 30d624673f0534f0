"""Three layers of weights without biases, of sizes 3-3-3-1, with a sigmoid after the first two and a linear output:

    z1 = W0 x,  h1 = sigma(z1),  z2 = W1 h1,  h2 = sigma(z2),  yhat = W2 h2,  L = (yhat - y)^2 / 2

with x = (1, 1, 1), all of W0 0.1, all of W1 0.3, all of W2 0.5, y = 2 and the step size 1.

1. What are the values, and what is the gradient with respect to each of them?
2. What are the weights after one step of gradient descent?
"""

from __future__ import annotations

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.autodiff import gradients
from pyneural.experiments._differences import central_differences, gap
from pyneural.experiments._graph import Chain, Stage, picture
from pyneural.experiments.frame import Run, experiment

X, Y, ETA = np.ones(3), 2.0, 1.0
START = {"W0": np.full((3, 3), 0.1), "W1": np.full((3, 3), 0.3), "W2": np.full((1, 3), 0.5)}
Arrays = dict[str, np.ndarray]
# What is computed, and of each name the entry in double precision and as the source prints it.
EXPECTED: dict[str, dict[str, tuple[float, float | None]]] = {
    "": {
        "z1": (0.3, 0.3),
        "h1": (0.574443, 0.5744),
        "z2": (0.516998, 0.5117),
        "h2": (0.626446, 0.6264),
        "yhat": (0.939668, 0.9397),
        "L": (0.562152, None),
    },
    "dL/d": {"yhat": (-1.060332, -1.0603), "z2": (-0.124065, -0.1241), "z1": (-0.027296, -0.0273)},
    "new ": {"W2": (1.164240, 1.1642), "W1": (0.371268, 0.3713), "W0": (0.127296, 0.1273)},
    "after the step: ": {"yhat": (2.304154, None), "L": (0.046255, None)},
}


def forward(x: np.ndarray, w: dict[str, pn.Tensor]) -> dict[str, pn.Tensor]:
    """Every value of the network, by name."""
    z1 = w["W0"] @ pn.tensor(x)
    h1 = pn.sigmoid(z1)
    z2 = w["W1"] @ h1
    h2 = pn.sigmoid(z2)
    yhat = w["W2"] @ h2
    return {"z1": z1, "h1": h1, "z2": z2, "h2": h2, "yhat": yhat, "L": ((yhat - Y) ** 2).sum() / 2}


def differentiate(x: np.ndarray, weights: Arrays) -> tuple[Arrays, Arrays]:
    """(the values, dL/d each value and weight), by autodiff."""
    w = {name: pn.tensor(value, requires_grad=True) for name, value in weights.items()}
    v = forward(x, w)
    slopes = gradients(v["L"], [*v.values(), *w.values()])
    return {k: t.detach().numpy() for k, t in v.items()}, dict(zip([*v, *w], map(np.asarray, slopes), strict=True))


def by_hand(x: np.ndarray, weights: Arrays) -> Arrays:
    """The same gradients by the chain rule: each delta is dL/dz, and the gradient of its weights is delta h^T."""
    h1 = 1 / (1 + np.exp(-weights["W0"] @ x))
    h2 = 1 / (1 + np.exp(-weights["W1"] @ h1))
    d3 = weights["W2"] @ h2 - Y
    d2 = weights["W2"].T @ d3 * h2 * (1 - h2)
    d1 = weights["W1"].T @ d2 * h1 * (1 - h1)
    return {"yhat": d3, "z2": d2, "z1": d1, "W2": np.outer(d3, h2), "W1": np.outer(d2, h1), "W0": np.outer(d1, x)}


def by_differences(x: np.ndarray, weights: Arrays, name: str) -> np.ndarray:
    """dL/d(weight `name`) from values of L alone."""

    def loss(w: np.ndarray) -> float:
        return forward(x, {k: pn.tensor(v) for k, v in (weights | {name: w}).items()})["L"].item()

    return central_differences(loss, weights[name])


@experiment(
    "backprop-by-hand-sigmoid",
    title="Backpropagation by hand through two sigmoid layers",
    source="000_fb1690ef72ed0c7c.txt, 1a and 1b",
    kind="hand",
    topic="Calculations by hand",
)
def run(e: Run) -> None:
    values, slopes = differentiate(X, START)
    updated = {name: w - ETA * slopes[name] for name, w in START.items()}
    computed = {"": values, "dL/d": slopes, "new ": updated, "after the step: ": differentiate(X, updated)[0]}
    rows = []
    for what, names in EXPECTED.items():
        for name, (exact, printed) in names.items():
            e.check(what + name, computed[what][name], exact, 1e-6, printed=printed)
            rows.append([what + name, np.ravel(computed[what][name])[0], printed])
    e.table("one step", ["quantity", "computed", "printed"], rows, "All entries of a vector or matrix are equal.")
    for name, exact_slope in by_hand(X, START).items():
        e.check(f"dL/d{name}: autodiff minus chain rule", gap(slopes[name], exact_slope), 0, 1e-14)
    for name in START:
        e.check(f"dL/d{name}: autodiff minus differences", gap(slopes[name], by_differences(X, START, name)), 0, 1e-8)
    h2 = pn.sigmoid(pn.tensor([0.5117, 0.5170], dtype=np.float64)).numpy()
    e.check("h2 that follows from z2 = 0.5170 minus the printed 0.6264", h2[1] - 0.6264, 0, 5e-5)
    e.check("h2 that follows from z2 = 0.5117 falls short of it by", 0.6264 - h2[0], 1e-3, kind="above")
    check_orientation(e)
    draw_graph(e, values, slopes)
    draw_steps(e)
    e.note(
        """
        The source prints z2 = 0.5117, two digits swapped: only 0.5170 leads to the h2 that it prints. It also writes
        the updates of W1 and W0 with h delta^T. With z = W h the gradient is delta h^T; the equal entries of this
        exercise hide the difference, and unequal weights show it. Inputs, weights, target and step size are not
        printed; those above are the ones that give the printed numbers.
        """
    )


def check_orientation(e: Run) -> None:
    """Unequal weights, which tell delta h^T from h delta^T."""
    x, weights = e.rng.normal(size=3), {name: e.rng.normal(size=w.shape) for name, w in START.items()}
    values, slopes = differentiate(x, weights)
    for name, delta, h in (("W1", slopes["z2"], values["h1"]), ("W0", slopes["z1"], x)):
        measured = by_differences(x, weights, name)
        e.check(f"unequal {name}: differences minus delta h^T", gap(measured, np.outer(delta, h)), 0, 1e-8)
        e.check(f"unequal {name}: differences minus h delta^T", gap(measured, np.outer(h, delta)), 1e-4, kind="above")
        rows, components = [d * h for d in delta], [[d * hj for hj in h] for d in delta]
        apart = max(gap(slopes[name], np.array(rows)), gap(slopes[name], np.array(components)))
        e.check(f"unequal {name}: autodiff minus row by row and component by component", apart, 0, 1e-15)


def draw_graph(e: Run, values: Arrays, slopes: Arrays) -> None:
    """The network as a chain, with the numbers of the first step."""
    operations = {"z1": "W0 x", "h1": "$\\sigma$", "z2": "W1 h1", "h2": "$\\sigma$", "yhat": "W2 h2"}
    weights = {"z1": "W0", "z2": "W1", "yhat": "W2"}
    stages = [
        Stage(text, k, values[k], slopes[k], {w: (START[w], slopes[w]) for w in [weights.get(k)] if w})
        for k, text in operations.items()
    ]
    stages.append(Stage("(yhat \N{MINUS SIGN} y)\N{SUPERSCRIPT TWO} / 2", "L", values["L"], inputs={"y": (Y, None)}))
    data = values | {f"dL_d{k}": g for k, g in slopes.items()} | START
    caption = "The first step. Blue: forward values and weights. Orange: the gradient of L with respect to each."
    e.figure("graph", picture(Chain("Forward above, backward below", "x", X, stages)), caption, data)


def draw_steps(e: Run) -> None:
    """Ten steps: a step size of 1 overshoots."""
    weights, loss, output = START, [], []
    for _ in range(11):
        values, slopes = differentiate(X, weights)
        loss.append(values["L"].item())
        output.append(values["yhat"].item())
        weights = {name: w - ETA * slopes[name] for name, w in weights.items()}
    e.check("the first step takes yhat past its target", output[1], Y, kind="above")
    e.check("L falls in each of ten steps all the same", np.diff(loss), 0, kind="below")
    fig, axes = plots.new(1, 3, width=11)
    steps = np.arange(11)
    plots.lines(steps, {"yhat": output, "y": np.full(11, Y)}, title="Output", xlabel="step", axes=axes[0])
    plots.lines(steps, {"L": loss}, title="Loss, linear", xlabel="step", axes=axes[1])
    plots.lines(steps, {"L": loss}, title="Loss, logarithmic", xlabel="step", log=True, axes=axes[2])
    caption = "Ten steps of size 1: the output jumps past its target 2 and swings about it, ever closer."
    e.figure("ten-steps", fig, caption, {"step": steps, "yhat": output, "L": loss})
