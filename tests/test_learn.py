"""The eigen-solver against LAPACK's, and principal components against what they are defined by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyneural.learn import eigen, linear_discriminants, pca, symmetric_eigen

HUGE, TINY = 1e200, 1e-200  # their squares are no numbers


def covariance(rows: int, columns: int, seed: int) -> np.ndarray:
    """Of data whose directions fade away, as those of images do: most eigenvalues are rounding noise."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    x = rng.normal(size=(rows, columns)) * np.exp(-np.arange(columns) / 4) @ turn
    return x.T @ x / rows


def random_symmetric(n: int, seed: int = 0) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(n, n))
    return a + a.T


def with_neighbours(diagonal: list[float], beside: list[float]) -> np.ndarray:
    return np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)


def with_values(values: list[float]) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(len(values), len(values))))
    return (q * np.asarray(values)) @ q.T


CASES = {
    **{f"random {n}": random_symmetric(n) for n in (1, 2, 3, 4, 31, 32, 33, 64, 65, 97)},
    "zeros": np.zeros((5, 5)),
    "identity": np.eye(40),
    "ones": np.ones((40, 40)),
    "diagonal": np.diag(np.arange(50.0) - 20),
    "two blocks": np.kron(np.diag([1.0, 2.0]), np.ones((3, 3))),
    "repeated values": with_values([3.0] * 10 + [1.0] * 30),
    "no variance in half": with_values([0.0] * 30 + [1.0, 2.0, 5.0]),
    "sixteen orders of magnitude": with_values(list(10.0 ** -np.arange(17))),
    "Hilbert": 1 / (1.0 + np.add.outer(np.arange(30), np.arange(30))),
    "Wilkinson": np.diag(np.abs(np.arange(21) - 10.0)) + np.eye(21, k=1) + np.eye(21, k=-1),
    "pixels that are always 0": np.pad(covariance(300, 60, 0), ((40, 10), (40, 10))),
    "small before large": with_neighbours([0, 0, 4e-7, 0.6, 1.7, 0.2], [0, 0, 4e-5, 1.0, 0.1]),
    "large before small": with_neighbours([0.2, 1.7, 0.6, 4e-7, 0, 0], [0.1, 1.0, 4e-5, 0, 0]),
    **{f"fading covariance {seed}": covariance(60, 150, seed) for seed in range(6)},
    "huge": HUGE * random_symmetric(12),
    "tiny": TINY * random_symmetric(12),
    "huge and tiny": np.diag([1.0, TINY, 1.0, TINY]) + TINY * np.ones((4, 4)),
    "a column of tiny numbers": np.eye(6) + 1e-161 * random_symmetric(6),
}


@pytest.mark.parametrize("name", CASES)
def test_eigen_against_lapack(name):
    a = CASES[name]
    values, vectors = symmetric_eigen(a)
    size = max(np.abs(a).max(), np.finfo(float).tiny)
    n = len(a)
    np.testing.assert_allclose(values / size, np.linalg.eigvalsh(a) / size, atol=1e-15 * n**1.5)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-14 * n)
    np.testing.assert_allclose(a / size @ vectors, vectors * (values / size), atol=1e-14 * n)
    assert (np.diff(values) >= 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 1e-8, 0.0]))
def test_eigen_of_any_matrix(n, seed, rest):
    rng = np.random.default_rng(seed)
    a = rng.integers(-2, 3, (n, n)).astype(float)
    a = np.tril(a) + np.tril(a, -1).T + rest * random_symmetric(n, seed)
    values, vectors = symmetric_eigen(a)
    np.testing.assert_allclose((vectors * values) @ vectors.T, a, atol=1e-13 * max(1, n))
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-13)


def test_eigen_reads_the_lower_triangle_and_leaves_its_argument():
    a = random_symmetric(9)
    lower = np.tril(a) + np.triu(np.full_like(a, 1e9), 1)
    kept = lower.copy()
    np.testing.assert_array_equal(symmetric_eigen(lower)[0], symmetric_eigen(a)[0])
    np.testing.assert_array_equal(lower, kept)
    values, vectors = symmetric_eigen(np.zeros((0, 0)))
    assert values.shape == (0,)
    assert vectors.shape == (0, 0)


def test_eigen_refuses(monkeypatch):
    with pytest.raises(ValueError, match=r"symmetric_eigen: matrix must be square, got shape \(2, 3\)"):
        symmetric_eigen(np.zeros((2, 3)))
    monkeypatch.setattr(eigen, "_SWEEPS", 1)
    with pytest.raises(ArithmeticError, match="symmetric_eigen: eigenvalue 0 did not settle in 1 sweeps"):
        symmetric_eigen(np.diag(np.ones(5), 1) + np.diag(np.ones(5), -1))
    with pytest.raises(ValueError, match="symmetric_eigen: matrix holds a NaN or an infinity"):
        symmetric_eigen([[1.0, np.nan], [np.nan, 1.0]])


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(size=(400, 8)) @ np.diag([5, 4, 3, 2, 1, 0.5, 0.1, 0]) @ rng.normal(size=(8, 8)) + 7


