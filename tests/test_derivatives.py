"""Functional derivatives against closed forms, differences and each other."""

from __future__ import annotations

import re
from collections import namedtuple

import numpy as np
import pytest

import pyneural as pn
from pyneural import functional as F
from pyneural import nn

RNG = np.random.default_rng(0)
Pair = namedtuple("Pair", "w b")


def loss(p, x):
    return F.mse_loss(pn.tanh(F.linear(x, p["w"], p["b"])), pn.ones_like(x)[:, :2])


@pytest.fixture
def parameters():
    return {"w": pn.tensor(RNG.normal(size=(2, 3))), "b": pn.tensor(RNG.normal(size=2))}


@pytest.fixture
def x():
    return pn.tensor(RNG.normal(size=(5, 3)))


def by_differences(f, value, eps=1e-5):
    value = np.array(value, np.float64)
    rows = []
    for k in range(value.size):
        ends = []
        for sign in (1, -1):
            moved = value.copy()
            moved.flat[k] += sign * eps
            ends.append(np.asarray(f(pn.tensor(moved))))
        rows.append((ends[0] - ends[1]) / (2 * eps))
    return np.moveaxis(np.array(rows), 0, -1).reshape(*rows[0].shape, *value.shape)


def test_containers_keep_their_form(parameters, x):
    value, slopes = pn.value_and_grad(loss)(parameters, x)
    assert list(slopes) == ["w", "b"]
    plain = pn.grad(lambda w, b: loss({"w": w, "b": b}, x), (0, 1))(parameters["w"], parameters["b"])
    assert np.array_equal(slopes["w"].numpy(), plain[0].numpy())
    assert np.array_equal(slopes["b"].numpy(), plain[1].numpy())
    nested = pn.grad(lambda q: loss({"w": q[0].w, "b": q[1]["b"][0]}, x))
    found = nested((Pair(parameters["w"], None), {"b": [parameters["b"]]}))
    assert isinstance(found[0], Pair)
    assert found[0].b is None
    assert np.array_equal(found[0].w.numpy(), slopes["w"].numpy())
    assert np.array_equal(found[1]["b"][0].numpy(), slopes["b"].numpy())
    assert not slopes["w"].requires_grad
    assert not value.requires_grad


def test_aux_is_handed_on(parameters, x):
    def with_aux(p):
        y = F.linear(x, p["w"], p["b"])
        return (y * y).sum(), {"scores": y}

    (value, aux), slopes = pn.value_and_grad(with_aux, has_aux=True)(parameters)
    assert value.item() == pytest.approx(float((aux["scores"].numpy() ** 2).sum()))
    assert not aux["scores"].requires_grad
    again, aux = pn.grad(with_aux, has_aux=True)(parameters)
    assert np.array_equal(again["w"].numpy(), slopes["w"].numpy())
    assert aux["scores"].shape == (5, 2)
    assert pn.vjp(with_aux, parameters, has_aux=True)[2]["scores"].shape == (5, 2)
    assert pn.jvp(with_aux, (parameters,), (parameters,), has_aux=True)[2]["scores"].shape == (5, 2)
    with pytest.raises(TypeError, match="has_aux"):
        pn.grad(lambda p: p["w"].sum(), has_aux=True)(parameters)


def test_hessian_against_a_closed_form():
    a, x = RNG.normal(size=(4, 3)), RNG.normal(size=3)

    def f(v):
        return F.softplus(pn.tensor(a) @ v).sum()

    s = 1 / (1 + np.exp(-a @ x))
    exact = a.T @ np.diag(s * (1 - s)) @ a
    np.testing.assert_allclose(pn.hessian(f)(pn.tensor(x)).numpy(), exact, atol=1e-14)
    v = RNG.normal(size=3)
    value, product = pn.hvp(f, (pn.tensor(x),), (v,))
    np.testing.assert_allclose(product.numpy(), exact @ v, atol=1e-14)
    assert value.item() == pytest.approx(np.log1p(np.exp(a @ x)).sum())


