"""The references as a backend, and the comparison op by op."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import pyneural as pn
from pyneural import _engine, nn, optim
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
