"""The schedule of an autoencoder f(x) = sigma(b2 + W2 phi(b1 + W1 x)), E = (1/N) sum_n sum_i L(x_i^n, f_i(x^n)):

    f1 = W1 x,  f2 = f1 + b1,  f3 = phi(f2),  f4 = W2 f3,  f5 = f4 + b2,  f6 = sigma(f5),  f7 = L(x, f6),
    f8 = the mean over n of the sum over i of f7.

Give the messages and the four gradients, for L(x, y) = (x - y)^2 / 2 and for L(x, y) = -x log y - (1-x) log(1-y).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pyneural as pn
from pyneural.experiments._differences import gap
from pyneural.experiments._schedule import cell, check_order
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

SIZES, N = (4, 3, 4), 3
PARAMETERS = ("W1", "b1", "W2", "b2")
Arrays = dict[str, np.ndarray]

# The variables of these functions are the names in the schedules: pn.explain reads them. Samples are columns.


def square(W1: pn.Tensor, b1: pn.Tensor, W2: pn.Tensor, b2: pn.Tensor, x: pn.Tensor) -> pn.Tensor:
    """E with half the squared error; phi is tanh."""
    f1 = W1 @ x
    f2 = f1 + b1
    f3 = pn.tanh(f2)
    f4 = W2 @ f3
    f5 = f4 + b2
    f6 = pn.sigmoid(f5)
    f7 = pn.square(f6 - x) * 0.5
    f8 = f7.sum() / x.shape[1]
    return f8


def cross_entropy(W1: pn.Tensor, b1: pn.Tensor, W2: pn.Tensor, b2: pn.Tensor, x: pn.Tensor) -> pn.Tensor:
    """E with the cross-entropy, step by step as the schedule has it."""
    f1 = W1 @ x
    f2 = f1 + b1
    f3 = pn.tanh(f2)
    f4 = W2 @ f3
    f5 = f4 + b2
    f6 = pn.sigmoid(f5)
    f7 = -(x * pn.log(f6) + (1 - x) * pn.log(1 - f6))
    f8 = f7.sum() / x.shape[1]
    return f8


def stable(W1: pn.Tensor, b1: pn.Tensor, W2: pn.Tensor, b2: pn.Tensor, x: pn.Tensor) -> pn.Tensor:
    """The same E from f5 at once, as a program should: sigma and log together."""
    f5 = W2 @ pn.tanh(W1 @ x + b1) + b2
    return pn.functional.binary_cross_entropy_with_logits(f5, x, reduction="sum") / x.shape[1]


# L' = dL/dy of each loss, by hand.
SLOPES: dict[str, tuple[Callable[..., pn.Tensor], Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "square": (square, lambda x, y: y - x),
    "cross-entropy": (cross_entropy, lambda x, y: (y - x) / (y * (1 - y))),
}


def messages(v: Arrays, slope: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Arrays:
    """t8 to t1 and the four gradients, by hand, from the values."""
    count = v["x"].shape[1]
    t = {"f8": np.array(1.0), "f7": np.full(v["f7"].shape, 1 / count)}
    t["f6"] = slope(v["x"], v["f6"]) * t["f7"]
    t["f5"] = t["f4"] = np.exp(-v["f5"]) / (1 + np.exp(-v["f5"])) ** 2 * t["f6"]
    t["f3"] = v["W2"].T @ t["f4"]
    t["f2"] = t["f1"] = t["f3"] / np.cosh(v["f2"]) ** 2
    t |= {"W1": t["f1"] @ v["x"].T, "b1": t["f2"].sum(1, keepdims=True)}
    return t | {"W2": t["f4"] @ v["f3"].T, "b2": t["f5"].sum(1, keepdims=True)}


def start(e: Run, sizes: tuple[int, int, int], count: int) -> Arrays:
    """Random parameters and samples in (0, 1), one per column."""
    d, h, _ = sizes
    shapes = {"W1": (h, d), "b1": (h, 1), "W2": (d, h), "b2": (d, 1)}
    return {k: 0.5 * e.rng.normal(size=s) for k, s in shapes.items()} | {"x": e.rng.uniform(0.1, 0.9, size=(d, count))}


def tensors(arrays: Arrays) -> list[pn.Tensor]:
    """The arguments of E, the parameters with gradients."""
    return [pn.tensor(v, requires_grad=k in PARAMETERS) for k, v in arrays.items()]


def gradients_of(function: Callable[..., pn.Tensor], arrays: Arrays) -> Arrays:
    """The four gradients by autodiff."""
    found = pn.grad(function, (0, 1, 2, 3))(*(pn.tensor(v) for v in arrays.values()))
    return dict(zip(PARAMETERS, map(np.asarray, found), strict=True))


@experiment(
    "autodiff-autoencoder-schedule",
    title="Forward and reverse schedule of an autoencoder",
    source="004_7b7278b8294b24c0.txt, 3.2 and 3.3, figure 7",
    kind="proof",
    topic="Automatic differentiation",
)
def run(e: Run) -> None:
    arrays = start(e, SIZES, N)
    for name, (function, slope) in SLOPES.items():
        schedule = tuple(f"f{k}" for k in range(1, 9))
        told = pn.explain(function, *tensors(arrays), differences=True)
        check_order(e, name, told, schedule)
        values = arrays | {k: np.asarray(told[k].value) for k in schedule}
        by_hand = messages(values, slope)
        for k in (*schedule[::-1], *PARAMETERS):
            vertex, label = told[k], f"t{k[1]}" if k in schedule else f"dE/d{k}"
            measured = vertex.t if k in schedule else vertex.gradient
            e.check(f"{name}, {label}: autodiff minus by hand", gap(measured, by_hand[k]), 0, 1e-12)
            apart = gap(vertex.check.estimate, by_hand[k])
            e.check(f"{name}, {label}: central differences minus by hand", apart, 0, 1e-7)
        rows = [[k, told[k].op, cell(values[k]), cell(by_hand[k])] for k in schedule]
        rows += [[k, "", cell(arrays[k]), cell(by_hand[k])] for k in PARAMETERS]
        e.table(name, ["node", "last step", "forward value", "message t"], rows, f"4-3-4 net, {N} samples, row by row.")
        data = values | {f"t_{k}": t for k, t in by_hand.items()}
        caption = "Figure 7: values in blue, messages in orange, one column per sample; the parameters collect a sum."
        e.figure(name, told.figure(title=f"4-3-4, {name}"), caption, data)
        check_slips(e, name, function, values, by_hand)
    check_cross_entropy(e, arrays)
    memory(e)
    e.note(
        """
        All four gradients carry 1/N; the source loses it for W2 and b2. The x_b in them means x_b^n, and in E the index
        i is used twice where one is n. phi is not fixed there; tanh is taken.
        """
    )


def check_slips(e: Run, name: str, function: Callable[..., pn.Tensor], v: Arrays, by_hand: Arrays) -> None:
    """The gradients of W2 and b2 without 1/N, and that of W1 with one x for all samples."""
    measured = gradients_of(function, {k: v[k] for k in (*PARAMETERS, "x")})
    for k in ("W2", "b2"):
        right = by_hand[k].flat[0]
        slip(e, f"{name}: first element of dE/d{k}", measured[k].flat[0], right, N * right, 1e-12, note="1/N is lost")
    printed = float(by_hand["f1"][0].sum() * v["x"][0, 0])
    slip(e, f"{name}: first element of dE/dW1", measured["W1"][0, 0], by_hand["W1"][0, 0], printed, 1e-12,
         note="x_b read as that of the first sample for all n")  # fmt: skip


def check_cross_entropy(e: Run, arrays: Arrays) -> None:
    """t5 = (f6 - x)/N, also where the sigmoid is 0 or 1 to all digits."""
    told = pn.explain(cross_entropy, *tensors(arrays))
    e.check("cross-entropy: t5 minus (f6 - x)/N", gap(told["f5"].t, (told["f6"].value - arrays["x"]) / N), 0, 1e-12)
    found, other = gradients_of(stable, arrays), gradients_of(cross_entropy, arrays)
    apart = max(gap(found[k], other[k]) for k in PARAMETERS)
    e.check("cross-entropy from f5 at once minus step by step, all gradients", apart, 0, 1e-12)
    far = arrays | {"b2": np.array([[-800.0], [800.0], [40.0], [0.0]])}
    with np.errstate(all="ignore"):
        broken = gradients_of(cross_entropy, far)["b2"]
    f5 = far["W2"] @ np.tanh(far["W1"] @ far["x"] + far["b1"]) + far["b2"]
    exact = ((1 / (1 + np.exp(-np.clip(f5, -700, 700))) - far["x"]) / N).sum(1, keepdims=True)
    apart = gap(gradients_of(stable, far)["b2"], exact)
    e.check("f5 near -800 and 800: dE/db2 from f5 at once minus sum_n (f6 - x)/N", apart, 0, 1e-12)
    e.check("f5 near -800 and 800: dE/db2 step by step is NaN", np.isnan(broken[:2]), kind="true")


def memory(e: Run) -> None:
    """Beyond: what the forward schedule computes, and what the tape holds for the way back, at full size."""
    arrays = {k: v.astype(np.float32) for k, v in start(e, (784, 30, 784), 1000).items()}
    rows = []
    for name, function in (*((name, f) for name, (f, _) in SLOPES.items()), ("cross-entropy at once", stable)):
        told = pn.explain(function, *tensors(arrays))
        computed = sum(np.asarray(node.value).nbytes for node in told.nodes)
        own: dict[int, int] = {}  # by address, as several steps may hold the same values
        loss = function(*tensors(arrays))
        waiting: list[Any] = [loss.grad_fn]
        while waiting:
            node = waiting.pop()
            for t in (t for side in node.kept for t in side if t is not None):
                array = np.asarray(t)
                own[array.__array_interface__["data"][0]] = array.nbytes
            waiting += [parent for parent in node.inputs if hasattr(parent, "kept")]
        held = sum(own.values())
        rows.append([name, len(told.nodes), computed / 1e6, held / 1e6])
        e.check(f"784-30-784, {name}: memory held below what is computed plus the inputs", held,
                computed + sum(v.nbytes for v in arrays.values()), kind="below")  # fmt: skip
    caption = "784-30-784, 1,000 images, float32; held are the values that the local derivatives need, inputs included."
    e.table("memory", ["loss", "steps", "computed, MB", "held for the way back, MB"], rows, caption)
