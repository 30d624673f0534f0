"""Take the ReLU out of the autoencoder with hidden layers of 1024 units: is what remains more than the autoencoder
without hidden layers? Encoder Linear(784, 1024), Linear(1024, 2); decoder Linear(2, 1024), Linear(1024, 784), sigmoid.

1. Show that it computes the same functions as Linear(784, 2), Linear(2, 784), sigmoid.
2. Compare its loss with those of the net without hidden layers and of the one with ReLU.
3. Draw the codes of the three side by side.
"""

from __future__ import annotations

import numpy as np

from pyneural import nn, plots
from pyneural.experiments import _autoencoder as ae
from pyneural.experiments.frame import Run, experiment


@experiment(
    "ae-linear-1024",
    title="Hidden layers without activation add nothing but speed",
    source="000_fb1690ef72ed0c7c.txt, 2.2, figure 5",
    kind="train",
    topic="Autoencoders",
    needs=("mnist",),
)
def run(e: Run) -> None:
    a, without, relu = (ae.trained(e, name) for name in ("linear-1024", "bottleneck-2", "relu-1024"))
    deep = ae.trained(e, "linear-depth-5")
    x = ae.standardised(a.images.x_test[:1000])
    for name, net in (("hidden layer", a), ("four hidden layers", deep)):
        (w, b), (v, c) = collapsed(net.model.encoder), collapsed(net.model.decoder)
        e.check(f"{name}: codes against one affine map", net.model.codes(x), x @ w.T + b, 1e-4)
        by_formula = 1 / (1 + np.exp(-((x @ w.T + b) @ v.T + c)))
        e.check(f"{name}: outputs against sigmoid(V (W x + b) + c)", net.model.reconstruct(x), by_formula, 1e-4)
        rank = int(np.linalg.matrix_rank(v))
        e.check(f"{name}: rank of the decoder's map to the logits", rank, 2, kind="equal")
    for part, value in a.losses.items():
        gain = without.losses[part] - value
        e.check(f"{part} loss: gain of the hidden layers without ReLU", gain, (0, 0.04), kind="between", profile="full")
        e.check(f"{part} loss: gain of ReLU over them", value - relu.losses[part], 0.02, kind="at least")
    ae.table_of_nets(
        e,
        [
            ("784-2-784 (part a)", without),
            ("784-1024-2-1024-784, ReLU (part b)", relu),
            ("784-1024-2-1024-784, no activation", a),
            ("784-128-64-32-16-2 and back, no activation", deep),
        ],
        caption="The first and the last two can compute the same functions; they differ in how fast they learn.",
    )
    ae.report_seconds(e, a)
    curves = {"no hidden layer": without, "1024, no activation": a, "depth 5, no activation": deep, "1024, ReLU": relu}
    series = {name: net.history["val_loss"] for name, net in curves.items()}
    fig = plots.learning_curves(series, ylabel="squared error per pixel, test images")
    e.figure("loss", fig, "Validation loss by epoch: with ReLU, and without in three depths.", series)
    scatters(e, {"part a: no hidden layer": without, "part b: 1024, ReLU": relu, "part b without ReLU": a})
    e.note(
        f"""
        {ae.OPEN} Two affine maps in a row are one: without activation the hidden layers cannot change what is
        computed, only how fast it is learnt, as the loss without hidden layers still falls at epoch 20. The gain of
        part b comes from the non-linearity, not from the width.
        """
    )


def collapsed(layers: nn.Sequential) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias, in float64, of the one affine map that the Linear layers of a stack make."""
    weight, bias = np.eye(1), np.zeros(1)
    for i, layer in enumerate(m for m in layers if isinstance(m, nn.Linear)):
        assert layer.bias is not None
        w, b = (np.asarray(p.detach(), np.float64) for p in (layer.weight, layer.bias))
        weight, bias = (w, b) if i == 0 else (w @ weight, w @ bias + b)
    return weight, bias


def scatters(e: Run, nets: dict[str, ae.Trained]) -> None:
    """The codes of test images of several nets side by side."""
    fig, axes = plots.new(1, len(nets), width=4.2 * len(nets), height=4.2)
    data = {}
    for i, ((title, net), ax) in enumerate(zip(nets.items(), axes, strict=True)):
        codes = data[f"codes_{i}"] = net.codes(net.images.x_test[:3000])
        data["label"] = net.images.y_test[:3000]
        plots.code_scatter(codes, data["label"], title=title, middle=0.9, axes=ax)
    caption = (
        "Codes of test images, the middle 90 % along each axis: classes lie over each other in the two linear codes, "
        "and part into regions with ReLU."
    )
    e.figure("codes", fig, caption, data)
