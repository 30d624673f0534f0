"""Support vector machines: the solver against a dense one, kernels, limits, bits, and what is refused."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import pyneural as pn
from pyneural import _kernels
from pyneural.estimators.checks import ConvergenceWarning
from pyneural.learn.svm import Kernel, Limits, svc, svr
from pyneural.learn.svm_dual import solve_dual
from pyneural.learn.svm_probability import calibrate, couple, fit_sigmoid, folds, probabilities

RNG = np.random.default_rng(0)


def clouds(n=60, d=3, classes=2, spread=1.5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(scale=spread, size=(n, d)) + 1.5 * np.eye(max(d, classes))[y, :d], y


def reference_values(kernel, a, b):
    dots = a @ b.T
    if kernel.name == "linear":
        return dots
    if kernel.name == "poly":
        return (kernel.gamma * dots + kernel.coef0) ** kernel.degree
    if kernel.name == "sigmoid":
        return np.tanh(kernel.gamma * dots + kernel.coef0)
    return np.exp(-kernel.gamma * ((a[:, None] - b) ** 2).sum(-1))


KERNELS = [
    Kernel("linear"),
    Kernel("poly", degree=0, gamma=0.5),
    Kernel("poly", degree=3, gamma=0.3, coef0=1.0),
    Kernel("poly", degree=7, gamma=0.1, coef0=-0.5),
    Kernel("rbf", gamma=0.4),
    Kernel("sigmoid", gamma=0.05, coef0=-0.1),
]


# ---- kernels ----


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: f"{k.name}{k.degree}")
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_kernel_values(kernel, dtype, tolerance):
    a, b = RNG.normal(size=(37, 5)), RNG.normal(size=(70, 5))
    values = kernel.values(a.astype(dtype), b.astype(dtype))
    assert values.dtype == dtype
    expected = reference_values(kernel, a.astype(dtype).astype(float), b.astype(dtype).astype(float))
    np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_a_gaussian_of_a_row_with_its_copy_is_one():
    a = (RNG.normal(size=(200, 33)) * 50).astype(np.float32)
    assert (np.diag(Kernel("rbf", gamma=3.0).values(a, a.copy())) == 1).all()


def test_gamma_is_scikit_learns():
    x = RNG.normal(3, 2, size=(50, 4))
    assert Kernel(gamma="auto").fixed(x).gamma == 0.25
    assert Kernel(gamma="scale").fixed(x).gamma == pytest.approx(1 / (4 * x.var()), rel=1e-12)
    assert Kernel(gamma="scale").fixed(x + 1e9).gamma == pytest.approx(1 / (4 * x.var()), rel=1e-5)
    assert Kernel(gamma="scale").fixed(np.ones((3, 2))).gamma == 1.0
    weights = RNG.integers(0, 4, 50)
    repeated = Kernel(gamma="scale").fixed(x.repeat(weights, axis=0))
    assert Kernel(gamma="scale").fixed(x, weights).gamma == pytest.approx(repeated.gamma, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Kernel("cubic"), "name must be one of linear, poly, rbf, sigmoid, precomputed or a function"),
        (lambda: Kernel(gamma="small"), 'gamma must be a number, "scale" or "auto"'),
        (lambda: Kernel().values(np.zeros((2, 2)), np.zeros((2, 2))), r"fixed\(x\) makes it a number"),
        (lambda: Kernel("linear").values(np.zeros((2, 2)), np.zeros((2, 3))), "2 columns but b has 3"),
        (lambda: Kernel(lambda a, b: np.zeros(3)).values(np.zeros((2, 1)), np.zeros((2, 1))), r"returned shape \(3,\)"),
    ],
)
def test_kernels_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- the dense solver ----


@pytest.mark.parametrize("C", [0.05, 1.0, 50.0, np.inf])
def test_dense_solution_meets_every_condition(C):
    x, y = clouds(40, spread=0.3 if np.isinf(C) else 1.5)
    found = solve_dual(x @ x.T, 2 * y - 1, C, x=x)
    assert max(map(abs, found.residuals.values())) < 1e-9
    np.testing.assert_allclose(found.values, x @ found.w + found.b, atol=1e-10)
    assert found.objective > 0
    assert found.margin == pytest.approx(1 / np.linalg.norm(found.w))
    bound = found.multipliers[found.slack > 1e-6]
    np.testing.assert_array_equal(bound, np.full(len(bound), C))


def test_dense_solution_refuses():
    eye = np.eye(4)
    for gram, y, C, message in (
        (np.eye(3), [1, -1], 1, r"gram \(3, 3\) and y \(2,\)"),
        (eye, [1, 1, 1, 1], 1, "must hold -1 and 1, both"),
        (eye, [0, 1, 1, 0], 1, "must hold -1 and 1"),
        (eye, [1, 1, -1, -1], 0, "C must be above 0"),
        (eye * np.nan, [1, 1, -1, -1], 1, "NaN"),
        (np.ones((4, 4)), [1, 1, -1, -1], np.inf, "does not separate"),
    ):
        with pytest.raises(ValueError, match=message):
            solve_dual(gram, y, C)


# ---- the iterative solver ----


@pytest.mark.parametrize("C", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("kernel", [KERNELS[0], KERNELS[2], KERNELS[4]], ids=lambda k: k.name)
def test_small_problems_are_solved_exactly(kernel, C):
    x, y = clouds()
    found = svc(x, y, C=C, kernel=kernel)
    exact = solve_dual(reference_values(kernel, x, x), np.where(y == 0, 1, -1), C)
    multipliers = np.zeros(len(x))
    multipliers[found.support] = np.abs(found.coefficients[0])
    np.testing.assert_allclose(multipliers, exact.multipliers, atol=1e-7 * C)
    np.testing.assert_allclose(found.decide(x)[:, 0], exact.values, atol=1e-7)
    assert -found.objectives[0] == pytest.approx(exact.objective, rel=1e-9)
    assert found.finished
    assert found.gaps[0] < 1e-9


def conditions(x, y, found, C):
    """Largest violation of the optimality conditions of two classes, from kernel values in NumPy."""
    sign = np.where(y == found.classes[0], 1.0, -1.0)
    beta = np.zeros(len(x))
    beta[found.support] = found.coefficients[0]
    alpha = beta * sign
    assert alpha.min() >= 0
    assert alpha.max() <= C
    assert abs(beta.sum()) < 1e-9 * C * len(x)
    margin = sign * (reference_values(found.kernel, x, x) @ beta - found.rho[0])
    return max(
        (1 - margin[alpha == 0]).max(initial=0),
        (margin[alpha == C] - 1).max(initial=0),
        np.abs(margin[(alpha > 0) & (alpha < C)] - 1).max(initial=0),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shrinking", [True, False])
@pytest.mark.parametrize("cache", [0, 100_000, 200 << 20])
def test_conditions_hold_with_shrinking_and_small_caches(shrinking, cache, dtype):
    x, y = clouds(1200, 8, spread=2.5)
    x = x.astype(dtype)
    found = svc(x, y, C=20.0, limits=Limits(tol=1e-3, shrinking=shrinking, cache_bytes=cache))
    assert found.iterations[0] > 1500  # so that shrinking has had its chance
    assert conditions(x.astype(float), y, found, 20.0) < 1.2e-3
    assert found.gaps[0] < 1e-3


def test_bits_do_not_depend_on_threads_or_cache():
    x, y = clouds(1500, 8, classes=4, spread=2.0)
    test = RNG.normal(size=(700, 8)).astype(np.float32)
    results = []
    for threads, cache in itertools.product((1, 2, 5), (50_000, 200 << 20)):
        pn.set_num_threads(threads)
        found = svc(x.astype(np.float32), y, C=5.0, limits=Limits(cache_bytes=cache))
        results.append((found.coefficients, found.rho, found.iterations, found.decide(test)))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("isa", pn.available_isas())
def test_every_instruction_set_finds_the_same(isa):
    x, y = clouds(300, 8, classes=3)
    expected = svc(x, y)
    pn.set_isa(isa)
    found = svc(x, y)
    np.testing.assert_array_equal(found.support, expected.support)
    np.testing.assert_allclose(found.decide(x), expected.decide(x), atol=2e-3)


def test_three_classes_are_three_pairs():
    x, y = clouds(90, 3, classes=3)
    whole = svc(x, y, kernel=Kernel("rbf", gamma=0.3))
    values = whole.decide(x)
    for p, (i, j) in enumerate(whole.pairs):
        rows = (y == i) | (y == j)
        pair = svc(x[rows], y[rows], kernel=Kernel("rbf", gamma=0.3))
        np.testing.assert_allclose(values[:, p], pair.decide(x)[:, 0], atol=1e-9)
    assert whole.votes(values).sum(axis=1).tolist() == [3] * 90


def test_rows_may_be_strided_and_float32_falls_back_where_it_is_too_coarse():
    x, y = clouds(120, 4)
    plain = svc(x, y)
    wide = np.repeat(x, 2, axis=1)
    for view in (wide[:, ::2], np.asfortranarray(x), np.concatenate([x, x], axis=1)[:, :4]):
        np.testing.assert_allclose(svc(view, y).decide(view), plain.decide(x), atol=1e-9)
    assert svc(x.astype(np.float32), y).vectors.dtype == np.float32
    coarse = Kernel("rbf", gamma=1e4)
    assert svc(x.astype(np.float32), y, kernel=coarse).vectors.dtype == np.float64


def test_a_far_offset_changes_nothing():
    x, y = clouds(150, 4)
    x = np.round(x * 8) / 8  # so that the shifted rows are the same in float32
    for name in ("linear", "rbf"):
        kernel = Kernel(name, gamma=0.2)
        near, far = svc(x.astype(np.float32), y, kernel=kernel), svc((x + 4096).astype(np.float32), y, kernel=kernel)
        a, b = near.decide(x.astype(np.float32)), far.decide((x + 4096).astype(np.float32))
        np.testing.assert_allclose(a, b, atol=3e-3)


def test_weights_are_repetitions_and_zero_leaves_out():
    x, y = clouds(40, 3)
    weights = RNG.integers(0, 4, 40)
    weighted = svc(x, y, sample_weight=weights)
    repeated = svc(x.repeat(weights, axis=0), y.repeat(weights))
    np.testing.assert_allclose(weighted.decide(x), repeated.decide(x), atol=1e-8)
    assert not np.isin(np.flatnonzero(weights == 0), weighted.support).any()
    t = x[:, 0] + RNG.normal(size=40)
    a, b = svr(x, t, sample_weight=weights), svr(x.repeat(weights, axis=0), t.repeat(weights))
    np.testing.assert_allclose(a.decide(x), b.decide(x), atol=1e-8)


def test_class_weights_move_the_boundary():
    x, y = clouds(200, 2)
    counts = [(svc(x, y, class_weight={1: w}).decide(x)[:, 0] < 0).sum() for w in (0.1, 1, 10)]
    assert counts[0] < counts[1] < counts[2]
    doubled = svc(x, y, C=2.0).decide(x)
    np.testing.assert_allclose(svc(x, y, class_weight={0: 2, 1: 2}).decide(x), doubled, atol=1e-9)


def test_given_kernels_are_the_same():
    x, y = clouds(250, 3, classes=3)
    kernel = Kernel("rbf", gamma=0.3)
    plain = svc(x, y, kernel=kernel)
    function = svc(x, y, kernel=Kernel(lambda a, b: reference_values(kernel, a, b)))
    gram = reference_values(kernel, x, x)
    given = svc(gram, y, kernel=Kernel("precomputed"))
    single = svc(gram.astype(np.float32), y, kernel=Kernel("precomputed"))
    test = RNG.normal(size=(300, 3))
    across = reference_values(kernel, test, x)
    for values, tolerance in (
        (function.decide(test), 1e-8),
        (given.decide(across), 1e-8),
        (given.decide(np.asfortranarray(across)), 1e-8),
        (single.decide(across.astype(np.float32)), 3e-3),
    ):
        np.testing.assert_allclose(values, plain.decide(test), atol=tolerance)


# ---- regression ----


def test_regression_meets_its_conditions():
    x = RNG.normal(size=(400, 3))
    y = np.sin(x[:, 0]) + 0.3 * RNG.normal(size=400)
    C, epsilon = 2.0, 0.1
    found = svr(x, y, C=C, epsilon=epsilon, limits=Limits(tol=1e-4))
    beta = np.zeros(400)
    beta[found.support] = found.coefficients[0]
    error = y - found.decide(x)[:, 0]
    assert abs(beta.sum()) < 1e-9
    assert np.abs(beta).max() <= C
    assert np.abs(error[beta == 0]).max() < epsilon + 1e-4
    free = (beta != 0) & (np.abs(beta) < C)
    np.testing.assert_allclose(error[free], epsilon * np.sign(beta[free]), atol=2e-4)
    assert (error[beta == C] > epsilon - 1e-4).all()
    assert (error[beta == -C] < -epsilon + 1e-4).all()


def test_regression_inside_the_tube_is_a_constant():
    found = svr(RNG.normal(size=(20, 2)), np.linspace(3, 3.1, 20), epsilon=0.1)
    assert len(found.support) == 0
    np.testing.assert_allclose(found.decide(np.zeros((3, 2))), 3.05)


# ---- hard margin ----


def test_hard_margin():
    x = np.array([[1, 0], [0, 1], [1, 1], [2, 0], [0, 0], [2, 2]], dtype=float)
    y = np.array([1, 1, -1, -1, 1, -1])
    for n in (4, 6):
        found = svc(x[:n], -y[:n], C=np.inf, kernel=Kernel("linear"))
        np.testing.assert_allclose(found.planes, [[-2, -2]], atol=1e-12)
        np.testing.assert_allclose(found.rho, [-3], atol=1e-12)


@pytest.mark.parametrize("kind", ["xor", "noise", "same row, both labels"])
def test_hard_margin_that_does_not_exist_is_refused(kind):
    x, y = RNG.normal(size=(200, 4)), RNG.integers(0, 2, 200)
    if kind == "xor":
        x, y = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], dtype=float), np.array([0, 1, 1, 0])
    if kind.startswith("same"):
        x[1], y[:2] = x[0], (0, 1)
    with pytest.raises(ValueError, match="hard margin, but this kernel does not separate the classes 0 and 1"):
        svc(x, y, C=np.inf, kernel=Kernel("linear" if kind != "same row, both labels" else "rbf"))


# ---- limits ----


def slow(n=1500):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 5)), rng.integers(0, 2, n)


def test_iteration_limit_says_the_gap():
    x, y = slow()
    with pytest.warns(
        ConvergenceWarning, match=r"limit of iterations .* in 1 of 1 problems the optimality gap is .*tol = 0\.001"
    ):
        found = svc(x, y, C=100.0, limits=Limits(max_iter=50))
    assert found.iterations.tolist() == [50]
    assert not found.finished
    assert found.gaps[0] > 1e-3


def test_time_limit_and_progress():
    x, y = slow()
    seen = []
    start = time.perf_counter()
    with pytest.warns(ConvergenceWarning, match=r"max_time = 0\.3 s is over"):
        svc(x, y, C=1e6, limits=Limits(max_time=0.3, progress=seen.append))
    assert time.perf_counter() - start < 3
    seconds = [r["seconds"] for r in seen]
    assert len(seen) > 1
    assert all(b - a > 0.045 for a, b in itertools.pairwise(seconds[:-1]))
    assert seen[-1]["iterations"] > seen[0]["iterations"] > 0
    assert set(seen[0]) == {"problems_done", "problems", "iterations", "gap", "seconds"}


def test_the_caller_stops_it():
    x, y = slow()
    with pytest.warns(ConvergenceWarning, match="the caller stopped it"):
        svc(x, y, C=1e6, limits=Limits(progress=lambda state: False))

    def broken(state):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        svc(x, y, C=1e6, limits=Limits(progress=broken))


def test_progress_line(capsys):
    x, y = slow()
    with pytest.warns(ConvergenceWarning):
        svc(x, y, C=1e6, limits=Limits(max_time=0.2, progress=True))
    assert "svc: 0/1 problems" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals are sent as on POSIX")
def test_ctrl_c():
    code = """
