"""``pn.explain``: its numbers are autodiff's to the last bit, and every form holds them."""

from __future__ import annotations

import gc
import json
import threading
import weakref

import numpy as np
import pytest
from explaining_cases import hand_network, same, tensor

import pyneural as pn
from pyneural import _engine, nn, optim
from pyneural import functional as F
from pyneural.explaining.text import plain
from pyneural.explaining.values import Value
from pyneural.ops.record import RECORDS


def added(messages):
    total = messages[0].value
    for m in messages[1:]:
        total = total + m.value
    return total


@pytest.fixture
def hand():
    return hand_network()


def test_numbers_are_autodiffs(hand):
    error, x, weights = hand
    e = pn.explain(error, x)
    assert [w.grad for w in weights] == [None] * 3  # no gradient was left behind
    loss = error(x)
    loss.backward()
    same(e.nodes[-1].value, loss.detach())
    for name, w in zip(("w1", "w2", "w3"), weights, strict=True):
        same(e[name].value, w.detach())
        same(e[name].gradient, w.grad)
    for node in e:
        same(added(node.messages), node.t)
    assert e.schedule == [f"f({k})" for k in range(1, 10)] + [f"t({k})" for k in range(9, 0, -1)]
    assert [n.op for n in e] == "matmul tanh matmul tanh matmul sigmoid sub square sum".split()
    assert [n.name for n in e] == ["", "h1", "", "h2", "", "out", "", "", ""]
    assert e["h1"] is e[2]
    assert [m.receiver.label for m in e.messages][:3] == ["f(8)", "f(7)", "f(6)"]


def test_messages_against_the_rules_by_hand(hand):
    error, x, _ = hand
    e = pn.explain(error, x)
    t6 = 2 * e[7].value
    np.testing.assert_allclose(e[6].t, t6, rtol=1e-15)
    t5 = e[6].value * (1 - e[6].value) * t6
    np.testing.assert_allclose(e[5].t, t5, rtol=1e-14)
    np.testing.assert_allclose(e["w3"].gradient, t5 @ e[4].value.T, rtol=1e-14)
    np.testing.assert_allclose(e[4].t, e["w3"].value.T @ t5, rtol=1e-14)
    message = e[5].sent[0]
    assert (message.receiver.label, message.rule, message.formula) == ("w3", r"g\,b^T", r"t_{5}\,f_{4}^T")
    assert plain(e[6].sent[0].formula) == "f(6) (1 - f(6)) t(6)"


def test_central_differences_agree(hand):
    error, x, _ = hand
    e = pn.explain(error, x, differences=True)
    for vertex in (*e.nodes, *(leaf for leaf in e.leaves if leaf.requires_grad)):
        assert vertex.check is not None
        assert not vertex.check.direction
        assert vertex.check.estimate.shape == vertex.value.shape
        assert vertex.check.error < 1e-9
    assert "differences off by" in e.text()


def test_a_wrong_rule_is_seen_by_the_differences():
    square = RECORDS["square"].function
    x = tensor(3).requires_grad_()
    e = pn.explain(lambda: square(x).sum())
    e.graph.nodes[0].visits[0].sums[0] = Value(e[1].t * 1.01)
    from pyneural.explaining.differences import check

    check(e.graph)
    assert e[1].check.error > 5e-3
    assert e[2].check.error < 1e-9


def test_large_tensors_are_checked_along_a_direction():
    w = tensor(20, 30).requires_grad_()
    e = pn.explain(lambda x: (w @ x).tanh().square().mean(), tensor(30, 5, seed=1), differences=True)
    check = e["w"].check
    assert check.direction
    assert check.estimate.shape == ()
    assert check.error < 1e-8


def test_loss_from_the_tape_has_the_functions_numbers(hand):
    error, x, _ = hand
    by_function = pn.explain(error, x)
    loss = error(x)
    e = pn.explain(loss)
    assert e.title == "loss"
    assert e[9].name == "loss"
    for a, b in zip(e, by_function, strict=True):
        assert a.op == b.op
        same(a.value, b.value)  # some were kept, others computed again
        same(a.t, b.t)
    assert e["x"].kind == "constant"  # found among the variables here, on the memory that the tape has kept
    loss.backward()  # the tape was left whole


def test_what_the_tape_has_not_kept_is_said():
    w, c = tensor(3).requires_grad_(), tensor(3, seed=1)
    loss = (w.exp() + c * 1.0).sum()
    e = pn.explain(loss)
    (unknown,) = [leaf for leaf in e.leaves if leaf.kind == "unknown"]
    assert unknown.value is None
    assert "not kept" in e.text()
    assert e[2].value is None
    same(e["w"].gradient, w.exp().detach())
    with pytest.raises(ValueError, match="the tape has not kept c1, an input of a call; explain the function"):
        pn.explain(loss, differences=True)


