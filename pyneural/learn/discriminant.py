"""Directions that part classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .eigen import symmetric_eigen


def linear_discriminants(x: Any, labels: Any, components: int = 2) -> np.ndarray:
    """The directions along which classes lie farthest apart, measured by the spread within them (Fisher 1936).

    Args:
        x: Rows (N, d).
        labels: The class of each row, (N,): at least two classes.
        components: How many directions, at most d.

    Returns:
        (d, components), float64: ``x @ directions`` has unit variance within the classes along each, and the means of
        the classes vary most along the first. Classes count alike, however large. Only as many directions as there are
        classes but one part anything.

    Raises:
        ValueError: x and labels do not fit, there are fewer than two classes, or ``components`` is not between 1 and d.
    """
    rows, classes = np.asarray(x, np.float64), np.asarray(labels)
    if rows.ndim != 2 or classes.shape != rows.shape[:1]:
        raise ValueError(f"linear_discriminants: x {rows.shape} and labels {classes.shape}, expected (N, d) and (N,)")
    names, member = np.unique(classes, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"linear_discriminants: labels hold {len(names)} classes, at least 2 are needed")
    if not 1 <= components <= rows.shape[1]:
        raise ValueError(f"linear_discriminants: components is {components}, expected between 1 and {rows.shape[1]}")
    means = np.array([rows[member == c].mean(axis=0) for c in range(len(names))])
    inner = rows - means[member]
    values, vectors = symmetric_eigen(inner.T @ inner / len(rows))
    # A direction without any spread within classes would count as infinitely good.
    whitening = vectors / np.sqrt(np.maximum(values, 1e-9 * max(values[-1], np.finfo(np.float64).tiny)))
    apart = (means - means.mean(axis=0)) @ whitening
    _, turn = symmetric_eigen(apart.T @ apart)
    return whitening @ turn[:, ::-1][:, :components]
