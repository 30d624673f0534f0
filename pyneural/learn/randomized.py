"""Principal components of many features by products with few directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _kernels, random
from ..random import Generator
from .krylov import leading_eigenpairs
from .pca import PrincipalComponents

_BLOCK = 32  # directions that are multiplied at a time, if not told otherwise
_SPARE = 16  # directions beyond those that are asked for, where the number of rounds is given
_DENSE = (
    1024  # features, or 32 for each component: up to so many, all eigenvectors cost less than a space of directions
)
_TALL = 4  # from so many rows per feature on, the matrix of second moments is made first
_ROWS = 16384  # of which products are added in the dtype of the rows, and then in float64
_SAMPLE = 1024  # rows that tell how far the mean lies from 0


def randomized_pca(
    x: Any,
    components: int,
    *,
    center: bool = True,
    ddof: int = 0,
    rounds: int | None = None,
    generator: Generator | None = None,
) -> PrincipalComponents:
    """A few principal components from products of the covariance with few random directions, and with what comes out,
    again and again; then the covariance is taken apart within the space of all of them (Halko, Martinsson and Tropp,
    "Finding structure with randomness", 2011; Musco and Musco, "Randomized block Krylov methods for stronger and faster
    approximate singular value decomposition", 2015). Where rows are many, the covariance is made once; else it is
    applied as two products with the rows. Of few features it is made always, and taken apart as a whole by LAPACK.

    float32 rows are multiplied in float32, others in float64; all the rest is done in float64.

    Args:
        x: Rows (N, d), finite.
        components: How many directions, 1 to min(N, d).
        center, ddof: As for :func:`pyneural.learn.pca`.
        rounds: Products after the first; until the components stand if None: their residuals are below 1e-8 of the
            largest variance (1e-6 of float32 rows).
        generator: Of the first directions; seed 0 if None.

    Raises:
        ValueError: As for :func:`pyneural.learn.pca`.
    """
    rows = np.asarray(x)
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"randomized_pca: x must be rows of numbers, (N, d), got shape {rows.shape}")
    if rows.dtype not in (np.float32, np.float64):
        rows = rows.astype(np.float64)
    n, d = rows.shape
    if not 1 <= components <= min(n, d):
        raise ValueError(f"randomized_pca: components is {components}, expected 1 to min(N, d) = {min(n, d)}")
    if n - ddof <= 0:
        raise ValueError(f"randomized_pca: ddof is {ddof}, which leaves nothing to divide by: x has {n} rows")
    dtype = rows.dtype
    dense = rounds is None and d <= max(_DENSE, 32 * components)
    moments: np.ndarray | None = None
    with np.errstate(invalid="ignore", over="ignore"):  # said below, in words
        if dense or n >= _TALL * d:
            mean, moments = _moments(rows, center)
            total = float(np.trace(moments))
        else:
            mean = rows.mean(axis=0, dtype=np.float64) if center else np.zeros(d)
            rows = rows - mean.astype(dtype)
            total = float(np.square(rows, dtype=np.float64).sum())
    if not np.isfinite(total):
        raise ValueError("randomized_pca: x holds a NaN, an infinity, or numbers whose squares overflow")

    def multiply(directions: np.ndarray) -> np.ndarray:
        if moments is not None:
            return moments @ directions
        products = _kernels.gemm(rows, directions.astype(dtype))
        return np.asarray(_kernels.gemm(rows.T, products)).astype(np.float64)

    stream = generator or Generator(0)

    def draw(count: int) -> np.ndarray:
        return np.asarray(random.normal(0.0, 1.0, (d, count), generator=stream, dtype=np.float64))

    if dense and moments is not None:
        values, vectors = np.linalg.eigh(moments)
        values, vectors = values[::-1][:components], vectors[:, ::-1][:, :components]
    else:
        values, vectors = leading_eigenpairs(
            multiply,
            draw(min(components + _SPARE if rounds is not None else _BLOCK, d)),
            components,
            draw,
            tol=1e-6 if dtype == np.float32 else 1e-8,
            rounds=rounds,
            limit=None if moments is not None else min(n, d),  # the rank is no larger
        )
    directions = vectors.T
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return PrincipalComponents(
        mean=mean,
        components=np.ascontiguousarray(np.where(largest < 0, -directions, directions)),
        variances=np.maximum(values / (n - ddof), 0.0),
        total_variance=total / (n - ddof),
    )


def _moments(rows: np.ndarray, center: bool) -> tuple[np.ndarray, np.ndarray]:
    """(mean (d,), sum of the outer products of the centred rows (d, d)) in float64, in one pass over floating rows.

    Products are made in the dtype of the rows, around a point near their mean if that lies far from 0 compared to their
    spread: a difference of large numbers would leave nothing of a small variance. What is left of the mean is taken off
    the sum.
    """
    n, d = rows.shape
    shift = None
    if center:
        sample = rows[:: max(1, n // _SAMPLE)]
        near = sample.mean(axis=0, dtype=np.float64)
        squares = float(np.square(near).sum())
        if not squares <= 2 * float(np.square(sample - near).mean(axis=0).sum()):
            shift = near.astype(rows.dtype)
    sums, moments = np.zeros(d), np.zeros((d, d))
    ones = np.ones(min(_ROWS, n), rows.dtype)
    for first in range(0, n, _ROWS):
        part = rows[first : first + _ROWS]
        part = np.ascontiguousarray(part if shift is None else part - shift)
        sums += ones[: len(part)] @ part
        moments += part.T @ part  # which NumPy computes as half a product, for it is symmetric
    if not center:
        return np.zeros(d), moments
    mean = sums / n
    moments -= np.outer(sums, mean)
    return mean if shift is None else mean + shift, moments