def test_dropped_bias_is_not_mistaken_for_a_value():
    x, w = tensor(4, 3), tensor(2, 3, seed=1).requires_grad_()
    same(pn.explain(F.linear(x, w).square().sum())[1].value, F.linear(x, w).detach())
    frozen = tensor(2, seed=2)
    same(pn.explain(F.linear(x, w, frozen).square().sum())[1].value, F.linear(x, w, frozen).detach())
    assert pn.explain(F.linear(x, w, frozen).sum())[1].value is None  # nobody has kept it, and the bias is gone


# ---- training steps ----


def small_step(dropout=0.0):
    pn.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(dropout), nn.Linear(5, 3))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    def step(x, y):
        optimizer.zero_grad()
        logits = model(x)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        gradients = [p.grad.clone() for p in model.parameters()]
        optimizer.step()
        return loss, gradients

    return model, step


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_training_step(compiled, dropout):
    x, y = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), np.array([0, 1, 2, 0, 1, 2])
    model, plainly = small_step(dropout)
    expected = [[g.numpy() for g in plainly(pn.tensor(x), pn.tensor(y))[1]] for _ in range(5)]
    after = [p.detach().numpy().copy() for p in model.parameters()]

    model, step = small_step(dropout)
    step = pn.compile(step) if compiled else step
    for _ in range(4):
        step(x, y)
    replays = step.programs[0].replays if compiled else 0
    e = pn.explain(step, x, y)
    names = [n for n, _ in model.named_parameters()]
    for name, g, new in zip(names, expected[4], after, strict=True):
        same(e[f"model.{name}"].gradient, g)
        same(dict(model.named_parameters())[name].detach(), new)  # the step was taken
        (update,) = [u for u in e.updates if u.leaf.name == f"model.{name}"]
        same(update.after.array, new)
        assert update.op == "adam_"
        assert (e[f"model.{name}"].value != new).any()  # as it was in the forward pass
    assert [n.module for n in e][:2] == ["model.0", "model.1"]
    assert e["logits"].op == "linear"
    assert e["loss"].op == "cross_entropy"
    if compiled:
        assert len(step.programs) == 1
        step(x, y)
        assert step.programs[0].replays == replays + 1  # explaining has not cost a recording


def test_step_with_two_walks():
    a, b = tensor(2).requires_grad_(), tensor(2, seed=1).requires_grad_()

    def step():
        first = (a * b).sum()
        first.backward()
        second = (a.exp()).sum()
        second.backward()
        return first, second

    e = pn.explain(step)
    assert len(e.walks) == 2
    same(e["a"].collected[0].array, b.detach())
    same(e["a"].collected[1].array, a.exp().detach())
    assert e["b"].collected[1] is None
    assert "reverse schedule 2" in e.text()
    e.figure()
    with pytest.raises(ValueError, match="one walk back, this step makes 2"):
        pn.explain(step, differences=True)


def test_step_inside_of_which_a_compiled_one_is_called():
    w = tensor(3).requires_grad_()
    inner = pn.compile(lambda x: (w * x).exp())
    x = tensor(3, seed=1)
    for _ in range(4):
        inner(x)
    seen = []
    pn.explain(lambda x: (seen.append(inner(x)), (w * x).sum())[1], x)
    same(seen[0], (w * x).exp().detach())


# ---- tied weights, several outputs, second order ----


def test_tied_weights_show_each_path():
    w, x = tensor(3, 3).requires_grad_(), tensor(3, 1, seed=1)
    e = pn.explain(lambda x: ((w @ (w @ x).tanh()).sigmoid() - x).square().sum(), x)
    paths = e["w"].messages
    assert [m.label for m in paths] == ["f(3)", "f(1)"]
    same(paths[0].value + paths[1].value, e["w"].gradient)
    u, v = (pn.tensor(np.asarray(w.detach())).requires_grad_() for _ in range(2))
    untied = pn.explain(lambda x: ((v @ (u @ x).tanh()).sigmoid() - x).square().sum(), x)
    same(paths[0].value, untied["v"].gradient)
    same(paths[1].value, untied["u"].gradient)
    text = e.text()
    assert "+ from f(3):" in text
    assert "+ from f(1):" in text


