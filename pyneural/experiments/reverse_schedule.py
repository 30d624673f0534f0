"""Write each error as a forward schedule f1, f2, ... of simple steps, and find its gradient by messages that go back:
t of the last step is 1, and every other t is the sum of what its followers send, each their own t times their local
derivative. In all cases x and y are vectors of 4 numbers, phi1 is tanh and phi2 the sigmoid:

    linear      f1 = W x,   f2 = y - f1,    f3 = sum f2^2
    transfer    f1 = W x,   f2 = phi1(f1),  f3 = y - f2,    f4 = sum f3^2
    two-layer   f1 = W1 x,  f2 = phi1(f1),  f3 = W2 f2,     f4 = phi2(f3),  f5 = y - f4,  f6 = sum f5^2
    batch       the same for samples n = 1, ..., N,         f7 = sum over n of f6
    tied        the two-layer case with W1 = W2 = W
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import pyneural as pn
from pyneural.experiments._differences import gap
from pyneural.experiments._schedule import cell, check_order
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

D, N = 4, 3
Arrays = dict[str, np.ndarray]

# The variables of these functions are the names in the schedules: pn.explain reads them. x and y are columns.


def linear(W: pn.Tensor, x: pn.Tensor, y: pn.Tensor) -> pn.Tensor:
    """The error of a matrix."""
    f1 = W @ x
    f2 = y - f1
    f3 = pn.square(f2).sum()
    return f3


def transfer(W: pn.Tensor, x: pn.Tensor, y: pn.Tensor) -> pn.Tensor:
    """The error of one layer."""
    f1 = W @ x
    f2 = pn.tanh(f1)
    f3 = y - f2
    f4 = pn.square(f3).sum()
    return f4


def two_layer(W1: pn.Tensor, W2: pn.Tensor, x: pn.Tensor, y: pn.Tensor) -> pn.Tensor:
    """The error of two layers."""
    f1 = W1 @ x
    f2 = pn.tanh(f1)
    f3 = W2 @ f2
    f4 = pn.sigmoid(f3)
    f5 = y - f4
    f6 = pn.square(f5).sum()
    return f6


def batch(W1: pn.Tensor, W2: pn.Tensor, x: pn.Tensor, y: pn.Tensor) -> pn.Tensor:
    """The same, summed over samples: the columns of x and y."""
    f1 = W1 @ x
    f2 = pn.tanh(f1)
    f3 = W2 @ f2
    f4 = pn.sigmoid(f3)
    f5 = y - f4
    f6 = pn.square(f5).sum(0)
    f7 = f6.sum()
    return f7


def tied(W: pn.Tensor, x: pn.Tensor, y: pn.Tensor) -> pn.Tensor:
    """Two layers with the same weights."""
    f1 = W @ x
    f2 = pn.tanh(f1)
    f3 = W @ f2
    f4 = pn.sigmoid(f3)
    f5 = y - f4
    f6 = pn.square(f5).sum()
    return f6


def tanh_slope(v: np.ndarray) -> np.ndarray:
    """phi1'(v)."""
    return 1 / np.cosh(v) ** 2


def sigmoid_slope(v: np.ndarray) -> np.ndarray:
    """phi2'(v)."""
    return np.exp(-v) / (1 + np.exp(-v)) ** 2


def linear_messages(v: Arrays) -> Arrays:
    """Of `linear`, from its values."""
    t2 = 2 * v["f2"]
    return {"f3": np.array(1.0), "f2": t2, "f1": -t2, "W": -t2 @ v["x"].T}


def transfer_messages(v: Arrays) -> Arrays:
    """Of `transfer`."""
    t3 = 2 * v["f3"]
    t1 = tanh_slope(v["f1"]) * -t3
    return {"f4": np.array(1.0), "f3": t3, "f2": -t3, "f1": t1, "W": t1 @ v["x"].T}


def two_layer_messages(v: Arrays) -> Arrays:
    """Of `two_layer`, and of the samples of `batch`."""
    t5 = 2 * v["f5"]
    t3 = sigmoid_slope(v["f3"]) * -t5
    t2 = v["W2"].T @ t3
    t1 = tanh_slope(v["f1"]) * t2
    found = {"f6": np.ones(v["f6"].shape), "f5": t5, "f4": -t5, "f3": t3, "f2": t2, "f1": t1}
    return found | {"W1": t1 @ v["x"].T, "W2": t3 @ v["f2"].T}


def batch_messages(v: Arrays) -> Arrays:
    """Of `batch`: the products sum over the samples."""
    return {"f7": np.array(1.0)} | two_layer_messages(v)


def tied_messages(v: Arrays) -> Arrays:
    """Of `tied`: both paths to W are added."""
    found = two_layer_messages(v | {"W2": v["W"]})
    return {k: t for k, t in found.items() if k[0] == "f"} | {"W": found["W1"] + found["W2"]}


