"""An autoencoder f(x) = sigma(b2 + W2 phi(b1 + W1 x)) with the error E, the mean over n of the sum over i of
L(x_i, f_i), where L is (x - y)^2 / 2 or the cross-entropy -x log y - (1 - x) log(1 - y).

1. Find L' and L'' with respect to y for both.
2. Find the second derivatives of E in an entry of b2 and of W2.
3. In which of its parameters is E convex?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import functional as F
from pyneural import plots, surfaces
from pyneural.experiments import autodiff_autoencoder as images
from pyneural.experiments._differences import gap
from pyneural.experiments._slips import slip
from pyneural.experiments._symbolic import symbolic
from pyneural.experiments.frame import Run, experiment

LOSSES = ("cross-entropy", "square")
INPUTS, HIDDEN, N = 4, 3, 6


def bracket(kind: str, s: Any, x: Any) -> Any:
    """s(1-s) L'' + (1-2s) L' at y = s."""
    return 1 + 0 * s * x if kind == "cross-entropy" else -3 * s**2 + s * (2 + 2 * x) - x


def loss(kind: str, z: Any, x: Any) -> Any:
    """L(x, sigma(z)) of each element."""
    if kind == "cross-entropy":
        return F.binary_cross_entropy_with_logits(z, x, reduction="none")
    return pn.square(pn.sigmoid(z) - x) / 2


def error(kind: str, w1: Any, b1: Any, w2: Any, b2: Any, x: Any) -> Any:
    """E for rows x (N, inputs)."""
    return loss(kind, F.linear(pn.tanh(F.linear(x, w1, b1)), w2, b2), x).sum() / x.shape[0]


def network(rng: np.random.Generator, scale: float = 1.0) -> tuple[np.ndarray, ...]:
    """Random W1, b1, W2, b2, and rows in [0, 1]."""
    shapes = ((HIDDEN, INPUTS), (HIDDEN,), (INPUTS, HIDDEN), (INPUTS,))
    return *[scale * rng.normal(size=s) for s in shapes], rng.uniform(size=(N, INPUTS))


def parts(w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray, x: np.ndarray) -> tuple:
    """f3, the activations with a 1 behind them (N, hidden + 1), and the outputs s (N, inputs)."""
    f3 = np.tanh(x @ w1.T + b1)
    s = pn.sigmoid(pn.tensor(f3 @ w2.T + b2)).numpy()
    return np.column_stack([f3, np.ones(len(x))]), s


def blocks(kind: str, f3: np.ndarray, s: np.ndarray, x: np.ndarray) -> np.ndarray:
    """For each output the Hessian in its row of W2 and its entry of b2: mean of s(1-s) bracket (f3, 1)(f3, 1)^T."""
    weights = s * (1 - s) * bracket(kind, s, x)
    return np.einsum("ni,nj,nk->ijk", weights, f3, f3) / len(x)


@experiment(
    "ae-convexity",
    title="In which of its parameters is an autoencoder's error convex?",
    source="004_7b7278b8294b24c0.txt, 3.6",
    kind="proof",
    topic="Losses and convexity",
)
def run(e: Run) -> None:
    symbolic(e, lambda sympy: check_symbols(e, sympy))
    check_formulas(e)
    e.check("square: bracket at s = 0.75, x = 0", bracket("square", 0.75, 0.0), -0.1875, 1e-15)
    lowest = check_outputs(e)
    saddle = pn.hessian(lambda v: (v * v).sum() + 3 * v[0] * v[1])(pn.zeros(2)).numpy()
    note = "both diagonal entries are 2: a positive diagonal proves nothing"
    values = np.linalg.eigvalsh(saddle)
    e.check("eigenvalues of the Hessian of a^2 + b^2 + 3ab", values, np.array([-1.0, 5.0]), 1e-6, note=note)
    witnesses = check_other_layers(e)
    draw(e)
    check_trained(e)
    yes, no = "convex", "not convex"
    e.table("claim, verdict and witness", ["loss", "parameters", "source", "verdict", "witness"], [
        ["cross-entropy", "b2", yes, yes, f"smallest eigenvalue {lowest['cross-entropy']:.3g}"],
        ["cross-entropy", "W2", "concave (a slip)", yes, "the same matrix"],
        ["cross-entropy", "W2 and b2 jointly", None, yes, "the same matrix: mean of s(1-s) (f3,1)(f3,1)^T"],
        ["square", "b2, W2", no, no, f"smallest eigenvalue {lowest['square']:.3g}"],
        ["either", "W1", None, no, f"softplus(-relu(z)): E(0) above the mean by {witnesses[0]:.6f}"],
        ["either", "W1 and W2 jointly", None, no, f"softplus(w1 w2): E(1,1) above the mean by {witnesses[1]:.6f}"],
    ])  # fmt: skip
    e.note(
        """
        With the cross-entropy the bracket is 1, so that each output's Hessian in its row of W2 and its bias is a mean
        of matrices without negative eigenvalues: E is *jointly* convex in (W2, b2), which is more than the source
        claims and than its positive second derivatives show. It concludes "concave" for W2 and means convex.
        """
    )


