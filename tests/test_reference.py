"""The references as a backend, and the comparison op by op."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest

import pyneural as pn
from pyneural import _engine, nn, optim
from pyneural import functional as F
from pyneural.ops import record
from pyneural.ops.record import RECORDS


@pytest.fixture
def broken(monkeypatch):
    """A function that makes an op's reference wrong."""

    def make(name, change):
        right = RECORDS[name].reference
        monkeypatch.setattr(RECORDS[name], "reference", lambda *args: change(right(*args)))

    return make


def training(optimizer=lambda p: optim.Adam(p, lr=0.1), compiled=False):
    pn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3)).double()
    update = optimizer(model.parameters())
    loss_function = nn.CrossEntropyLoss()

    def step(x, y):
        update.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        update.step()
        return loss

    rng = np.random.default_rng(0)
    return (
        model,
        pn.compile(step) if compiled else step,
        pn.tensor(rng.normal(size=(8, 4))),
        pn.tensor(rng.integers(0, 3, 8)),
    )


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_runs_on_references(compiled):
    model, step, x, y = training(compiled=compiled)
    losses = [step(x, y).item() for _ in range(5)]
    weights = model[0].weight.detach().numpy().copy()
    model, step, x, y = training(compiled=compiled)
    with pn.reference():
        on_references = [step(x, y).item() for _ in range(5)]
    np.testing.assert_allclose(on_references, losses, rtol=1e-12)
    np.testing.assert_allclose(model[0].weight.detach().numpy(), weights, rtol=1e-10, atol=1e-12)
    if compiled:
        assert step.programs == []  # nothing was recorded


def test_references_are_what_runs(broken):
    x = pn.tensor([0.5, 1.0], requires_grad=True)
    broken("tanh", lambda y: y + 1)
    with pn.reference():
        y = pn.tanh(x)
    np.testing.assert_allclose(y.detach().numpy(), np.tanh([0.5, 1.0]) + 1, rtol=1e-6)
    np.testing.assert_allclose(pn.tanh(x).detach().numpy(), np.tanh([0.5, 1.0]), rtol=1e-6)
    with pn.reference():
        pn.tanh(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 - (np.tanh([0.5, 1.0]) + 1) ** 2, rtol=1e-5)


def test_ops_in_place_views_and_data_shapes_on_references():
    def program():
        x = pn.tensor(np.arange(12.0).reshape(3, 4))
        with pn.no_grad():
            x[1:, ::2] = -x[:2, ::2]
            x += 1
            x.T[0].copy_(pn.ones(3))
        return [x, x[x > 2.0], x.T.reshape(-1), pn.concatenate([x, x * 2.0]), x.max(1)[1], (x > 3).sum()]

    wanted = program()
    with pn.reference():
        found = program()
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a.numpy(), b.numpy())


def test_mistakes_are_refused_as_always():
    with pn.reference(), pytest.raises(ValueError, match="matmul"):
        pn.ones(2, 3) @ pn.ones(2, 3)
    x = np.ones(2)
    x.setflags(write=False)
    with pn.reference(), pytest.raises(ValueError, match="read-only"):
        pn.from_numpy(x).zero_()
    assert _engine.watching() is None


def test_the_context_belongs_to_its_thread_and_nests(broken):
    broken("exp", lambda y: y * 2)
    x, seen = pn.tensor(0.0), []
    with pn.reference():
        with pn.reference():
            assert pn.exp(x).item() == 2
        assert pn.exp(x).item() == 2
        other = threading.Thread(target=lambda: seen.append(pn.exp(x).item()))
        other.start()
        other.join()
    assert seen == [1]
    assert pn.exp(x).item() == 1
    with pytest.raises(ZeroDivisionError), pn.reference():
        raise ZeroDivisionError
    assert pn.exp(x).item() == 1


def test_a_captured_step_refuses_the_context():
    def step(x):
        with pn.reference():
            return pn.exp(x)

    with pytest.raises(pn.CaptureError, match="reference"):
        pn.compile(step)(pn.ones(2))


def test_a_right_program_is_right():
    _, step, x, y = training()
    found = pn.compare_with_reference(step, x, y)
    assert found
    assert found.mismatch is None
    assert found.calls > 10
    assert {"linear", "relu", "draw"} <= set(found.largest)
    assert max(found.largest.values()) < 1e-13
    assert found.result.item() == pytest.approx(training()[1](x, y).item())
    _, compiled, x, y = training(compiled=True)
    for _ in range(4):
        compiled(x, y)
    assert pn.compare_with_reference(compiled, x, y).calls == found.calls


def test_the_first_op_that_differs_is_named(broken):
    _, step, x, y = training()
    broken("relu", lambda y: y * 1.001)
    with pytest.raises(
        AssertionError, match=r"relu\(x float64\(8, 6\)\), call \d+, from .*: output 0 differs most at \[\d, \d\]"
    ):
        pn.compare_with_reference(step, x, y)
    _, step, x, y = training()
    found = pn.compare_with_reference(step, x, y, raise_exception=False)
    assert not found
    assert found.mismatch.op == "relu"
    assert found.mismatch.relative == pytest.approx(0.001 / 1.001)
    assert found.mismatch.reference == pytest.approx(found.mismatch.kernel * 1.001)
    assert pn.compare_with_reference(lambda: pn.relu(x), tolerance=0.01)
    assert found.calls == pn.compare_with_reference(training()[1], x, y, tolerance=0.01).calls