@pytest.mark.parametrize("center", [True, False])
def test_pca_against_the_eigen_decomposition_of_the_covariance(rows, center):
    found = pca(rows, 5, center=center)
    x = rows - rows.mean(axis=0) if center else rows
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    np.testing.assert_allclose(found.variances, values[::-1][:5], rtol=1e-10)
    np.testing.assert_allclose(np.abs(found.components @ vectors[:, ::-1][:, :5]), np.eye(5), atol=1e-7)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0) if center else 0, rtol=1e-12)
    np.testing.assert_allclose(found.total_variance, np.mean((x**2).sum(axis=1)), rtol=1e-12)
    np.testing.assert_allclose(found.ratios, values[::-1][:5] / values.sum(), rtol=1e-9)


@pytest.mark.parametrize("center", [True, False])
def test_pca_rebuilds_with_the_error_that_it_says(rows, center):
    for k in (1, 3, 8):
        found = pca(rows, k, center=center)
        codes = found.transform(rows)
        rebuilt = found.inverse_transform(codes)
        assert codes.shape == (400, k)
        np.testing.assert_allclose(np.mean(((rows - rebuilt) ** 2).sum(axis=1)), found.residual, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(np.mean(codes**2, axis=0), found.variances, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.transform(rebuilt), codes, atol=1e-9)


def test_pca_keeps_dtypes_takes_bytes_and_fixes_signs(rows):
    found = pca(rows.astype(np.float32), 3)
    assert found.components.dtype == found.variances.dtype == np.float64
    assert found.transform(rows.astype(np.float32)).dtype == np.float32
    assert found.inverse_transform(np.zeros((2, 3), np.float32)).dtype == np.float32
    levels = np.random.default_rng(0).integers(0, 256, (50, 4)).astype(np.uint8)
    of_bytes, of_floats = pca(levels), pca(levels.astype(float))
    np.testing.assert_array_equal(of_bytes.components, of_floats.components)
    assert of_bytes.transform(levels).dtype == np.float64
    largest = np.abs(of_bytes.components).argmax(axis=1)
    assert (of_bytes.components[np.arange(4), largest] > 0).all()
    np.testing.assert_allclose(pca(rows, 2, ddof=1).variances, pca(rows, 2).variances * 400 / 399, rtol=1e-12)


def test_pca_of_points_that_coincide():
    found = pca(np.full((6, 3), 2.5), 2)
    np.testing.assert_array_equal(found.variances, 0)
    np.testing.assert_array_equal(found.ratios, 0)
    assert found.residual == 0
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(2), atol=1e-15)


def test_pca_refuses(rows):
    with pytest.raises(ValueError, match=r"pca: x must be rows of numbers, \(N, d\), got shape \(8,\)"):
        pca(rows[0])
    for k in (0, 9):
        with pytest.raises(ValueError, match=f"pca: components is {k}, expected between 1 and the 8 features of x"):
            pca(rows, k)
    with pytest.raises(ValueError, match="pca: ddof is 1, which leaves nothing to divide by: x has 1 rows"):
        pca(rows[:1], ddof=1)
    with pytest.raises(ValueError, match="pca: x holds a NaN"):
        pca(np.array([[1.0, np.inf], [2.0, 3.0]]))
    found = pca(rows, 2)
    with pytest.raises(ValueError, match=r"^transform: x must be rows of 8 numbers, got shape \(1, 3\)"):
        found.transform(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="inverse_transform: x must be rows of 2 numbers"):
        found.inverse_transform(np.zeros((1, 3)))


def test_discriminants_part_classes_whatever_else_varies():
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 3
    x = rng.normal(size=(900, 6)) * [20, 10, 1, 0.1, 1, 1]
    x[:, 3] += 0.6 * labels
    x[:, 2] += 3.0 * (labels == 1)
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    directions = linear_discriminants(x @ turn, labels)
    assert directions.shape == (6, 2)
    seen = x @ turn @ directions
    inner = seen - np.array([seen[labels == c].mean(axis=0) for c in range(3)])[labels]
    np.testing.assert_allclose(inner.T @ inner / len(x), np.eye(2), atol=1e-9)
    # The found plane is that of the third and the fourth feature.
    share = np.linalg.norm((turn @ directions)[[2, 3]] * [[1], [0.1]], axis=0)
    np.testing.assert_allclose(share, 1, atol=0.02)
    one = linear_discriminants(np.array([[0.0, 1], [0, 2], [1, 1], [1, 2]]), ["a", "a", "b", "b"], 1)
    assert np.isfinite(one).all()
    assert abs(one[0, 0]) > 100 * abs(one[1, 0])


def test_discriminants_refuse():
    x = np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"linear_discriminants: x \(4, 3\) and labels \(3,\), expected"):
        linear_discriminants(x, [0, 1, 0])
    with pytest.raises(ValueError, match="labels hold 1 classes, at least 2 are needed"):
        linear_discriminants(x, [2, 2, 2, 2])
    with pytest.raises(ValueError, match="components is 4, expected between 1 and 3"):
        linear_discriminants(x, [0, 1, 0, 1], 4)
