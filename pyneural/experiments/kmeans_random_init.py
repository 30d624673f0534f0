"""The network that does k-means started from random numbers, uniform in [0, 1], instead of images. Does something like
mode collapse appear? What do other starts give?
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pyneural as pn
from pyneural import plots
from pyneural.experiments._kmeans import summed_loss, train_network
from pyneural.experiments.frame import Run, experiment
from pyneural.learn.lloyd import Rows, kmeans, kmeans_plus_plus, nearest

VARIANCE = 52.725  # summed variance of the training images


@experiment(
    "kmeans-random-init",
    title="k-means as a network: random starts",
    source="002_e3b0b6e208b34aec.txt, homework 7, 1c",
    kind="train",
    topic="Clustering",
    needs=("mnist",),
)
def run(e: Run) -> None:
    x, _ = e.mnist().flat()
    rng = np.random.default_rng(e.seed)
    mean = x.mean(axis=0, dtype=np.float64)
    variance = float(((x - mean) ** 2).sum(axis=1).mean())
    uniform = rng.uniform(size=(10, 784))
    starts = {
        "uniform": uniform,
        "0.1 uniform": 0.1 * uniform,
        "random images": x[rng.choice(len(x), 10, replace=False)],
        "mean + 0.05 noise": mean + 0.05 * rng.normal(size=(10, 784)),
        "k-means++": x[kmeans_plus_plus(Rows(x), 10, pn.Generator(e.seed))],
    }
    e.report("squared length of uniform centres", (uniform**2).sum(axis=1).mean(), printed=784 / 3)
    e.report("squared length of images", (x**2).sum(axis=1).mean(dtype=np.float64))
    epochs = e.epochs(10)
    rows: list[list[Any]] = []
    curves, ends, sizes = {}, {}, {}
    for name, start in starts.items():
        model, history = train_network(e, x, np.asarray(start, np.float32), epochs, name)
        ends[name] = np.array(model.centers.detach(), np.float64)
        sizes[name] = np.bincount(nearest(x, ends[name])[0], minlength=10)
        curves[name] = 784 * np.array(history["loss"])
        dead = int((sizes[name] == 0).sum())
        rows.append([name, summed_loss(x, start), summed_loss(x, ends[name]), int(sizes[name].max()), dead])
    e.table("starts", ["start", "loss before", f"after {epochs} epochs", "largest cell", "empty cells"], rows)
    after = {r[0]: r[2] for r in rows}
    e.check("uniform: images in the largest cell", int(sizes["uniform"].max()), len(x), kind="equal")
    e.check("uniform: loss = total variance", after["uniform"], variance, 0.02 if e.full else 0.2)
    e.check("total variance", variance, VARIANCE, 5e-3, profile="full")
    e.check("random images", after["random images"], 43.0, kind="below", profile="full")
    e.check("mean + noise", after["mean + 0.05 noise"], 42.0, kind="below", profile="full")
    others = max(float(r[2]) for r in rows if "uniform" not in str(r[0]))
    gain = variance - others
    e.check("every start but the uniform ones ends below the variance by", gain, 8, kind="above", profile="full")
    e.check("and in any case below it", others, variance, kind="below")
    e.report("0.1 uniform", after["0.1 uniform"], note=f"49.0 after 3 epochs in a reference run; here {epochs}")
    e.report("smallest cell of random images", int(sizes["random images"].min()), note="10 images in a reference run")
    # Beyond: an empty centre takes a place beside the fullest one.
    revived = ends["uniform"].copy()
    for i in np.flatnonzero(sizes["uniform"] == 0):
        full = int(np.bincount(nearest(x, revived)[0], minlength=10).argmax())
        labels = nearest(x, revived)[0]
        mine = x[labels == full].astype(np.float64)
        lean = mine.std(axis=0) * rng.choice([-1.0, 1.0], 784) * 0.1
        revived[i] = mine.mean(axis=0) + lean
        revived[full] = mine.mean(axis=0) - lean
        revived = kmeans(x, 10, init=revived, max_iter=1, tol=0).centers if i else revived
    end = kmeans(x, 10, init=revived, max_iter=e.pick(quick=10, full=40))
    e.report(
        "empty centres of the uniform start revived by splitting the fullest cell, then Lloyd", end.inertia / len(x)
    )
    e.check("revived centres hold images again", int(np.bincount(end.labels, minlength=10).min()), 0, kind="above")
    picture = np.concatenate([ends[n] for n in starts])
    titles = [f"{n:,}" for name in starts for n in sizes[name]]
    title = "centres after training, and the size of each cell"
    fig = plots.image_grid(picture, titles, shape=(28, 28), low=0.0, high=1.0, title=title)
    caption = f"Rows: {', '.join(starts)}. From uniform numbers one centre takes all images."
    e.figure("centers", fig, caption, {name.replace(" ", "_"): ends[name] for name in starts})
    fig = plots.learning_curves(curves, ylabel="summed loss", title="loss by epoch")
    e.figure(
        "loss",
        fig,
        "The uniform start stays at the total variance.",
        {k.replace(" ", "_"): v for k, v in curves.items()},
    )
    e.note(
        """
        A centre's score is x C^T - ||C||^2 / 2, and uniform centres have ||C||^2 of about 784 / 3 = 261 against 88 for
        images. The first one that wins moves towards the images, its penalty falls, and it wins everything: one centre
        becomes the mean image and nine never learn.
        """
    )
