"""A network of one's own for ten classes is trained with gradient descent, step 0.02, from three starts (all weights
zero, random, normal) and with four activations (ReLU, sigmoid, tanh, leaky ReLU).

1. Plot training and validation loss by epoch, and tabulate losses and accuracies, for the twelve pairs.
2. What does each start do to learning, and why?
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import nn, optim, plots
from pyneural.experiments.frame import Images, Run, experiment

SIZES = (784, 256, 128, 64, 32, 10)
SPREAD = {"zero": 0.0, "random": 0.2, "normal": 1.0}  # standard deviation of the weights; biases start at 0
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky ReLU": lambda: nn.LeakyReLU(0.01),
}
COLUMNS = ("train loss", "train acc", "val loss", "val acc", "test acc")
nan = float("nan")
PRINTED = {
    ("zero", "ReLU"): (2.3009, 0.1141, 2.3001, 0.1173, 0.11),
    ("zero", "sigmoid"): (2.3010, 0.1141, 2.3001, 0.1173, 0.11),
    ("zero", "tanh"): (2.3009, 0.1141, 2.3001, 0.1173, 0.11),
    ("zero", "leaky ReLU"): (2.3008, 0.1141, 2.3001, 0.1173, 0.11),
    ("random", "ReLU"): (0.2604, 0.9132, 0.3261, 0.8970, 0.895),
    ("random", "sigmoid"): (1.1552, 0.7175, 1.1806, 0.7040, 0.706),
    ("random", "tanh"): (0.3076, 0.9102, 0.4840, 0.8547, 0.844),
    ("random", "leaky ReLU"): (0.2544, 0.9250, 0.3256, 0.8987, 0.893),
    ("normal", "ReLU"): (nan, 0.0987, nan, 0.1027, 0.08),
    ("normal", "sigmoid"): (1.1214, 0.6291, 1.1857, 0.6093, 0.604),
    ("normal", "tanh"): (1.1635, 0.6511, 2.6730, 0.3373, 0.332),
    ("normal", "leaky ReLU"): (nan, 0.0987, nan, 0.1027, 0.08),
}
Part = tuple[np.ndarray, np.ndarray]  # images (N, 784) bytes, classes (N,)


def network(activation: str, spread: float | None) -> nn.Sequential:
    """784-256-128-64-32-10 with N(0, spread^2) weights; None: spread by fan-in, sqrt(2 / n) for the ReLUs, else
    sqrt(1 / n)."""
    layers: list[nn.Module] = []
    gain = 2 if "ReLU" in activation else 1
    for n, out in pairwise(SIZES):
        layers += [nn.Linear(n, out), ACTIVATIONS[activation]()]
    net = nn.Sequential(*layers[:-1])
    for p in net.parameters():
        if p.ndim == 1:
            nn.init.zeros_(p)
        else:
            nn.init.normal_(p, 0.0, (gain / p.shape[1]) ** 0.5 if spread is None else spread)
    return net


def parts(e: Run, images: Images) -> dict[str, Part]:
    """Training, validation and test images, drawn without replacement from the training file."""
    sizes = e.pick(quick=(7_000, 2_000, 1_000), full=(10_000, 3_000, 1_000))
    rows = np.split(e.rng.permutation(len(images.x_train))[: sum(sizes)], np.cumsum(sizes)[:-1])
    x = images.x_train.reshape(-1, 784)
    return {name: (x[r], images.y_train[r]) for name, r in zip(("train", "val", "test"), rows, strict=True)}


Series = dict[str, list[float]]


def train(e: Run, net: nn.Sequential, data: dict[str, Part], title: str, epochs: int) -> tuple[Series, list[float]]:
    """Train in place. Returns (loss and accuracy of both parts after each epoch, the final row of the table)."""
    trainer = pn.Trainer(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.02), ["accuracy"])
    series: Series = {"train loss": [], "train acc": [], "val loss": [], "val acc": []}

    def measure(trainer: pn.Trainer, epoch: int, logs: Any) -> None:
        for part in ("train", "val"):  # measured after the epoch, not during it, for both parts alike
            found = trainer.evaluate(*data[part], 1000)
            series[f"{part} loss"].append(found["loss"])
            series[f"{part} acc"].append(found["accuracy"])

    watch = e.watch(title, epochs)
    trainer.fit(*data["train"], epochs, 128, callbacks=[measure, watch], progress=False, on_nan="ignore")
    return series, [*(values[-1] for values in series.values()), trainer.evaluate(*data["test"], 1000)["accuracy"]]


def gradient_norms(net: nn.Sequential, data: dict[str, Part]) -> list[float]:
    """Norm of the loss's gradient by each weight matrix, before training, over 1,000 images."""
    x, y = data["train"]
    loss = nn.CrossEntropyLoss()(net(pn.tensor(x[:1000] / np.float32(255))), pn.tensor(y[:1000]))
    loss.backward()
    norms = [float(np.linalg.norm(np.asarray(p.grad))) for p in net.parameters() if p.ndim == 2]
    net.zero_grad()
    return norms


