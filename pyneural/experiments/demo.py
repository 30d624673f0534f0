"""The main job of the package, `pyneural demo`: classify images of digits, compress them, and find groups among them.

On the embedded digits, or on MNIST, it trains a linear classifier and a small network, trains an autoencoder, clusters
the codes of the autoencoder with k-means, and writes tables, pictures and one HTML page that holds them all.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import pyneural as pn
from pyneural import environment, models, nn, optim, plots, report
from pyneural.experiments.frame import DataMissing as DataMissing
from pyneural.experiments.frame import Experiment, Images, Listener, Run, load_images
from pyneural.learn import linear_discriminants, pca

CLASSES = 10
CODE = 8
CLUSTERED = 10_000  # training images for k-means, which gains nothing from more
BATCH = 100
CLASSIFIER_EPOCHS = {"digits": 12, "mnist": 6}
AUTOENCODER_EPOCHS = {"digits": 15, "mnist": 6}


def run(
    *,
    data: str | None = None,
    out: str | os.PathLike[str] = "pyneural-results",
    threads: int | None = None,
    seed: int = 0,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Do the job and write OUT/demo: the pictures, their arrays, and index.html, which holds everything.

    `data` is None for the embedded digits, "mnist" for MNIST from the usual places, or a folder that holds MNIST.
    Returns {"tables", "figures", "seconds", "page", "accuracy", "purity"}. Raises DataMissing if MNIST is not found.
    """
    start = time.perf_counter()
    name = "digits" if data is None else "mnist"
    images = load_images(name, None if data == "mnist" else data)
    folder = Path(out) / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with environment.running(threads=threads, seed=seed) as used:
        about = Experiment("demo", "The main job", "", "train", "Autoencoders", (), lambda e: None, __name__)
        e = Run(about, "full", seed, used, folder, data, listener or Listener())
        sections = [_show_data(e, images, name)]
        section, accuracy = _classify(e, images, name)
        sections.append(section)
        section, codes, net = _compress(e, images, name)
        sections.append(section)
        section, purity = _cluster(e, images, codes, net)
        sections.append(section)
        seconds = time.perf_counter() - start
        page = _write_page(e, sections, name, seconds)
    return {
        "tables": e.tables,
        "figures": e.figures,
        "seconds": seconds,
        "page": str(page),
        "accuracy": accuracy,
        "purity": purity,
    }


# The four parts; each returns its section of the page: title, text, and the names of its tables and figures


def _show_data(e: Run, images: Images, name: str) -> dict[str, Any]:
    shown = images.x_train[:30]
    titles = [f"{i}: {label}" for i, label in enumerate(images.y_train[:30])]
    e.figure("data", plots.image_grid(shown, titles), "The first training images: index and class.", {"images": shown})
    origin = (
        "drawn by the package itself: slant, width, position, pressure and grain differ from image to image"
        if name == "digits"
        else "written by hand"
    )
    sizes = f"{len(images.x_train):,} training and {len(images.x_test):,} test images"
    text = f"{sizes} of digits, 28x28 grey levels, {origin}."
    return {"title": "The data", "text": text, "tables": [], "figures": ["data"]}


def _classify(e: Run, images: Images, name: str) -> tuple[dict[str, Any], dict[str, float]]:
    """A linear classifier and a network with one hidden layer, trained alike."""
    x, x_test = images.flat()
    nets = {
        "linear classifier": nn.Sequential(nn.Linear(784, CLASSES)),
        "network with 256 hidden units": nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, CLASSES)),
    }
    rows: list[list[Any]] = []
    accuracy: dict[str, float] = {}
    curves: dict[str, list[float]] = {}
    predicted = images.y_test
    for title, net in nets.items():
        trainer = pn.Trainer(net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=1e-3))
        epochs = CLASSIFIER_EPOCHS[name]
        history = _fit(e, trainer, title, x, images.y_train, (x_test, images.y_test), epochs)
        guess_train, predicted = (np.asarray(trainer.predict(part)).argmax(axis=1) for part in (x, x_test))
        shares = [float(np.mean(guess_train == images.y_train)), float(np.mean(predicted == images.y_test))]
        count = sum(p.numel() for p in net.parameters())
        rows.append([title, f"{count:,}", *(f"{100 * share:.2f} %" for share in shares)])
        accuracy[title] = shares[1]
        short = title.split()[0]
        curves |= {short: history["loss"], f"val_{short}": history["val_loss"]}
    e.table("accuracy", ["classifier", "weights", "training images", "test images"], rows)
    e.figure(
        "classifier-curves",
        plots.learning_curves(curves, ylabel="cross-entropy"),
        "Cross-entropy by epoch, training (solid) and test images (dashed).",
        curves,
    )
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(counts, (images.y_test, predicted), 1)
    e.figure(
        "confusion",
        plots.confusion_table(counts),
        "Test images by class and by what the network says.",
        {"counts": counts},
    )
    wrong = np.flatnonzero(predicted != images.y_test)[:20]
    figures = ["classifier-curves", "confusion"]
    if len(wrong):
        titles = [f"{images.y_test[i]} as {predicted[i]}" for i in wrong]
        caption = "The first test images that the network gets wrong: class, and what it takes it for."
        e.figure("mistakes", plots.image_grid(images.x_test[wrong], titles), caption, {"index": wrong})
        figures.append("mistakes")
    weights = np.asarray(nets["linear classifier"][0].weight.detach())
    caption = "The weights of the linear classifier, one image a class: red speaks for the class, blue against it."
    e.figure("weights", plots.weight_images(weights), caption, {"weights": weights})
    text = (
        "A linear classifier sums grey levels; a hidden layer of ReLU units sees strokes. Both are trained with Adam "
        "on the cross-entropy."
    )
    return {"title": "Which digit?", "text": text, "tables": ["accuracy"], "figures": [*figures, "weights"]}, accuracy