def test_the_line_of_a_difference_is_the_users(broken):
    broken("exp", lambda y: y + np.where(np.arange(3) == 1, 1e-3, 0))
    with pytest.raises(AssertionError) as caught:
        pn.compare_with_reference(lambda: pn.softplus(pn.ones(3)) + pn.exp(pn.zeros(3, dtype=np.float64)))
    assert "test_reference.py" in str(caught.value)
    assert "[1]" in str(caught.value)
    assert "apart by 0.001" in str(caught.value)


@pytest.mark.parametrize("change", [lambda y: y * np.nan, lambda y: y + np.inf, lambda y: y[:1], lambda y: -y])
def test_no_kind_of_difference_is_overlooked(broken, change):
    broken("exp", change)
    assert not pn.compare_with_reference(lambda: pn.exp(pn.ones(3)), raise_exception=False)


def test_changes_in_place_and_whole_numbers_are_compared(broken):
    broken("argmax", lambda y: y + 1)
    assert pn.compare_with_reference(lambda: pn.ones(3).argmax(), raise_exception=False).mismatch.op == "argmax"
    _, step, x, y = training(lambda p: optim.SGD(p, lr=0.1))
    found = pn.compare_with_reference(step, x, y)
    updates = [
        name for name in found.largest if _engine.Op is type(RECORDS[name].function) and RECORDS[name].function.writes
    ]
    assert updates
    broken(
        updates[0],
        lambda values: tuple(np.asarray(v) * 1.001 for v in (values if isinstance(values, tuple) else (values,))),
    )
    assert pn.compare_with_reference(step, x, y, raise_exception=False).mismatch.op == updates[0]


# ---- what an op and its record refuse ----

ADD = {"inputs": ("a", "b"), "attributes": (), "gradient": {}}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("nothing", {}, "op nothing: there is a record in pyneural/ops but no row of this name in csrc/ops"),
        ("add", {"inputs": ("a",)}, r"op add: the record names 1 inputs \('a',\), the table says 2"),
        (
            "add",
            {"gradient": {"c": lambda g: g}},
            r"op add: gradient rules for \['c'\], which are not among the inputs",
        ),
        ("add", {"gradient": {"a": lambda h: h}}, "op add: the gradient rule for a reads 'h', which is no gradient"),
    ],
)
def test_a_record_must_fit_the_table(name, changes, message):
    facts = ADD | changes
    with pytest.raises(ValueError, match=message):
        _engine.Op(name, facts["inputs"], facts["attributes"], facts["gradient"])


def test_an_op_has_one_record():
    with pytest.raises(ValueError, match="the op add has a record already"):
        record._add(RECORDS["add"])


def test_arguments_of_ops_are_counted():
    ops, x = {name: r.function for name, r in RECORDS.items()}, pn.ones(2)
    zeros, square = np.zeros(1, int), np.zeros((2, 2))
    for call, error, message in (
        (lambda: ops["add"](x), TypeError, r"add: takes 2 arguments \(a, b\), got 1"),
        (lambda: ops["reshape"](x), TypeError, r"reshape: takes 2 arguments \(x, shape\), got 1"),
        (lambda: ops["concatenate"](), TypeError, "concatenate: takes a sequence of tensors"),
        (
            lambda: ops["reshape"](x, (1,) * 99),
            ValueError,
            "attributes are too long; a tensor has at most",
        ),
        (lambda: ops["reshape"](x, (1.5,) * 99), ValueError, "reshape: too many real attributes"),
        (lambda: ops["flat_index"]([zeros], (2, 3)), ValueError, "flat_index: 1 index tensors but 2 sizes"),
        (lambda: ops["take"](pn.ones((1,) * 5), np.zeros((1,) * 5, int), 0, 1), ValueError, "would have 9 dim"),
        (lambda: ops["scatter_add"](x, zeros, np.ones(1), 0), TypeError, "src is float64 but x is float32"),
        (lambda: ops["one_hot"](x, 3), TypeError, "one_hot: labels are float32 but must be int64"),
        (lambda: ops["one_hot"](np.zeros((1,) * 8, int), 3), ValueError, "labels have 8 dimensions already, the most"),
        (lambda: ops["linear"](1.0, square, None), ValueError, r"x needs at least 1 dimension; its shape is \(\)"),
        (lambda: ops["update_running_"](square, square, None, square, square, 4, False, 0.1), ValueError,
         r"update_running_: running_mean must be \(C,\), got \(2, 2\)"),
        (lambda: ops["rnn_backward"](pn.ones(2, 3, 4), pn.ones(3, 4), pn.ones(4, 4), None, False, False), ValueError,
         r"y must be \(steps, batch, hidden_size\) and w_hh a matrix, but the shapes are \(3, 4\) and \(4, 4\)"),
        (lambda: ops["max_unpool"](pn.ones(1, 1, 2, 2), np.zeros((1, 1, 2, 2), int), (-1, 4)), ValueError,
         r"max_unpool2d: size is \(-1, 4\) but sizes are not negative"),
        (lambda: F.max_pool2d(pn.zeros(1).expand(1, 1, 2**16, 2**16), 2), ValueError, r"hold more than 2\^31 - 1"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()


def test_a_reference_that_gives_too_little(monkeypatch):
    whole = RECORDS["max_pool"]
    short = copy.copy(whole)
    short.reference = lambda *arguments: whole.reference(*arguments)[:1]
    monkeypatch.setitem(RECORDS, "max_pool", short)
    with pytest.raises(ValueError, match="max_pool: the reference gives 1 results, the op more"):
        pn.compare_with_reference(lambda x: F.max_pool1d(x, 2), pn.ones(1, 1, 4))