@experiment(
    "init-activation-grid",
    title="Three starts and four activations",
    source="003_54ca632be7020186.txt, section B",
    kind="train",
    topic="Classifiers and optimisers",
    needs=("mnist",),
)
def run(e: Run) -> None:
    data = parts(e, e.mnist())
    curves: dict[tuple[str, str], Series] = {}
    nets: dict[tuple[str, str], nn.Sequential] = {}
    final: dict[tuple[str, str], list[float]] = {}
    norms: list[list[Any]] = []
    share = {part: np.bincount(y, minlength=10) / len(y) for part, (_, y) in data.items()}
    for start, spread in [*SPREAD.items(), ("by fan-in", None)]:
        for activation in ACTIVATIONS:
            key = start, activation
            net = nets[key] = network(activation, spread)
            norms.append([*key, *gradient_norms(net, data)])
            curves[key], final[key] = train(e, net, data, " ".join(key), e.epochs(30))
            if start == "zero":
                check_symmetry(e, net, activation)
    check_rows(e, curves, final, share)
    e.table(
        "results",
        ["start", "activation", *(f"{c}{w}" for c in COLUMNS for w in ("", " (source)"))],
        [
            [*key, *(v for pair in zip(row, PRINTED.get(key, [None] * 5), strict=True) for v in pair)]
            for key, row in final.items()
        ],
        "After the last epoch. Starts scaled by fan-in are not in the source.",
    )
    e.table(
        "gradient norms at the start",
        ["start", "activation", *(f"layer {i}" for i in range(1, 6))],
        norms,
        "Norm of the gradient by each weight matrix before the first step: the further from 1, the worse a step 0.02.",
    )
    draw(e, curves)
    if e.full:
        matching_epochs(e, nets, curves, data)
    e.note(
        """
        The source names no data set, but its zero rows do: they end at the entropy of the labels, 2.3009, which MNIST
        has (2.3012; Fashion-MNIST 2.3026). Sizes and spreads are chosen so that all twelve rows come out in kind:
        10,000 / 3,000 / 1,000 images, hidden layers of 256, 128, 64, 32, "random" N(0, 0.2^2), "normal" N(0, 1), batch
        128, 30 epochs. With two layers of 128 and 64 the normal start does not overflow. No single number of epochs
        meets the printed losses: the full profile tabulates for each row the epoch that does.

        The source takes the accuracy of the NaN rows for that of the last predictions before the overflow. It is the
        share of the digit 0: the largest of ten NaN is, by convention, the first.

        From zero weights every hidden unit of ReLU, tanh and leaky ReLU is 0, so only the last bias has a gradient, and
        it learns the frequencies of the classes. Sigmoid units start at 1/2 and do learn, but all units of a layer the
        same.
        """
    )


def check_symmetry(e: Run, net: nn.Sequential, activation: str) -> None:
    """What the zero start cannot leave: weights of 0, or, with sigmoid, hidden units that are all alike."""
    weights = [np.asarray(p.detach()) for p in net.parameters()]
    if activation != "sigmoid":
        largest = max(float(np.abs(w).max()) for w in weights[:-1])
        e.check(f"zero {activation}: largest weight but the last bias", largest, 0, kind="equal")
        return
    alike = all(np.array_equal(w, np.broadcast_to(w[:1], w.shape)) for w in weights[:-2])
    e.check("zero sigmoid: the hidden units of a layer have bit for bit equal weights", alike)
    e.check("zero sigmoid: the last weights have left 0", float(np.abs(weights[-2]).max()), 0, kind="above")