def _compress(
    e: Run, images: Images, name: str
) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray], models.Autoencoder]:
    """An autoencoder of 784-256-CODE-256-784 units, beside the best linear compression to as many numbers."""
    x, x_test = images.flat()
    net = models.Autoencoder((784, 256, CODE), output_activation="sigmoid")
    trainer = pn.Trainer(net, nn.MSELoss(), optim.Adam(net.parameters(), lr=2e-3))
    history = _fit(e, trainer, "autoencoder", x, None, x_test, AUTOENCODER_EPOCHS[name])
    rebuilt = np.asarray(trainer.predict(x_test))
    e.status("principal components of the images")
    found = pca(x, CODE)
    linear = found.inverse_transform(found.transform(x_test))
    errors = {
        "mean image": found.mean[None],
        f"{CODE} principal components": linear,
        f"autoencoder, {CODE} numbers": rebuilt,
    }
    e.table(
        "compression",
        ["what is kept", "squared error per pixel, test images"],
        [[title, f"{np.mean((x_test - image) ** 2):.5f}"] for title, image in errors.items()],
    )
    curves = {"loss": history["loss"], "val_loss": history["val_loss"]}
    caption = "Squared error per pixel by epoch, training (solid) and test images (dashed)."
    e.figure("autoencoder-curves", plots.learning_curves(curves, ylabel="squared error"), caption, curves)
    first = [int(np.flatnonzero(images.y_test == digit)[0]) for digit in range(CLASSES)]
    fig = plots.originals_over_reconstructions(
        x_test[first], [linear[first], rebuilt[first]], first, shape=(28, 28), names=("original", "linear", "network")
    )
    caption = f"Test images (with indices), and what {CODE} numbers keep: principal components, and the autoencoder."
    shown = {"index": first, "original": x_test[first], "linear": linear[first], "network": rebuilt[first]}
    e.figure("reconstructions", fig, caption, shown)
    codes, test_codes = net.codes(x), net.codes(x_test)
    plane = (test_codes - codes.mean(axis=0)) @ linear_discriminants(codes, images.y_train)
    caption = (
        "The codes of test images, seen from the side that parts the classes best (two linear discriminants). The "
        "labels chose the view; the autoencoder never saw them."
    )
    data = {"plane": plane, "label": images.y_test}
    e.figure("codes", plots.code_scatter(plane[:2000], images.y_test[:2000]), caption, data)
    text = f"The autoencoder must rebuild each image from {CODE} numbers, the code. It learns without labels."
    section = {"title": "What can be left out?", "text": text, "tables": ["compression"]}
    return section | {"figures": ["autoencoder-curves", "reconstructions", "codes"]}, (codes, test_codes), net


def _cluster(
    e: Run, images: Images, codes: tuple[np.ndarray, np.ndarray], net: models.Autoencoder
) -> tuple[dict[str, Any], dict[str, float]]:
    """k-means with as many clusters as there are classes, and with twice as many, on pixels and on codes."""
    spaces = {"pixels": images.flat(), "codes": codes}
    rows: list[list[Any]] = []
    purity: dict[str, float] = {}
    classes = images.y_train[:CLUSTERED]
    centres, labels, names = codes[0], classes, classes
    for space, (train, test) in spaces.items():
        for k in (CLASSES, 2 * CLASSES):
            e.status(f"k-means: {k} clusters of {space}")
            centres, labels, _ = kmeans(train[:CLUSTERED], k, np.random.default_rng(e.seed))
            names = np.array([np.bincount(classes[labels == c], minlength=CLASSES).argmax() for c in range(k)])
            share = float(np.mean(names[_nearest(test, centres)[0]] == images.y_test))
            purity[f"{k} clusters of {space}"] = share
            rows.append([f"{k} clusters of {space}", f"{100 * share:.2f} %"])
    e.table(
        "clusters",
        ["k-means", "test images in a cluster of their class"],
        rows,
        "A cluster counts for the class that most of its training images have.",
    )
    pictures = net.decoded(centres)
    shares = [float(np.mean(classes[labels == c] == names[c])) for c in range(len(names))]
    titles = [f"{digit}: {100 * share:.0f} %" for digit, share in zip(names, shares, strict=True)]
    order = np.lexsort((-np.array(shares), names))
    fig = plots.image_grid(pictures[order], [titles[i] for i in order], shape=(28, 28))
    caption = (
        f"The centres of the {len(names)} clusters of codes, decoded; the class that prevails in each and its share."
    )
    data = {"image": pictures[order], "class": names[order], "share": np.array(shares)[order]}
    e.figure("centres", fig, caption, data)
    text = "k-means groups the images by distance, without labels: once by their pixels, once by their codes."
    return {"title": "Which groups are there?", "text": text, "tables": ["clusters"], "figures": ["centres"]}, purity


