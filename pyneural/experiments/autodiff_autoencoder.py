"""Train an autoencoder 784-30-784 with a hidden layer of ReLU and a sigmoid at the output on all images of MNIST at
once: 100 steps of Adam with step size 0.05, decay rates 0.9 and 0.999 and eps = 1e-10, once with half the squared error
and once with the cross-entropy. Plot both losses, and 100 digits with what both networks make of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import pyneural as pn
from pyneural import optim, plots
from pyneural.autodiff import gradients
from pyneural.distributions import Bernoulli
from pyneural.experiments._slips import slip
from pyneural.experiments.frame import Run, experiment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIDDEN, ROUNDS, RATE, EPS = 30, 100, 0.05, 1e-10
SHAPES = {"W1": (HIDDEN, 784), "b1": (HIDDEN,), "W2": (784, HIDDEN), "b2": (784,)}
LOSSES = ("square", "cross-entropy")
Tensors = dict[str, pn.Tensor]


def start(rng: np.random.Generator, dtype: type = np.float32) -> Tensors:
    """Weights and biases uniform in +-1/sqrt(last dimension), as the listing of the source has it."""
    return {
        name: pn.tensor(rng.uniform(-1, 1, shape) / shape[-1] ** 0.5, dtype=dtype, requires_grad=True)
        for name, shape in SHAPES.items()
    }


def hidden(p: Tensors, x: pn.Tensor) -> pn.Tensor:
    """The activations (N, 30) of images x (N, 784)."""
    return pn.relu(pn.functional.linear(x, p["W1"], p["b1"]))


def logits(p: Tensors, x: pn.Tensor) -> pn.Tensor:
    """The output (N, 784) before its sigmoid."""
    return pn.functional.linear(hidden(p, x), p["W2"], p["b2"])


def loss(kind: str, p: Tensors, x: pn.Tensor) -> pn.Tensor:
    """Summed over the pixels, averaged over the images."""
    out = logits(p, x)
    if kind == "square":
        return pn.square(pn.sigmoid(out) - x).sum() / (2 * len(x))
    return pn.functional.binary_cross_entropy_with_logits(out, x, reduction="sum") / len(x)


@dataclass
class Trained:
    """A network after its training, the loss before each step and at the end, and how many units are 0 for all."""

    parameters: Tensors
    losses: np.ndarray
    dead: int


def train(e: Run, kind: str, x: np.ndarray, lr: float = RATE, rounds: int = ROUNDS) -> Trained:
    """All images in each step. The generator starts anew, so that both losses have the same start."""
    images, p = pn.tensor(x), start(np.random.default_rng(e.seed))
    optimizer = optim.Adam(p.values(), lr=lr, eps=EPS)

    def step() -> pn.Tensor:
        value = loss(kind, p, images)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value

    replay = pn.compile(step)
    text = f"{kind}, {len(x):,} images, step size {lr}"
    losses = [replay().item() for _ in e.progress(range(rounds), text)]
    with pn.no_grad():
        losses.append(loss(kind, p, images).item())
        dead = int((hidden(p, images).numpy().max(0) == 0).sum())
    return Trained(p, np.array(losses), dead)


def constants(x: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """By loss: of the constant 0.5, of the mean image for every image, and of a perfect copy."""
    mean = x.mean(0, dtype=np.float64)
    norm = float(np.mean(np.square(x, dtype=np.float64).sum(1)))
    half = (norm - x.sum(1, dtype=np.float64).mean() + 784 / 4) / 2
    spread = (norm - mean @ mean) / 2
    own = sum(Bernoulli(part.astype(np.float64)).entropy().sum().item() for part in np.array_split(x, 20)) / len(x)
    return {
        "square": (half, spread, 0.0),
        "cross-entropy": (784 * float(np.log(2)), Bernoulli(mean).entropy().sum().item(), own),
    }


@experiment(
    "autodiff-autoencoder",
    title="An autoencoder trained on all images at once, with two losses",
    source="004_7b7278b8294b24c0.txt, 3.4 and 3.5, figures 8-9, appendix",
    kind="train",
    topic="Automatic differentiation",
    needs=("mnist",),
)
def run(e: Run) -> None:
    check_adam(e)
    everything = e.mnist().flat()[0]
    small, images = everything[:1000], everything[: e.pick(quick=1000, full=60_000)]
    known = constants(images)
    trained, rows = {}, []
    for kind in LOSSES:
        trained[kind] = t = train(e, kind, images)
        half, mean, own = known[kind]
        e.check(f"{kind}: first loss, near that of the constant 0.5", t.losses[0], half, 0.01, "relative")
        e.check(f"{kind}: last loss below that of the mean image", t.losses[-1], mean, kind="below")
        e.check(f"{kind}: last loss above that of a perfect copy", t.losses[-1], own, kind="above")
        rows.append([kind, len(images), RATE, ROUNDS, t.losses[0], t.losses[-1], t.dead, half, mean, own])
        part = t if len(images) == len(small) else train(e, kind, small)
        reference = {"square": "10.50 with 18", "cross-entropy": "96.94 with 13"}[kind]
        note = f"a reference run on 1,000 images, with another generator, had {reference} dead units"
        e.report(f"{kind}: last loss and dead units on 1,000 images", [part.losses[-1], part.dead], note=note)
        few = everything[: e.pick(quick=1000, full=3000)]
        fast = part if len(few) == len(small) else train(e, kind, few)
        slow = train(e, kind, few, RATE / 10, e.pick(quick=ROUNDS, full=10 * ROUNDS))
        e.check(f"{kind}, {len(few):,} images: a tenth of the step size leaves fewer dead units, by",
                fast.dead - slow.dead, 0, kind="above")  # fmt: skip
        e.check(f"{kind}, {len(few):,} images: a tenth of the step size, ten times the rounds: loss over that before",
                slow.losses[-1] / fast.losses[-1], 1, kind="below", profile="full")  # fmt: skip
        for lr, other in ((RATE, fast), (RATE / 10, slow)):
            if other is not t:
                ends = [other.losses[0], other.losses[-1], other.dead]
                rows.append([kind, len(few), lr, len(other.losses) - 1, *ends, *constants(few)[kind]])
    if e.full:
        for kind, what, anchors, within in (
            ("square", "0.5 and the mean image", (90.6861, 26.3625), 1e-3),
            ("cross-entropy", "0.5, the mean image, a perfect copy", (543.43, 206.03, 45.757), 0.01),
        ):
            e.check(f"MNIST, {kind} of {what}", known[kind][: len(anchors)], anchors, within)
    columns = ["loss", "images", "step size", "rounds", "first", "last", f"dead of {HIDDEN}", "constant 0.5"]
    e.table("losses and dead units", [*columns, "mean image", "perfect copy"], rows, "A dead unit is 0 for all images.")
    draw(e, trained, images, known)
    e.note(
        """
        The text of the source starts from N(0,1), its listing from uniform numbers in +-1/sqrt(last dimension), biases
        included: the listing is followed. In the denominator of its Adam the letter l of a variable is printed as the
        digit 1. A step size of 0.05 is large for this network: units are pushed below 0 for every image and stay there.
        """
    )


def check_adam(e: Run) -> None:
    """The optimiser against its formulas written out, and what a 1 in the place of eps would do."""
    rng = np.random.default_rng(e.seed)
    x = pn.tensor(rng.uniform(size=(20, 784)))
    p = start(rng, np.float64)
    names = list(p)
    optimizer = optim.Adam(p.values(), lr=RATE, eps=EPS)
    by_hand = {k: v.numpy().copy() for k, v in p.items()}
    first = {k: np.zeros(s) for k, s in SHAPES.items()}
    second = {k: np.zeros(s) for k, s in SHAPES.items()}
    moves, slopes = {}, {}
    for t in range(1, 4):
        found = gradients(loss("square", p, x), [p[k] for k in names])
        for k, g in zip(names, map(np.asarray, found), strict=True):
            first[k] = 0.9 * first[k] + 0.1 * g
            second[k] = 0.999 * second[k] + 0.001 * g * g
            move = 0.05 * (first[k] / (1 - 0.9**t)) / (np.sqrt(second[k] / (1 - 0.999**t)) + 1e-10)
            by_hand[k] = by_hand[k] - move
            if t == 1:
                moves[k], slopes[k] = move, g
        optimizer.zero_grad()
        loss("square", p, x).backward()
        optimizer.step()
        if t == 1:
            moved = float(np.abs(p["W2"].numpy() - by_hand["W2"] - moves["W2"]).max())
        apart = max(float(np.abs(p[k].numpy() - by_hand[k]).max()) for k in names)
        e.check(f"step {t} of Adam by hand minus optim.Adam", apart, 0, 1e-12)
    at = np.unravel_index(np.abs(slopes["W2"]).argmax(), SHAPES["W2"])
    slope = float(slopes["W2"][at])
    slip(e, "largest first step of W2", moved, 0.05, 0.05 * abs(slope) / (abs(slope) + 1), 1e-9,
         note="with the 1 that is printed in the place of eps")  # fmt: skip


def draw(e: Run, trained: dict[str, Trained], images: np.ndarray, known: dict) -> None:
    """Both losses by round, on linear and logarithmic axes, and the triplets."""
    fig, axes = plots.new(2, 2, width=9, height=5.6)
    rounds = np.arange(ROUNDS + 1)
    for row, log in zip(axes, (False, True), strict=True):
        for ax, (kind, t) in zip(row, trained.items(), strict=True):
            curves = {"loss": t.losses, "mean image": np.full(ROUNDS + 1, known[kind][1])}
            title = f"{kind}, {'logarithmic' if log else 'linear'}"
            plots.lines(rounds, curves, title=title, xlabel="round", log=log, axes=ax)
    data = {"round": rounds} | {kind.replace("-", "_"): t.losses for kind, t in trained.items()}
    caption = f"Loss by round, all {len(images):,} images in each; the flat line is the loss of the mean image."
    e.figure("loss", fig, caption, data)

    originals = images[:100]
    with pn.no_grad():
        rebuilt = [pn.sigmoid(logits(t.parameters, pn.tensor(originals))).numpy() for t in trained.values()]
    triplets = np.concatenate([v.reshape(-1, 28, 28) for v in (originals, *rebuilt)], axis=2)
    caption = "The first 100 images with their index: original, rebuilt with the squared error, with the cross-entropy."
    e.figure("triplets", mosaic(triplets), caption, {"index": np.arange(100), "triplets": triplets})


def mosaic(triplets: np.ndarray) -> Figure:
    """Images (100, 28, 84) in ten rows, their index above each."""
    high, wide = 28 + 11, 84 + 8
    sheet = np.zeros((10 * high, 10 * wide))
    fig, ax = plots.new(width=11, height=5.2)
    with plots.style():
        for i, triplet in enumerate(triplets):
            top, left = i // 10 * high + 11, i % 10 * wide
            sheet[top : top + 28, left : left + 84] = triplet
            ax.text(left + 42, top - 1, str(i), ha="center", va="bottom", fontsize=6)
        ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        ax.axis("off")
    return fig
