"""Slices, convexity tests, curvature and eigenvalues against closed forms and full Hessians."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pyneural as pn
from pyneural import _engine, nn, surfaces
from pyneural import functional as F
from pyneural._hoisting import hoisted

RNG = np.random.default_rng(0)


def quadratic(size=6, seed=0):
    """A symmetric matrix, and the loss x^T A x / 2."""
    a = np.random.default_rng(seed).normal(size=(size, size))
    a = a + a.T
    t = pn.tensor(a)
    return a, lambda x: (x @ t @ x) / 2


def network():
    """A small float64 network, its loss as a function of nothing, and of its parameters."""
    pn.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, y = pn.tensor(RNG.normal(size=(20, 5))), pn.tensor(RNG.integers(0, 3, 20))
    return model, lambda: F.cross_entropy(model(x), y), lambda p: F.cross_entropy(nn.functional_call(model, p, x), y)


@pytest.mark.parametrize("compiled", [True, False])
def test_slices_of_a_quadratic(compiled):
    a, f = quadratic()
    x, u, v = RNG.normal(size=(3, 6))
    s, t = np.linspace(-1, 1, 9), np.linspace(0, 2, 7)

    def exact(z):
        return z @ a @ z / 2

    line = surfaces.slice_1d(f, pn.tensor(x), u, s, compiled=compiled)
    np.testing.assert_allclose(line, [exact(x + i * u) for i in s], rtol=1e-13, atol=1e-13)
    plane = surfaces.slice_2d(f, pn.tensor(x), u, v, s, t, compiled=compiled)
    np.testing.assert_allclose(plane, [[exact(x + i * u + j * v) for j in t] for i in s], rtol=1e-13, atol=1e-13)
    assert surfaces.slice_2d(f, x, u, v, t, compiled=compiled).shape == (7, 7)
    np.testing.assert_allclose(surfaces.curvature_along(f, x, u, s, compiled=compiled), u @ a @ u, rtol=1e-12)


def test_modules_containers_and_still_directions():
    model, loss, of_parameters = network()
    parameters = dict(model.named_parameters())
    u = surfaces.random_direction(model, generator=pn.Generator(1))
    still = {name: pn.zeros_like(d) if name.startswith("0") else d for name, d in u.items()}
    s = np.linspace(-1, 1, 8)
    one = surfaces.slice_2d(loss, model, u, still, s)
    assert np.array_equal(one, surfaces.slice_2d(of_parameters, parameters, u, still, s))
    for i, j in ((0, 0), (3, 7), (7, 2)):
        moved = {n: p.detach() + (s[i] * u[n] + s[j] * still[n]) for n, p in parameters.items()}
        assert one[i, j] == pytest.approx(of_parameters(moved).item(), rel=1e-12)
    single = pn.tensor(RNG.normal(size=3).astype(np.float32))
    assert surfaces.slice_1d(lambda v: (v * v).sum(), single, single, [0.0, -1.0])[1] == 0


def test_the_point_keeps_its_bits():
    model, loss, _ = network()
    before = {n: p.detach().numpy().tobytes() for n, p in model.named_parameters()}
    objects = dict(model.named_parameters())
    u, v = surfaces.random_direction(model), surfaces.random_direction(model, normalise="filter")
    surfaces.slice_2d(loss, model, u, v, np.linspace(-1, 1, 5))
    surfaces.extreme_eigenpairs(loss, model, 2, 2)
    surfaces.curvature_along(loss, model, u, [0.0, 0.1, 0.2, 0.3])
    calls = []

    def failing():
        calls.append(0)
        if len(calls) > 3:
            raise ZeroDivisionError
        return loss() * len(calls)

    steps = np.linspace(0, 1, 9)
    for look in (lambda: surfaces.slice_1d(failing, model, u, steps, compiled=False),
                 lambda: surfaces.extreme_eigenpairs(failing, model, compiled=False),
                 lambda: surfaces.curvature_along(failing, model, u, steps, compiled=False)):  # fmt: skip
        calls.clear()
        with pytest.raises(ZeroDivisionError):
            look()
    assert {n: p.detach().numpy().tobytes() for n, p in model.named_parameters()} == before
    assert all(p is objects[n] and p.grad is None and p.requires_grad for n, p in model.named_parameters())


def test_random_directions():
    at = {"w": pn.randn(4, 3, 2) * 5.0, "b": pn.randn(4)}
    d = surfaces.random_direction(at, normalise="filter")
    np.testing.assert_allclose(np.linalg.norm(d["w"].numpy().reshape(4, -1), axis=1),
                               np.linalg.norm(at["w"].numpy().reshape(4, -1), axis=1), rtol=1e-5)  # fmt: skip
    assert not d["b"].numpy().any()
    d = surfaces.random_direction(at, normalise="layer")
    for k in at:
        assert np.linalg.norm(d[k].numpy()) == pytest.approx(np.linalg.norm(at[k].numpy()), rel=1e-5)
    again = [surfaces.random_direction(at, generator=pn.Generator(3))["w"].tolist() for _ in range(2)]
    assert again[0] == again[1]
    with pytest.raises(ValueError, match="'row'"):
        surfaces.random_direction(at, normalise="row")


def test_refusals():
    model, loss, _ = network()
    u = surfaces.random_direction(model)
    with pytest.raises(ValueError, match=r"nested like `at`"):
        surfaces.slice_1d(loss, model, {"0.weight": u["0.weight"]}, [0.0])
    with pytest.raises(ValueError, match=r"first\['0.bias'\] has shape \(3,\)"):
        surfaces.slice_2d(loss, model, {**u, "0.bias": pn.zeros(3)}, u, [0.0])
    with pytest.raises(ValueError, match="steps must be a vector"):
        surfaces.slice_1d(loss, model, u, 0.5)
    with pytest.raises(TypeError, match=r"float tensor of one element, it returns float64\(3,\)"):
        surfaces.slice_1d(lambda x: x, pn.tensor(np.ones(3)), np.ones(3), [0.0])
    with pytest.raises(TypeError, match="int64"):
        surfaces.slice_1d(lambda x: x.sum(), pn.tensor([1, 2]), np.ones(2), [0.0])
    with pytest.raises(ValueError, match="7 largest and 0 smallest"):
        surfaces.extreme_eigenpairs(quadratic()[1], np.ones(6), 7)
    with pytest.raises(ValueError, match="row by row"):
        surfaces.midpoint_gaps(quadratic()[1], np.ones((2, 6)), np.ones((3, 6)))


def test_second_differences_and_midpoints():
    s = np.linspace(-1, 1, 11)
    bowl = s[:, None] ** 2 + 3 * s[None, :] ** 2
    found = surfaces.midpoint_violations(bowl)
    assert (found.tested, found.violated) == (11 * 9 * 2 + 9 * 9 * 2, 0)
    assert not found.where.any()
    assert surfaces.midpoint_violations(np.zeros((10, 10))).tested == 288
    along = surfaces.second_differences(bowl)
    assert [d.shape for d in along] == [(9, 11), (11, 9), (9, 9), (9, 9)]
    for d, slope in zip(along, (1, 3, 4, 4), strict=True):
        np.testing.assert_allclose(d, 2 * slope * 0.04, rtol=1e-10)
    # x y is convex along neither diagonal but one, and straight along the axes.
    saddle = surfaces.midpoint_violations(s[:, None] * s[None, :])
    assert saddle.violated == 81
    assert saddle.worst == pytest.approx(0.04)
    bump = np.exp(-(s**2) * 4)
    found = surfaces.midpoint_violations(bump)
    assert found.where.tolist() == [False] + [bool(bump[i] > (bump[i - 1] + bump[i + 1]) / 2) for i in range(1, 10)] + [
        False
    ]
    assert surfaces.midpoint_violations([0.0, np.nan, 0.0]).violated == 1
    assert surfaces.midpoint_violations([1.0, 1.0 + 1e-15, 1.0]).violated == 0
    with pytest.raises(ValueError, match="slice"):
        surfaces.second_differences(np.zeros((2, 2, 2)))


def test_midpoint_gaps():
    a, f = quadratic()
    x, y = RNG.normal(size=(2, 7, 6))
    exact = [(p - q) @ a @ (p - q) / 8 for p, q in zip(x, y, strict=True)]
    for compiled in (True, False):
        np.testing.assert_allclose(surfaces.midpoint_gaps(f, x, y, compiled=compiled), exact, atol=1e-13)


def test_curvature_is_the_second_derivative_of_the_slice():
    model, loss, _ = network()
    u = surfaces.random_direction(model)
    t, h = np.linspace(-1, 1, 5), 2e-4
    ends = [surfaces.slice_1d(loss, model, u, t + k * h) for k in (-1, 0, 1)]
    measured = (ends[0] - 2 * ends[1] + ends[2]) / h**2
    np.testing.assert_allclose(surfaces.curvature_along(loss, model, u, t), measured, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("compiled", [True, False])
def test_eigenpairs_against_the_full_hessian(compiled):
    model, loss, of_parameters = network()
    parameters = {n: p.detach() for n, p in model.named_parameters()}
    blocks = pn.hessian(of_parameters)(parameters)
    sizes = {n: p.numel() for n, p in parameters.items()}
    h = np.block([[blocks[a][b].numpy().reshape(sizes[a], sizes[b]) for b in sizes] for a in sizes])
    values, vectors = np.linalg.eigh(h)
    found = surfaces.extreme_eigenpairs(loss, model, 5, 3, compiled=compiled)
    assert found.converged.all()
    scale = values[-1]
    np.testing.assert_allclose(found.values[:5], values[:-6:-1], rtol=1e-4)
    np.testing.assert_allclose(found.values[5:], values[2::-1], rtol=1e-4, atol=1e-12 * scale)
    top = np.concatenate([found.vectors[0][n].numpy().reshape(-1) for n in sizes])
    assert abs(top @ vectors[:, -1]) == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(h @ top - found.values[0] * top) <= 1e-4 * scale
    # A direction for the slices: the curvature along it is the eigenvalue.
    along = surfaces.curvature_along(loss, model, found.vectors[0])
    assert along[0] == pytest.approx(values[-1], rel=1e-6)


def test_eigenvalues_of_known_matrices():
    rng = np.random.default_rng(1)
    q = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    spectrum = np.concatenate([[7, 7, 5], np.linspace(1, -1, 35), [-3, -4]])
    a = pn.tensor(q @ np.diag(spectrum) @ q.T)
    found = surfaces.extreme_eigenpairs(lambda x: x @ a @ x / 2, np.zeros(40), 3, 2, tolerance=1e-8)
    # One copy of the repeated 7 at least; none is counted twice.
    assert found.values[0] == pytest.approx(7)
    assert found.values[-2:] == pytest.approx([-3, -4])
    small = surfaces.extreme_eigenpairs(lambda x: (x * x).sum(), np.zeros(4), 4)
    assert small.values == pytest.approx([2, 2, 2, 2])
    vectors = np.array([v.numpy() for v in small.vectors])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-12)
    flat = surfaces.extreme_eigenpairs(lambda x: (x[:1] * x[:1]).sum() + 0 * x.sum(), np.zeros(9), 2, 1)
    assert flat.values == pytest.approx([2, 0, 0], abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line = surfaces.extreme_eigenpairs(lambda x: x.sum(), np.zeros(3), 1, 1)
    assert line.values.tolist() == [0, 0]


def test_what_has_not_converged_is_said():
    rng = np.random.default_rng(2)
    d = pn.tensor(np.sort(rng.uniform(0, 1, 400)))
    with pytest.warns(RuntimeWarning, match="have not converged after 10 products"):
        found = surfaces.extreme_eigenpairs(
            lambda x: (d * x * x).sum(), np.zeros(400), 5, max_products=10, tolerance=1e-8
        )
    assert not found.converged.all()
    assert found.products == 10
    with pytest.raises(FloatingPointError, match="not finite"):
        surfaces.extreme_eigenpairs(lambda x: pn.sqrt(x).sum(), np.zeros(3), 1)


def wide(kind):
    """A loss of a layer that is wide enough to be replaced, in one of several forms, and where it is looked at."""
    rng = np.random.default_rng(4)
    x, y = pn.tensor(rng.normal(size=(6, 80))), pn.tensor(rng.normal(size=(6, 2)))
    at = {
        "w": rng.normal(size=(5, 80)) / 9,
        "b": rng.normal(size=5),
        "v": rng.normal(size=(2, 5)),
        "rest": rng.normal(size=3),
    }

    def loss(p):
        h = F.linear(x, p["w"], p["b"] if kind != "no bias" else None)
        if kind == "two layers":
            h = F.linear(pn.tanh(F.linear(x * 2.0, p["w"] * 3.0)), p["v"].T @ p["v"]) + h
        if kind == "detached":
            h = h * p["w"].detach().sum()
        if kind == "penalty":
            return (pn.grad(lambda w: (F.linear(x, w) ** 3).mean())(p["w"]) ** 2).sum()
        out = F.linear(pn.relu(h), p["v"])
        return F.mse_loss(out, y * y.sum()) + (p["rest"] ** 2).sum()

    return loss, {n: pn.tensor(a) for n, a in at.items()}


@pytest.mark.parametrize("kind", ["plain", "no bias", "two layers", "detached", "penalty"])
@pytest.mark.parametrize("moving", [("w", "b"), ("w",), ("b",), ("v",), ("w", "b", "v", "rest")])
def test_slices_take_out_what_does_not_move(kind, moving):
    loss, at = wide(kind)
    rng = np.random.default_rng(5)
    u, v = ({n: rng.normal(size=p.shape) * (n in moving) for n, p in at.items()} for _ in range(2))
    u["b"] *= 0.0  # a weight may move where its bias does not
    s = np.linspace(-1, 1, 7)
    wanted = surfaces.slice_2d(loss, at, u, v, s, compiled=False)
    np.testing.assert_allclose(surfaces.slice_2d(loss, at, u, v, s), wanted, rtol=1e-12)


class Names:
    """A listener that keeps the names of the ops that are called."""

    def __init__(self):
        self.names = []

    def called(self, op, *_):
        self.names.append(op.name)


def hoist(loss, at):
    """None, or the ops that the shorter program calls; it gives what the loss does."""
    d = {n: pn.ones_like(p) for n, p in at.items()}
    first, other = (pn.tensor([[t]], dtype=np.float64) for t in (0.1, 0.7))

    def moved(steps):
        return [p + steps[0, 0] * d[n] for n, p in at.items()]

    def value(tensors):
        return loss(dict(zip(at, tensors, strict=True)))

    with pn.no_grad():
        program = hoisted(value, moved, [[p, d[n]] for n, p in at.items()], first)
        if program is None:
            return None
        listener = Names()
        before = _engine.listen(listener)
        found = program(other)
        _engine.listen(before)
        assert found.item() == pytest.approx(value(moved(other)).item(), rel=1e-12)
        return listener.names


def test_what_can_be_hoisted():
    loss, at = wide("plain")
    names = hoist(loss, at)
    assert names.count("linear") == 1  # the first layer is a sum now
    assert hoist(wide("detached")[0], at) is None
    assert hoist(lambda p: loss(p) + pn.randn(1).sum() * p["b"].sum(), at) is None
    assert hoist(lambda p: pn.ones(1).sum(), at) is None

    def in_place(p):
        y = p["b"] * 1.0
        y += 1.0
        return y.sum()

    assert hoist(in_place, at) is None


def test_top_eigenvalues_in_single_precision():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(30, 12)), pn.tensor(rng.integers(0, 4, 30))
    start = {"a": rng.normal(size=(8, 12)), "b": rng.normal(size=8), "c": rng.normal(size=(4, 8))}

    def found(dtype, **options):
        rows = pn.tensor(x, dtype=dtype)
        at = {n: pn.tensor(v, dtype=dtype) for n, v in start.items()}

        def loss(p):
            return F.cross_entropy(F.linear(pn.tanh(F.linear(rows, p["a"], p["b"])), p["c"]), y)

        return surfaces.extreme_eigenpairs(loss, at, 5, 2, **options).values

    exact = found(np.float64, tolerance=1e-10)
    np.testing.assert_allclose(found(np.float32)[:5], exact[:5], rtol=1e-4)
