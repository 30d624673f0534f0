"""A network that does k-means: for centres C (10 x 784) the score of an image x is x C_i^T - ||C_i||^2 / 2, times 20;
a softmax gives p, and p C rebuilds the image. The error p C - x is compared with 0 by the squared loss, with batches of
64 and step size eta = 4.5. Show that one step moves a centre to (1 - eta/5) C_i + (eta/5) m_i, where m_i is the mean of
the batch's images in its cell, if p is one-hot and a tenth of the batch falls into each cell. Does that hold?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import models, nn, optim, plots
from pyneural.experiments._kmeans import BATCH, ETA, EXEMPLARS, SHARPNESS, exact_rule, summed_loss
from pyneural.experiments.frame import Run, experiment
from pyneural.learn.lloyd import nearest


def summed(output: pn.Tensor, target: pn.Tensor) -> pn.Tensor:
    """The batch mean of the summed squares."""
    return pn.functional.mse_loss(output, target, reduction="sum") / output.shape[0]


def trained(
    e: Run, x: np.ndarray, start: np.ndarray, loss: object, constant: bool, epochs: int, what: str
) -> tuple[np.ndarray, list[float]]:
    """Centres and the loss of every step; the loop ends at the first loss that is not finite."""
    model = models.KMeansNetwork(start, SHARPNESS, constant_shares=constant)
    step = optim.SGD(model.parameters(), lr=ETA)

    @pn.compile
    def update(batch: pn.Tensor) -> pn.Tensor:
        step.zero_grad()
        output = model(batch)
        value = loss(output, batch)  # type: ignore[operator]
        value.backward()
        step.step()
        return pn.square(output.detach() - batch).sum() / batch.shape[0]

    rng, losses = np.random.default_rng(e.seed), []
    for _ in e.progress(range(epochs), what):
        order = rng.permutation(len(x))
        for first in range(0, len(x) - BATCH + 1, BATCH):
            losses.append(float(update(pn.as_tensor(x[order[first : first + BATCH]]))))
            if not np.isfinite(losses[-1]):
                return np.array(model.centers.detach()), losses
    return np.array(model.centers.detach()), losses


def one_step(e: Run, x: np.ndarray, start: np.ndarray) -> None:
    """One step in float64 against the rule."""
    batch = x[:BATCH].astype(np.float64)
    labels = nearest(batch, start)[0]
    model = models.KMeansNetwork(start, 1e6, constant_shares=True, dtype=np.float64)
    scores = np.array(model.scores(pn.as_tensor(batch)).detach())
    e.check("largest score = nearest centre", scores.argmax(axis=1), labels, kind="equal")
    counts = np.bincount(labels, minlength=len(start))
    means = np.array([batch[labels == i].mean(axis=0) if counts[i] else start[i] for i in range(len(start))])
    for name, loss, scale in (("summed squares", summed, 1), ("mean over pixels", nn.MSELoss(), x.shape[1])):
        model = models.KMeansNetwork(start, 1e6, constant_shares=True, dtype=np.float64)
        step = optim.SGD(model.parameters(), lr=ETA)
        loss(model(pn.as_tensor(batch)), pn.as_tensor(batch)).backward()
        step.step()
        a = (2 * ETA * counts / BATCH / scale)[:, None]
        e.check(f"one step, {name}", np.array(model.centers.detach()), (1 - a) * start + a * means, 1e-10)
    share = 2 * ETA * 0.1
    e.check("a for a tenth of the batch: eta / 5", share, ETA / 5, 1e-15)
    e.check("a with the mean over the pixels as well", share / x.shape[1], 0.00115, 5e-6, printed=ETA / 5)
    e.check("cell size above which |1 - a| > 1", BATCH / ETA, 14.2, 0.03)
    e.table("one batch", ["centre", "images won", "|1 - a|, summed"], [
        [i, int(n), float(abs(1 - 2 * ETA * n / BATCH))] for i, n in enumerate(counts)
    ])  # fmt: skip


@experiment(
    "kmeans-update-rule",
    title="The update rule of a network that does k-means",
    source="002_e3b0b6e208b34aec.txt, homework 7, 1a",
    kind="train",
    topic="Clustering",
    needs=("mnist",),
)
def run(e: Run) -> None:
    images = e.mnist()
    x, _ = images.flat()
    start = x[list(EXEMPLARS)].astype(np.float64)
    one_step(e, x, start)
    epochs = e.epochs(10)
    rows: list[list[Any]] = []
    curves: dict[str, list[float]] = {}
    ends: list[np.ndarray] = []
    rule = exact_rule(e, x, start, ETA / 5, epochs, "the exact rule", ends)
    variants = (
        ("summed squares, shares held constant", summed, True),
        ("summed squares, gradient through the softmax", summed, False),
        ("default mean squared error", nn.MSELoss(), False),
    )
    end = summed_loss(x, rule)
    e.report("exact rule with a = 0.9", end, note="48.2 in a reference run")
    spread = [summed_loss(x, c) for c in ends]
    e.report("over the last 30 batches: least, mean and largest", [min(spread), float(np.mean(spread)), max(spread)])
    e.check("the reference's 48.2 lies among them", 48.2, (min(spread), max(spread)), kind="between", profile="full")
    rows.append(["exact rule, a = 0.9", end, None])
    for name, loss, constant in variants:
        centers, losses = trained(e, x, start, loss, constant, epochs, name)
        curves[name] = losses
        rows.append([name, summed_loss(x, centers), len(losses) if not np.isfinite(losses[-1]) else None])
    e.table("after training", ["variant", "summed loss", "steps until NaN"], rows,
            caption=f"{epochs} epochs from the first image of each digit.")  # fmt: skip
    constant_ends, soft_ends, mse = rows[1], rows[2], rows[3]
    e.report(
        "summed squares, constant shares: steps until NaN", constant_ends[2] or "none", note="NaN in a reference run"
    )
    e.check("but it ends above the default error", constant_ends[1], mse[1], kind="above", profile="full")
    top = float((x[:BATCH] @ start.T - 0.5 * (start**2).sum(axis=1)).max())
    with np.errstate(over="ignore"):
        e.check("exp(20 * score) overflows float64", bool(np.isinf(np.exp(SHARPNESS * top))))
    e.check("gradient through the softmax: NaN within 938 steps, an epoch", soft_ends[2] or 1e9, 938, kind="at most")
    e.check("default mean squared error", mse[1], 40.0, 1.5, printed=40, profile="full")
    e.check("the default error ends below the exact rule", mse[1], rows[0][1], kind="below", profile="full")
    e.check("a step with a < 1 ends below the start", mse[1], summed_loss(x, start), kind="below")
    draw(e, x, start, curves, rule)
    e.note(
        """
        The rule holds if the squares are summed over the pixels and assignments count as constant. The default loss
        averages over the 784 pixels as well: the same eta = 4.5 then moves a centre by eta / 3920 = 0.00115 of the way,
        not by 0.9. At the summed scale eta = 4.5 needs cells of fewer than 14.2 of the 64 images: larger ones
        overshoot. With constant shares that costs loss but ends in no NaN, here and in NumPy: a centre that has
        overshot wins fewer images, and comes back. A reference run had NaN there; a softmax that does not subtract the
        largest score gives one, because exp(20 * 44) overflows. With the gradient through the softmax the centres
        diverge within an epoch. With a = 0.9 the centres are nearly the last batch's means, so the loss at the end
        depends on which batch was last.
        """
    )


def draw(e: Run, x: np.ndarray, start: np.ndarray, curves: dict[str, list[float]], rule: np.ndarray) -> None:
    online = start.copy()
    seen = np.zeros(len(start))
    rng = np.random.default_rng(e.seed)
    for first in rng.permutation(len(x))[: len(x) // BATCH * BATCH].reshape(-1, BATCH):
        batch = x[first].astype(np.float64)
        labels = (batch @ online.T - 0.5 * (online**2).sum(axis=1)).argmax(axis=1)
        for i, row in zip(labels, batch, strict=True):
            seen[i] += 1
            online[i] += (row - online[i]) / seen[i]
    e.report("per-cell step 1/(count so far), one epoch", summed_loss(x, online), note="the classic online k-means")
    fig, axes = plots.new(1, 2, width=10.5, height=3.8)
    for name, losses in curves.items():
        values = np.array([v for v in losses if v < 1e6])  # what lies above is on its way to infinity
        width = max(1, len(values) // 300)
        means = values[: len(values) // width * width].reshape(-1, width).mean(axis=1)
        axes[0].plot(np.arange(len(means)) * width + 1, means, label=name, marker="o" if len(means) < 30 else None)
    axes[0].axhline(summed_loss(x, rule), color=plots.INK, linestyle=":", label="exact rule with a = 0.9, at the end")
    axes[0].set(xscale="log", yscale="log", xlabel="step", ylabel="summed loss of the batch", title="loss by step")
    axes[0].legend(fontsize=7, loc="center right")
    cells = np.array([np.bincount(nearest(b, start)[0], minlength=10) for b in x[: 50 * BATCH].reshape(-1, BATCH, 784)])
    shrink = np.abs(1 - 2 * ETA * cells / BATCH)
    axes[1].boxplot(shrink, tick_labels=[str(i) for i in range(10)])
    axes[1].axhline(1, color=plots.LINES[1], linewidth=1)
    axes[1].set(xlabel="centre", ylabel="|1 - a|, squares summed", title="50 batches: above 1 a centre overshoots")
    e.figure(
        "loss-by-step",
        fig,
        "Left: only the default error trains; right: how far a step of eta = 4.5 goes, by cell.",
        {**{k.replace(",", "").replace(" ", "_"): np.array(v) for k, v in curves.items()}, "shrink": shrink},
    )
    fig = plots.center_images(rule, title="centres of the exact rule with a = 0.9")
    e.figure("centers", fig, "Each centre is nearly a mean of the last batch's images.", {"centers": rule})