def _write_page(e: Run, sections: list[dict[str, Any]], name: str, seconds: float) -> Path:
    figures = {Path(f["file"]).stem: f for f in e.figures}
    filled = [
        s
        | {
            "tables": [e.tables[t] for t in s["tables"]],
            "figures": [figures[f] | {"uri": report.embedded(e.folder / figures[f]["file"])} for f in s["figures"]],
        }
        for s in sections
    ]
    facts = [[key, value] for key, value in environment.facts().items()] + [
        ["seed", e.seed],
        ["seconds", round(seconds, 1)],
    ]
    title = f"Digits classified, compressed and grouped ({'MNIST' if name == 'mnist' else 'embedded images'})"
    lead = f"Three trainings and four clusterings in {seconds:.0f} seconds. This page needs no other file."
    page = e.folder / "index.html"
    text = report.render("demo.html", title=title, lead=lead, sections=filled, facts=facts, style=report.style_sheet())
    page.write_text(text, encoding="utf-8")
    return page


# Training


def _fit(e: Run, trainer: pn.Trainer, text: str, x: Any, y: Any, validation: Any, epochs: int) -> pn.History:
    """Train and return the history; one bar on the terminal counts the epochs."""
    watch = e.watch(text, epochs)
    return trainer.fit(x, y, epochs, BATCH, validation=validation, callbacks=[watch], progress=False)


# Clustering


def kmeans(
    x: np.ndarray, k: int, rng: np.random.Generator, *, restarts: int = 2, steps: int = 100
) -> tuple[np.ndarray, np.ndarray, float]:
    """Lloyd's algorithm from the starts of k-means++ (Arthur and Vassilvitskii 2007); the best of `restarts` runs.

    x is (N, D) floating. Returns centres (k, D) float64, labels (N,) and the mean squared distance to the own centre. A
    cluster that loses all its points takes over the point that lies farthest from its centre.
    """
    if not 1 <= k <= len(x):
        raise ValueError(f"kmeans: k is {k}, expected between 1 and the number of points, {len(x)}")
    best: tuple[np.ndarray, np.ndarray, float] | None = None
    for _ in range(restarts):
        centres = _spread_start(x, k, rng)
        labels, distance = _nearest(x, centres)
        for _ in range(steps):
            before = labels
            counts = np.bincount(labels, minlength=k)
            # A product with the membership matrix, as np.add.at is slow for rows.
            member = np.zeros((k, len(x)), x.dtype)
            member[labels, np.arange(len(x))] = 1
            centres = (member @ x).astype(np.float64) / np.maximum(counts, 1)[:, None]
            for empty in np.flatnonzero(counts == 0):
                far = int(distance.argmax())
                centres[empty], distance[far] = x[far], 0
            labels, distance = _nearest(x, centres)
            if np.array_equal(labels, before):
                break
        spread = float(distance.mean())
        if best is None or spread < best[2]:
            best = centres, labels, spread
    assert best is not None
    return best


def _spread_start(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k points of x, each drawn with a probability that grows with the squared distance from those drawn before."""
    chosen = [int(rng.integers(len(x)))]
    distance = np.full(len(x), np.inf)
    while len(chosen) < k:
        distance = np.minimum(distance, ((x - x[chosen[-1]]) ** 2).sum(axis=1, dtype=np.float64))
        total = np.cumsum(distance)
        # If all points coincide with chosen ones, any will do.
        drawn = int(np.searchsorted(total, rng.random() * total[-1], side="right")) if total[-1] > 0 else 0
        chosen.append(min(drawn, len(x) - 1))
    return x[chosen].astype(np.float64)


def _nearest(x: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index of the nearest centre, squared distance to it) for each row of x."""
    c = centres.astype(x.dtype)
    squares = (c**2).sum(axis=1) - 2 * (x @ c.T)  # without |x|^2, which does not change which is nearest
    labels = squares.argmin(axis=1)
    distance = squares[np.arange(len(x)), labels] + (x**2).sum(axis=1)
    return labels, np.maximum(distance, 0)
