"""A 2x2 input x, two kernels of width 1 with a bias each, and an activation g:

    f^c_ij = g(w_c x_ij + b_c),  c = 1, 2.

1. What does the layer look like as a diagram?
2. Given G = dl/df, what are the gradients of l with respect to w_c and b_c?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.autodiff import gradients
from pyneural.experiments._differences import central_differences, gap
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

IMAGE = np.array([[1.0, 2.0], [3.0, 4.0]])
W, B = np.array([[0.5], [-1.0]]), np.array([0.1, 0.2])  # (channels out, channels in) and (channels out,)
Arrays = dict[str, np.ndarray]


def conv1x1(x: pn.Tensor, weight: pn.Tensor, bias: pn.Tensor, *, stride: int = 1) -> pn.Tensor:
    """A convolution with kernels of width 1: at each pixel of x (in, height, width) the product with weight (out, in).

    Returns (out, height, width), of every `stride`-th row and column.
    """
    x = x[:, ::stride, ::stride]
    pixels = x.reshape(x.shape[0], -1)
    return (weight @ pixels + bias.unsqueeze(1)).reshape(weight.shape[0], *x.shape[1:])


def conv2d(x: pn.Tensor, weight: pn.Tensor, bias: pn.Tensor, *, stride: int = 1) -> pn.Tensor:
    """The same by the library's general convolution."""
    return pn.functional.conv2d(x.unsqueeze(0), weight[:, :, None, None], bias, stride=stride)[0]


def by_autodiff(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, upstream: np.ndarray, stride: int = 1, *, layer: Any = conv1x1
) -> Arrays:
    """f and dl/d of x, w and b, for l = sum of upstream * f."""
    leaves = [pn.tensor(v, requires_grad=True) for v in (x, w, b)]
    f = pn.sigmoid(layer(*leaves, stride=stride))
    found = gradients((f * upstream).sum(), leaves)
    return {"f": f.detach().numpy()} | dict(zip("xwb", map(np.asarray, found), strict=True))


def by_linear(x: np.ndarray, w: np.ndarray, b: np.ndarray, upstream: np.ndarray) -> Arrays:
    """The same from one linear layer that is applied to each pixel, a row of `in` numbers."""
    leaves = [pn.tensor(v, requires_grad=True) for v in (x.reshape(len(x), -1).T.copy(), w, b)]
    f = pn.sigmoid(pn.functional.linear(*leaves))
    found = dict(
        zip("xwb", map(np.asarray, gradients((f * upstream.reshape(len(w), -1).T).sum(), leaves)), strict=True)
    )
    return {"f": f.detach().numpy().T.reshape(upstream.shape), **found, "x": found["x"].T.reshape(x.shape)}


def by_formula(x: np.ndarray, w: np.ndarray, b: np.ndarray, upstream: np.ndarray) -> Arrays:
    """The same by sums over all pixels: dl/dw_c = sum_ij G^c_ij x_ij g', dl/db_c = sum_ij G^c_ij g'."""
    v = np.einsum("ck,kij->cij", w, x) + b[:, None, None]
    f = 1 / (1 + np.exp(-v))
    delta = upstream * np.exp(-v) * f**2
    return {
        "f": f,
        "x": np.einsum("cij,ck->kij", delta, w),
        "w": np.einsum("cij,kij->ck", delta, x),
        "b": delta.sum((1, 2)),
    }


def by_differences(x: np.ndarray, w: np.ndarray, b: np.ndarray, upstream: np.ndarray, stride: int = 1) -> Arrays:
    """dl/d of x, w and b from values of l alone."""

    def loss(**changed: np.ndarray) -> float:
        values = {"x": x, "w": w, "b": b} | changed
        f = pn.sigmoid(conv1x1(*(pn.tensor(values[k]) for k in "xwb"), stride=stride))
        return float((f.numpy() * upstream).sum())

    return {
        "x": central_differences(lambda v: loss(x=v), x),
        "w": central_differences(lambda v: loss(w=v), w),
        "b": central_differences(lambda v: loss(b=v), b),
    }