def two_layer_formula(v: Arrays, w2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The results as printed, index by index: dE/dW1_ab and dE/dW2_ab, summed over the samples."""
    s1, s2 = tanh_slope(v["f1"]), sigmoid_slope(v["f3"])
    first = -2 * np.einsum("bn,an,ia,in,in->ab", v["x"], s1, w2, s2, v["f5"])
    return first, -2 * np.einsum("bn,an,an->ab", v["f2"], s2, v["f5"])


@dataclass(frozen=True)
class Case:
    """A function, the sizes of its weights and data, its messages by hand, and its results by the direct formula."""

    function: Callable[..., pn.Tensor]
    weights: tuple[str, ...]
    messages: Callable[[Arrays], Arrays]
    result: Callable[[Arrays], Arrays]
    figure: str
    samples: int = 1
    schedule: tuple[str, ...] = field(default=())


CASES = {
    "linear": Case(
        linear,
        ("W",),
        linear_messages,
        lambda v: {"W": -2 * np.einsum("an,bn->ab", v["f2"], v["x"])},
        "figure 3",
        schedule=("f1", "f2", "f3"),
    ),
    "transfer": Case(
        transfer,
        ("W",),
        transfer_messages,
        lambda v: {"W": -2 * np.einsum("an,an,bn->ab", v["f3"], tanh_slope(v["f1"]), v["x"])},
        "figure 4",
        schedule=("f1", "f2", "f3", "f4"),
    ),
    "two-layer": Case(
        two_layer,
        ("W1", "W2"),
        two_layer_messages,
        lambda v: dict(zip(("W1", "W2"), two_layer_formula(v, v["W2"]), strict=True)),
        "figure 5",
        schedule=("f1", "f2", "f3", "f4", "f5", "f6"),
    ),
    "batch": Case(
        batch,
        ("W1", "W2"),
        batch_messages,
        lambda v: dict(zip(("W1", "W2"), two_layer_formula(v, v["W2"]), strict=True)),
        "figure 5 for each sample",
        N,
        schedule=("f1", "f2", "f3", "f4", "f5", "f6", "f7"),
    ),
    "tied": Case(
        tied,
        ("W",),
        tied_messages,
        lambda v: {"W": np.add(*two_layer_formula(v, v["W"]))},
        "figure 6",
        schedule=("f1", "f2", "f3", "f4", "f5", "f6"),
    ),
}


@experiment(
    "reverse-schedule",
    title="Forward and reverse schedules of five errors",
    source="004_7b7278b8294b24c0.txt, 2.1-2.5, figures 3-6",
    kind="proof",
    topic="Automatic differentiation",
)
def run(e: Run) -> None:
    values, found = {}, {}
    for name, case in CASES.items():
        values[name], found[name] = check_case(e, name, case)
    check_sums(e, values["batch"], found["batch"])
    check_tied(e, values["tied"], found["tied"])
    check_slips(e, values, found)
    check_second_order(e, values["two-layer"])
    e.note(
        """
        Slips of the source: (22) lists 2 f_i where f_i^2 is meant, (33) squares f2 instead of f3, (66) writes t1 for
        t3 in the message to W2, (95) keeps W2 where both layers have W, and (96) keeps the index i of a sum that is
        done. The last lines of (27) are unreadable.
        """
    )


def check_case(e: Run, name: str, case: Case) -> tuple[Arrays, Arrays]:
    """Schedules, messages and results of one case; returns its values and its messages by hand."""
    arrays = {w: e.rng.normal(size=(D, D)) / D**0.5 for w in case.weights}
    arrays |= {k: e.rng.normal(size=(D, case.samples)) for k in "xy"}
    tensors = [pn.tensor(v, requires_grad=k in case.weights) for k, v in arrays.items()]
    told = pn.explain(case.function, *tensors, differences=True)
    check_order(e, name, told, case.schedule)
    values = arrays | {k: np.asarray(told[k].value) for k in case.schedule}
    by_hand = case.messages(values)
    rows, worst, differ = [], 0.0, 0.0
    for k, t in by_hand.items():
        vertex = told[k]
        measured = vertex.t if k[0] == "f" else vertex.gradient
        worst = max(worst, gap(measured, t))
        differ = max(differ, gap(vertex.check.estimate, t))
    e.check(f"{name}: messages of pn.explain minus those by hand", worst, 0, 1e-12)
    e.check(f"{name}: central differences of E minus every message", differ, 0, 1e-7)
    for w, formula in case.result(values).items():
        e.check(f"{name}: dE/d{w} minus the direct formula", gap(told[w].gradient, formula), 0, 1e-12)
    for node in told.nodes:
        rows.append([node.name or f"({node.op})", node.op, cell(node.value), cell(node.t)])
    rows += [[w, "", cell(arrays[w]), cell(told[w].gradient)] for w in case.weights]
    e.table(name, ["node", "step", "forward value", "message t"], rows, "Matrices row by row; weights at the end.")
    kind = "one column per sample" if case.samples > 1 else "columns"
    caption = f"The graph of {case.figure}: values in blue, messages in orange, {kind}."
    e.figure(name, told.figure(title=name), caption, values | {f"t_{k}": t for k, t in by_hand.items()})
    return values, by_hand


def gradient(function: Callable[..., pn.Tensor], arrays: list[np.ndarray], weights: int) -> list[np.ndarray]:
    """dE/d of the first `weights` arguments."""
    return [np.asarray(g) for g in pn.grad(function, tuple(range(weights)))(*map(pn.tensor, arrays))]


def check_sums(e: Run, v: Arrays, messages: Arrays) -> None:
    """The batch is the sum over its samples."""
    singles = [gradient(two_layer, [v["W1"], v["W2"], v["x"][:, n : n + 1], v["y"][:, n : n + 1]], 2) for n in range(N)]
    for i, w in enumerate(("W1", "W2")):
        total = np.sum([s[i] for s in singles], axis=0)
        e.check(f"batch: dE/d{w} minus the sum over single samples", gap(messages[w], total), 0, 1e-12)


def check_tied(e: Run, v: Arrays, messages: Arrays) -> None:
    """The tied gradient is the sum of the untied ones at equal weights; explain shows both parts."""
    apart = gradient(two_layer, [v["W"], v["W"], v["x"], v["y"]], 2)
    together = gap(messages["W"], apart[0] + apart[1])
    e.check("tied: dE/dW minus the sum of dE/dW1 and dE/dW2 at equal weights", together, 0, 1e-12)
    W = pn.tensor(v["W"], requires_grad=True)
    parts = [m.value for m in pn.explain(tied, W, pn.tensor(v["x"]), pn.tensor(v["y"]))["W"].messages]
    e.check("tied: paths that reach W", len(parts), 2, kind="equal")
    e.check("tied: the path through W f2 minus t3 f2^T", gap(parts[0], messages["f3"] @ v["f2"].T), 0, 1e-14)
    e.check("tied: the path through W x minus t1 x^T", gap(parts[1], messages["f1"] @ v["x"].T), 0, 1e-14)


def check_slips(e: Run, values: dict[str, Arrays], found: dict[str, Arrays]) -> None:
    """What is printed, in the place of what is meant."""
    v = values["linear"]
    slip(e, "linear: E", float(v["f3"]), float(np.sum(v["f2"] ** 2)), float(np.sum(2 * v["f2"])), 1e-12,
         note="(22): 2 f_i for f_i^2")  # fmt: skip
    v = values["transfer"]
    slip(e, "transfer: E", float(v["f4"]), float(np.sum(v["f3"] ** 2)), float(np.sum(v["f2"] ** 2)), 1e-12,
         note="(33): f2 squared for f3")  # fmt: skip
    v, t = values["two-layer"], found["two-layer"]
    measured = gradient(two_layer, [v["W1"], v["W2"], v["x"], v["y"]], 2)[1]
    slip(e, "two-layer: dE/dW2_11 = t3_1 f2_1", measured[0, 0], float(t["f3"][0, 0] * v["f2"][0, 0]),
         float(t["f1"][0, 0] * v["f2"][0, 0]), 1e-12, note="(66): t1 for t3")  # fmt: skip
    v = values["tied"]
    measured = gradient(tied, [v["W"], v["x"], v["y"]], 1)[0]
    right = np.add(*two_layer_formula(v, v["W"]))
    other = np.add(*two_layer_formula(v, values["two-layer"]["W2"]))
    slip(e, "tied: dE/dW_11", measured[0, 0], right[0, 0], other[0, 0], 1e-12,
         note="(95): W2 left in; here that of the two-layer case")  # fmt: skip
    s1, s2 = tanh_slope(v["f1"]), sigmoid_slope(v["f3"])
    for i in range(D):
        term = v["x"][0, 0] * s1[0, 0] * v["W"][i, 0] * s2[i, 0] * v["f5"][i, 0]
        printed = -2 * float(v["f5"][0, 0] * s2[0, 0] * v["f2"][0, 0] + term)
        slip(e, f"tied: dE/dW_11 against the printed form at i = {i + 1}", measured[0, 0], right[0, 0], printed, 1e-12,
             note="(96): the index i left in, without its sum")  # fmt: skip


def check_second_order(e: Run, v: Arrays) -> None:
    """Beyond: the product of the Hessian and a direction, from the schedule of the gradient."""
    tensors = [pn.tensor(v[k], requires_grad=k[0] == "W") for k in ("W1", "W2", "x", "y")]
    along = [e.rng.normal(size=(D, D)) for _ in range(2)]
    told = pn.explain(two_layer, *tensors, order=2, direction=[pn.tensor(d) for d in along])
    step = 1e-5
    up, down = (gradient(two_layer, [v["W1"] + s * along[0], v["W2"] + s * along[1], v["x"], v["y"]], 2)
                for s in (step, -step))  # fmt: skip
    for i, w in enumerate(("W1", "W2")):
        measured = (up[i] - down[i]) / (2 * step)
        e.check(f"two-layer: Hessian times a direction, part of {w}, minus differences of the gradient",
                gap(told[w].gradient, measured), 0, 1e-7)  # fmt: skip
