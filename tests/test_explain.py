"""``pn.explain``: its numbers are autodiff's to the last bit, and every form holds them."""

from __future__ import annotations

import gc
import json
import re
import threading
import weakref

import numpy as np
import pytest

import pyneural as pn
from pyneural import _engine, nn, optim
from pyneural import functional as F
from pyneural.explaining import Explanation
from pyneural.explaining.scene import folded, scene
from pyneural.explaining.text import plain
from pyneural.explaining.values import FEW, MINUS, Value, number
from pyneural.ops.record import RECORDS


def tensor(*shape, seed=0):
    return pn.tensor(np.random.default_rng(seed).normal(size=shape))


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    assert a.tobytes() == b.tobytes()


def added(messages):
    total = messages[0].value
    for m in messages[1:]:
        total = total + m.value
    return total


@pytest.fixture
def hand():
    """The 3-3-3-1 network: weights, input, target, and its error as a function of the input."""
    w1, w2, w3 = (tensor(*s, seed=i).requires_grad_() for i, s in enumerate([(3, 3), (3, 3), (1, 3)]))
    x, y = tensor(3, 1, seed=4), pn.tensor([[0.5]]).double()

    def error(x):
        h1 = (w1 @ x).tanh()
        h2 = (w2 @ h1).tanh()
        out = (w3 @ h2).sigmoid()
        return (out - y).square().sum()

    return error, x, (w1, w2, w3)


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


# ---- forms ----


def test_json_holds_everything(hand):
    error, x, _ = hand
    e = pn.explain(error, x, differences=True)
    text = e.to_json()
    again = Explanation.from_json(text)
    assert again.text() == e.text()
    assert again.to_json() == text
    for a, b in zip(again, e, strict=True):
        same(a.value, b.value)
        same(a.t, b.t)
        same(a.check.estimate, b.check.estimate)
    same(again["w1"].gradient, e["w1"].gradient)
    again.figure()
    with pytest.raises(ValueError, match="not an explanation: expected the format"):
        Explanation.from_json("{}")
    with pytest.raises(ValueError, match="a damaged explanation: KeyError"):
        Explanation.from_json(json.dumps({**json.loads(text), "nodes": [{}]}))


def test_json_of_large_and_of_strange_numbers():
    x = pn.tensor(np.array([np.nan, np.inf, -np.inf, 0.1])).requires_grad_()
    e = Explanation.from_json(pn.explain(lambda: (x * 2.0).clip(-1.0, float("inf")).sum()).to_json())
    same(e["x"].value, x.detach())
    big = tensor(40, 50).requires_grad_()
    e = pn.explain(lambda: big.square().sum())
    again = Explanation.from_json(e.to_json())
    assert again["big"].value is None
    assert again["big"].before.summary == e["big"].before.summary
    assert again.text() == e.text()
    same(Explanation.from_json(e.to_json(limit=5000))["big"].value, big.detach())


def test_statistics_and_small_pictures():
    a = np.random.default_rng(0).normal(3, 2, size=(70, 90))
    a[0, 0] = 0
    s = Value(a).summary
    assert s["low"] == a.min()
    assert s["high"] == a.max()
    assert s["mean"] == pytest.approx(a.mean(), rel=1e-12)
    assert s["deviation"] == pytest.approx(a.std(), rel=1e-9)
    assert (s["zeros"], s["nonfinite"]) == (1, 0)
    assert s["picture"]["rows"] == 16
    a[1, 1] = np.nan
    assert Value(a).summary["nonfinite"] == 1
    assert Value(a).summary["mean"] == pytest.approx(np.nanmean(a), rel=1e-12)
    assert Value(a + 5).summary["low"] == np.nanmin(a + 5)
    assert Value(np.full(50, np.inf)).line() == "(50,) all NaN or inf"
    far = (1000 + a[2:] / 100).astype(np.float32)
    assert Value(far).summary["deviation"] == pytest.approx(far.std(dtype=np.float64), rel=1e-4)
    json.dumps(Value(np.full((20, 20), 1e308)).to_dict(), allow_nan=False)
    assert Value(np.zeros((0, 3))).summary is None
    assert Value(np.ones((4, 3, 20, 20), np.float32)).summary["picture"]["rows"] == 16
    assert Value(np.ones((64, 8, 1, 1))).summary["picture"]["rows"] == 16
    assert Value(np.ones((64, 1))).summary["picture"]["rows"] == 1
    assert "mean 1" in Value(np.ones(FEW + 1)).line()
    assert [number(v) for v in (0.0, -1.5, 123456.0, 7, True, np.float32(0.1))] == [
        "0",
        MINUS + "1.5",
        "1.2346e+05",
        "7",
        "True",
        "0.1",
    ]


