"""Train the network that does k-means (softmax of 20 times the scores x C_i^T - ||C_i||^2 / 2, output p C - x) on
MNIST, centre i started from an image of digit i, ten epochs with batches of 64 and step size 4.5. Show the centres, and
a table of how many images of each digit end at each centre. Which digits are confused?
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.experiments._kmeans import EXEMPLARS, summed_loss, train_network
from pyneural.experiments.frame import Run, experiment
from pyneural.learn import kmeans
from pyneural.learn.lloyd import nearest


def assignment(counts: np.ndarray) -> np.ndarray:
    """The one-to-one choice of a digit for each centre with the largest sum of counts (k, k), by trying all subsets of
    the digits, centre after centre (k 2^k steps)."""
    k = len(counts)
    best = np.full(1 << k, -1.0)
    last = np.zeros(1 << k, dtype=int)
    best[0] = 0
    for taken in range(1 << k):
        centre = taken.bit_count()
        if best[taken] < 0 or centre == k:
            continue
        for digit in range(k):
            new = taken | 1 << digit
            if new != taken and best[taken] + counts[digit, centre] > best[new]:
                best[new], last[new] = best[taken] + counts[digit, centre], digit
    chosen, taken = np.zeros(k, dtype=int), (1 << k) - 1
    for centre in reversed(range(k)):
        chosen[centre] = last[taken]
        taken ^= 1 << int(last[taken])
    return chosen


@experiment(
    "kmeans-network",
    title="k-means as a network, on MNIST",
    source="002_e3b0b6e208b34aec.txt, homework 7, 1 and 1b",
    kind="train",
    topic="Clustering",
    needs=("mnist",),
)
def run(e: Run) -> None:
    images = e.mnist()
    x, x_test = images.flat()
    start = x[list(EXEMPLARS)]
    epochs = e.epochs(10)
    e.check("the exemplars are one image of each digit", images.y_train[list(EXEMPLARS)], np.arange(10), kind="equal")
    model, history = train_network(e, x, start, epochs, "training")
    centers = np.array(model.centers.detach(), np.float64)
    labels = nearest(x, centers)[0]
    table = np.zeros((10, 10), dtype=np.int64)
    np.add.at(table, (images.y_train, labels), 1)
    e.check("sum of the table", table.sum(), len(x), kind="equal")
    e.check("rows are the digit counts", table.sum(axis=1), np.bincount(images.y_train), kind="equal")
    with pn.no_grad():
        shares = np.concatenate([np.array(model.shares(pn.as_tensor(p))) for p in np.array_split(x, 20)])
        some = x[:200]
        error = np.array(model(pn.as_tensor(some))) - some
    sharp = shares.max(axis=1)
    e.check("share of images with max p > 0.99", (sharp > 0.99).mean(), 0.95, kind="above", printed=0.977)
    surest = sharp[:200] > 1 - 1e-7
    e.check("prediction + input = centre, where the softmax is sharp", (error + some)[surest],
            centers[labels[:200][surest]], 1e-4)  # fmt: skip
    first, last = summed_loss(x, start), summed_loss(x, centers)
    e.check("summed loss at the start", first, 68.80, 0.01, profile="full")
    e.check("summed loss at the end", last, 42.0, kind="below", profile="full")
    e.check("the loss falls", last, first, kind="below")
    lloyd = kmeans(x, 10, init=start, max_iter=e.pick(quick=10, full=40), tol=0)
    e.check("Lloyd from the same start", lloyd.inertia / len(x), 39.35, 0.05, profile="full")
    e.check("relative distance to Lloyd", last / (lloyd.inertia / len(x)) - 1, 0.07, kind="below", profile="full")
    e.report("loss on the test images", summed_loss(x_test, centers))
    trace, purity = int(np.trace(table)), float(table.max(axis=0).sum() / len(x))
    e.report("trace of the table", trace, note="images at the centre that began as their digit; 35,303 in a reference")
    e.report("purity", purity, note="0.588 in a reference run")
    digits = assignment(table)
    e.report("share at the right centre after the best relabelling", table[digits, np.arange(10)].sum() / len(x))
    e.report("centre 0 to 9 relabelled as", digits)
    e.report("images of 5 at the centre of 5", int(table[5, 5]), note="604 in a reference run; 3, 8, 0 take others")
    names = [str(d) for d in range(10)]
    e.table("images by digit and centre", ["digit", *names], [[d, *map(int, table[d])] for d in range(10)])
    cells = [[f"{n:,}" for n in row] for row in table]
    title = "images of each digit (row) at each centre (column)"
    fig = plots.heat_map(table, names, names, cells=cells, title=title, xlabel="centre", ylabel="digit")
    e.figure("table", fig, "4, 7 and 9 share their centres.", {"table": table})
    both = np.concatenate([start, centers])
    titles = [*(f"start {i}" for i in range(10)), *(f"{i}: {n:,}" for i, n in enumerate(table.sum(axis=0)))]
    fig = plots.image_grid(both, titles, shape=(28, 28), title="centres before and after training")
    e.figure("centers", fig, "Below: how many images each centre holds.", {"start": start, "centers": centers})
    loss = 784 * np.array(history["loss"])
    passes = np.array([i.inertia for i in lloyd.iterations]) / len(x)
    fig = plots.learning_curves({"network, by epoch": loss, "Lloyd, by pass": passes[: max(epochs, 10)]},
                                ylabel="summed loss", title="loss beside Lloyd's iteration")  # fmt: skip
    e.figure("loss", fig, "A pass of Lloyd costs one epoch.", {"network": loss, "lloyd": passes})
    e.check("Lloyd's inertia never rises", max(b - a for a, b in pairwise(passes)), 0.0, kind="at most")
    e.note(
        """
        Open in the source: which images the centres start from, and the scale of the loss. Chosen: the first training
        image of each digit and the default mean squared error, which also averages over the pixels.
        """
    )
