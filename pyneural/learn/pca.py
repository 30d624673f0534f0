"""Principal components: the directions along which data vary most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .eigen import symmetric_eigen

_ROWS = 4096  # rows that are converted to float64 at a time


@dataclass(frozen=True)
class PrincipalComponents:
    """What :func:`pca` found in data of d features.

    Attributes:
        mean: What is subtracted from a row, (d,): the mean of the data, or zeros if they were not centred.
        components: Orthonormal directions as rows, (k, d), by descending variance. The largest entry of each is
            positive, because an eigenvector's sign means nothing.
        variances: Mean square of the data along each direction, (k,).
        total_variance: Mean squared length of a row (after centring), the sum of the variances along all d directions.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    total_variance: float

    @property
    def ratios(self) -> np.ndarray:
        """The share of each direction in the total variance, (k,); zeros if there is none."""
        return self.variances / self.total_variance if self.total_variance > 0 else np.zeros_like(self.variances)

    @property
    def residual(self) -> float:
        """The mean squared distance between the data and their reconstructions from k numbers."""
        return max(self.total_variance - float(self.variances.sum()), 0.0)

    def transform(self, x: Any) -> np.ndarray:
        """Coordinates (N, k) of rows (N, d), in the dtype of floating x, else in float64.

        Raises ValueError if x has another number of columns.
        """
        rows, dtype = _rows("transform", x, self.components.shape[1])
        return (rows - self.mean.astype(dtype)) @ self.components.T.astype(dtype)

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Rows (N, d) from coordinates (N, k): the nearest points that k numbers can describe.

        Raises ValueError if there is another number of columns.
        """
        rows, dtype = _rows("inverse_transform", codes, len(self.components))
        return rows @ self.components.astype(dtype) + self.mean.astype(dtype)


def _rows(name: str, x: Any, columns: int) -> tuple[np.ndarray, np.dtype[Any]]:
    rows = np.asarray(x)
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"{name}: x must be rows of {columns} numbers, got shape {rows.shape}")
    dtype = rows.dtype if rows.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    return rows.astype(dtype, copy=False), dtype


def second_moments(x: np.ndarray, center: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(mean (d,), sum of the outer products of the rows (d, d)) of rows (N, d), in float64; the mean is zeros, and not
    subtracted, unless ``center``."""
    mean = x.mean(axis=0, dtype=np.float64) if center else np.zeros(x.shape[1])
    moments = np.zeros((x.shape[1], x.shape[1]))
    for first in range(0, len(x), _ROWS):
        part = x[first : first + _ROWS].astype(np.float64) - mean
        moments += part.T @ part
    return mean, moments


def pca(x: Any, components: int | None = None, *, center: bool = True, ddof: int = 0) -> PrincipalComponents:
    """The principal components of data: eigenvectors of the covariance matrix with the largest eigenvalues.

    Of all maps to k numbers and back that are linear (affine if centred), coordinates along these k directions rebuild
    the data with the least squared error (Pearson 1901; Eckart and Young 1936). The matrix is X^T X / N, from rows from
    which their mean was subtracted unless ``center`` is False; :func:`symmetric_eigen` takes it apart, in float64.

    Args:
        x: Rows (N, d), numbers or bytes.
        components: How many directions to keep, k; all d if None.
        center: Subtract the mean of the rows first. Without it the directions are those through the origin that lie
            closest to the data, the ones that a linear autoencoder without biases finds.
        ddof: Variances are sums of squares over N - ddof: 0 for the data's own, 1 for an estimate from a sample
            (scikit-learn's choice).

    Raises:
        ValueError: x is no matrix, is empty, or holds a NaN or an infinity; or k is not between 1 and d, or
            N - ddof is not above 0.
    """
    rows = np.asarray(x)
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"pca: x must be rows of numbers, (N, d), got shape {rows.shape}")
    n, d = rows.shape
    k = d if components is None else components
    if not 1 <= k <= d:
        raise ValueError(f"pca: components is {components}, expected between 1 and the {d} features of x")
    if n - ddof <= 0:
        raise ValueError(f"pca: ddof is {ddof}, which leaves nothing to divide by: x has {n} rows")
    with np.errstate(invalid="ignore", over="ignore"):  # said below, in words
        mean, moments = second_moments(rows, center)
    if not np.isfinite(moments).all():
        raise ValueError("pca: x holds a NaN, an infinity, or numbers whose squares overflow")
    values, vectors = symmetric_eigen(moments / (n - ddof))
    directions = vectors[:, ::-1][:, :k].T
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return PrincipalComponents(
        mean=mean,
        components=np.ascontiguousarray(np.where(largest < 0, -directions, directions)),
        variances=np.maximum(values[::-1][:k], 0.0),  # rounding leaves negative ones where there is no variance
        total_variance=float(np.trace(moments)) / (n - ddof),
    )
