"""An autoencoder x' = W2 s(W1 x) with W1 (k, d), W2 (d, k), no biases, and the loss L = ||x - x'||^2 / 2 of one sample.

Show that, with e = x - x' and a = W1 x,

    dL/dW1 = -[(W2^T e) . s'(a)] x^T        (k, d)
    dL/dW2 = -e s(a)^T                      (d, k)

for the activations s identity, negative (s(v) = -v), sigmoid, tanh and ReLU. The point "." multiplies element by
element.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import pyneural as pn
from pyneural.autodiff import gradients
from pyneural.experiments._differences import central_differences, gap
from pyneural.experiments._graph import Chain, Stage, picture
from pyneural.experiments.frame import Run, experiment

D, K, N = 5, 3, 20
# name: (s, s' by hand)
ACTIVATIONS: dict[str, tuple[Callable[[pn.Tensor], pn.Tensor], Callable[[np.ndarray], np.ndarray]]] = {
    "identity": (lambda v: v, np.ones_like),
    "negative": (lambda v: -v, lambda v: -np.ones_like(v)),
    "sigmoid": (pn.sigmoid, lambda v: np.exp(-v) / (1 + np.exp(-v)) ** 2),
    "tanh": (pn.tanh, lambda v: 1 - np.tanh(v) ** 2),
    "ReLU": (pn.relu, lambda v: (v > 0) * 1.0),
}


def values_of(name: str, array: np.ndarray) -> np.ndarray:
    """s(array)."""
    return ACTIVATIONS[name][0](pn.tensor(array)).numpy()


def forward(name: str, x: pn.Tensor, w1: pn.Tensor, w2: pn.Tensor) -> dict[str, pn.Tensor]:
    """The values of one sample x (d,), or with x (N, d) of N samples, L being their mean."""
    a = pn.functional.linear(x, w1)
    s = ACTIVATIONS[name][0](a)
    rebuilt = pn.functional.linear(s, w2)
    return {"a": a, "s(a)": s, "x'": rebuilt, "L": ((x - rebuilt) ** 2).sum() / (2 * x.numel() / x.shape[-1])}


def by_hand(name: str, x: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(dL/dW1, dL/dW2) by the formulas above."""
    a = w1 @ x
    error = x - w2 @ values_of(name, a)
    return -np.outer((w2.T @ error) * ACTIVATIONS[name][1](a), x), -np.outer(error, values_of(name, a))


