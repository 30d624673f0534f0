"""The largest eigenvalues of a symmetric matrix from products with few vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _outside(block: np.ndarray, basis: np.ndarray, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """Orthonormal columns (d, b) that span what ``block`` adds to the orthonormal ``basis`` (d, m); where it adds
    nothing, in random directions. Twice, for the first pass leaves rounding errors of what it takes away."""
    scale = np.linalg.norm(block, axis=0)
    for _ in range(2):
        block = block - basis @ (basis.T @ block)
        empty = np.linalg.norm(block, axis=0) <= 1e-12 * scale
        if empty.any():
            fresh = draw(int(empty.sum()))
            block[:, empty] = fresh - basis @ (basis.T @ fresh)
        block, triangle = np.linalg.qr(block)
        dependent = np.abs(np.diag(triangle)) <= 1e-12 * np.abs(triangle).max()
        if dependent.any():
            block[:, dependent] = draw(int(dependent.sum()))
        scale = np.ones(block.shape[1])
    block = block - basis @ (basis.T @ block)
    return np.linalg.qr(block)[0]


def leading_eigenpairs(
    multiply: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    count: int,
    draw: Callable[[int], np.ndarray],
    *,
    tol: float = 1e-9,
    rounds: int | None = None,
    limit: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The ``count`` largest eigenvalues of a symmetric matrix A without negative ones, and their eigenvectors.

    Block Lanczos with full orthogonalisation (Golub and Underwood, "The block Lanczos method for computing
    eigenvalues", 1977): the space of start, A start, A^2 start, ... is extended, and A is taken apart within it
    (Rayleigh and Ritz), until each wanted pair has ``|A v - value v| <= tol`` times the largest value.

    Args:
        multiply: A times columns (d, b), float64.
        start: Columns (d, b), b >= 1.
        count: How many pairs, at most d.
        draw: Random columns (d, n) for a number n, taken where the space cannot be extended by products.
        rounds: Products after the first, whatever the residuals say; until they are small if None.
        limit: Columns of the space at most; d if None. What was found by then is given.

    Returns:
        (values (count,), descending; vectors (d, count), orthonormal columns).
    """
    d = len(start)
    most = d if limit is None else min(d, max(limit, count))
    if rounds is not None:
        most = min(most, max(count, start.shape[1] * (rounds + 1)))
    basis, images = np.zeros((d, 0)), np.zeros((d, 0))
    block, check = start, 2 * count
    while True:
        block = _outside(block[:, : most - basis.shape[1]], basis, draw)
        image = multiply(block)
        basis, images = np.hstack([basis, block]), np.hstack([images, image])
        size = basis.shape[1]
        last = size >= most
        if last or (rounds is None and size >= check):
            check = size + max(size // 4, 1)
            inner = basis.T @ images
            values, turn = np.linalg.eigh((inner + inner.T) / 2)
            values, turn = values[::-1][:count], turn[:, ::-1][:, :count]
            vectors = basis @ turn
            residual = np.linalg.norm(images @ turn - vectors * values, axis=0).max()
            if last or residual <= tol * abs(values[0]):
                return values, vectors
        block = image
