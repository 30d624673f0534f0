"""Sketch a convolutional autoencoder of images of 28 x 28. Decoder: 10 - 360 - 720 (ReLU each), seen as 20 x 6 x 6,
then bicubic upsampling to twice the size, a transposed convolution (20 channels, 4 x 4, stride 2, output padding 1,
ReLU), and a transposed convolution (1 channel, 4 x 4, padding 1, sigmoid). The encoder is its mirror: convolutions (20,
4 x 4, padding 1; 20, 4 x 4, stride 2), max pooling, 720 - 360 - 10.

1. Which shape has the result of each stage, and how does the output padding come about?
2. Which stages are inverse to each other?
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import functional as F
from pyneural import models, nn, plots
from pyneural.experiments.frame import Run, experiment

STAGES = {  # of both halves: what the layer is called in the picture, and the shape of its result
    "encoder": [("image", (1, 28, 28)), ("conv 4x4", (20, 27, 27)), ("conv 4x4 / 2", (20, 12, 12)),
                ("max pool 2", (20, 6, 6)), ("flatten", (720,)), ("linear", (360,)), ("linear", (10,))],
    "decoder": [("code", (10,)), ("linear", (360,)), ("linear", (720,)), ("unflatten", (20, 6, 6)),
                ("bicubic x2", (20, 12, 12)), ("convT 4x4 / 2", (20, 27, 27)), ("convT 4x4", (1, 28, 28))],
}  # fmt: skip
MADE = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.MaxPool2d, nn.Flatten, nn.Unflatten, nn.Upsample)


def stages(half: nn.Sequential, shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], int, int]]:
    """For the input and each stage of a half: shape of the result, parameters, multiplications for one image."""
    x = pn.zeros((2, *shape))
    found = [(shape, 0, 0)]
    half.eval()
    with pn.no_grad():
        for layer in half:
            before, x = x, layer(x)
            if not isinstance(layer, MADE):
                continue
            count = sum(p.numel() for p in layer.parameters())
            work = 0
            if isinstance(layer, nn.Linear | nn.Conv2d):  # each output is a product with a row of the weight
                work = math.prod(x.shape[1:]) * math.prod(layer.weight.shape[1:])
            elif isinstance(layer, nn.ConvTranspose2d):  # each input goes through a row of it
                work = math.prod(before.shape[1:]) * math.prod(layer.weight.shape[1:])
            found.append((tuple(x.shape[1:]), count, work))
    return found


@experiment(
    "conv-autoencoder-shapes",
    title="Sizes in a convolutional autoencoder",
    source="002_e3b0b6e208b34aec.txt, homework 7, 2a",
    kind="hand",
    topic="Convolutions",
)
def run(e: Run) -> None:
    model = models.ConvAutoencoder(dtype=np.float32)
    rows = []
    for name, first in (("encoder", (1, 28, 28)), ("decoder", (10,))):
        measured = stages(getattr(model, name), first)
        for (label, expected), (shape, parameters, work) in zip(STAGES[name], measured, strict=True):
            e.check(f"{name}, {label}: shape", shape, expected, kind="equal")
            rows.append([f"{name}: {label}", "x".join(map(str, shape)), math.prod(shape), parameters, 2 * work])
    caption = "Flops: two for each multiplication of a forward pass with one image; taps outside of the image count."
    e.table("stages", ["stage", "shape", "numbers", "parameters", "flops"], rows, caption)
    short = F.conv_transpose2d(pn.zeros((1, 20, 12, 12)), pn.zeros((20, 20, 4, 4)), stride=2)
    e.check("second last side without output padding", short.shape[-1], 26, kind="equal")
    end = F.conv_transpose2d(short, pn.zeros((20, 1, 4, 4)), padding=1)
    e.check("side of the end without output padding", end.shape[-1], 27, kind="equal",
            note="27 and 26 both become 12 by a convolution with stride 2: the output padding chooses")  # fmt: skip
    adjoint(e)
    constants = F.interpolate(pn.tensor(np.full((1, 20, 6, 6), 0.7)), scale_factor=2, mode="bicubic")
    e.check("bicubic upsampling of a constant", np.asarray(constants), 0.7, 1e-12)
    fig = draw(rows)
    caption = (
        "Results of the stages: width by channels or units, height by side. Brackets join a stage to its inverse: the "
        "decoder undoes the encoder's stages in turn."
    )
    numbers = [len(shape) for half in STAGES.values() for _, shape in half]
    e.figure("stages", fig, caption, {"dimensions": numbers, "numbers": [row[2] for row in rows]})


def adjoint(e: Run) -> None:
    """<conv x, y> = <x, conv^T y> for both pairs of stages, in float64."""
    for name, sizes, channels, options, extra in (
        ("4x4, padding 1", (28, 27), (1, 20), {"padding": 1}, {}),
        ("4x4, stride 2", (27, 12), (20, 20), {"stride": 2}, {"output_padding": 1}),
    ):
        x = pn.tensor(e.rng.standard_normal((3, channels[0], sizes[0], sizes[0])))
        y = pn.tensor(e.rng.standard_normal((3, channels[1], sizes[1], sizes[1])))
        w = pn.tensor(e.rng.standard_normal((channels[1], channels[0], 4, 4)))
        forward = float((F.conv2d(x, w, **options) * y).sum())
        back = float((x * F.conv_transpose2d(y, w, **options, **extra)).sum())
        e.check(f"{name}: <conv x, y> and <x, conv^T y>", forward, back, 1e-10, kind="relative")


def draw(rows: list[list[Any]]) -> Any:
    """Both halves as blocks, one above the other, the decoder from right to left."""
    fig, ax = plots.new(1, 1, width=10.5, height=5.6)
    ax.set_axis_off()
    ax.grid(False)
    edges: dict[tuple[str, int], tuple[float, float]] = {}
    for half, base, colour in (("encoder", 1.15, plots.LINES[0]), ("decoder", -1.15, plots.LINES[1])):
        for number, (label, shape) in enumerate(STAGES[half]):
            x = float(number if half == "encoder" else 6 - number)
            tall = shape[-1] / 28 * 0.8 if len(shape) == 3 else 0.12 + shape[0] / 720 * 0.7
            wide = 0.08 + 0.02 * shape[0] if len(shape) == 3 else 0.07
            ax.add_patch(_box(x - wide / 2, base - tall / 2, wide, tall, colour))
            text = "x".join(map(str, shape))
            ax.text(x, base + 0.5, label, ha="center", va="bottom", fontsize=8, weight="bold", color=colour)
            ax.text(x, base - 0.48, text, ha="center", va="top", fontsize=8)
            edges[half, number] = x, base
        y = base - 0.72
        ends = (0.0, 6.0) if half == "encoder" else (6.0, 0.0)
        ax.annotate("", (ends[1], y), (ends[0], y), arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2})
    for number in range(
        1, 7
    ):  # encoder's stage between results number - 1 and number, the decoder's between their twins
        x = number - 0.5
        ax.plot([x - 0.3, x - 0.3, x + 0.3, x + 0.3], [0.27, 0.17, 0.17, 0.27], color="#888888", lw=0.9)
        ax.plot([x, x], [0.17, -0.37], color="#888888", lw=0.9, ls=":")
        ax.plot([x - 0.3, x - 0.3, x + 0.3, x + 0.3], [-0.47, -0.37, -0.37, -0.47], color="#888888", lw=0.9)
        pair = STAGES["encoder"][number][0], STAGES["decoder"][7 - number][0]
        ax.text(x, -0.1, f"{pair[0]}\n{pair[1]}", ha="center", va="center", fontsize=6.5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    ax.set(xlim=(-0.6, 6.6), ylim=(-2.0, 1.95))
    return fig


def _box(x: float, y: float, width: float, height: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=colour, edgecolor=plots.INK, linewidth=0.6, alpha=0.75)
