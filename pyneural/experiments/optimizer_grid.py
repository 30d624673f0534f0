"""Five optimisers (SGD, SGD with momentum, RMSProp, Adam, AdaGrad) with the steps 0.5, 0.01 and 1e-5 train a network
on MNIST for 15 epochs, three times each.

1. Tabulate the mean test accuracy.
2. Plot the training loss of each optimiser, one figure for each step. Which optimiser copes with which step?
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import nn, optim, plots
from pyneural.experiments.frame import Images, Run, experiment

METHODS: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD": optim.SGD,
    "momentum": lambda p, lr: optim.SGD(p, lr, momentum=0.9),
    "RMSProp": lambda p, lr, eps=1e-8: optim.RMSprop(p, lr, alpha=0.99, eps=eps),
    "Adam": lambda p, lr, eps=1e-8: optim.Adam(p, lr, betas=(0.9, 0.999), eps=eps),
    "AdaGrad": lambda p, lr, eps=1e-8: optim.Adagrad(p, lr, eps=eps),
}
STEPS = (0.5, 1e-2, 1e-5)
EPOCHS, BATCH, RUNS = 15, 100, 3
PRINTED = {  # test accuracy in per cent, methods in the order above
    0.5: (98.52, 9.93, 9.50, 10.95, 80.88),
    1e-2: (93.74, 97.78, 96.21, 97.93, 98.11),
    1e-5: (11.24, 31.36, 91.67, 87.33, 51.34),
}
# Three steps from w = 1 with step size 0.1, epsilon 0 and the gradients 3, 4, 12 (AdaGrad's roots are 3, 5, 13).
HAND = {
    "SGD": (0.7, 0.3, -0.9),
    "momentum": (0.7, 0.03, -1.773),
    "RMSProp": (0.0, -0.801443899700861037, -1.725448299774090455),
    "Adam": (0.9, 0.800267712214268317, 0.711660268664930157),
    "AdaGrad": (0.9, 0.82, 0.82 - 1.2 / 13),
}


def textbook(name: str, gradients: np.ndarray, lr: float, eps: float = 1e-8) -> np.ndarray:
    """The rules as they are written in books, from w = 1: gradients (T, n) to iterates (T, n)."""
    path, w = [], np.ones(gradients.shape[1])
    first, second = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        if name == "SGD":
            w = w - lr * g
        elif name == "momentum":
            first = 0.9 * first + g
            w = w - lr * first
        elif name == "RMSProp":
            second = 0.99 * second + 0.01 * g**2
            w = w - lr * g / (np.sqrt(second) + eps)
        elif name == "Adam":
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
            w = w - lr * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + eps)
        else:
            second = second + g**2
            w = w - lr * g / (np.sqrt(second) + eps)
        path.append(w)
    return np.array(path)


def stepped(name: str, gradients: np.ndarray, lr: float, **settings: float) -> np.ndarray:
    """The same by the library's optimiser."""
    w = pn.tensor(np.ones(gradients.shape[1]), requires_grad=True)
    optimizer, path = METHODS[name]([w], lr, **settings), []
    for g in gradients:
        w.grad = pn.tensor(g)
        optimizer.step()
        path.append(np.array(w.detach()))
    return np.array(path)


def train(
    images: Images,
    name: str,
    step: float,
    epochs: int,
    seed: int,
    hidden: tuple[int, int] = (100, 100),
    batch: int = BATCH,
) -> tuple[list[float], float]:
    """(training loss by epoch, test accuracy in per cent); the start and the order of the images follow the seed."""
    pn.manual_seed(seed)
    h1, h2 = hidden
    net = nn.Sequential(nn.Linear(784, h1), nn.ReLU(), nn.Linear(h1, h2), nn.ReLU(), nn.Linear(h2, 10))
    trainer = pn.Trainer(net, nn.CrossEntropyLoss(), METHODS[name](net.parameters(), lr=step))
    x, x_test = (part.reshape(len(part), -1) for part in (images.x_train, images.x_test))
    history = trainer.fit(x, images.y_train, epochs, batch, progress=False, on_nan="ignore")
    # Where the network has turned to NaN, argmax says class 0.
    return history["loss"], 100 * float(np.mean(trainer.predict(x_test, 1000).argmax(axis=1) == images.y_test))