def check_symbols(e: Run, sympy: Any) -> None:
    x, y = sympy.symbols("x y", positive=True)
    cases = {
        "cross-entropy": (-x * sympy.log(y) - (1 - x) * sympy.log(1 - y), (y - x) / (y * (1 - y)),
                          (y**2 + x - 2 * x * y) / (y**2 * (1 - y) ** 2)),
        "square": ((x - y) ** 2 / 2, y - x, sympy.Integer(1)),
    }  # fmt: skip
    for kind, (value, first, second) in cases.items():
        e.check(f"symbolic, {kind}: L'", sympy.simplify(sympy.diff(value, y) - first) == 0, kind="true")
        e.check(f"symbolic, {kind}: L''", sympy.simplify(sympy.diff(value, y, 2) - second) == 0, kind="true")
        left = y * (1 - y) * second + (1 - 2 * y) * first - bracket(kind, y, x)
        e.check(f"symbolic, {kind}: bracket", sympy.simplify(left) == 0, kind="true")


def check_formulas(e: Run) -> None:
    """Second derivatives by autodiff against the formulas, and the printed form with its stray factor."""
    arrays = network(e.rng)
    w1, b1, w2, b2, x = map(pn.tensor, arrays)
    f3, s = parts(*arrays)
    for kind in LOSSES:
        h = pn.hessian(lambda b, kind=kind: error(kind, w1, b1, w2, b, x))(b2).numpy()
        right = np.mean(s * (1 - s) * bracket(kind, s, arrays[4]), 0)
        e.check(f"{kind}: Hessian in b2, autodiff minus formula", h - np.diag(right), 0, 1e-10)
        h = pn.hessian(lambda w, kind=kind: error(kind, w1, b1, w, b2, x))(w2).numpy()
        diagonal = np.array([[h[i, b, i, b] for b in range(HIDDEN)] for i in range(INPUTS)])
        right = (s * (1 - s) * bracket(kind, s, arrays[4])).T @ f3[:, :-1] ** 2 / N
        first = s - arrays[4]
        first, second = (first / (s * (1 - s)), (s**2 + arrays[4] - 2 * s * arrays[4]) / (s * (1 - s)) ** 2) \
            if kind == "cross-entropy" else (first, np.ones_like(s))  # fmt: skip
        stray = s * (1 - s) * (s * (1 - s) * second + s * (1 - 2 * s) * first)
        printed = float(stray[:, 0] @ f3[:, 0] ** 2 / N)
        slip(e, f"{kind}: second derivative in the first entry of W2", diagonal[0, 0], right[0, 0], printed, 1e-10,
             note="the last line of the source has a stray s before (1 - 2s)")  # fmt: skip
        e.check(f"{kind}: second derivatives in all entries of W2, autodiff minus formula", diagonal - right, 0, 1e-10)
        if kind == "cross-entropy":
            sign = float(np.sign(diagonal.min()))
            slip(e, "cross-entropy: sign of the second derivatives in W2", sign, 1.0, -1.0, 0, "equal", 'the source '
                 'concludes "concave"')  # fmt: skip


def block_eigenvalues(kind: str, net: tuple) -> np.ndarray:
    """In (W2, b2), by the formula, in order."""
    f3, s = parts(*net)
    return np.sort(np.linalg.eigvalsh(blocks(kind, f3, s, net[4])), axis=None)


def whole_eigenvalues(kind: str, net: tuple) -> np.ndarray:
    """The same from the whole Hessian by autodiff."""
    w1, b1, w2, b2, x = map(pn.tensor, net)
    h = pn.hessian(lambda p: error(kind, w1, b1, p["w2"], p["b2"], x))({"w2": w2, "b2": b2})
    sizes = {"w2": INPUTS * HIDDEN, "b2": INPUTS}
    return np.linalg.eigvalsh(np.block([[h[a][b].numpy().reshape(sizes[a], sizes[b]) for b in sizes] for a in sizes]))