def test_the_same_tensor_twice_in_one_call():
    x = tensor(3).requires_grad_()
    e = pn.explain(lambda: (x * x).sum())
    assert [m.label for m in e["x"].messages] == ["f(1).a", "f(1).b"]
    assert [m.argument for m in e[1].sent] == ["a", "b"]
    e.figure()


def test_several_outputs_and_variadic_inputs():
    x, y = tensor(2, 3).requires_grad_(), tensor(2, 3, seed=1).requires_grad_()
    e = pn.explain(lambda: pn.cat([x, y, x]).exp().sum())
    assert [s.argument for s in e[1].sources] == ["xs[0]", "xs[1]", "xs[2]"]
    same(e["x"].gradient, (x.exp() * 2).detach())
    values = tensor(4).requires_grad_()
    e = pn.explain(lambda: values.max(0)[0] * 2.0)
    assert e.nodes[-1].t == 1.0
    json.loads(e.to_json())


def test_second_order(hand):
    error, x, (w1, w2, w3) = hand
    e = pn.explain(error, x, order=2)
    roles = {n.role: n for n in e if n.role}
    first = pn.explain(error, x)
    same(roles["t(5)"].value, first[5].t)
    same(roles["dw1"].value, first["w1"].gradient)
    assert {n.rule_of.k for n in e if n.rule_of is not None} == {1, 2, 3, 4, 5, 6, 8}

    def product(*weights):
        with pn.enable_grad():
            return sum(g.sum() for g in pn.autodiff.gradients(error(x), [w1, w2, w3], create_graph=True))

    expected = pn.autodiff.gradients(product(), [w1, w2, w3])
    for name, g in zip(("w1", "w2", "w3"), expected, strict=True):
        np.testing.assert_allclose(e[name].gradient, g.numpy(), rtol=1e-12, atol=1e-15)
    assert pn.explain(error, x, order=2, differences=True)["w1"].check.error < 1e-9


def test_second_order_along_a_direction():
    x, v = tensor(3).requires_grad_(), np.array([1.0, 0.0, 0.0])
    e = pn.explain((x * x * x).sum(), order=2, direction=v)
    np.testing.assert_allclose(e["x"].gradient, 6 * x.detach().numpy() * v, rtol=1e-14)
    with pytest.raises(ValueError, match=r"a direction has shape \(2,\) but its leaf \(3,\)"):
        pn.explain((x * x * x).sum(), order=2, direction=np.ones(2))
    with pytest.raises(ValueError, match="2 directions for 1 leaves"):
        pn.explain((x * x * x).sum(), order=2, direction=[v, v])
    with pytest.raises(RuntimeError, match="all second derivatives are 0"):
        pn.explain((x * 3.0).sum(), order=2)


def test_a_function_that_takes_gradients_itself():
    e = pn.explain(lambda x: pn.grad(lambda z: (z**3).sum())(x).square().sum(), tensor(3), argnums=0)
    x = tensor(3).numpy()
    np.testing.assert_allclose(e["x"].gradient, 2 * 3 * x**2 * 6 * x, rtol=1e-12)
    assert any(n.role.startswith("t(") for n in e)


# ---- inputs, names, constants ----


def test_inputs_are_variables_where_nothing_else_is():
    e = pn.explain(lambda a, b: (a * b).sum(), np.ones(3), np.arange(3.0))
    same(e["a"].gradient, np.arange(3.0))
    only = pn.explain(lambda a, b: (a * b).sum(), np.ones(3), np.arange(3.0), argnums=1)
    assert only["a"].gradient is None
    same(only["b"].gradient, np.ones(3))


def test_numbers_and_preparations():
    x = tensor(3).requires_grad_()
    data = pn.tensor(np.arange(3.0))

    def f(x):
        scaled = data / 2.0
        return (x * 3.0 + scaled).sum()

    e = pn.explain(f, x)
    assert [n.op for n in e] == ["div", "mul", "add", "sum"]
    assert e["scaled"].t is None  # it needs none
    assert "mul(x, 3)" in e.text()
    assert not e["data"].requires_grad


def test_detached_results_are_drawn_without_message():
    x = tensor(3).requires_grad_()
    e = pn.explain(lambda x: (x.exp().detach() * x).sum(), x)
    (detached,) = [leaf for leaf in e.leaves if leaf.kind == "detached"]
    assert detached.origin.vertex is e[1]
    assert detached.name == "f(1) detached"
    assert e[1].t is None
    same(e["x"].gradient, x.exp().detach())
    e.figure()
    assert pn.explain(lambda x: (x.exp().detach() * x).sum(), x, differences=True)["x"].check.error < 1e-9


