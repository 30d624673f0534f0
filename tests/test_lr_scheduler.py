"""Step-size schedules against PyTorch's, and against values worked out by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from pyneural import nn, optim
from pyneural.optim import lr_scheduler as ours


def _optimizer(module, optim_module, kind="SGD", **options):
    p = [module.Parameter(module_ones(module)) for _ in range(2)]
    return getattr(optim_module, kind)([{"params": [p[0]], "lr": 0.5}, {"params": [p[1]]}], lr=0.1, **options)


def module_ones(module):
    if module is nn:
        return np.ones(2)
    import torch

    return torch.ones(2)


SCHEDULES = {
    "lambda": lambda m, o: m.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)]),
    "multiplicative": lambda m, o: m.MultiplicativeLR(o, lambda e: 0.95),
    "step": lambda m, o: m.StepLR(o, 4, 0.3),
    "multistep": lambda m, o: m.MultiStepLR(o, [3, 7, 7, 20], 0.5),
    "constant": lambda m, o: m.ConstantLR(o, 0.25, 6),
    "linear": lambda m, o: m.LinearLR(o, 0.1, 0.8, 9),
    "exponential": lambda m, o: m.ExponentialLR(o, 0.9),
    "polynomial": lambda m, o: m.PolynomialLR(o, 10, 2.0),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, 7, 0.01),
    "restarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "restarts-even": lambda m, o: m.CosineAnnealingWarmRestarts(o, 4),
    "cyclic": lambda m, o: m.CyclicLR(o, 0.01, [0.1, 0.2], 5, 3, base_momentum=0.7),
    "cyclic2": lambda m, o: m.CyclicLR(o, 0.01, 0.1, 4, mode="triangular2", cycle_momentum=False),
    "cyclic-exp": lambda m, o: m.CyclicLR(o, [0.01, 0.02], 0.1, 4, mode="exp_range", gamma=0.97),
    "onecycle": lambda m, o: m.OneCycleLR(o, [0.5, 0.7], total_steps=31),
    "onecycle-three": lambda m, o: m.OneCycleLR(
        o, 0.5, epochs=4, steps_per_epoch=8, three_phase=True, anneal_strategy="linear"
    ),
    "sequential": lambda m, o: m.SequentialLR(
        o, [m.ConstantLR(o, 0.1, 3), m.LinearLR(o, 0.5, 1.0, 4), m.ExponentialLR(o, 0.9)], [5, 12]
    ),
    "chained": lambda m, o: m.ChainedScheduler([m.ConstantLR(o, 0.1, 4), m.ExponentialLR(o, 0.9)]),
}


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_equals_pytorchs(name, kind):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    options = {"momentum": 0.9} if kind == "SGD" else {}
    a, b = _optimizer(nn, optim, kind, **options), _optimizer(torch.nn, torch.optim, kind, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about the order of calls
        mine, theirs = SCHEDULES[name](ours, a), SCHEDULES[name](torch.optim.lr_scheduler, b)
        for epoch in range(31):
            for group, other in zip(a.param_groups, b.param_groups, strict=True):
                for key in ("lr", "momentum", "betas"):
                    if key in group:
                        np.testing.assert_allclose(
                            group[key], other[key], rtol=1e-12, err_msg=f"{key} in epoch {epoch}"
                        )
            assert mine.get_last_lr() == [g["lr"] for g in a.param_groups]
            if epoch < 30:
                mine.step()
                b.step()
                theirs.step()


@pytest.mark.parametrize("name", [n for n in SCHEDULES if n not in ("lambda", "multiplicative")])
def test_schedule_goes_on_from_its_state(name):
    a, b = (_optimizer(nn, optim, momentum=0.9) for _ in range(2))
    first, second = SCHEDULES[name](ours, a), SCHEDULES[name](ours, b)
    for _ in range(6):
        first.step()
    second.load_state_dict(first.state_dict())
    b.load_state_dict(a.state_dict())
    for _ in range(8):
        first.step()
        second.step()
        assert [g["lr"] for g in a.param_groups] == [g["lr"] for g in b.param_groups]


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {"patience": 1, "cooldown": 2, "factor": 0.5, "min_lr": [0.1, 0.01]},
        {"mode": "max", "patience": 0, "threshold_mode": "abs", "threshold": 0.3},
    ],
)
def test_plateau_equals_pytorchs(options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    a, b = _optimizer(nn, optim), _optimizer(torch.nn, torch.optim)
    mine, theirs = ours.ReduceLROnPlateau(a, **options), torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    for metric in np.random.default_rng(0).normal(size=40):
        mine.step(metric)
        theirs.step(metric)
        assert [g["lr"] for g in a.param_groups] == pytest.approx([g["lr"] for g in b.param_groups], rel=1e-12)


def test_cosine_by_hand():
    o = optim.SGD([nn.Parameter(np.ones(1))], lr=2.0)
    schedule = ours.CosineAnnealingLR(o, 4)
    seen = []
    for _ in range(5):
        seen.append(o.param_groups[0]["lr"])
        schedule.step()
    assert seen == pytest.approx([1 + math.cos(math.pi * t / 4) for t in range(5)], abs=1e-12)


def test_warm_restarts_at_a_point_in_time():
    o = optim.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    schedule = ours.CosineAnnealingWarmRestarts(o, 2, 2)
    schedule.step(3.5)  # 1.5 epochs into the second run, which takes 4
    assert o.param_groups[0]["lr"] == pytest.approx((1 + math.cos(math.pi * 1.5 / 4)) / 2)
    with pytest.raises(ValueError, match="at least 0"):
        schedule.step(-1)


def test_what_schedules_refuse():
    o = optim.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    adadelta = optim.Adadelta([nn.Parameter(np.ones(1))])
    for make, error, message in (
        (lambda: ours.StepLR(None, 3), TypeError, "expected an Optimizer, got NoneType"),
        (lambda: ours.StepLR(o, 0), ValueError, "step_size"),
        (lambda: ours.StepLR(o, 3, last_epoch=4), KeyError, "initial_lr"),
        (lambda: ours.LambdaLR(o, [lambda e: 1, lambda e: 1]), ValueError, "2 entries for 1 parameter groups"),
        (lambda: ours.CyclicLR(adadelta, 0.1, 1.0), ValueError, "neither momentum nor betas"),
        (lambda: ours.CyclicLR(o, 0.1, 1.0, mode="square"), ValueError, "mode must be"),
        (lambda: ours.OneCycleLR(o, 0.1), ValueError, "give total_steps"),
        (lambda: ours.SequentialLR(o, [ours.ExponentialLR(o, 0.9)], [3]), ValueError, "one milestone fewer"),
        (lambda: ours.ReduceLROnPlateau(o, factor=1.0), ValueError, "factor"),
        (lambda: ours.ReduceLROnPlateau(o, mode="up"), ValueError, "mode"),
        (lambda: ours.ChainedScheduler([]), ValueError, "at least one"),
        (lambda: ours.ConstantLR(o, 0), ValueError, r"ConstantLR: factor must lie in \(0, 1\], got 0"),
        (lambda: ours.LinearLR(o, 0.5, 2), ValueError, r"LinearLR: start_factor must lie in .* got 0.5, 2"),
        (lambda: ours.CosineAnnealingWarmRestarts(o, 0), ValueError, "T_0 and T_mult must be at least 1, got 0 and 1"),
        (lambda: ours.OneCycleLR(o, 0.1, 0), ValueError, "OneCycleLR: there must be at least 1 step, got 0"),
        (lambda: ours.OneCycleLR(o, 0.1, 9, pct_start=2), ValueError, "pct_start must lie between 0 and 1, got 2"),
        (lambda: ours.OneCycleLR(o, 0.1, 9, anneal_strategy="sin"), ValueError, "must be 'cos' or 'linear', got 'sin'"),
        (
            lambda: ours.SequentialLR(adadelta, [ours.ExponentialLR(o, 0.9)], []),
            ValueError,
            "must belong to the optimiser",
        ),
        (
            lambda: ours.ChainedScheduler([ours.ExponentialLR(o, 0.9), ours.ExponentialLR(adadelta, 0.9)]),
            ValueError,
            "ChainedScheduler: all schedules must belong to one optimiser",
        ),
        (
            lambda: ours.ReduceLROnPlateau(o, min_lr=[0.1, 0.2]),
            ValueError,
            "min_lr has 2 entries for 1 parameter groups",
        ),
    ):
        with pytest.raises(error, match=message):
            make()
    o.param_groups[0].pop("initial_lr", None)
    cycle = ours.OneCycleLR(o, 0.1, 3)
    for _ in range(3):
        cycle.step()
    with pytest.raises(ValueError, match="OneCycleLR: step 4 lies past the 3 steps that were planned"):
        cycle.step()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("gamma"), r"StepLR.load_state_dict: the state is of another schedule: it lacks \['gamma'\]"),
        (lambda s: s.update(T_max=3), r"it lacks \[\] and has \['T_max'\]"),
        (lambda s: s.update(gamma="half"), "gamma is 'half' where a float is wanted"),
        (lambda s: s.update(base_lrs=[0.1]), "base_lrs has 1 entries in the state, 2 here"),
        (lambda s: s.update(_last_lr=None), "_last_lr is None where a list is wanted"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    schedule = ours.StepLR(_optimizer(nn, optim), 3)
    chain = ours.ChainedScheduler([ours.ExponentialLR(schedule.optimizer, 0.9), schedule])
    before = repr(chain.state_dict())
    state = ours.StepLR(_optimizer(nn, optim), 5).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        schedule.load_state_dict(state)
    whole = {**chain.state_dict(), "schedulers": [{**chain.schedulers[0].state_dict(), "gamma": 0.5}, state]}
    with pytest.raises(ValueError, match=message):
        chain.load_state_dict(whole)
    assert repr(chain.state_dict()) == before


def test_pytorchs_state_of_a_schedule_loads():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    theirs = torch.optim.lr_scheduler.StepLR(_optimizer(torch.nn, torch.optim), 7, 0.3)
    mine = ours.StepLR(_optimizer(nn, optim), 1)
    mine.load_state_dict(theirs.state_dict())
    assert (mine.step_size, mine.gamma, mine.last_epoch) == (7, 0.3, 0)