def batched(name: str, x: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same averaged over the rows of x (N, d): one matrix product for each gradient."""
    a = x @ w1.T
    error = x - values_of(name, a) @ w2.T
    delta = (error @ w2) * ACTIVATIONS[name][1](a)
    return -delta.T @ x / len(x), -error.T @ values_of(name, a) / len(x)


def by_autodiff(name: str, x: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> tuple[dict, dict]:
    """(the values, dL/d each value and weight)."""
    leaves = {"W1": pn.tensor(w1, requires_grad=True), "W2": pn.tensor(w2, requires_grad=True)}
    values = forward(name, pn.tensor(x), *leaves.values())
    slopes = map(np.asarray, gradients(values["L"], [*values.values(), *leaves.values()]))
    return {k: v.detach().numpy() for k, v in values.items()}, dict(zip([*values, *leaves], slopes, strict=True))


def by_differences(name: str, x: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(dL/dW1, dL/dW2) from values of L alone."""

    def loss(u: np.ndarray, v: np.ndarray) -> float:
        return forward(name, pn.tensor(x), pn.tensor(u), pn.tensor(v))["L"].item()

    return central_differences(lambda u: loss(u, w2), w1), central_differences(lambda v: loss(w1, v), w2)


def sample(e: Run, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random samples (N, d) and weights; no sample has a hidden unit close to the corner of the ReLU."""
    w1, w2, x = (e.rng.normal(size=shape) for shape in ((k, D), (D, k), (50 * N, D)))
    return x[np.abs(x @ w1.T).min(axis=1) > 0.1][:N], w1, w2


@experiment(
    "ae-gradients",
    title="The gradients of an autoencoder with one hidden layer",
    source="001_b6a7a572bac0f98c.txt, 1a, figures 1-2",
    kind="proof",
    topic="Calculations by hand",
)
def run(e: Run) -> None:
    samples, w1, w2 = sample(e, K)
    x, rows = samples[0], []
    for name in ACTIVATIONS:
        values, slopes = by_autodiff(name, x, w1, w2)
        hand, measured = by_hand(name, x, w1, w2), by_differences(name, x, w1, w2)
        apart = []
        for weight, formula, difference in zip(("W1", "W2"), hand, measured, strict=True):
            apart += [gap(slopes[weight], formula), gap(difference, formula)]
            e.check(f"{name}, dL/d{weight}: autodiff minus formula", apart[-2], 0, 1e-8)
            e.check(f"{name}, dL/d{weight}: central differences minus formula", apart[-1], 0, 1e-8)
        means = np.mean([[g.ravel() for g in by_hand(name, xn, w1, w2)] for xn in samples], axis=0)
        together, taped = batched(name, samples, w1, w2), by_autodiff(name, samples, w1, w2)[1]
        apart.append(max(gap(g.ravel(), mean) for g, mean in zip(together, means, strict=True)))
        apart.append(max(gap(g, taped[weight]) for g, weight in zip(together, ("W1", "W2"), strict=True)))
        e.check(f"{name}: batched form minus mean of {N} samples, and minus autodiff", apart[-2:], 0, 1e-12)
        rows.append([name, *apart])
        if name == "tanh":
            check_shapes(e, values, slopes)
            draw(e, name, x, w1, w2)
    kinds = [f"dL/d{w}: {how}" for w in ("W1", "W2") for how in ("autodiff", "differences")]
    columns = ["activation", *kinds, "batched: mean of samples", "batched: autodiff"]
    e.table("largest distance from the formula", columns, rows)
    check_slips(e)
    e.note(
        """
        The source prints the matrix form of dL/dW1 transposed, x [(W2^T e) . s'(a)]^T, which has the shape (d, k), and
        without its sign. It says that a lies in R^d (it is R^k) and that W2 is (k, d) (it is (d, k)). Its equations 4
        and 5 drop the 1/2 of the loss, its gradients keep it.
        """
    )


def check_shapes(e: Run, values: dict[str, np.ndarray], slopes: dict[str, np.ndarray]) -> None:
    """Every shape, and what the source says of it."""
    e.check("shape of a", values["a"].shape, (K,), kind="equal", printed=f"({D},)")
    e.check("shape of x'", values["x'"].shape, (D,), kind="equal")
    e.check("shape of dL/dW1", slopes["W1"].shape, (K, D), kind="equal", printed=f"({D}, {K})")
    e.check("shape of dL/dW2 and of W2", slopes["W2"].shape, (D, K), kind="equal", printed=f"({K}, {D})")


def check_slips(e: Run) -> None:
    """With k = d every shape fits, so that only the numbers can tell the formula from the printed ones."""
    samples, w1, w2 = sample(e, D)
    x = samples[0]
    measured, _ = by_differences("sigmoid", x, w1, w2)
    right, _ = by_hand("sigmoid", x, w1, w2)
    e.check("k = d: differences minus formula", gap(measured, right), 0, 1e-8)
    a = w1 @ x
    hidden = w2.T @ (x - w2 @ values_of("sigmoid", a)) * ACTIVATIONS["sigmoid"][1](a)
    printed = np.outer(x, hidden)
    for what, wrong in (("printed form", printed), ("printed form transposed", printed.T), ("its negative", -printed)):
        e.check(f"k = d: differences minus {what}", gap(measured, wrong), 1e-4, kind="above")
    e.check("k = d: differences minus printed form both transposed and negated", gap(measured, -printed.T), 0, 1e-8)

    def without_half(w: np.ndarray) -> float:
        return ((pn.tensor(x) - forward("sigmoid", pn.tensor(x), pn.tensor(w), pn.tensor(w2))["x'"]) ** 2).sum().item()

    twice = central_differences(without_half, w1)
    e.check("loss without the 1/2: differences minus twice the formula", gap(twice, 2 * right), 0, 1e-8)


def draw(e: Run, name: str, x: np.ndarray, w1: np.ndarray, w2: np.ndarray) -> None:
    """The computation graph of one sample."""
    v, g = by_autodiff(name, x, w1, w2)
    stages = [
        Stage("W1 x", "a", v["a"], g["a"], {"W1": (w1, g["W1"])}),
        Stage(name, "s(a)", v["s(a)"], g["s(a)"]),
        Stage("W2 s(a)", "x'", v["x'"], g["x'"], {"W2": (w2, g["W2"])}),
        Stage("||x \N{MINUS SIGN} x'||\N{SUPERSCRIPT TWO} / 2", "L", v["L"], inputs={"x": (x, None)}),
    ]
    fig = picture(Chain(f"One sample, s = {name}: forward above, backward below", "x", x, stages), decimals=2)
    caption = "Blue: forward values and weights. Orange: dL/dx' = -e, then W2^T of it, then times s'(a); dL/dW below."
    data = {"x": x, "W1": w1, "W2": w2, "a": v["a"], "s": v["s(a)"], "rebuilt": v["x'"], "L": v["L"]}
    slopes = {"dL_da": g["a"], "dL_ds": g["s(a)"], "dL_drebuilt": g["x'"], "dL_dW1": g["W1"], "dL_dW2": g["W2"]}
    e.figure("graph", fig, caption, data | slopes)
