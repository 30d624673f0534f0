"""Reconstructions by the 15 autoencoders of `ae-activation-grid`: five activations, and 25, 50 and 100 hidden units.

1. For each activation, draw images over what the nets of the three sizes make of them.
2. Do reconstructions get sharper with the size, and which activation does worst?
"""

from __future__ import annotations

import numpy as np

from pyneural import plots
from pyneural.experiments import _narrow as narrow
from pyneural.experiments._autoencoder import first_of_each_digit
from pyneural.experiments.frame import Run, experiment

OVERVIEW = 4  # the digit of the overview


@experiment(
    "ae-reconstructions",
    title="Reconstructions by activation and size of the hidden layer",
    source="001_b6a7a572bac0f98c.txt, 1c, figures 8-12",
    kind="figure",
    topic="Autoencoders",
    needs=("mnist",),
)
def run(e: Run) -> None:
    nets = narrow.grid(e)
    data = e.mnist()
    shown = first_of_each_digit(data.y_test)
    images = data.x_test[shown]
    originals = images.reshape(-1, 784) / 255
    right = {"originals": float(np.mean(narrow.reads(e, data.x_test.reshape(-1, 784) / 255) == data.y_test))}
    rebuilt: dict[tuple[str, int], np.ndarray] = {}
    errors: dict[tuple[str, int], np.ndarray] = {}
    rows = []
    for activation in narrow.ACTIVATIONS:
        for units in narrow.SIZES:
            net = nets[activation, units]
            whole = narrow.reconstructed(net, data.x_test)
            rebuilt[activation, units] = whole[shown]
            errors[activation, units] = narrow.half_losses(images, whole[shown])
            read = float(np.mean(narrow.reads(e, whole) == data.y_test))
            right[f"{activation} {units}"] = read
            rows.append([activation, units, net.test, float(errors[activation, units].mean()), read])
        by_size = [errors[activation, units].mean() for units in narrow.SIZES]
        e.check(f"{activation}: mean error of the shown images falls with size", np.diff(by_size), 0, kind="below")
        falls = np.mean([errors[activation, n] > errors[activation, m] for n, m in ((25, 50), (50, 100))])
        e.check(f"{activation}: share of images whose error falls from one size to the next", falls, 0.9,
                kind="at least", profile="full")  # fmt: skip
        picture(e, activation, shown, originals, [rebuilt[activation, units] for units in narrow.SIZES])
    worst = max(narrow.ACTIVATIONS, key=lambda activation: nets[activation, 25].test)
    e.report("largest test error at 25 units", worst, printed="tanh",
             note=f"{nets[worst, 25].test:.3f}, tanh {nets['tanh', 25].test:.3f}; the source prints 10.27 for tanh, at "
                  "most 8.72 for the others")  # fmt: skip
    e.table(
        "errors",
        ["activation", "units", "half loss, test images", "half loss, shown images", "digits read right"],
        rows,
        f"A classifier trained on the originals, which reads {right['originals']:.2%} of them right, reads the "
        "reconstructions of the test images.",
    )
    reading = [right[f"{a} {n}"] for a in narrow.ACTIVATIONS for n in narrow.SIZES]
    e.check("digits are readable everywhere: share read right", reading, 0.9, kind="above", profile="full")
    overview(e, shown[OVERVIEW], {key: images[OVERVIEW] for key, images in rebuilt.items()})
    seconds = sum(float(np.sum(net.history.seconds)) for net in nets.values())
    e.report("seconds per epoch, mean of the 15 nets", round(seconds / sum(net.history.epochs for net in nets.values()),
             3), note=f"{e.threads} at a time, on one thread each")  # fmt: skip
    e.note(
        f"""
        The nets are those of `ae-activation-grid`. {narrow.OPEN} That tanh looks poorest is not met: here ReLU has the
        largest error with 25 units, as it has in batches of 10 (9.62 against 8.50 of tanh at epoch 30). The printed
        10.27 of tanh fits one of the jumps that its step of 0.01 makes in batches of 10, where its test loss reaches
        10.51 in epoch 8.
        """
    )


def picture(e: Run, activation: str, shown: list[int], originals: np.ndarray, rebuilt: list[np.ndarray]) -> None:
    """One activation: originals over the reconstructions of the three sizes."""
    rows = [np.clip(r, 0, 1) for r in rebuilt]
    names = ("original", *(f"{units} units" for units in narrow.SIZES))
    fig = plots.originals_over_reconstructions(
        originals, rows, shown, shape=(28, 28), names=names, title=f"hidden units: {activation}"
    )
    data = {"index": shown, "original": originals}
    data |= {f"units_{units}": r for units, r in zip(narrow.SIZES, rebuilt, strict=True)}
    caption = f"The first test image of each digit (with its index) over its reconstructions, {activation} units."
    e.figure(activation.lower(), fig, caption, data)


def overview(e: Run, index: int, rebuilt: dict[tuple[str, int], np.ndarray]) -> None:
    """One image, rebuilt by each of the 15 nets: a row for each activation, a column for each size."""
    images = np.array(list(rebuilt.values()))
    titles = [f"{activation} {units}" for activation, units in rebuilt]
    fig = plots.image_grid(np.clip(images, 0, 1), titles, columns=len(narrow.SIZES))
    caption = f"Test image no. {index}, rebuilt by each net: sharper from left to right."
    e.figure("overview", fig, caption, {"image": images, "index": index})