import numpy as np, pyneural.learn.svm as s
rng = np.random.default_rng(1)
x, y = rng.normal(size=(1500, 5)), rng.integers(0, 2, 1500)
print("ready", flush=True)
try:
    s.svc(x, y, C=1e9)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert done.stdout.readline() == "ready\n"
    timer = threading.Timer(0.5, lambda: os.kill(done.pid, signal.SIGINT))
    timer.start()
    out, _ = done.communicate(timeout=20)
    assert out == "interrupted\n"


def test_unscaled_features_are_said():
    x, y = slow(600)
    x[:, 0] *= 1e4
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        svc(x, y, C=1e4, kernel=Kernel("linear"), limits=Limits(max_iter=30_000))
    assert any("features are not scaled (standard deviations from" in str(w.message) for w in seen)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        svc(x / x.std(axis=0), y, C=1e4, kernel=Kernel("linear"), limits=Limits(max_iter=30_000))
    assert not any("not scaled" in str(w.message) for w in seen)


# ---- awkward data ----


def test_awkward_data():
    y = np.array([0, 0, 1, 1])
    doubles = np.array([[0.0], [0.0], [1.0], [1.0]])
    found = svc(doubles, y)
    assert (np.sign(found.decide(doubles)[:, 0]) == [1, 1, -1, -1]).all()
    constant = svc(np.ones((4, 2)), y)
    np.testing.assert_allclose(constant.decide(np.ones((1, 2))), 0, atol=1e-12)
    contradicting = svc(np.array([[0.0], [0.0], [0.0], [1.0]]), y)
    assert contradicting.decide(np.array([[0.0]]))[0, 0] > 0
    with_constant_column = np.column_stack([doubles, np.full(4, 7.0)])
    np.testing.assert_allclose(svc(with_constant_column, y, kernel=Kernel("linear")).planes[:, 1], 0, atol=1e-12)
    assert svc(doubles, y).decide(np.empty((0, 1))).shape == (0, 1)
    assert svr(np.array([[1.0]]), [2.0]).decide(np.array([[5.0]])) == 2.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: svc(np.zeros((3, 1)), [1, 1, 1]), r"one class only \(1\)"),
        (lambda: svc(np.zeros((2, 1)), [0, 1], sample_weight=[1, 0]), "no row of class 1 has a positive weight"),
        (lambda: svc(np.zeros((2, 3)), [0, 1], kernel=Kernel("precomputed")), "square matrix"),
        (lambda: svc(np.full((2, 2), np.nan), [0, 1], kernel=Kernel("precomputed")), "not all finite"),
        (lambda: svc(np.full((2, 2), 1e200), [0, 1], kernel=Kernel("poly", gamma=1.0)), "kernel of row 0 with itself"),
        (lambda: svr(np.zeros((2, 2)), [0, 1, 2]), "2 rows but y has 3"),
        (lambda: svr(np.zeros((2, 1)), [0, 1], C=np.inf), "no function of this kernel stays within epsilon"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bindings_refuse_what_does_not_fit():
    x = np.zeros((3, 2))
    rest = (1e-3, True, 1 << 20, -1, 0.0, None)
    two = np.zeros(2)
    for problems, error, message in (
        ([([0, 3], two, two, two)], IndexError, "row 3 of a problem; the data has 3 rows"),
        ([([0, 1], two, two, np.zeros(3))], ValueError, "one length"),
    ):
        with pytest.raises(error, match=message):
            _kernels.svm_fit(x, ("linear", 3, 1.0, 0.0), None, problems, *rest)
    linear, infinite = ("linear", 3, 1.0, 0.0), np.array([[1, np.inf], [np.inf, 1]])
    one = np.array([1.0, -1.0]), np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    for call, message in (
        (lambda: _kernels.svm_fit(two, linear, None, [], *rest), "svm: x must be 2-d, got 1 dimensions"),
        (lambda: _kernels.svm_fit(x, ("cubic", 3, 1.0, 0.0), None, [], *rest), 'kernel is "cubic" but must be linear'),
        (lambda: _kernels.svm_fit(x, ("precomputed", 3, 1.0, 0.0), None, [], *rest), r"must be square, got \(3, 2\)"),
        (lambda: _kernels.svm_kernel(x, x, ("precomputed", 3, 1.0, 0.0)), "precomputed kernel has no values to"),
        (lambda: _kernels.svm_fit(infinite, ("precomputed", 3, 1.0, 0.0), None, [([0, 1], *one)], *rest),
         "svm: kernel values are not finite; scale the features, or lower gamma or degree"),
        (lambda: _kernels.svm_kernel(two, x, linear), "must be 2-d, got 1 dimensions"),
        (lambda: _kernels.svm_decide(x, x, linear, None, [0], np.zeros((1, 3)), two), "first needs the start of"),
        (lambda: _kernels.svm_decide(x, np.zeros((3, 4)), linear, None, [0, 3], np.zeros((1, 3)), np.zeros(1)),
         r"svm: x has 2 columns and the support vectors are \(3, 4\), expected \(3, 2\)"),
        (lambda: _kernels.svm_decide(x, x, ("precomputed", 3, 1.0, 0.0), None, [0, 5], np.zeros((1, 5)), np.zeros(1)),
         "svm: x has 2 kernel values a row but there are 5 support vectors"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="centre has 3 elements but x has 2 columns"):
        _kernels.svm_fit(x, ("linear", 3, 1.0, 0.0), np.zeros(3), [], *rest)
    with pytest.raises(ValueError, match="do not fit"):
        _kernels.svm_decide(x, x, ("linear", 3, 1.0, 0.0), None, [0, 3], np.zeros((1, 4)), np.zeros(1))


# ---- probabilities ----


def test_a_sigmoid_is_the_most_likely_one():
    values = RNG.normal(size=3000) * 2
    positive = RNG.random(3000) < 1 / (1 + np.exp(-1.7 * values + 0.4))
    a, b = fit_sigmoid(values, positive, np.ones(3000))
    assert a == pytest.approx(-1.7, abs=0.15)
    assert b == pytest.approx(0.4, abs=0.15)
    weights = RNG.integers(1, 4, 3000)
    twice = fit_sigmoid(values.repeat(weights), positive.repeat(weights), np.ones(weights.sum()))
    np.testing.assert_allclose(fit_sigmoid(values, positive, weights), twice, rtol=1e-6)
    assert np.isfinite(fit_sigmoid(np.array([-1.0, 1.0]), np.array([False, True]), np.ones(2))).all()
    assert np.isfinite(fit_sigmoid(np.zeros(5), np.arange(5) < 2, np.ones(5))).all()


def test_coupling_gives_back_consistent_probabilities():
    p = RNG.dirichlet(np.ones(5), size=30)
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    pairwise = np.stack([p[:, i] / (p[:, i] + p[:, j]) for i, j in pairs], axis=1)
    np.testing.assert_allclose(couple(pairwise, 5), p, atol=1e-6)
    extreme = couple(np.repeat([[1.0, 1.0, 0.0]], 2, axis=0), 3)
    assert np.isfinite(extreme).all()
    np.testing.assert_allclose(extreme.sum(axis=1), 1)
    assert np.array_equal(couple(np.array([[0.3]]), 2), [[0.3, 0.7]])


def test_folds_and_calibration():
    codes = np.repeat([0, 1, 2], [50, 20, 3])
    fold = folds(codes, 5, np.random.default_rng(0))
    assert np.bincount(fold[codes == 0]).tolist() == [10] * 5
    assert np.bincount(fold[codes == 2], minlength=5).max() == 1
    values = RNG.normal(size=(73, 3))
    sigmoids = calibrate(values, codes, 3, np.ones(73))
    p = probabilities(values, sigmoids, 3)
    assert p.shape == (73, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1)