@experiment(
    "conv1x1-backprop",
    title="Backpropagation through a convolution of width 1",
    source="002_e3b0b6e208b34aec.txt, mock exam 3",
    kind="proof",
    topic="Convolutions",
)
def run(e: Run) -> None:
    x, upstream = IMAGE[None], e.rng.normal(size=(2, 2, 2))
    formula = by_formula(x, W, B, upstream)
    taped, linear, measured = (f(x, W, B, upstream) for f in (by_autodiff, by_linear, by_differences))
    e.check("f minus g(w_c x_ij + b_c)", gap(taped["f"], formula["f"]), 0, 1e-10)
    e.check("f minus that of Linear(1, 2) at each pixel", gap(taped["f"], linear["f"]), 0, 1e-10)
    convolved = by_autodiff(x, W, B, upstream, layer=conv2d)
    for name in ("f", *"wbx"):
        what = name if name == "f" else f"dl/d{name}"
        e.check(f"{what}: conv2d minus formula", gap(convolved[name], formula[name]), 0, 1e-10)
    for name in "wbx":
        e.check(f"dl/d{name}: autodiff minus formula", gap(taped[name], formula[name]), 0, 1e-10)
        e.check(f"dl/d{name}: Linear(1, 2) at each pixel minus formula", gap(linear[name], formula[name]), 0, 1e-10)
        e.check(f"dl/d{name}: central differences minus formula", gap(measured[name], formula[name]), 0, 1e-8)
    e.check("shape of dl/dx, which the source leaves out", taped["x"].shape, (1, 2, 2), kind="equal")
    delta = upstream * formula["f"] * (1 - formula["f"])
    for c in range(2):
        for what, of, printed in (
            (f"dl/dw_{c + 1}", "w", np.sum(delta[c] * IMAGE, axis=1)),
            (f"dl/db_{c + 1}", "b", np.sum(delta[c], axis=1)),
        ):
            right = float(np.ravel(formula[of])[c])
            for i, row in enumerate(printed, 1):
                slip(e, f"{what} against the sum over j of row {i}", float(np.ravel(measured[of])[c]), right, row, 1e-8,
                     note="the source sums over j only")  # fmt: skip
    rows = []
    for c in range(2):
        rows.append([f"dl/dw_{c + 1}", taped["w"][c, 0], measured["w"][c, 0], *np.sum(delta[c] * IMAGE, axis=1)])
        rows.append([f"dl/db_{c + 1}", taped["b"][c], measured["b"][c], *np.sum(delta[c], axis=1)])
    rows += [
        [f"dl/dx_{i + 1}{j + 1}", taped["x"][0, i, j], measured["x"][0, i, j], None, None]
        for i in range(2)
        for j in range(2)
    ]
    columns = ["gradient", "autodiff", "central differences", "sum over j only, i = 1", "sum over j only, i = 2"]
    e.table("gradients", columns, rows, "The sum over both i and j is the gradient.")
    check_more(e)
    draw(e, taped, upstream)
    e.note(
        """
        The source sums over j only; a weight is used at every pixel, so the sum runs over i and j. It leaves out
        dl/dx_ij = sum_c G^c_ij w_c g'(.). Numbers are not given there: the ones above are a choice, and G is random.
        """
    )


