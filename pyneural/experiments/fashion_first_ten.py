"""Normalise the images of a set of clothes to [0, 1] and show the first ten test samples with the names of their
classes.
"""

from __future__ import annotations

import numpy as np

from pyneural import plots
from pyneural.experiments import _fashion as fashion
from pyneural.experiments.frame import Run, experiment

LABELS = (9, 2, 1, 1, 6, 1, 4, 6, 5, 7)


@experiment(
    "fashion-first-ten",
    title="The first ten test images",
    source="003_54ca632be7020186.txt, section C, part 1",
    kind="figure",
    topic="Classifiers and optimisers",
    needs=("fashion-mnist",),
)
def run(e: Run) -> None:
    data = e.fashion_mnist()
    x, x_test = data.flat()
    e.check("least value after normalising", min(float(x.min()), float(x_test.min())), 0.0, kind="equal")
    e.check("largest value after normalising", max(float(x.max()), float(x_test.max())), 1.0, kind="equal")
    e.check("classes of the first ten test images", data.y_test[:10], LABELS, kind="equal")
    # Within what one grey level changes: the copy of the set at hand is remapped.
    e.check("mean of the training pixels", float(x.mean(dtype=np.float64)), 0.2859, 2e-3, profile="full")
    e.check("their standard deviation", float(x.std(dtype=np.float64)), 0.3527, 2e-3, profile="full")
    titles = [f"{i}: {fashion.NAMES[label]}" for i, label in enumerate(data.y_test[:10])]
    pictures = x_test[:10].reshape(-1, 28, 28)
    fig = plots.image_grid(pictures, titles, columns=5, low=0, high=1)
    e.figure(
        "first-ten", fig, "The first ten test images: index and class.", {"image": pictures, "label": data.y_test[:10]}
    )
    means = np.stack([x[data.y_train == c].mean(axis=0, dtype=np.float64) for c in range(10)]).reshape(-1, 28, 28)
    fig = plots.image_grid(means, fashion.NAMES, columns=5, low=0, high=1)
    e.figure("class-means", fig, "The mean training image of each class.", {"mean": means})
    counts = np.bincount(data.y_test, minlength=10)
    e.table(
        "classes",
        ["number", "name", "test images", "mean grey level of the training images"],
        [[c, fashion.NAMES[c], int(counts[c]), float(means[c].mean())] for c in range(10)],
    )
    e.note(
        """
        The source does not name the set. It is Fashion-MNIST: ten classes of clothes, and the networks of the next part
        reach the printed losses on its first 8,000 training and 2,000 test images (all printed accuracies are multiples
        of 1/2000).
        """
    )