def check_rows(e: Run, curves: Any, final: dict[tuple[str, str], list[float]], share: dict[str, np.ndarray]) -> None:
    """The source's claims, start by start."""
    p = share["train"]
    entropy = float(-np.sum(p * np.log(p)))
    e.report("entropy of the training labels", entropy, printed=2.3009)
    largest = [share[part][p.argmax()] for part in ("train", "val", "test")]
    for activation in ACTIVATIONS:
        loss, *_ = row = final["zero", activation]
        e.check(f"zero {activation}: train loss is the entropy of the labels", loss, entropy, 0.003, printed=2.3009)
        e.check(f"zero {activation}: accuracies are the share of the commonest digit", row[1::2] + row[4:], largest, 0)
    for activation in ("ReLU", "leaky ReLU"):
        row = final["normal", activation]
        e.check(
            f"normal {activation}: NaN after one epoch", bool(np.isnan(curves["normal", activation]["train loss"][0]))
        )
        e.check(
            f"normal {activation}: accuracies are the share of the digit 0",
            row[1::2] + row[4:],
            [share[part][0] for part in ("train", "val", "test")],
            0,
        )
        e.check(f"random {activation}: val acc", final["random", activation][3], 0.88, kind="above", profile="full")
    relu, sigmoid, _, leaky = (final["random", activation][3] for activation in ACTIVATIONS)
    e.check("random: val acc of leaky ReLU is that of ReLU", leaky, relu, 0.03)
    e.check("random: val acc of sigmoid behind ReLU's by", relu - sigmoid, 0.1, kind="above")
    tanh = final["normal", "tanh"]
    e.check("normal tanh: train acc above val acc by", tanh[1] - tanh[3], 0.15, kind="above", profile="full")
    for activation in ACTIVATIONS:
        better = final["by fan-in", activation][3], max(final[start, activation][3] for start in SPREAD)
        e.report(f"by fan-in {activation}: val acc, beside the best of the three starts", list(better))


def matching_epochs(e: Run, nets: dict[tuple[str, str], nn.Sequential], curves: Any, data: dict[str, Part]) -> None:
    """For each row that learns, the first epoch whose training loss is at most the printed one, and its row there."""
    rows = []
    for key in [(start, activation) for start in ("random", "normal") for activation in ACTIVATIONS]:
        series, printed = curves[key], PRINTED[key]
        if np.isnan(printed[0]):
            continue
        if series["train loss"][-1] > printed[0]:  # train on
            more, _ = train(e, nets[key], data, " ".join(key) + ", longer", 60)
            series = {name: series[name] + more[name] for name in series}
        reached = np.flatnonzero(np.array(series["train loss"]) <= printed[0])
        if len(reached):
            found = [values[reached[0]] for values in series.values()]
            rows.append([*key, int(reached[0]) + 1, *(v for pair in zip(found, printed, strict=False) for v in pair)])
    columns = [f"{c}{w}" for c in COLUMNS[:4] for w in ("", " (source)")]
    caption = "The first epoch whose training loss is at most the printed one."
    e.table("epochs that meet the printed losses", ["start", "activation", "epoch", *columns], rows, caption)


def draw(e: Run, curves: dict[tuple[str, str], Series]) -> None:
    """Loss by epoch, a panel for each pair, on a linear and on a logarithmic axis."""
    data = {
        f"{start}_{activation}_{name}".replace(" ", "_"): series[name]
        for (start, activation), series in curves.items()
        for name in ("train loss", "val loss")
    }
    for log in (False, True):
        fig, panels = plots.new(3, 4, width=12, height=7.5)
        for row, start in zip(panels, SPREAD, strict=True):
            for ax, activation in zip(row, ACTIVATIONS, strict=True):
                series = {k: np.array(curves[start, activation][k]) for k in ("train loss", "val loss")}
                epochs = np.arange(1, len(series["val loss"]) + 1)
                plots.lines(epochs, series, title=f"{start}, {activation}", xlabel="epoch", log=log, axes=ax)
                ratio = series["val loss"].max() / series["train loss"].min()
                if log and ratio < 5:
                    ax.yaxis.set_minor_formatter("{x:.5g}")
                if np.isnan(ratio):
                    ax.set(xticks=[], yticks=[])
                    ax.get_legend().remove()
                    ax.text(0.5, 0.5, "NaN", transform=ax.transAxes, ha="center", va="center", color="#c00000")
        e.figure(
            "losses-log" if log else "losses",
            fig,
            "Loss by epoch for each start (row) and activation (column)" + (", logarithmic axis." if log else "."),
            data,
        )
