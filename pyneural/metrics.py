"""How well classes are predicted: counts and the measures that are made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["classification_scores", "confusion_matrix"]


def confusion_matrix(truth: Any, predicted: Any, classes: int | None = None) -> np.ndarray:
    """How many rows of each class (first axis) were predicted as each class (second axis): int64 (classes, classes).

    Args:
        truth, predicted: Class numbers (N,), integers from 0 on.
        classes: How many there are; as many as occur, if None.

    Raises:
        ValueError: The two differ in shape, are no integer vectors, or hold a number outside of the classes.
    """
    true, guess = np.asarray(truth), np.asarray(predicted)
    if true.ndim != 1 or true.shape != guess.shape or true.dtype.kind not in "iub" or guess.dtype.kind not in "iub":
        raise ValueError(
            f"confusion_matrix: needs two integer vectors of one length, got {true.dtype}{true.shape} and "
            f"{guess.dtype}{guess.shape}"
        )
    true, guess = true.astype(np.int64), guess.astype(np.int64)
    most = max(int(true.max(initial=-1)), int(guess.max(initial=-1)))
    count = most + 1 if classes is None else int(classes)
    if most >= count or min(int(true.min(initial=0)), int(guess.min(initial=0))) < 0:
        raise ValueError(f"confusion_matrix: classes are 0 to {count - 1}, but {most} or a negative number occurs")
    return np.bincount(true * count + guess, minlength=count * count).reshape(count, count)


def classification_scores(truth: Any, predicted: Any, classes: int | None = None) -> dict[str, Any]:
    """Accuracy, and precision, recall and F1 of each class and their plain means over the classes ("macro").

    Precision is the share of right ones among those predicted as the class, recall the share of the class that is
    found, F1 = 2 TP / (2 TP + FP + FN) their harmonic mean; each is 0 where its denominator is 0, as in scikit-learn.

    Args:
        truth, predicted, classes: As for :func:`confusion_matrix`.

    Returns:
        "accuracy", "precision", "recall", "f1" (floats), and "per_class": the last three as arrays (classes,).
    """
    counts = confusion_matrix(truth, predicted, classes)
    right, of_class, as_class = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)

    each = {"precision": share(right, as_class), "recall": share(right, of_class),
            "f1": share(2 * right, of_class + as_class)}  # fmt: skip
    means = {name: float(values.mean()) if len(values) else 0.0 for name, values in each.items()}
    total = int(counts.sum())
    return {"accuracy": float(right.sum() / total) if total else 0.0, **means, "per_class": each}
