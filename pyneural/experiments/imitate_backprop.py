"""A network with two inputs, three hidden units and one output, all with the activation phi(v) = 1/(1 + exp(-a v)):

    v_z = W x + b,  z = phi(v_z),  v_f = U z + c,  f = phi(v_f),  l = (f - y)^2

with W (3, 2), b (3), U (1, 3), c (1) and a = 5. Derive the gradient of l with respect to every value and parameter,

    grad_f = -2 (y - f),     delta_f = grad_f phi'(v_f),      grad_U = delta_f z^T,  grad_c = delta_f,
    grad_z = U^T delta_f,    delta_z = grad_z . phi'(v_z),    grad_W = delta_z x^T,  grad_b = delta_z,

where phi'(v) = a phi(v) (1 - phi(v)) and "." multiplies element by element.
"""

from __future__ import annotations

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.autodiff import gradients
from pyneural.experiments._differences import central_differences, gap
from pyneural.experiments._graph import Chain, Stage, picture
from pyneural.experiments.frame import Run, experiment

A, Y = 5.0, 1.0
ELL = "\N{SCRIPT SMALL L}"
SHAPES = {"W": (3, 2), "b": (3,), "U": (1, 3), "c": (1,)}
Arrays = dict[str, np.ndarray]


def phi(v: pn.Tensor, a: pn.Tensor | float) -> pn.Tensor:
    """The activation, of steepness a."""
    return pn.sigmoid(a * v)


def forward(x: pn.Tensor, p: dict[str, pn.Tensor]) -> dict[str, pn.Tensor]:
    """Every value of the network, by name. `x` is one sample (2,) or samples (N, 2), `p` has W, b, U, c and a."""
    v_z = pn.functional.linear(x, p["W"], p["b"])
    z = phi(v_z, p["a"])
    v_f = pn.functional.linear(z, p["U"], p["c"])
    return {"v_z": v_z, "z": z, "v_f": v_f, "f": phi(v_f, p["a"])}


def differentiate(x: np.ndarray, parameters: Arrays) -> tuple[Arrays, Arrays]:
    """(the values, dl/d each value and parameter), by autodiff."""
    p = {name: pn.tensor(value, requires_grad=True) for name, value in parameters.items()}
    v = forward(pn.tensor(x), p)
    v["l"] = pn.square(v["f"] - Y).sum()
    slopes = gradients(v["l"], [*v.values(), *p.values()])
    return {k: t.detach().numpy() for k, t in v.items()}, dict(zip([*v, *p], map(np.asarray, slopes), strict=True))


def by_hand(x: np.ndarray, p: Arrays, v: Arrays, factor: float = A, slip: bool = False) -> Arrays:
    """The formulas above. `factor` is that of phi', `slip` takes grad_f for grad_z, as the source does once."""
    grad_f = -2 * (Y - v["f"])
    delta_f = grad_f * factor * v["f"] * (1 - v["f"])
    grad_z = p["U"].T @ delta_f
    delta_z = (grad_f if slip else grad_z) * factor * v["z"] * (1 - v["z"])
    # Beyond the exercise: phi depends on a as well, by v phi (1 - phi), in both layers.
    grad_a = np.sum(grad_f * v["v_f"] * v["f"] * (1 - v["f"])) + np.sum(grad_z * v["v_z"] * v["z"] * (1 - v["z"]))
    return {
        "f": grad_f, "v_f": delta_f, "z": grad_z, "v_z": delta_z,
        "W": np.outer(delta_z, x), "b": delta_z, "U": np.outer(delta_f, v["z"]), "c": delta_f, "a": np.array(grad_a),
    }  # fmt: skip


def by_differences(x: np.ndarray, parameters: Arrays, name: str) -> np.ndarray:
    """dl/d(parameter `name`) from values of l alone."""

    def loss(w: np.ndarray) -> float:
        return differentiate(x, parameters | {name: w})[0]["l"].item()

    return central_differences(loss, parameters[name])


