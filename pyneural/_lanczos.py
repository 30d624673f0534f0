"""Lanczos' method with full reorthogonalisation: the ends of a symmetric matrix's spectrum from products with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Ends(NamedTuple):
    """Eigenvalues, largest first, with unit vectors (k, n), residual norms, which have converged, and products used."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    converged: np.ndarray
    products: int


def lanczos(
    times: Callable[[np.ndarray], np.ndarray], n: int, largest: int, smallest: int, tolerance: float, max_products: int,
    eps: float, seed: int,
) -> Ends:  # fmt: skip
    """The largest and smallest eigenvalues of a symmetric (n, n) matrix.

    Args:
        times: Gives the product with a float64 vector.
        tolerance: Wanted residual relative to the eigenvalue.
        eps: Unit of rounding of the products.

    Raises:
        ValueError: More are wanted than there are, or none.
        FloatingPointError: A product is not finite.
    """
    wanted = largest + smallest
    if largest < 0 or smallest < 0 or not 1 <= wanted <= n:
        raise ValueError(f"{largest} largest and {smallest} smallest eigenvalues are wanted of a matrix of size {n}")
    limit = min(n, max(max_products, wanted))
    rng = np.random.Generator(np.random.PCG64(seed))
    basis = np.empty((min(limit, 32), n))
    alphas, betas = np.zeros(limit), np.zeros(limit)  # the diagonal, and what is beside it
    q = rng.standard_normal(n)
    q /= np.linalg.norm(q)
    norm = 0.0  # of the matrix, so far
    for k in range(limit):
        if k == len(basis):
            basis = np.concatenate([basis, np.empty((min(len(basis), limit - k), n))])
        basis[k] = q
        w = np.array(times(q), np.float64)
        if not np.isfinite(w).all():
            raise FloatingPointError("the Hessian times a vector is not finite; look at a point where the loss is")
        norm = max(norm, float(np.linalg.norm(w)))
        alphas[k] = q @ w
        for _ in range(2):  # twice is enough (Kahan and Parlett); the recurrence itself is part of it
            w -= basis[: k + 1].T @ (basis[: k + 1] @ w)
        betas[k] = np.linalg.norm(w)
        if betas[k] <= 4 * eps * norm:
            # What was found so far maps onto itself: go on in what is left, which belongs to other eigenvalues.
            betas[k] = 0.0
            w = rng.standard_normal(n)
            for _ in range(2):
                w -= basis[: k + 1].T @ (basis[: k + 1] @ w)
        m = k + 1
        # The small problem is solved now and then only: it grows with the cube of its size.
        if m == limit or (m >= wanted and m % max(4, m // 8) == 0):
            values, small, residuals, converged = _ritz(alphas[:m], betas[:m], largest, smallest, tolerance, eps * norm)
            if m == limit or (converged.all() and betas[k] > 0.0):
                break
        length = np.linalg.norm(w)
        q = w / length
    if not converged.all():
        warnings.warn(
            f"{(~converged).sum()} of {wanted} eigenvalues have not converged after {m} products (largest residual "
            f"{residuals.max():.3g}); raise max_products or the tolerance", RuntimeWarning, stacklevel=3,
        )  # fmt: skip
    return Ends(values, small.T @ basis[:m], residuals, converged, m)


def _ritz(
    alphas: np.ndarray, betas: np.ndarray, largest: int, smallest: int, tolerance: float, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values, vectors in the basis (m, k), residuals and which have converged, for the wanted ends."""
    m = len(alphas)
    values, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(betas[: m - 1], 1) + np.diag(betas[: m - 1], -1))
    chosen = [*range(m - 1, m - 1 - largest, -1), *range(smallest - 1, -1, -1)]
    values, vectors = values[chosen], vectors[:, chosen]
    # Of the whole matrix nothing is left: the last beta is rounding.
    residuals = np.abs(betas[m - 1] * vectors[-1])
    return values, vectors, residuals, residuals <= np.maximum(tolerance * np.abs(values), 8 * noise)
