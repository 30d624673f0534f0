"""The tape: modes, leaves, repeated and nested walks, values changed too late, and derivatives of functions."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import pyneural as pn
from pyneural.autodiff import gradients


def leaf(*values, dtype=np.float64):
    return pn.tensor(np.array(values, dtype), requires_grad=True)


def test_gradients_add_up_in_leaves():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5, 7]
    held = x.grad
    (x * 1).sum().backward()
    assert held is x.grad, "in place, so that whoever holds the gradient sees it grow"
    assert held.tolist() == [6, 8]


def test_shared_subexpressions_and_tied_weights():
    w = leaf(2.0)
    y = w * w
    z = y * w + y
    z.backward()
    assert w.grad.tolist() == [3 * 4 + 2 * 2]


def test_two_leaves_never_share_one_gradient():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    start = pn.tensor(np.ones(2))
    (a + b).backward(start)
    a.grad.mul_(10)
    assert b.grad.tolist() == [1, 1]
    assert start.tolist() == [1, 1]


def test_broadcast_gradients_have_the_shape_of_their_input():
    a, b, c = (pn.tensor(np.ones(s), requires_grad=True) for s in ((3, 1), (4,), ()))
    (a * b + c).sum().backward()
    assert a.grad.shape == (3, 1)
    assert b.grad.shape == (4,)
    assert c.grad.shape == ()
    assert a.grad.tolist() == [[4]] * 3
    assert c.grad.item() == 12


def test_mixed_dtypes_give_each_input_its_own():
    a = pn.tensor(np.ones(2, np.float32), requires_grad=True)
    b = pn.tensor(np.ones(2), requires_grad=True)
    (a * b).sum().backward()
    assert a.grad.dtype == np.float32
    assert b.grad.dtype == np.float64


def test_modes():
    x = leaf(1.0)
    with pn.no_grad():
        assert not (x * 2).requires_grad
        with pn.enable_grad():
            assert (x * 2).requires_grad
        assert not pn.is_grad_enabled()

        @pn.enable_grad()
        def inside():
            return x * 2

        assert inside().requires_grad
    assert pn.is_grad_enabled()

    @pn.no_grad
    def outside():
        return x * 2

    assert not outside().requires_grad
    with pn.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert pn.is_grad_enabled()
    with pytest.raises(KeyError), pn.no_grad():
        raise KeyError
    assert pn.is_grad_enabled()


def test_modes_belong_to_a_thread():
    seen = []
    with pn.no_grad():
        t = threading.Thread(target=lambda: seen.append(pn.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


def test_detach_cuts():
    x = leaf(2.0)
    (x * x.detach()).sum().backward()
    assert x.grad.tolist() == [2]
    assert np.shares_memory(np.asarray(x), np.asarray(x.detach()))


def test_a_graph_is_walked_once_unless_kept():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8]
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_a_saved_value_that_was_changed_is_noticed():
    x, w = leaf(1.0, 2.0), pn.tensor(np.array([3.0, 4.0]))
    y = (x * w).sum()
    w.add_(1)
    with pytest.raises(RuntimeError, match=r"mul: its argument b \(2,\) was changed in place"):
        y.backward()
    y = x.exp()
    with pn.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match="exp: its result was changed in place"):
        y.sum().backward()


def test_leaves_are_not_changed_in_place_on_the_tape():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="no_grad"):
        x += 1
    with pytest.raises(RuntimeError, match="no_grad"):
        x[0] = 1
    with pn.no_grad():
        x -= 0.5
    assert x.tolist() == [0.5]
    assert x.requires_grad
    assert x.is_leaf
    y = x * 2
    y += x  # a result takes the name of a new tensor, and the gradient stays right
    y.sum().backward()
    assert x.grad.tolist() == [3]


def test_what_backward_refuses():
    with pytest.raises(RuntimeError, match="does not depend on any tensor"):
        pn.ones(1).backward()
    with pytest.raises(RuntimeError, match=r"shape \(2,\); only one element"):
        (leaf(1.0, 2.0) * 2).backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\)"):
        (leaf(1.0, 2.0) * 2).backward(pn.ones(3))
    with pytest.raises(TypeError, match="only float tensors have gradients"):
        pn.tensor([1, 2], requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        (leaf(1.0) * 2).requires_grad = False
    x = leaf(1.0)
    with pytest.raises(ValueError, match="differs"):
        x.grad = pn.ones(3)


def test_gradients_of_given_inputs_leave_grad_alone():
    x, unused = leaf(1.0, 2.0), leaf(5.0)
    y = x * x
    z = (y * 3).sum()
    gx, gy = gradients(z, [x, y], retain_graph=True)
    assert gx.tolist() == [6, 12]
    assert gy.tolist() == [3, 3]
    assert x.grad is None
    with pytest.raises(RuntimeError, match=r"input 0 of shape \(1,\)"):
        gradients(z, [unused], retain_graph=True)
    assert gradients(z, [unused], retain_graph=True, allow_unused=True) == (None,)
    assert gradients(z, [unused], materialize_grads=True)[0].tolist() == [0]


def test_long_chains_neither_recurse_nor_leak():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 0.0
    y.backward()
    assert x.grad.tolist() == [1]
    del y
    gc.collect()


def test_higher_derivatives():
    x = leaf(1.5)
    y = (x**3).sum()
    for expected in (3 * 1.5**2, 6 * 1.5, 6.0):
        (y,) = gradients(y, [x], create_graph=True)
        assert y.item() == pytest.approx(expected)
        y = y.sum()


def test_functional_derivatives():
    def f(w, s=1.0):
        return (w**3).sum() * s

    w = pn.tensor(np.array([1.0, 2.0]))
    assert pn.grad(f)(w).tolist() == [3, 12]
    assert pn.grad(f)(w, s=2.0).tolist() == [6, 24]
    value, g = pn.value_and_grad(f)(w)
    assert (value.item(), g.tolist()) == (9, [3, 12])
    assert not value.requires_grad
    assert not w.requires_grad
    assert pn.hessian(f)(w).tolist() == [[6, 0], [0, 12]]
    assert pn.grad(lambda a, b: (a * b).sum(), argnums=(0, 1))(w, w)[1].tolist() == [1, 2]
    assert pn.grad(lambda v: pn.grad(f)(v).sum())(w).tolist() == [6, 12]
    assert pn.grad(lambda v: pn.tensor(1.0))(w).tolist() == [0, 0]
    with pn.no_grad():
        assert pn.grad(f)(w).tolist() == [3, 12]
    with pytest.raises(ValueError, match="argnums"):
        pn.grad(f, 3)(w)
    with pytest.raises(TypeError, match="int64"):
        pn.grad(f)(pn.tensor([1, 2]))


def test_jacobians_vjp_and_jvp():
    a = np.random.default_rng(0).normal(size=(3, 2))

    def f(x):
        return (pn.from_numpy(a) @ x).tanh()

    x = pn.tensor(np.array([0.3, -0.7]))
    exact = (1 - np.tanh(a @ x.numpy()) ** 2)[:, None] * a
    assert np.allclose(np.asarray(pn.jacobian(f)(x)), exact, rtol=1e-14)
    value, pull = pn.vjp(f, x)
    assert np.allclose(np.asarray(pull(pn.tensor(np.array([1.0, 2.0, 3.0])))), np.array([1, 2, 3]) @ exact)
    value, tangent = pn.jvp(f, (x,), (pn.tensor(np.array([1.0, -1.0])),))
    assert np.allclose(np.asarray(value), np.tanh(a @ x.numpy()))
    assert np.allclose(np.asarray(tangent), exact @ [1, -1])
    with pytest.raises(ValueError, match="tangent"):
        pn.jvp(f, (x,), (pn.ones(3),))


def test_gradients_at_awkward_points():
    def slope(f, *at):
        x = leaf(*at)
        f(x).sum().backward()
        return x.grad.tolist()

    assert slope(pn.relu, 0.0, -0.0, 1.0) == [0, 0, 1]
    assert slope(pn.abs, 0.0) == [0]
    assert slope(pn.sigmoid, 1000.0, -1000.0) == [0, 0]
    assert slope(pn.logsigmoid, 1000.0, -1000.0) == [0, 1]
    assert pn.logsigmoid(leaf(-1000.0)).tolist() == [-1000]
    assert slope(pn.tanh, 1000.0) == [0]
    assert slope(lambda x: x.max(), 3.0, 3.0, 1.0) == [0.5, 0.5, 0]
    assert slope(lambda x: x.max(0)[0], 3.0, 3.0, 1.0) == [1, 0, 0]
    assert slope(lambda x: pn.maximum(x, 2.0), 2.0, 3.0) == [0.5, 1]
    assert slope(lambda x: x.clip(-1, 1), -1.0, 1.0, 2.0) == [1, 1, 0]
    assert slope(lambda x: x.norm(), 0.0, 0.0) == [0, 0]
    assert slope(lambda x: x.logsumexp(0), -np.inf, -np.inf) == [0, 0]
    assert slope(lambda x: x.prod(), 0.0, 2.0, 3.0) == [6, 0, 0]
    assert slope(lambda x: pn.where(x > 0, pn.log(pn.where(x > 0, x, 1.0)), 0.0), -1.0, 2.0) == [0, 0.5]


def test_functions_are_told_from_tensors():
    x = pn.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="grad: takes a function and returns one, got Tensor"):
        pn.grad((x * x).sum(), x)
    for make in (pn.grad, pn.value_and_grad, pn.jacobian, pn.hessian):
        with pytest.raises(TypeError, match="argnums must be positions, got Tensor"):
            make(lambda v: (v * v).sum(), x)


def test_the_angle_at_the_origin_has_gradient_zero():
    a, b = pn.tensor([0.0, 1.0], requires_grad=True), pn.tensor([0.0, 1.0], requires_grad=True)
    pn.atan2(a, b).sum().backward()
    assert a.grad.tolist() == [0.0, 0.5]
    assert b.grad.tolist() == [0.0, -0.5]


def test_what_the_walk_back_refuses():
    with pytest.raises(TypeError, match="expected tensors, got float"):
        gradients(pn.ones(2, requires_grad=True).sum(), [1.5])
    y = pn.ones(2, requires_grad=True).exp()
    y.sum().backward()
    with pytest.raises(RuntimeError, match="exp: this graph was already walked back and its saved values are gone"):
        y.backward(pn.ones(2))