def test_parts_of_an_object_and_module_paths():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(3, 2), nn.Tanh())

        def forward(self, x):
            code = self.inner(x)
            return code.square().sum()

    e = pn.explain(Net(), pn.ones(2, 3))
    assert [n.module for n in e] == ["inner.0", "inner.1", "Net", "Net"]
    assert e["inner.0.weight"].gradient.shape == (2, 3)
    assert e["code"].op == "tanh"


def test_nothing_listens_afterwards():
    model = nn.Linear(2, 1)
    with pytest.raises(ZeroDivisionError):
        pn.explain(lambda x: model(x) / (1 // 0), pn.ones(1, 2))
    assert not pn._engine.observed()
    assert not model._pre_hooks
    assert not model._hooks


# ---- errors ----


def test_errors():
    x = tensor(3).requires_grad_()
    with pytest.raises(TypeError, match="takes a function and its inputs, or a tensor, got int"):
        pn.explain(3)
    with pytest.raises(TypeError, match="a tensor takes no inputs"):
        pn.explain(x.sum(), x)
    with pytest.raises(RuntimeError, match="does not depend on any tensor that requires a gradient"):
        pn.explain(pn.ones(3).sum())
    with pytest.raises(RuntimeError, match=r"the tensor has shape \(3,\); only one element .* gradient="):
        pn.explain(x * 2.0)
    same(pn.explain(x * 2.0, gradient=np.ones(3))["x"].gradient, np.full(3, 2.0))
    with pytest.raises(RuntimeError, match="nothing that the function returns depends on a tensor"):
        pn.explain(lambda n: n, 3)
    with pytest.raises(ValueError, match=r"order is 3; 1 .* and 2"):
        pn.explain(x.sum(), order=3)
    with pytest.raises(ValueError, match="argnums: 1 is out of range for 1 arguments"):
        pn.explain(lambda a: a.sum(), x, argnums=1)
    with pytest.raises(TypeError, match="argument 0 is int64; only float tensors have derivatives"):
        pn.explain(lambda a: a.sum(), pn.tensor([1]), argnums=0)

    def step():
        (x * x).sum().backward()

    with pytest.raises(ValueError, match="step walks back by itself, so gradient= and order= have no place"):
        pn.explain(step, order=2)
    used = (x * x).sum()
    used.backward()
    with pytest.raises(RuntimeError, match="already walked back"):
        pn.explain(used)
    e = pn.explain((x * x).sum())
    with pytest.raises(IndexError, match=r"there is no f\(9\); the forward schedule has f\(1\) to f\(2\)"):
        e[9]
    with pytest.raises(KeyError, match="no leaf or node named 'q'"):
        e["q"]
    with pytest.raises(ValueError, match="no known suffix"):
        e.save("a.doc")


# ---- where and when it listens ----


def test_under_no_grad():
    x = tensor(3).requires_grad_()
    with pn.no_grad():
        e = pn.explain(lambda x: x.exp().sum(), x)
        assert not pn.is_grad_enabled()
    same(e["x"].gradient, x.exp().detach())


def test_leaves_changed_in_place_between_two_uses():
    x = tensor(3).requires_grad_()
    state = pn.ones(3).double()

    def f(x):
        first = (x + state).sum()
        with pn.no_grad():
            state.copy_(state * 2.0)
        return first + (x + state).sum()

    e = pn.explain(f, x)
    same(e["state"].value, np.ones(3))
    same(e["state\N{PRIME}"].value, np.full(3, 2.0))
    same(e["x"].gradient, np.full(3, 2.0))
    assert [u.op for u in e.updates] == ["assign"]


def test_other_threads_are_not_heard():
    x = tensor(3).requires_grad_()
    go, done = threading.Event(), threading.Event()

    def elsewhere():
        go.wait(10)
        (x * x).exp().sum().backward()
        done.set()

    other = threading.Thread(target=elsewhere)
    other.start()

    def f(x):
        y = x.exp()
        go.set()
        assert done.wait(10)
        return y.sum()

    e = pn.explain(f, x)
    other.join()
    assert [n.op for n in e] == ["exp", "sum"]
    assert len(e.walks) == 1


def test_a_listener_lives_as_long_as_it_listens():
    class Listener:
        heard = 0

        def called(self, op, inputs, attributes, outputs):
            Listener.heard += 1

    before = _engine.listen(Listener())  # nobody else holds it
    try:
        gc.collect()
        pn.exp(pn.ones(3))
    finally:
        last = _engine.listen(before)
    assert (Listener.heard, type(last)) == (1, Listener)
    gone = weakref.ref(last)
    del last
    assert gone() is None
