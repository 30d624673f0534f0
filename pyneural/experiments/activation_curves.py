"""Draw the activation functions that the exercise compares, ReLU, the logistic sigmoid and tanh, and their derivatives
on [-6, 6].

The text of the exercise compares ReLU with the sigmoid; the caption of its figure says ReLU and tanh. All three are
drawn, and leaky ReLU, softplus and GELU beside them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.experiments.frame import Run, experiment

V = np.arange(-600, 601) / 100  # holds 0 and the points of the table exactly
SHOWN = (-6, -1, 0, 1, 6)
ASKED: dict[str, Callable[[pn.Tensor], pn.Tensor]] = {"ReLU": pn.relu, "sigmoid": pn.sigmoid, "tanh": pn.tanh}
MORE: dict[str, Callable[[pn.Tensor], pn.Tensor]] = {
    "leaky ReLU": pn.leaky_relu,
    "softplus": pn.softplus,
    "GELU": pn.gelu,
}


def value_and_slope(function: Callable[[pn.Tensor], pn.Tensor], v: np.ndarray = V) -> tuple[np.ndarray, np.ndarray]:
    """The function at every v and its derivative there by autodiff, in float64."""
    x = pn.tensor(v, requires_grad=True)
    y = function(x)
    y.sum().backward()
    return y.detach().numpy(), np.asarray(x.grad)


@experiment(
    "activation-curves",
    title="ReLU, sigmoid and tanh with their derivatives",
    source="000_fb1690ef72ed0c7c.txt, 2.3, figure 6",
    kind="figure",
    topic="Calculations by hand",
)
def run(e: Run) -> None:
    curves = {name: value_and_slope(f) for name, f in (ASKED | MORE).items()}
    (relu, relu_slope), (sigma, sigma_slope), (tanh, tanh_slope) = (curves[name] for name in ASKED)
    left, zero = V < 0, int(np.flatnonzero(V == 0)[0])

    e.check("tanh(v) = 2 sigma(2v) - 1", tanh, 2 * value_and_slope(pn.sigmoid, 2 * V)[0] - 1, 1e-15)
    e.check("sigma' by autodiff = sigma (1 - sigma)", sigma_slope, sigma * (1 - sigma), 1e-15)
    e.check("tanh' by autodiff = 1 - tanh^2", tanh_slope, 1 - tanh**2, 1e-15)
    e.check("ReLU'(0), by convention", relu_slope[zero], 0, kind="equal")
    e.check("ReLU left of the origin", relu[left], 0, kind="equal")
    e.check("ReLU' right of the origin", relu_slope[V > 0], 1, kind="equal")
    e.check("sigma lies in (0, 1): smallest", sigma.min(), 0, kind="above")
    e.check("sigma lies in (0, 1): largest", sigma.max(), 1, kind="below")
    e.check("tanh lies in (-1, 1): smallest", tanh.min(), -1, kind="above")
    e.check("tanh lies in (-1, 1): largest", tanh.max(), 1, kind="below")
    e.check("sigma'(0) = 1/4", sigma_slope[zero], 0.25, 1e-15)
    e.check("tanh'(0) = 1", tanh_slope[zero], 1, 1e-15)
    e.check("sigma against 1 / (1 + exp(-v)) of NumPy", sigma, 1 / (1 + np.exp(-V)), 1e-15)
    e.check("tanh against NumPy's", tanh, np.tanh(V), 1e-15)
    e.check("softplus' = sigma", curves["softplus"][1], sigma, 1e-15)
    for name, function in (ASKED | MORE).items():
        away = V[np.abs(V) > 0.005]  # not across the kink of the ReLU family
        step = 1e-5
        difference = (value_and_slope(function, away + step)[0] - value_and_slope(function, away - step)[0]) / (
            2 * step
        )
        e.check(
            f"{name}' by autodiff against central differences", value_and_slope(function, away)[1], difference, 1e-9
        )

    at = np.searchsorted(V, SHOWN)
    e.table("values", ["function", *(f"v = {v}" for v in SHOWN)], [[name, *y[at]] for name, (y, _) in curves.items()])
    e.table(
        "derivatives",
        ["function", *(f"v = {v}" for v in SHOWN)],
        [[name + "'", *d[at]] for name, (_, d) in curves.items()],
    )
    for file, names, caption in (
        (
            "curves",
            list(ASKED),
            "ReLU is 0 left of the origin; the sigmoid lies in (0, 1) and tanh in (-1, 1), with slopes 1/4 and 1 at 0.",
        ),
        ("more-curves", list(curves), "The same axes with leaky ReLU (slope 0.01 on the left), softplus and GELU."),
    ):
        fig, (functions, slopes) = plots.new(1, 2)
        plots.lines(V, {n: curves[n][0] for n in names}, title="functions", xlabel="v", axes=functions)
        plots.lines(V, {n + "'": curves[n][1] for n in names}, title="derivatives", xlabel="v", axes=slopes)
        functions.set_ylim(-1.3, 3)
        data = {
            f"{n}_{what}".replace(" ", "_"): curves[n][i] for n in names for i, what in enumerate(("value", "slope"))
        }
        e.figure(file, fig, caption, {"v": V} | data)
    e.note(
        """
        The caption of the source's figure says ReLU and tanh; its text, and the networks of the exercise, use the
        sigmoid.
        """
    )