def check_outputs(e: Run) -> dict[str, float]:
    """Smallest eigenvalues in (W2, b2) jointly, over random nets; for some of them by autodiff as well."""
    nets = [network(e.rng, scale) for scale in np.geomspace(0.1, 5, e.pick(quick=400, full=2000))]
    lowest = {}
    for kind in LOSSES:
        values = [block_eigenvalues(kind, net).min() for net in nets]
        lowest[kind] = float(min(values))
        some = nets[:: len(nets) // 5]
        apart = [gap(whole_eigenvalues(kind, net), block_eigenvalues(kind, net)) for net in some]
        e.check(f"{kind}: eigenvalues of the whole Hessian by autodiff minus those of its blocks", max(apart), 0, 1e-10)
    count = len(nets)
    e.check(f"cross-entropy: smallest eigenvalue in (W2, b2) over {count:,} nets", lowest["cross-entropy"], -1e-12,
            kind="at least")  # fmt: skip
    e.check(f"square: smallest eigenvalue in (W2, b2) over {count:,} nets", lowest["square"], -0.01, kind="below",
            note="a reference run had -0.0585")  # fmt: skip
    return lowest


def check_other_layers(e: Run) -> tuple[float, float]:
    """A net of one unit per layer: not convex in W1, nor in (W1, W2)."""
    x = pn.tensor(np.ones((1, 1)))

    def first(z: Any) -> Any:  # W2 = 1, no biases, x = 1: E(z) = softplus(-relu(z))
        return loss("cross-entropy", pn.relu(z.reshape(1, 1) * x), x).sum()

    values = surfaces.slice_1d(first, np.zeros(1), np.ones(1), [-1.0, 0.0, 1.0])
    e.check("W1: E(-1), E(0), E(1)", values, np.array([0.693147, 0.693147, 0.313262]), 1e-6)
    e.check("W1: mean of E(-1) and E(1)", (values[0] + values[2]) / 2, 0.503204, 1e-6)
    by_midpoint = surfaces.midpoint_violations(values)
    e.check("W1: the midpoint lies above the mean", by_midpoint.violated, 1, kind="equal")

    def both(w: Any) -> Any:  # target 0, input 1: E = softplus(w2 relu(w1)), here with w1 >= 0
        return loss("cross-entropy", (w[0] * w[1]).reshape(1, 1), 0 * x).sum()

    ends = [both(pn.tensor(np.array(w))).item() for w in ((0.0, 2.0), (2.0, 0.0), (1.0, 1.0))]
    e.check("(W1, W2): E(0, 2), E(2, 0), E(1, 1)", ends, np.array([0.693147, 0.693147, 1.313262]), 1e-6)
    below = surfaces.midpoint_gaps(both, np.array([[0.0, 2.0]]), np.array([[2.0, 0.0]]))
    e.check("(W1, W2): mean of the ends minus midpoint", below[0], 0, kind="below")
    for kind in LOSSES:

        def chain(w: Any, kind: str = kind) -> Any:
            return loss(kind, (w[0] * w[1]).reshape(1, 1), x).sum()

        low = np.linalg.eigvalsh(pn.hessian(chain)(pn.tensor(np.array([0.1, 0.1]))).numpy())[0]
        e.check(f"{kind}, 1-1-1 net at (0.1, 0.1): smallest eigenvalue in (W1, W2)", low, -0.01, kind="below")
    return by_midpoint.worst, -float(below[0])


def draw(e: Run) -> None:
    s = np.linspace(0, 1, 201)
    fig, axes = plots.new(1, 2, height=3.2)
    data = {"s": s}
    for kind, ax in zip(LOSSES, axes, strict=True):
        curves = {f"x = {x:g}": bracket(kind, s, np.full_like(s, x)) for x in (0, 0.5, 1)}
        plots.lines(s, curves, xlabel="s", ylabel="bracket", title=kind, axes=ax)
        ax.axhline(0, color=plots.INK, linewidth=0.8)
        data |= {f"{kind} {name}".replace(" ", "_").replace("=_", ""): y for name, y in curves.items()}
    axes[0].set_ylim(-1.1, 1.1)
    axes[0].lines[0].set(linewidth=4, alpha=0.4)
    axes[0].lines[1].set(linewidth=2.5, alpha=0.7)
    axes[1].plot([0.75], [-0.1875], "o", color=plots.INK, markersize=5)
    e.figure("bracket", fig, "s(1-s)L'' + (1-2s)L' against the output s. Cross-entropy: 1 everywhere. Square loss: "
             "negative where the output is badly wrong (dot: -0.1875 at x = 0, s = 0.75).", data)  # fmt: skip


def check_trained(e: Run) -> None:
    """Beyond: the outputs of a net trained on digits, at which the square loss curves downwards in some direction."""
    x, _ = e.digits().flat()
    x = x[:500]
    p = images.train(e, "square", x).parameters
    with pn.no_grad():
        f3 = images.hidden(p, pn.tensor(x)).numpy().astype(np.float64)
        s = pn.sigmoid(images.logits(p, pn.tensor(x))).numpy().astype(np.float64)
    f3 = np.column_stack([f3, np.ones(len(x))])
    x = x.astype(np.float64)
    values = {kind: np.linalg.eigvalsh(blocks(kind, f3, s, x)) for kind in LOSSES}
    share = float(np.mean(values["square"][:, 0] < -1e-9 * values["square"].max()))
    e.report("trained on 500 digits, square loss: share of outputs with negative curvature in (W2, b2)", share)
    low = values["cross-entropy"].min()
    e.check("the same net, cross-entropy: smallest eigenvalue of any output", low, -1e-10, kind="at least")