@experiment(
    "optimizer-grid",
    title="Five optimisers with three step sizes",
    source="001_b6a7a572bac0f98c.txt, 2a, table 2, figures 14-16",
    kind="train",
    topic="Classifiers and optimisers",
    needs=("mnist",),
)
def run(e: Run) -> None:
    rules(e)
    images = e.mnist()
    losses: dict[tuple[float, str], np.ndarray] = {}
    accuracies: dict[tuple[float, str], np.ndarray] = {}
    cells = [(step, name) for step in STEPS for name in METHODS]
    for step, name in e.progress(cells, "training 15 cells, three runs each"):
        runs = [train(images, name, step, e.epochs(EPOCHS), e.seed + i) for i in range(RUNS)]
        losses[step, name] = np.array([loss for loss, _ in runs])
        accuracies[step, name] = np.array([accuracy for _, accuracy in runs])
    mean = {cell: float(values.mean()) for cell, values in accuracies.items()}
    check_table(e, mean, losses)
    e.table(
        "test accuracy",
        ["step", *(f"{name}{what}" for name in METHODS for what in ("", " (source)"))],
        [
            [step]
            + [
                text
                for name, printed in zip(METHODS, PRINTED[step], strict=True)
                for text in (f"{mean[step, name]:.2f} ± {accuracies[step, name].std(ddof=1):.2f}", f"{printed:.2f}")
            ]
            for step in STEPS
        ],
        f"Test images classified correctly, per cent: mean and standard deviation of {RUNS} runs.",
    )
    for step, file in zip(STEPS, ("large", "middle", "small"), strict=True):
        curves = {name: losses[step, name].mean(axis=0) for name in METHODS}
        fig = plots.learning_curves(curves, ylabel="training loss", title=f"step {step:g}")
        caption = f"Training loss with step {step:g}, mean of {RUNS} runs."
        if step == 0.5:
            fig.axes[0].set_ylim(0, 3)
            caption += " The linear axis ends at 3; ln 10 = 2.3 is the loss of guessing."
        e.figure(f"loss-{file}-step", fig, caption, curves)
    sweep(e, images)
    if e.full:
        alternatives(e, images, mean)
    e.note(
        """
        The source does not state its network. Chosen: 784-100-100-10 with ReLU, pixels in [0, 1], batch 100, momentum
        0.9, decay 0.99 for RMSProp, 0.9 and 0.999 for Adam, all epsilons 1e-8. With one hidden layer momentum does not
        collapse at step 0.5. Three cells do not come out as printed: AdaGrad at 0.5 (80.88) and momentum and AdaGrad at
        1e-5 (31.36 and 51.34). At 1e-5 smaller batches raise momentum and wider networks raise AdaGrad; for AdaGrad at
        0.5 no choice was found (the full profile tabulates two). A run that turns to NaN would count as the share of
        the digit 0, 9.80.

        A slip of the source: that Adam is best at 0.01 is about the loss; its own table has AdaGrad first there. Two
        orders in its figures are not met: at 0.01 momentum, not Adam, ends with the lowest training loss, and at 1e-5
        RMSProp is ahead of Adam only in the first epoch.
        """
    )


def rules(e: Run) -> None:
    """Each update rule on three steps computed by hand, and over 50 steps against its formula."""
    hand = np.array([[3.0], [4.0], [12.0]])
    many = e.rng.normal(size=(50, 20)) * np.geomspace(1e-6, 1e3, 20)
    for name, expected in HAND.items():
        settings = {"eps": 0.0} if name in ("RMSProp", "Adam", "AdaGrad") else {}
        e.check(f"{name}: three steps by hand", stepped(name, hand, 0.1, **settings)[:, 0], expected, 1e-12)
        e.check(
            f"{name}: 50 steps of 20 weights against the formula, relative",
            np.max(np.abs(stepped(name, many, 0.01) / textbook(name, many, 0.01) - 1)),
            0,
            1e-12,
        )


