"""One input, one hidden ReLU unit and a ReLU output,

    h = relu(w1 x + b1),  yhat = relu(w2 h + b2),  loss = (yhat - y)^2 / 2,

all four parameters 0.5, step size 0.01. What are the values, the gradients and the parameters in one pass of gradient
descent over the samples (x, y) = (1, 3), (2, 4), (3, 5), one step per sample?
"""

from __future__ import annotations

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.autodiff import gradients
from pyneural.experiments._differences import central_differences
from pyneural.experiments._graph import Chain, Stage, picture
from pyneural.experiments.frame import Run, experiment

ETA, START = 0.01, {"w1": 0.5, "b1": 0.5, "w2": 0.5, "b2": 0.5}
SAMPLES = ((1.0, 3.0), (2.0, 4.0), (3.0, 5.0))
NAMES = ("h", "yhat", "loss", "dyhat", "dw2", "db2", "dh", "dw1", "db1", "new w1", "new b1", "new w2", "new b2")
EXACT = (
    (1, 1, 2, -2, -2, -2, -1, -1, -1, 0.51, 0.51, 0.52, 0.52),
    (1.53, 1.3156, 3.603002, -2.6844, -4.107132, -2.6844, -1.395888, -2.791776, -1.395888,
     0.537918, 0.523959, 0.561071, 0.546844),
    (2.137712, 1.746253, 5.293435, -3.253747, -6.955575, -3.253747, -1.825584, -5.476752, -1.825584,
     0.592685, 0.542215, 0.630627, 0.579381),
)  # fmt: skip
PRINTED = (
    EXACT[0],
    (1.53, 1.31, 3.6, -2.69, -4.11, -2.69, -1.4, -2.8, -1.4, 0.53, 0.65, 0.56, 0.54),
    (2.13, 1.7, 5.4, -3.3, -6.9, -3.3, -1.82, -5.46, -1.82, 0.59, 0.54, 0.63, 0.57),
)
Numbers = dict[str, float]


def forward(x: float, y: float, p: dict[str, pn.Tensor]) -> dict[str, pn.Tensor]:
    """Every value of the network, by name; z1 and z2 are what goes into the ReLUs."""
    z1 = p["w1"] * x + p["b1"]
    h = pn.relu(z1)
    z2 = p["w2"] * h + p["b2"]
    yhat = pn.relu(z2)
    return {"z1": z1, "h": h, "z2": z2, "yhat": yhat, "loss": (yhat - y) ** 2 / 2}


def step(x: float, y: float, p: Numbers) -> Numbers:
    """The values, the gradients ("d" and the name) and the new parameters of one step, by autodiff."""
    leaves = {name: pn.tensor(value, dtype=np.float64, requires_grad=True) for name, value in p.items()}
    values = forward(x, y, leaves)
    names = [*values, *leaves]
    slopes = [np.asarray(g).item() for g in gradients(values["loss"], [*values.values(), *leaves.values()])]
    found = {name: t.item() for name, t in values.items()} | {f"d{k}": g for k, g in zip(names, slopes, strict=True)}
    return found | {f"new {name}": value - ETA * found[f"d{name}"] for name, value in p.items()}


def by_differences(x: float, y: float, p: Numbers) -> np.ndarray:
    """dloss/d(w1, b1, w2, b2) from values of the loss alone."""

    def loss(w: np.ndarray) -> float:
        return forward(x, y, {name: pn.tensor(v) for name, v in zip(p, w, strict=True)})["loss"].item()

    return central_differences(loss, np.array(list(p.values())))


