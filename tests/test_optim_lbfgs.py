"""L-BFGS beside PyTorch's, its end, its state and its refusals."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest

import pyneural as pn
from pyneural import functional as F
from pyneural import nn
from pyneural.optim import LBFGS

START = np.array([-1.2, 1.0, 0.5, -0.3])


def valley(w: Any) -> Any:
    """Rosenbrock's function; its minimum 0 is at ones."""
    return (100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum()


def closure_of(w: Any, optimizer: Any) -> Any:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = valley(w)
        loss.backward()
        return loss

    return closure


def started(**settings: Any) -> tuple[Any, LBFGS, Any]:
    w = pn.as_tensor(START.copy())
    w.requires_grad_(True)
    optimizer = LBFGS([w], **settings)
    return w, optimizer, closure_of(w, optimizer)


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.002, "max_iter": 7},
        {"lr": 0.002, "max_iter": 7, "history_size": 3},
        {"line_search_fn": "strong_wolfe", "max_iter": 7, "history_size": 2},
        {"line_search_fn": "strong_wolfe", "max_iter": 30, "max_eval": 9},
    ],
)
def test_steps_are_pytorchs(settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    w, optimizer, closure = started(**settings)
    v = torch.tensor(START.copy(), requires_grad=True)
    theirs = torch.optim.LBFGS([v], **settings)
    other = closure_of(v, theirs)
    for _ in range(5):
        assert float(optimizer.step(closure)) == pytest.approx(float(theirs.step(other).detach()), rel=1e-9)
        np.testing.assert_allclose(np.array(w.detach()), v.detach().numpy(), rtol=1e-8)
        assert optimizer.func_evals == theirs.state[v]["func_evals"]
        assert optimizer.n_iter == theirs.state[v]["n_iter"]


def test_the_bottom_of_a_valley_is_reached() -> None:
    w = pn.as_tensor(np.array([-1.2, 1.0]))
    w.requires_grad_(True)
    optimizer = LBFGS([w], line_search_fn="strong_wolfe", max_iter=200, max_eval=1000, tolerance_change=1e-14)
    losses = list(optimizer.iterations(closure_of(w, optimizer)))
    assert all(b <= a for a, b in itertools.pairwise(losses))
    np.testing.assert_allclose(np.array(w.detach()), 1.0, rtol=1e-5)
    assert optimizer.func_evals < 80
    assert len(list(optimizer.iterations(closure_of(w, optimizer)))) <= 2  # it is there


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_compiled_closure_has_the_same_bits(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = pn.as_tensor(rng.normal(size=(40, 5)).astype(dtype)), pn.as_tensor(rng.normal(size=(40, 1)).astype(dtype))
    found = []
    for compiled in (False, True):
        pn.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8, dtype=dtype), nn.Tanh(), nn.Linear(8, 1, dtype=dtype))
        optimizer = LBFGS(model.parameters(), line_search_fn="strong_wolfe")

        def closure(model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss

        step = pn.compile(closure) if compiled else closure
        losses = [float(optimizer.step(step)) for _ in range(3)]
        assert losses[2] < losses[0]
        found.append((losses, [np.array(p.detach()).tobytes() for p in model.parameters()]))
    assert found[0] == found[1]


def test_state_that_is_saved_and_loaded_goes_on_with_the_same_bits() -> None:
    w, optimizer, closure = started(line_search_fn="strong_wolfe", max_iter=4)
    for _ in range(2):
        optimizer.step(closure)
    saved, at = copy.deepcopy(optimizer.state_dict()), np.array(w.detach())
    optimizer.step(closure)
    v = pn.as_tensor(at)
    v.requires_grad_(True)
    again = LBFGS([v])
    again.load_state_dict(saved)
    again.step(closure_of(v, again))
    assert np.array_equal(np.array(v.detach()), np.array(w.detach()))
    assert again.func_evals == optimizer.func_evals


def test_pytorchs_state_loads() -> None:
    torch = pytest.importorskip("torch")
    v = torch.tensor(START.copy(), requires_grad=True)
    theirs = torch.optim.LBFGS([v], line_search_fn="strong_wolfe", max_iter=4)
    theirs.step(closure_of(v, theirs))
    w = pn.as_tensor(v.detach().numpy().copy())
    w.requires_grad_(True)
    ours = LBFGS([w])
    ours.load_state_dict(theirs.state_dict())
    for _ in range(3):
        ours.step(closure_of(w, ours))
        theirs.step(closure_of(v, theirs))
        np.testing.assert_allclose(np.array(w.detach()), v.detach().numpy(), rtol=1e-8)


def test_defaults_and_argument_order_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    import inspect

    ours, theirs = (inspect.signature(c).parameters for c in (LBFGS, torch.optim.LBFGS))
    assert list(ours) == list(theirs)
    for name in list(ours)[1:]:
        assert ours[name].default == theirs[name].default


def test_what_is_refused() -> None:
    w, optimizer, _ = started()
    with pytest.raises(TypeError, match="needs a closure"):
        optimizer.step()
    with pytest.raises(ValueError, match="line_search_fn must be None or 'strong_wolfe'"):
        LBFGS([w], line_search_fn="armijo")
    with pytest.raises(ValueError, match="history_size must be at least 1"):
        LBFGS([w], history_size=0)
    with pytest.raises(ValueError, match="one group of parameters, got 2"):
        LBFGS([{"params": [w]}, {"params": [pn.as_tensor(np.ones(2))]}])
    with pytest.raises(ValueError, match="lacks 'prev_flat_grad'"):
        optimizer.load_state_dict(
            {"state": {0: {"d": np.ones(4)}}, "param_groups": optimizer.state_dict()["param_groups"]}
        )
    assert optimizer.state_dict()["state"] == {}


def test_a_loss_that_is_not_finite_is_stepped_back_from() -> None:
    """log(w) is NaN below 0, where the first step would lead."""
    w = pn.as_tensor(np.array([0.5]))
    w.requires_grad_(True)
    optimizer = LBFGS([w], lr=1.0, line_search_fn="strong_wolfe", max_iter=50)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (3 * w - pn.log(w)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert float(w.detach().item()) == pytest.approx(1 / 3, rel=1e-4)