def check_table(e: Run, mean: dict[tuple[float, str], float], losses: dict[tuple[float, str], np.ndarray]) -> None:
    """The source's claims about its table, and in the full profile its numbers."""
    best = max(mean.values())
    for step in STEPS:
        for name, printed in zip(METHODS, PRINTED[step], strict=True):
            tolerance = {(0.5, "SGD"): 1.0, (1e-5, "RMSProp"): 4.0, (1e-5, "Adam"): 4.0}
            allowed = 1.5 if step == 1e-2 else tolerance.get((step, name))
            what = f"{name}, step {step:g}: accuracy"
            if allowed:
                e.check(what, mean[step, name], printed, allowed, profile="full")
            else:
                e.report(what, mean[step, name], printed=printed)
    e.check("SGD, step 0.5", mean[0.5, "SGD"], 97, kind="above", profile="full")
    e.check(
        "SGD, step 0.5, behind the best of the 15 cells by",
        best - mean[0.5, "SGD"],
        0.5,
        kind="at most",
        profile="full",
    )
    for name, profile in (("momentum", "full"), ("RMSProp", None), ("Adam", None)):
        e.check(f"{name}, step 0.5, fails", mean[0.5, name], 40, kind="below", profile=profile)
    e.check("AdaGrad, step 0.5, in between", mean[0.5, "AdaGrad"], (40, 96), kind="between", profile="full")
    middle = [mean[1e-2, name] for name in METHODS]
    e.check("step 0.01: the worst of the five", min(middle), 90, kind="above", profile="full")
    e.check("step 0.01: SGD is the last", min(middle) == mean[1e-2, "SGD"])
    for name, bound, kind in (
        ("RMSProp", 80, "above"),
        ("Adam", 80, "above"),
        ("momentum", 60, "below"),
        ("SGD", 25, "below"),
    ):
        e.check(f"{name}, step 1e-5", mean[1e-5, name], bound, kind=kind, profile="full")
    ahead = min(mean[1e-5, "RMSProp"], mean[1e-5, "Adam"]) - max(mean[1e-5, n] for n in ("SGD", "momentum", "AdaGrad"))
    e.check("step 1e-5: RMSProp and Adam lead the others by", ahead, 0, kind="above")
    broken = [f"{name} at {step:g}" for (step, name), loss in losses.items() if not np.isfinite(loss[:, -1]).all()]
    e.report(
        "cells with a run that ends in NaN", ", ".join(broken) or "none", note="its accuracy is the share of 0: 9.80 %"
    )


def alternatives(e: Run, images: Images, mean: dict[tuple[float, str], float]) -> None:
    """The three cells that the chosen network misses, with two other choices, one run each."""
    cells = [(1e-5, "momentum"), (1e-5, "AdaGrad"), (0.5, "AdaGrad")]
    rows: list[list[Any]] = [["source", *(PRINTED[step][list(METHODS).index(name)] for step, name in cells)]]
    rows.append([f"784-100-100-10, batch {BATCH}, mean of {RUNS}", *(mean[cell] for cell in cells)])
    for hidden in e.progress([(100, 100), (256, 128)], "other networks"):
        found = [train(images, name, step, EPOCHS, e.seed, hidden, 64)[1] for step, name in cells]
        rows.append([f"784-{hidden[0]}-{hidden[1]}-10, batch 64", *found])
    columns = ["network", *(f"{name}, step {step:g}" for step, name in cells)]
    e.table("cells that are not met", columns, rows, "Test accuracy, per cent.")


def sweep(e: Run, images: Images) -> None:
    """Accuracy over finer steps: one run each, of fewer epochs."""
    steps = 10.0 ** np.arange(-6, 1, e.pick(quick=1.0, full=0.5))
    epochs = e.pick(quick=1, full=3)
    found = {}
    for name in e.progress(METHODS, "a finer sweep of steps"):
        found[name] = np.array([train(images, name, float(step), epochs, e.seed)[1] for step in steps])
    fig = plots.lines(steps, found, title=f"epochs: {epochs}", xlabel="step", ylabel="test accuracy, per cent")
    fig.axes[0].set_xscale("log")
    caption = (
        "Test accuracy over the step: methods that divide by the gradient's size want steps a hundred times smaller."
    )
    e.figure("sweep", fig, caption, {"step": steps} | found)