@experiment(
    "imitate-backprop",
    title="Backpropagation through a steep 2-3-1 network",
    source="002_e3b0b6e208b34aec.txt, homework 5, 2a-2c",
    kind="hand",
    topic="Learning by imitation",
)
def run(e: Run) -> None:
    x = e.rng.normal(size=2)
    p = {name: 0.3 * e.rng.normal(size=shape) for name, shape in SHAPES.items()} | {"a": np.array(A)}
    values, slopes = differentiate(x, p)
    hand, rows = by_hand(x, p, values), []
    for name, formula in hand.items():
        apart = gap(slopes[name], formula)
        e.check(f"dl/d{name}: autodiff minus formula", apart, 0, 1e-12)
        measured = gap(by_differences(x, p, name), formula) if name in p else None
        if measured is not None:
            e.check(f"dl/d{name}: central differences minus formula", measured, 0, 1e-7)
        if name in SHAPES:
            e.check(f"shape of dl/d{name}", formula.shape, SHAPES[name], kind="equal")
        text = ", ".join(f"{value:.6f}" for value in formula.ravel())
        rows.append([f"dl/d{name}", str(formula.shape), text, apart, measured])
    e.table("gradients", ["gradient", "shape", "values, row by row", "autodiff minus it", "differences minus it"], rows)
    check_slips(e, x, p, values)
    draw_graph(e, x, p, values, slopes)
    learn_steepness(e)
    e.note(
        """
        The source prints exp(-s v) for exp(-a v), the factor 3 in phi' (it is a = 5), W as 3x3 (there are two inputs,
        so 3x2), and in one line grad_f in the place of grad_z in delta_z. With the factor 3 every gradient shrinks, by
        3/5 behind one layer and 9/25 behind two, so that descent still works and hides the slip.
        """
    )


def check_slips(e: Run, x: np.ndarray, p: Arrays, values: Arrays) -> None:
    """Each slip of the source changes the gradients."""
    output, slope = pn.value_and_grad(phi)(pn.tensor(0.3, dtype=np.float64), A)
    e.check("phi' / (phi (1 - phi))", slope.item() / (output.item() * (1 - output.item())), A, 1e-12, printed=3)
    e.check("columns of W, by dl/dW", by_differences(x, p, "W").shape[1], len(x), kind="equal", printed=3)
    for name, ratio in (("U", 3 / 5), ("W", 9 / 25)):
        right, wrong = by_differences(x, p, name), by_hand(x, p, values, factor=3.0)[name]
        e.check(f"dl/d{name} with the factor 3, over its right size", wrong / right, ratio, 1e-5)
    wrong = by_hand(x, p, values, slip=True)["W"]
    e.check("dl/dW with grad_f for grad_z minus differences", gap(wrong, by_differences(x, p, "W")), 1e-4, kind="above")


def draw_graph(e: Run, x: np.ndarray, p: Arrays, v: Arrays, g: Arrays) -> None:
    """The network as a chain."""

    def beside(*names: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {name: (p[name], g[name]) for name in names}

    stages = [
        Stage("W x + b", "v_z", v["v_z"], g["v_z"], beside("W", "b")),
        Stage("$\\varphi$", "z", v["z"], g["z"]),
        Stage("U z + c", "v_f", v["v_f"], g["v_f"], beside("U", "c")),
        Stage("$\\varphi$", "f", v["f"], g["f"]),
        Stage("(f \N{MINUS SIGN} y)\N{SUPERSCRIPT TWO}", ELL, v["l"], inputs={"y": (Y, None)}),
    ]
    caption = "Blue: forward values and parameters. Orange: the gradient of the loss l with respect to each."
    data = {"x": x} | v | p | {f"dl_d{name}": slope for name, slope in g.items()}
    e.figure("graph", picture(Chain("Forward above, backward below", "x", x, stages), loss=ELL), caption, data)


def learn_steepness(e: Run) -> None:
    """A network whose steepness starts at 1 learns the steepness 5 of one that is the same otherwise.

    Its output is near 1 where x1 > -1, x2 > -1 and x1 + x2 < 1, and near 0 elsewhere.
    """
    x = pn.tensor(e.rng.uniform(-2, 2, size=(200, 2)))
    triangle: Arrays = {
        "W": np.array([[1.0, 0], [0, 1], [-1, -1]]), "b": np.ones(3), "U": np.ones((1, 3)), "c": np.array([-2.5]),
    }  # fmt: skip
    fixed = {name: pn.tensor(value) for name, value in triangle.items()}
    target = forward(x, fixed | {"a": pn.tensor(A, dtype=np.float64)})["f"]
    a = pn.tensor(1.0, dtype=np.float64, requires_grad=True)
    optimizer = pn.optim.Adam([a], lr=0.1)
    path, losses = [], []
    for _ in range(400):
        loss = ((forward(x, fixed | {"a": a})["f"] - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        path.append(a.item())
        losses.append(loss.item())
        optimizer.step()
    e.check("a as a parameter: learned from 1 after 400 steps", a.item(), A, 1e-3)
    steps = np.arange(400)
    fig, axes = plots.new(1, 3, width=11)
    plots.lines(steps, {"a": path, "that of the data": np.full(400, A)}, title="a", xlabel="step", axes=axes[0])
    plots.lines(steps, {"MSE": losses}, title="MSE, linear", xlabel="step", axes=axes[1])
    plots.lines(steps, {"MSE": losses}, title="MSE, logarithmic", xlabel="step", log=True, axes=axes[2])
    caption = "The steepness a as a parameter: from 1 to the 5 of the network that made the data."
    e.figure("steepness", fig, caption, {"step": steps, "a": path, "mse": losses})