def test_latex(hand):
    error, x, _ = hand
    text = pn.explain(error, x).latex()
    assert text.startswith(r"\documentclass")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert r"$t_{5}\,f_{4}^T = \begin{pmatrix}" in text
    assert MINUS not in text
    assert r"\documentclass" not in pn.explain(error, x).latex(document=False)
    names = pn.explain(lambda some_name: some_name.square().sum(), np.ones(3)).latex()
    assert r"\mathrm{some\_name}" in names


def test_save(hand, tmp_path):
    error, x, _ = hand
    e = pn.explain(error, x)
    for suffix, start in (
        (".html", b"<!doctype"),
        (".json", b"{"),
        (".txt", b"error"),
        (".tex", b"\\doc"),
        (".png", b"\x89PNG"),
    ):
        assert e.save(tmp_path / f"a{suffix}").read_bytes().startswith(start)


# ---- pictures ----


def overlaps(placed):
    """Pairs of boxes and labels that share area, as (x0, y0, x1, y1)."""
    areas = [
        (b.x - b.width / 2, b.y - b.height / 2, b.x + b.width / 2, b.y + b.height / 2)
        for b in (*placed.boxes, *placed.edges)
    ]
    found = []
    for i, (a0, b0, a1, b1) in enumerate(areas):
        for c0, d0, c1, d1 in areas[:i]:
            if min(a1, c1) - max(a0, c0) > 0.01 and min(b1, d1) - max(b0, d0) > 0.01:
                found.append((i, (a0, b0, a1, b1), (c0, d0, c1, d1)))
    return found


def deep(layers=12):
    model = nn.Sequential(*(part for _ in range(layers) for part in (nn.Linear(8, 8), nn.Tanh())))
    return model, lambda x: (model(x) + x).square().mean()


def test_nothing_overlaps(hand):
    error, x, _ = hand
    w = tensor(3, 3).requires_grad_()
    _, f = deep()
    explanations = [pn.explain(error, x), pn.explain(error, x, order=2), pn.explain(f, pn.ones(4, 8)),
                    pn.explain(lambda x: ((w @ (w @ x).tanh()).sigmoid() - x).square().sum(), x)]  # fmt: skip
    for e in explanations:
        for values in (True, False):
            placed = scene(e.graph, values=values, messages=values)
            assert overlaps(placed) == []
            for b in placed.boxes:
                assert b.x - b.width / 2 > -0.01
                assert b.x + b.width / 2 < placed.width + 0.01
                assert b.y - b.height / 2 > -0.01
                assert b.y + b.height / 2 < placed.height + 0.01
    assert scene(explanations[0].graph).down
    assert not scene(explanations[3].graph).down


def test_texts_of_the_picture_do_not_overlap(hand):
    """The room that was planned for texts is what matplotlib needs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    error, x, _ = hand
    fig = pn.explain(error, x).figure(formulas=True)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in fig.axes[0].texts]
    pairs = [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i])
             if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2]  # fmt: skip
    assert pairs == []
    texts = [t.get_text() for t in fig.axes[0].texts]
    assert any("(1 - f(4)^2) t(4)" in t for t in texts)


def test_many_calls_are_folded_by_module():
    model = nn.Sequential(
        *(nn.Sequential(*(p for _ in range(4) for p in (nn.Linear(4, 4), nn.Tanh()))) for _ in range(30))
    )
    e = pn.explain(lambda x: model(x).square().mean(), pn.ones(2, 4))
    assert len(e) == 242
    placed = scene(e.graph)
    folds = [b for b in placed.boxes if b.kind == "fold"]
    assert len(folds) == 30
    assert folds[0].lines == ["model.0", "f(1) to f(8)", "9 leaves inside"]
    assert overlaps(placed) == []
    assert len(folded(e.nodes, 10)) <= 10  # modules are too many as well: runs of equal length
    assert [n.k for g in folded(e.nodes, 10) for n in g] == list(range(1, 243))
    e.figure()
    assert re.search(r">model\.0<.*>f\(1\) to f\(8\)<", e.html())


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