def check_more(e: Run) -> None:
    """Beyond: three input channels and a stride of 2."""
    x, w, b = e.rng.normal(size=(3, 5, 5)), e.rng.normal(size=(2, 3)), e.rng.normal(size=2)
    upstream = e.rng.normal(size=(2, 3, 3))
    taped, measured = (f(x, w, b, upstream, stride=2) for f in (by_autodiff, by_differences))
    formula = by_formula(x[:, ::2, ::2], w, b, upstream)
    for name in "wb":
        e.check(f"3 channels, stride 2, dl/d{name}: autodiff minus formula", gap(taped[name], formula[name]), 0, 1e-10)
        e.check(f"3 channels, stride 2, dl/d{name}: differences minus formula", gap(measured[name], formula[name]), 0,
                1e-8)  # fmt: skip
    full = np.zeros(x.shape)
    full[:, ::2, ::2] = formula["x"]
    e.check("3 channels, stride 2, dl/dx: autodiff minus formula, 0 at pixels that are skipped",
            gap(taped["x"], full), 0, 1e-10)  # fmt: skip
    convolved = by_autodiff(x, w, b, upstream, stride=2, layer=conv2d)
    for name in "fwb":
        e.check(f"3 channels, stride 2, {name}: conv2d minus formula", gap(convolved[name], formula[name]), 0, 1e-10)
    e.check("3 channels, stride 2, x: conv2d minus formula", gap(convolved["x"], full), 0, 1e-10)
    e.check("3 channels, stride 2, dl/dx: differences minus formula", gap(measured["x"], full), 0, 1e-8)


def draw(e: Run, v: Arrays, upstream: np.ndarray) -> None:
    """Input, two kernels, two channels: values in blue, gradients in orange."""
    fig, ax = plots.new(width=9.5, height=4.6)
    blue, orange = plots.LINES[0], plots.LINES[1]

    def grid(x: float, y: float, values: np.ndarray, slopes: np.ndarray, title: str) -> None:
        ax.text(x, y + 0.98, title, ha="center", va="bottom", fontsize=9, weight="bold")
        for i in range(2):
            for j in range(2):
                left, low = x - 0.95 + 0.95 * j, y - 0.85 * i
                ax.add_patch(Rectangle((left, low), 0.95, 0.85, facecolor="#f6f6f6", edgecolor="#888888"))
                for offset, number, colour in ((0.58, values[i, j], blue), (0.25, slopes[i, j], orange)):
                    text = f"{number:.4f}".replace("-", "\N{MINUS SIGN}")
                    ax.text(left + 0.475, low + offset, text, ha="center", va="center", fontsize=8, color=colour)

    with plots.style():
        from matplotlib.patches import Rectangle

        grid(1.0, 0.0, IMAGE, v["x"][0], "input x")
        for c, y in enumerate((1.6, -1.6)):
            frame = {"boxstyle": "round,pad=0.5", "facecolor": "#f2f2f2", "edgecolor": "#888888"}
            lines = f"kernel {c + 1}:  $\\sigma$(w x + b)"
            ax.text(4.3, y + 0.45, lines, ha="center", va="center", fontsize=9, bbox=frame)
            for shift, (name, value, slope) in enumerate((("w", W[c, 0], v["w"][c, 0]), ("b", B[c], v["b"][c]))):
                at = 3.65 + 1.3 * shift
                ax.text(at, y - 0.15, f"{name} = {value:g}", ha="center", fontsize=8, color=blue)
                ax.text(at, y - 0.48, f"\N{PARTIAL DIFFERENTIAL}l/\N{PARTIAL DIFFERENTIAL}{name} = {slope:.4f}",
                        ha="center", fontsize=8, color=orange)  # fmt: skip
            ax.annotate("", (3.2, y + 0.45), (2.1, 0.15 * np.sign(y)), arrowprops={"arrowstyle": "->", "color": blue})
            ax.annotate("", (6.6, y + 0.45), (5.4, y + 0.45), arrowprops={"arrowstyle": "->", "color": blue})
            grid(7.7, y + 0.1, v["f"][c], upstream[c], f"channel {c + 1}")
        ax.set(xlim=(-0.1, 8.9), ylim=(-2.7, 3.0))
        ax.axis("off")
    caption = "Blue: forward values and parameters. Orange: the gradient of l with respect to each; on the right G."
    data = {"x": IMAGE, "w": W, "b": B, "f": v["f"], "G": upstream, "dl_dx": v["x"], "dl_dw": v["w"], "dl_db": v["b"]}
    e.figure("diagram", fig, caption, data)