def test_hessian_of_a_network_against_differences_and_hvp(parameters, x):
    h = pn.hessian(loss)(parameters, x)
    for a in "wb":
        for b in "wb":
            measured = by_differences(
                lambda t, a=a, b=b: pn.grad(loss)({**parameters, b: t}, x)[a], parameters[b].numpy()
            )
            np.testing.assert_allclose(h[a][b].numpy(), measured, atol=1e-8)
    np.testing.assert_allclose(h["w"]["b"].numpy(), np.moveaxis(h["b"]["w"].numpy(), 0, -1), atol=1e-14)
    v = {"w": RNG.normal(size=(2, 3)), "b": RNG.normal(size=2)}
    _, product = pn.hvp(lambda p: loss(p, x), (parameters,), (v,))
    for a in "wb":
        direct = sum(np.tensordot(h[a][b].numpy(), v[b], v[b].ndim) for b in "wb")
        np.testing.assert_allclose(product[a].numpy(), direct, atol=1e-13)


def test_jacobian_of_containers(parameters, x):
    def f(p):
        return {"out": F.linear(x[:2], p["w"], p["b"]).tanh(), "sum": [p["b"].sum()]}

    j = pn.jacobian(f)(parameters)
    assert j["out"]["w"].shape == (2, 2, 2, 3)
    assert j["sum"][0]["b"].tolist() == [1, 1]
    assert not j["sum"][0]["w"].numpy().any()
    measured = by_differences(lambda w: f({**parameters, "w": w})["out"], parameters["w"].numpy())
    np.testing.assert_allclose(j["out"]["w"].numpy(), measured, atol=1e-9)
    both = pn.jacobian(lambda a, b: a * b, (0, 1))(pn.tensor([1.0, 2.0]), pn.tensor([3.0, 4.0]))
    assert [t.tolist() for t in both] == [[[3, 0], [0, 4]], [[1, 0], [0, 2]]]
    assert pn.jacobian(lambda v: v[:0])(pn.ones(3)).shape == (0, 3)


