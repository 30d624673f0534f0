"""Principal components of many features by products with few directions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _kernels, random
from ..random import Generator
from .eigen import symmetric_eigen
from .pca import PrincipalComponents

_SPARE = 16  # directions beyond those that are asked for: they speed up the last ones
_LIMIT = 100  # rounds at most
_STILL = 1e-7  # relative change of the held variance, twice in a row, at which the components stand
_TALL = 4  # from so many rows per feature on, the matrix of second moments is made first


def randomized_pca(
    x: Any,
    components: int,
    *,
    center: bool = True,
    ddof: int = 0,
    rounds: int | None = None,
    generator: Generator | None = None,
) -> PrincipalComponents:
    """A few principal components, by subspace iteration from random directions: multiply by the covariance, make
    orthonormal, again; then take apart what the covariance is within the subspace (Halko, Martinsson and Tropp,
    "Finding structure with randomness", 2011). Where rows are many, the covariance is made once; else it is applied as
    two products with the rows.

    float32 rows are multiplied in float32, others in float64; all the rest is done in float64.

    Args:
        x: Rows (N, d), finite.
        components: How many directions, 1 to min(N, d).
        center, ddof: As for :func:`pyneural.learn.pca`.
        rounds: How often; until the variance in the subspace stands (to 1e-7) if None.
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
    mean = rows.mean(axis=0, dtype=np.float64) if center else np.zeros(d)
    if not np.isfinite(mean).all():
        raise ValueError("randomized_pca: x holds a NaN or an infinity")
    dtype = rows.dtype
    moments: np.ndarray | None = None
    if n >= _TALL * d:
        # In float32 around the mean: differences of large numbers would leave nothing of a small variance.
        moments = np.zeros((d, d))
        for first in range(0, n, 8192):
            part = np.ascontiguousarray(rows[first : first + 8192] - mean.astype(dtype))
            moments += part.T @ part  # which NumPy computes as half a product, for it is symmetric
        total = float(np.trace(moments))
    else:
        rows = rows - mean.astype(dtype)
        total = float(np.square(rows, dtype=np.float64).sum())

    def multiply(directions: np.ndarray) -> np.ndarray:
        if moments is not None:
            return moments @ directions
        products = _kernels.gemm(rows, directions.astype(dtype))
        return np.asarray(_kernels.gemm(rows.T, products)).astype(np.float64)

    size = min(components + _SPARE, d)
    start = random.normal(0.0, 1.0, (d, size), generator=generator or Generator(0), dtype=np.float64)
    basis = np.linalg.qr(np.asarray(start))[0]
    held, still = -1.0, 0
    for _ in range(1 + (_LIMIT if rounds is None else rounds)):
        image = multiply(basis)
        inner = basis.T @ image
        now = float(np.sort(np.linalg.eigvalsh(inner))[::-1][:components].sum())
        still = still + 1 if abs(now - held) <= _STILL * max(now, 0.0) else 0
        held = now
        if rounds is None and still >= 2:
            break
        basis = np.linalg.qr(image)[0]
    image = multiply(basis)
    values, vectors = symmetric_eigen((basis.T @ image + image.T @ basis) / (2 * (n - ddof)))
    directions = (basis @ vectors[:, ::-1][:, :components]).T
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return PrincipalComponents(
        mean=mean,
        components=np.ascontiguousarray(np.where(largest < 0, -directions, directions)),
        variances=np.maximum(values[::-1][:components], 0.0),
        total_variance=total / (n - ddof),
    )