@experiment(
    "backprop-by-hand-relu",
    title="Backpropagation by hand through two ReLU units, sample by sample",
    source="003_54ca632be7020186.txt, section A a",
    kind="hand",
    topic="Calculations by hand",
)
def run(e: Run) -> None:
    steps, before = [], [START]
    for i, (x, y) in enumerate(SAMPLES):
        p = before[-1]
        found = step(x, y, p)
        for name, exact, printed in zip(NAMES, EXACT[i], PRINTED[i], strict=True):
            e.check(f"step {i + 1}: {name}", found[name], exact, 1e-6, printed=printed)
        slopes = [found[f"d{name}"] for name in p]
        e.check(f"step {i + 1}: d(w1, b1, w2, b2), autodiff against differences", slopes, by_differences(x, y, p), 1e-8)
        steps.append(found)
        before.append({name: found[f"new {name}"] for name in p})
    rows = [[name, *(v for s, p in zip(steps, PRINTED, strict=True) for v in (s[name], p[i]))]
            for i, name in enumerate(NAMES)]  # fmt: skip
    columns = ["quantity", *(f"step {i}{what}" for i in (1, 2, 3) for what in ("", ", printed"))]
    e.table("three steps", columns, rows, "The source cuts most numbers after one or two decimals.")
    check_slips(e, steps, before)
    draw_graph(e, steps, before)
    keep_cycling(e)
    e.note(
        """
        Three printed numbers are not explained by cutting decimals. In step 2 the source adds 0.14 to b1 where 0.014 is
        meant, prints 0.65, and goes on with 0.52, the right value. It prints b2 = 0.54 and goes on with 0.59. The loss
        5.4 of step 3 is what yhat = 1.7 gives; the uncut yhat gives 5.29.
        """
    )


def check_slips(e: Run, steps: list[Numbers], before: list[Numbers]) -> None:
    """Where the printed numbers come from."""
    ten_times = before[1]["b1"] - 10 * ETA * steps[1]["db1"]
    e.check("step 2: b1 with ten times the step is the printed 0.65", ten_times, 0.65, 0.005)
    for name, used in (("b1", 0.65), ("b2", 0.59)):
        off = step(*SAMPLES[2], before[2] | {name: used})["yhat"] - steps[2]["yhat"]
        e.check(f"step 3: how much {name} = {used} would raise yhat", off, 0.04, kind="above")
    e.check("step 3: the loss of yhat = 1.7 is the printed 5.4", (1.7 - 5) ** 2 / 2, 5.4, 0.05)
    e.check("step 3: the loss is below it by", 5.4 - steps[2]["loss"], 0.1, kind="above")


def draw_graph(e: Run, steps: list[Numbers], before: list[Numbers]) -> None:
    """One chain for each step."""
    chains = []
    for i, ((x, y), s, p) in enumerate(zip(SAMPLES, steps, before[:3], strict=True), 1):
        first, second = ({name: (p[name], s[f"d{name}"]) for name in names} for names in (("w1", "b1"), ("w2", "b2")))
        stages = [
            Stage("w1 x + b1", "z1", s["z1"], s["dz1"], first),
            Stage("relu", "h", s["h"], s["dh"]),
            Stage("w2 h + b2", "z2", s["z2"], s["dz2"], second),
            Stage("relu", "yhat", s["yhat"], s["dyhat"]),
            Stage("(yhat \N{MINUS SIGN} y)\N{SUPERSCRIPT TWO} / 2", "L", s["loss"], inputs={"y": (y, None)}),
        ]
        chains.append(Chain(f"Step {i}: x = {x:g}, y = {y:g}", "x", x, stages))
    caption = "Blue: forward values and parameters. Orange: the gradient of the loss L with respect to each."
    data = {name: [s[name] for s in steps] for name in steps[0]}
    e.figure("graph", picture(*chains), caption, {name.replace(" ", "_"): v for name, v in data.items()})


def keep_cycling(e: Run) -> None:
    """A thousand passes over the three samples: the network learns y = x + 2."""
    p, losses = START, []
    for _ in e.progress(range(1000), "passes"):
        total = 0.0
        for x, y in SAMPLES:
            found = step(x, y, p)
            total += found["loss"]
            p = {name: found[f"new {name}"] for name in p}
        losses.append(total)
    for at, expected, tolerance in ((1, 10.8964, 5e-5), (10, 0.0387, 5e-5), (200, 0.00137, 5e-6)):
        e.check(f"summed loss of pass {at}", losses[at - 1], expected, tolerance)
    e.check("summed loss of pass 1000", losses[-1], 1e-8, kind="below")
    e.check("slope and intercept after it", [p["w1"] * p["w2"], p["w2"] * p["b1"] + p["b2"]], [1, 2], 1e-3)
    passes = np.arange(1, 1001)
    fig, (left, right) = plots.new(1, 2)
    plots.lines(passes[:10], {"L": losses[:10]}, title="The first ten passes, linear", xlabel="pass", axes=left)
    plots.lines(passes, {"L": losses}, title="All, logarithmic", xlabel="pass", log=True, axes=right)
    caption = "Loss summed over each pass: steep at first, then slowly along the valley that ends at y = x + 2."
    e.figure("cycling", fig, caption, {"passes": passes, "loss": losses})
