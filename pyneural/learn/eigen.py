"""Eigenvalues and eigenvectors of symmetric matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_PANEL = 32  # columns that are reduced before the rest of the matrix is updated, in one product
_SWEEPS = 60  # sweeps that one eigenvalue may take; two are usual


def symmetric_eigen(matrix: Any) -> tuple[np.ndarray, np.ndarray]:
    """All eigenvalues and eigenvectors of a symmetric matrix, in float64.

    Householder reflections make the matrix tridiagonal, implicit QL sweeps with Wilkinson's shift make it diagonal
    (Golub and Van Loan, Matrix Computations, 8.3). Only the lower triangle is read. A matrix of 784 rows takes some
    seconds, one of 100 rows some hundredths of a second.

    Args:
        matrix: (n, n), real.

    Returns:
        Eigenvalues (n,) in ascending order, and eigenvectors as the columns of an orthogonal matrix (n, n).

    Raises:
        ValueError: The matrix is not square, or holds a NaN or an infinity.
        ArithmeticError: An eigenvalue did not settle, which does not happen to a finite matrix.
    """
    a = np.asarray(matrix, dtype=np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"symmetric_eigen: matrix must be square, got shape {a.shape}")
    if not np.isfinite(a).all():
        raise ValueError("symmetric_eigen: matrix holds a NaN or an infinity")
    if len(a) == 0:
        return np.zeros(0), np.zeros((0, 0))
    # Neither squares nor sweeps may overflow; a power of two changes no digits.
    scale = 2.0 ** math.frexp(float(np.abs(a).max()))[1]
    diagonal, beside, rows = tridiagonal((np.tril(a) + np.tril(a, -1).T) / scale)
    values = _ql(diagonal, beside, rows) * scale
    order = np.argsort(values, kind="stable")
    return values[order], rows[order].T


def tridiagonal(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A symmetric matrix (n, n) as Q T Q^T by Householder reflections: T's diagonal (n,), what lies beside it (n - 1,),
    and the orthogonal Q^T (n, n).

    Reflections of a panel are applied to the rest of the matrix together, as a product (Dongarra, Hammarling and
    Sorensen, "Block reduction of matrices to condensed forms", 1989).
    """
    a = np.array(a, dtype=np.float64)
    n = len(a)
    diagonal, beside = np.zeros(n), np.zeros(max(n - 1, 0))
    q = np.eye(n)
    for start in range(0, n, _PANEL):
        end = min(start + _PANEL, n)
        size = n - start
        v, w = np.zeros((size, end - start)), np.zeros((size, end - start))
        reflections = np.zeros(end - start)
        for j in range(end - start):
            i = start + j
            # The column as the reflections of this panel leave it.
            column = a[i:, i] - v[j:, :j] @ w[j, :j] - w[j:, :j] @ v[j, :j]
            diagonal[i] = column[0]
            if i == n - 1:
                break
            u, factor, beside[i] = _reflection(column[1:])
            v[j + 1 :, j], reflections[j] = u, factor
            p = a[i + 1 :, i + 1 :] @ u
            p -= v[j + 1 :, :j] @ (w[j + 1 :, :j].T @ u) + w[j + 1 :, :j] @ (v[j + 1 :, :j].T @ u)
            p *= factor
            w[j + 1 :, j] = p - (0.5 * factor * (p @ u)) * u
        rest = end - start
        a[end:, end:] -= v[rest:] @ w[rest:].T + w[rest:] @ v[rest:].T
        # H1 H2 ... = I - V S V^T with S upper triangular; q holds Q, whose columns before `start` are done.
        s = np.zeros((rest, rest))
        for j, factor in enumerate(reflections):
            s[j, j] = factor
            s[:j, j] = -factor * (s[:j, :j] @ (v[:, :j].T @ v[:, j]))
        q[:, start:] -= ((q[:, start:] @ v) @ s) @ v.T
    return diagonal, beside, np.ascontiguousarray(q.T)


def _reflection(x: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(u, b, r) with (I - b u u^T) x = (r, 0, ..., 0)."""
    if not x[1:].any():
        return np.zeros_like(x), 0.0, float(x[0])
    largest = float(np.abs(x).max())  # squares of tiny numbers would be 0
    u = x / largest
    r = -math.copysign(math.sqrt(float(u @ u)), x[0])
    u[0] -= r
    return u, 2.0 / float(u @ u), r * largest


def _ql(diagonal: np.ndarray, beside: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Eigenvalues of a tridiagonal matrix; `rows` (n, ...) is rotated along, in place."""
    d, e = diagonal.tolist(), [*beside.tolist(), 0.0]
    n = len(d)
    rotation = np.empty((2, 2))
    turned = np.empty((2, rows.shape[1]))
    # What rounding leaves beside the diagonal is that small next to the largest entry, not next to its neighbours.
    nothing = float(np.finfo(np.float64).eps) * max(abs(a) + abs(b) for a, b in zip(d, e, strict=True))
    for low in range(n):
        for _ in range(_SWEEPS):
            high = low
            while high < n - 1 and abs(e[high]) > nothing:
                high += 1
            if high == low:
                break
            g = (d[low + 1] - d[low]) / (2 * e[low])
            g = d[high] - d[low] + e[low] / (g + math.copysign(math.hypot(g, 1.0), g))
            s = c = 1.0
            p = 0.0
            for i in range(high - 1, low - 1, -1):
                f, b = s * e[i], c * e[i]
                r = math.hypot(f, g)
                e[i + 1] = r
                if r == 0:  # the matrix falls apart here
                    d[i + 1] -= p
                    e[high] = 0.0
                    break
                s, c = f / r, g / r
                g = d[i + 1] - p
                r = (d[i] - g) * s + 2 * c * b
                p = s * r
                d[i + 1] = g + p
                g = c * r - b
                rotation[0, 0] = rotation[1, 1] = c
                rotation[0, 1], rotation[1, 0] = -s, s
                pair = rows[i : i + 2]
                np.dot(rotation, pair, out=turned)
                pair[...] = turned
            else:
                d[low] -= p
                e[low] = g
                e[high] = 0.0
        else:
            raise ArithmeticError(f"symmetric_eigen: eigenvalue {low} did not settle in {_SWEEPS} sweeps")
    return np.array(d)
