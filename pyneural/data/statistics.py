"""What the pixels alone say: the losses that no model of a kind can go below, and those that one gets for nothing.

The experiments compare what they measure with these numbers: the loss of the mean image, the entropy of the labels,
the part of the images that the best k directions leave out. They are computed in float64 from exact integer counts and
kept in the cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .datasets import Dataset, cache_folder

PROJECTION_SIZES = (2, 5, 10, 15, 20, 25, 50, 100)
STANDARD_MEAN, STANDARD_STD = 0.1307, 0.3081  # what MNIST is customarily standardised with
VERSION = 1  # raise when a number's meaning changes, so that cached ones are not taken for it
ROWS = 4096


def mnist_anchors(train: Dataset, test: Dataset, *, cache: bool = True) -> dict[str, Any]:
    """Anchors of a data set of grey images: statistics, loss floors, entropies, projection floors.

    Args:
        train: the training set; means and standard directions come from it.
        test: the test set, of the same image size.
        cache: keep the result in the cache folder, under a hash of the images and labels, and use what is kept there.
            A folder that cannot be written is no error.

    Returns:
        A dict that JSON can hold: "train" and "test" hold dicts of numbers (see :func:`image_anchors`), "projection"
        holds {"k": sizes, "train": ..., "test": ..., "test_own": ...} with the half loss that is left after projecting
        on the k leading eigenvectors of X^T X / N (not centred, [0, 1] scale): training set; test set on the training
        set's vectors; test set on its own.
    """
    path = cache_folder() / "anchors" / f"{_fingerprint(train, test)}.json"
    if cache:
        with contextlib.suppress(OSError, ValueError):
            kept: dict[str, Any] = json.loads(path.read_text())
            return kept
    mean_image = train.images.reshape(len(train), -1).mean(axis=0, dtype=np.float64) / 255
    anchors = {
        "train": image_anchors(train, mean_image),
        "test": image_anchors(test, mean_image),
        "projection": projection_floors(train, test),
    }
    if cache:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.tmp")
            partial.write_text(json.dumps(anchors))
            partial.replace(path)
    return anchors


def image_anchors(dataset: Dataset, mean_image: NDArray[np.float64]) -> dict[str, Any]:
    """The anchors that need no eigenvectors; `mean_image` (H * W,) is the training set's, on the scale [0, 1].

    All are on the scale [0, 1] but those named `standard_`, which are squared errors per pixel of (x - 0.1307) /
    0.3081: of the best constant image, of a perfect copy clipped to [0, 1] or [-1, 1] (no output in that range is
    closer), and of the best constant image in that range. `half_loss` is half the squared error summed over an image;
    `cross_entropy` sums over an image too; entropies are in nats.
    """
    pixels = dataset.images.reshape(len(dataset), -1)
    n, size = pixels.shape
    counts = np.bincount(pixels.reshape(-1), minlength=256).astype(np.float64)
    levels = np.arange(256) / 255.0
    mean = float(counts @ levels) / (n * size)
    norm2 = float(counts @ levels**2) / n
    column = pixels.sum(axis=0, dtype=np.int64) / (255.0 * n)  # this set's own mean image

    def error(image: NDArray[np.float64] | float) -> float:
        """Mean over images of the squared distance to a constant image: E|x|^2 - 2 E[x].c + |c|^2."""
        constant = np.broadcast_to(image, (size,))
        return norm2 - 2.0 * float(column @ constant) + float(constant @ constant)

    def cross_entropy(image: NDArray[np.float64] | float) -> float:
        q = np.broadcast_to(image, (size,))
        return -float(_times_log(column, q).sum() + _times_log(1.0 - column, 1.0 - q).sum())

    standard_levels = (levels - STANDARD_MEAN) / STANDARD_STD
    standard_mean_image = (mean_image - STANDARD_MEAN) / STANDARD_STD

    def clipped_copy(low: float, high: float) -> float:
        return float(counts @ (standard_levels - standard_levels.clip(low, high)) ** 2) / (n * size)

    def clipped_constant(low: float, high: float) -> float:
        image = standard_mean_image.clip(low, high) * STANDARD_STD + STANDARD_MEAN
        return error(image) / (size * STANDARD_STD**2)

    shares = np.bincount(dataset.labels, minlength=len(dataset.classes)) / n
    binary = _times_log(levels, levels) + _times_log(1.0 - levels, 1.0 - levels)
    return {
        "mean": mean,
        "std": math.sqrt(norm2 / size - mean * mean),
        "zero_share": float(counts[0]) / (n * size),
        "norm2": norm2,
        "variance": error(mean_image),
        "half_loss_mean_image": error(mean_image) / 2,
        "half_loss_half": error(0.5) / 2,
        "cross_entropy_mean_image": cross_entropy(mean_image),
        "cross_entropy_half": cross_entropy(0.5),
        "cross_entropy_copy": -float(counts @ binary) / n,
        "label_entropy": -float(_times_log(shares, shares).sum()),
        "label_shares": shares.tolist(),
        "standard_constant": error(mean_image) / (size * STANDARD_STD**2),
        "standard_clip01": clipped_copy(0.0, 1.0),
        "standard_constant01": clipped_constant(0.0, 1.0),
        "standard_clip11": clipped_copy(-1.0, 1.0),
        "standard_constant11": clipped_constant(-1.0, 1.0),
    }


def projection_floors(
    train: Dataset, test: Dataset, sizes: tuple[int, ...] = PROJECTION_SIZES
) -> dict[str, list[float]]:
    """Half loss left after projecting on the k leading eigenvectors of X^T X / N; see :func:`mnist_anchors`."""
    moments = {"train": second_moment(train), "test": second_moment(test)}
    vectors = {name: np.linalg.eigh(moment)[1][:, ::-1] for name, moment in moments.items()}

    def left(of: str, basis: str) -> list[float]:
        # The share of direction v is v^T M v; what is left is the trace without the first k of them.
        shares = (vectors[basis] * (moments[of] @ vectors[basis])).sum(axis=0)
        total = float(np.trace(moments[of]))
        return [(total - float(shares[:k].sum())) / 2 for k in sizes]

    return {
        "k": list(sizes),
        "train": left("train", "train"),
        "test": left("test", "train"),
        "test_own": left("test", "test"),
    }


def second_moment(dataset: Dataset) -> NDArray[np.float64]:
    """X^T X / N of the images as rows on the scale [0, 1]: float64 (H * W, H * W)."""
    pixels = dataset.images.reshape(len(dataset), -1)
    size = pixels.shape[1]
    moment = np.zeros((size, size))
    for first in range(0, len(pixels), ROWS):
        rows = pixels[first : first + ROWS].astype(np.float64)
        moment += rows.T @ rows
    return moment / (255.0**2 * len(pixels))


def _times_log(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """p ln q with a logarithm no less than -100, as in binary_cross_entropy: 0 ln 0 is 0 and sums stay finite."""
    with np.errstate(divide="ignore"):
        return p * np.maximum(np.log(q), -100.0)


def _fingerprint(train: Dataset, test: Dataset) -> str:
    digest = hashlib.sha256(f"anchors {VERSION}".encode())
    for dataset in (train, test):
        digest.update(f"{dataset.name} {dataset.images.shape} {len(dataset.classes)}".encode())
        digest.update(np.ascontiguousarray(dataset.images).data)
        digest.update(np.ascontiguousarray(dataset.labels).data)
    return digest.hexdigest()[:32]