def test_products_with_the_jacobian_fit_each_other(parameters, x):
    def f(p):
        return (F.linear(x, p["w"], p["b"]).tanh(), p["b"] * 2.0)

    t = {"w": RNG.normal(size=(2, 3)), "b": RNG.normal(size=2)}
    u = (RNG.normal(size=(5, 2)), RNG.normal(size=2))
    value, pull = pn.vjp(f, parameters)
    same, along = pn.jvp(f, (parameters,), (t,))
    for a, b in zip(value, same, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    left = sum(float((a * b.numpy()).sum()) for a, b in zip(u, along, strict=True))
    pulled = pull(u)
    right = sum(float((t[k] * pulled[k].numpy()).sum()) for k in t)
    assert left == pytest.approx(right, rel=1e-13)
    with pytest.raises(ValueError, match=r"nested like.*\[0\].*\[1\]"):
        pull(u[0])
    with pytest.raises(ValueError, match=r"tangent 0\['w'\] has shape \(3, 2\)"):
        pn.jvp(f, (parameters,), ({"w": np.ones((3, 2)), "b": np.ones(2)},))


def test_unused_inputs_give_zeros_or_an_error():
    a, b = pn.tensor([1.0, 2.0]), {"used": pn.ones(2), "idle": pn.ones(3)}

    def f(x, p):
        return (x * p["used"]).sum()

    assert pn.grad(f, 1)(a, b)["idle"].tolist() == [0, 0, 0]
    for make in (pn.grad, pn.value_and_grad, pn.jacobian, pn.hessian):
        with pytest.raises(RuntimeError, match=re.escape("does not depend on argument 1['idle']")):
            make(f, 1, strict=True)(a, b)
    with pytest.raises(RuntimeError, match=r"vjp.*argument 1"):
        pn.vjp(f, a, b, strict=True)[1](1.0)
    with pytest.raises(RuntimeError, match=r"jvp.*argument 1"):
        pn.jvp(f, (a, b), (a, b), strict=True)
    with pytest.raises(RuntimeError, match=r"hvp.*argument 1"):
        pn.hvp(f, (a, b), (a, b), strict=True)
    # The Hessian of a linear function is zero, and nothing is suspicious about that.
    assert not pn.hessian(f, strict=True)(a, {"used": pn.ones(2)}).numpy().any()
    assert pn.hvp(lambda x: x.sum(), (a,), (a,), strict=True)[1].tolist() == [0, 0]
    assert pn.jvp(lambda x: pn.ones(3), (a,), (a,))[1].tolist() == [0, 0, 0]


def test_refuses_what_has_no_derivative():
    with pytest.raises(TypeError, match=r"argument 0\['n'\] is int64"):
        pn.grad(lambda p: p["n"].sum())({"n": pn.tensor([1, 2])})
    with pytest.raises(TypeError, match="float"):
        pn.grad(lambda v: v.sum().item())(pn.ones(2))
    with pytest.raises(TypeError, match="int64"):
        pn.grad(lambda v: v.argmax())(pn.ones(2))
    with pytest.raises(RuntimeError, match=r"must have one element, it has shape \(2,\)"):
        pn.grad(lambda v: v * 2)(pn.ones(2))
    with pytest.raises(RuntimeError, match="several tensors"):
        pn.grad(lambda v: (v.sum(), v.sum()))(pn.ones(2))
    with pytest.raises(ValueError, match="2 arguments but 1 tangents"):
        pn.hvp(lambda a, b: (a * b).sum(), (pn.ones(2), pn.ones(2)), (pn.ones(2),))


def test_nesting_to_any_order():
    f = pn.sin
    x = pn.tensor(0.7)
    for n in range(1, 6):
        f = pn.grad(f)
        assert f(x).item() == pytest.approx(float(np.sin(0.7 + n * np.pi / 2)), rel=1e-5)
    cubes = pn.hessian(lambda v: pn.grad(lambda u: (u**4).sum())(v).sum())
    assert cubes(pn.tensor([1.0, 2.0])).tolist() == [[24, 0], [0, 48]]
    # Forward over reverse, reverse over forward, and hvp agree.
    v, w = np.array([0.3, -1.0]), pn.tensor(np.array([0.5, 2.0]))

    def g(u):
        return (u**3).prod() + pn.exp(u).sum()

    exact = pn.hessian(g)(w).numpy() @ v
    np.testing.assert_allclose(pn.jvp(pn.grad(g), (w,), (v,))[1].numpy(), exact)
    np.testing.assert_allclose(pn.grad(lambda u: pn.jvp(g, (u,), (v,))[1])(w).numpy(), exact)
    np.testing.assert_allclose(pn.vjp(pn.grad(g), w)[1](v).numpy(), exact)
    third = pn.grad(lambda u: (pn.hvp(g, (u,), (v,))[1] * pn.tensor(v)).sum())(w).numpy()
    measured = by_differences(lambda u: v @ pn.hessian(g)(u).numpy() @ v, w.numpy())
    np.testing.assert_allclose(third, measured, rtol=1e-6)


def test_what_a_function_uses_from_outside_is_differentiated_too():
    x = pn.tensor([1.0, 2.0])
    # The inner function sees w through its closure only.
    outer = pn.grad(lambda w: pn.grad(lambda v: (v * v * w).sum())(x).sum())
    assert outer(pn.tensor([3.0, 4.0])).tolist() == [2, 4]
    model = nn.Linear(2, 1)
    slope = pn.grad(lambda v: model(v).sum())(x)
    ((slope * slope).sum() * 0.5).backward()
    np.testing.assert_allclose(model.weight.grad.numpy(), model.weight.detach().numpy())
    with pn.no_grad():
        assert not pn.grad(lambda v: model(v).sum())(x).requires_grad


def test_under_no_grad(parameters, x):
    wanted = [pn.grad(loss)(parameters, x)["w"], pn.hessian(loss)(parameters, x)["w"]["b"],
              pn.hvp(lambda p: loss(p, x), (parameters,), (parameters,))[1]["b"],
              pn.jvp(lambda p: loss(p, x), (parameters,), (parameters,))[1]]  # fmt: skip
    leaves = {k: p.requires_grad_() for k, p in parameters.items()}
    with pn.no_grad():
        found = [pn.grad(loss)(leaves, x)["w"], pn.hessian(loss)(leaves, x)["w"]["b"],
                 pn.hvp(lambda p: loss(p, x), (leaves,), (leaves,))[1]["b"],
                 pn.jvp(lambda p: loss(p, x), (leaves,), (leaves,))[1]]  # fmt: skip
        assert not pn.is_grad_enabled()
    for a, b in zip(found, wanted, strict=True):
        assert not a.requires_grad
        assert np.array_equal(a.numpy(), b.numpy())
    assert pn.grad(loss)(leaves, x)["w"].requires_grad
    assert leaves["w"].grad is None


def test_shared_subexpressions_and_tied_weights():
    def f(w, x):
        h = pn.tanh(x @ w)
        return (h * h + (h @ w)).sum()

    w, x = RNG.normal(size=(3, 3)), RNG.normal(size=(2, 3))
    assert pn.gradcheck(f, (w, x))
    assert pn.gradgradcheck(f, (w, x))
    h = pn.hessian(f)(pn.tensor(w), pn.tensor(x)).numpy()
    np.testing.assert_allclose(h, by_differences(lambda u: pn.grad(f)(u, pn.tensor(x)), w), atol=1e-8)
    t = pn.tensor(w)
    apart = pn.grad(lambda a, b: f(a, pn.tensor(x)) + (b * b).sum(), (0, 1))(t, t)  # one tensor, two variables
    np.testing.assert_allclose(apart[1].numpy(), 2 * w)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(pn.tanh(self.first(x)))


def test_functional_call(x):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    mine = {name: p.detach() for name, p in model.named_parameters()}
    slopes = pn.grad(lambda p: (nn.functional_call(model, p, x) ** 2).sum())(mine)
    (model(x) ** 2).sum().backward()
    for name, p in model.named_parameters():
        assert np.array_equal(p.grad.numpy(), slopes[name].numpy())
    before = dict(model.named_parameters())
    zeros = {name: pn.zeros_like(p) for name, p in mine.items()}
    assert not nn.functional_call(model, zeros, (x,)).numpy().any()
    last = {name: zeros[name] for name in ("2.weight", "2.bias")}
    assert not nn.functional_call(model, last, x).numpy().any()
    assert (
        not nn.functional_call(
            model[2], {"weight": last["2.weight"], "bias": last["2.bias"]}, (), {"x": x[:, :1].expand(5, 4)}
        )
        .numpy()
        .any()
    )
    with pytest.raises(ValueError, match=r"columns|expects"):
        nn.functional_call(model, zeros, x[:, :2])
    assert all(p is before[name] for name, p in model.named_parameters())
    for wrong, message in (
        ({"3.weight": x}, "'3.weight' is no parameter"),
        ({"0.bias": pn.ones(3)}, r"shape \(3,\).*\(4,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.functional_call(model, wrong, x)
    with pytest.raises(ValueError, match=r"'0.weight' is missing"):
        nn.functional_call(model, {}, x, strict=True)


def test_functional_call_of_tied_weights(x):
    model = Tied().double()
    mine = {name: p.detach() for name, p in model.named_parameters()}
    assert "second.weight" not in mine
    slopes = pn.grad(lambda p: nn.functional_call(model, p, x).sum())(mine)
    model(x).sum().backward()
    assert np.array_equal(slopes["first.weight"].numpy(), model.first.weight.grad.numpy())
    both = {**mine, "second.weight": mine["first.weight"] * 2.0}
    with pytest.raises(ValueError, match="are one tensor of the module and got two"):
        nn.functional_call(model, both, x)
    untied = pn.grad(lambda p: nn.functional_call(model, p, x, tie_weights=False).sum())
    parts = untied({**mine, "second.weight": mine["first.weight"]})
    np.testing.assert_allclose((parts["first.weight"] + parts["second.weight"]).numpy(), slopes["first.weight"].numpy())


def test_derivatives_are_captured():
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    x, y = pn.randn(7, 6), pn.tensor(RNG.integers(0, 3, 7))

    def product(p, v):
        return pn.hvp(lambda q: F.cross_entropy(nn.functional_call(model, q, x), y), (p,), (v,))

    step = pn.compile(product)
    p = {name: q.detach() for name, q in model.named_parameters()}
    for _ in range(6):
        v = {name: pn.randn(*q.shape) for name, q in p.items()}
        value, found = step(p, v)
        wanted = product(p, v)
        assert value.item() == wanted[0].item()
        for name in p:
            assert np.array_equal(found[name].numpy(), wanted[1][name].numpy())
    assert step.programs[0].replays >= 3
    other = {name: q * 0.5 for name, q in p.items()}
    assert np.array_equal(step(other, v)[1]["0.weight"].numpy(), product(other, v)[1]["0.weight"].numpy())
