"""Optimisers: each update against its textbook formula and against PyTorch, and what surrounds the updates."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

import pyneural as pn
from pyneural import nn, optim
from pyneural.ops.record import RECORDS

TYPES = (np.float32, np.float64)

# rule -> (number of state tensors, of which may be absent, has a product, has a counter, settings to try)
_BASE = [(0.1, 0.0, 1.0), (0.03, 0.2, -1.0)]


def _settings(*own):
    return [(*base, *rest) for base, rest in itertools.product(_BASE, own)]


RULES = {
    "sgd_": ([], (), _settings(())),
    "momentum_": (["state"], ("step",), _settings((0.9, 0.0, 0.0), (0.9, 0.0, 1.0), (0.5, 0.3, 0.0))),
    "rmsprop_": (["state", "state?", "state?"], (), _settings((0.9, 1e-3, 0.0), (0.99, 1e-8, 0.8))),
    "adam_": (["state", "state", "state?"], ("step",), _settings((0.9, 0.99, 1e-3, 0.0), (0.5, 0.9, 1e-8, 1.0))),
    "adagrad_": (["state"], ("step",), _settings((0.0, 1e-3), (0.1, 1e-10))),
    "adadelta_": (["state", "state"], (), _settings((0.9, 1e-6), (0.5, 1e-2))),
    "adamax_": (["state", "state"], ("step",), _settings((0.9, 0.99, 1e-3), (0.5, 0.9, 1e-8))),
    "nadam_": (
        ["state", "state"],
        ("product", "step"),
        _settings((0.9, 0.99, 1e-3, 4e-3, 0.0), (0.5, 0.9, 1e-8, 0.1, 1.0)),
    ),
}


def test_every_update_is_tried_here():
    updates = {n for n, r in RECORDS.items() if r.primitive and "in_place" in r.function.flags and "hyper" in r.inputs}
    assert updates == set(RULES)


def _variants():
    for name, (states, _, settings) in RULES.items():
        optional = [i for i, s in enumerate(states) if s == "state?"]
        for present in itertools.product((False, True), repeat=len(optional)):
            for hyper in settings:
                yield pytest.param(name, dict(zip(optional, present, strict=True)), hyper, id=f"{name}{present}{hyper}")


def _arguments(name, present, hyper, n, dtype, rng):
    states, numbers, _ = RULES[name]
    made = [rng.normal(size=n).astype(dtype), rng.normal(size=n).astype(dtype)]
    made += [np.zeros(n if present.get(i, True) else 0, dtype) for i in range(len(states))]
    made += [np.array(1.0 if kind == "product" else 0.0) for kind in numbers]
    return [*made, np.array(hyper, np.float64)]


def _step(name, arrays):
    """One step of the op on the arrays, in place."""
    RECORDS[name].function(*[pn.from_numpy(a) for a in arrays])


def _written(name):
    """Positions of what an op changes: all but the gradient and the settings."""
    count = len(RECORDS[name].inputs)
    return [i for i in range(count - 1) if i != 1]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("name", "present", "hyper"), list(_variants()))
def test_update_follows_its_formula(name, present, hyper, dtype):
    rng = np.random.default_rng(0)
    for n in (0, 1, 7, 16, 33, 1000):
        arrays = _arguments(name, present, hyper, n, dtype, rng)
        expected = [a.astype(np.float64) for a in arrays]
        for _ in range(3):
            arrays[1][:] = expected[1][:] = rng.normal(size=n).astype(dtype)
            _step(name, arrays)
            for i, value in zip(_written(name), RECORDS[name].reference(*expected), strict=True):
                expected[i] = np.asarray(value)
        for i in _written(name):
            tolerance = 1e-12 if dtype == np.float64 else 2e-5
            np.testing.assert_allclose(arrays[i], expected[i], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("name", "present", "hyper"), list(_variants()))
def test_update_has_the_same_bits_for_any_number_of_threads_and_any_fma_instruction_set(name, present, hyper, dtype):
    def run(n):
        rng = np.random.default_rng(1)
        arrays = _arguments(name, present, hyper, n, dtype, rng)
        for _ in range(2):
            arrays[1][:] = rng.normal(size=n)
            _step(name, arrays)
        return b"".join(a.tobytes() for a in arrays)

    n = 100_003
    results = {}
    for name_of_set in pn.available_isas():
        pn.set_isa(name_of_set)
        for count in (1, 2, 7):
            pn.set_num_threads(count)
            results[name_of_set, count] = run(n)
    # The base set has no fused multiply-add: its bits are its own, but the same for any number of threads.
    for with_fma in (False, True):
        assert len({r for (used, _), r in results.items() if (used != "base") == with_fma}) <= 1


def test_sgd_is_one_fused_multiply_add_per_element():
    if pn.current_isa() == "base":
        pytest.skip("this instruction set has no fused multiply-add")
    rng = np.random.default_rng(2)
    w, g = rng.normal(size=1000).astype("f4"), rng.normal(size=1000).astype("f4")
    lr = np.float32(0.1)
    # In double the product is exact; rounding twice, from double to single, could differ only on a near tie.
    expected = (w.astype(np.float64) - np.float64(lr) * g.astype(np.float64)).astype(np.float32)
    got = w.copy()
    _step("sgd_", [got, g, np.array([lr, 0.0, 1.0])])
    np.testing.assert_array_equal(got, expected)


def test_sgd_without_decay_leaves_infinite_weights_infinite():
    w = np.array([np.inf, -np.inf, 1.0], np.float32)
    _step("sgd_", [w, np.ones(3, np.float32), np.array([0.5, 0.0, 1.0])])
    np.testing.assert_array_equal(w, [np.inf, -np.inf, 0.5])


def test_update_of_strided_memory_and_of_nothing():
    whole = np.arange(12, dtype=np.float64).reshape(3, 4)
    g = np.ones((4, 3)).T
    _step("sgd_", [whole[:, ::-1], g[:, ::2].repeat(2, axis=1), np.array([1.0, 0.0, 1.0])])
    np.testing.assert_array_equal(whole, np.arange(12).reshape(3, 4) - 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.__setitem__(1, np.zeros(4)), r"momentum_: g is float64 \(4,\) but w is float64 \(3,\)"),
        (lambda a: a.__setitem__(2, np.zeros(3, "f4")), r"momentum_: state 1 is float32 \(3,\) but w is float64"),
        (lambda a: a.__setitem__(3, np.zeros(2)), r"momentum_: the counter must be one float64 value"),
        (lambda a: a.__setitem__(4, np.zeros(2)), r"momentum_: hyper must be .* at least 6 entries"),
    ],
)
def test_update_refuses_what_does_not_fit_before_changing_anything(change, message):
    arrays = [np.ones(3), np.ones(3), np.ones(3), np.array(0.0), np.array([0.1, 0, 1, 0.9, 0, 0])]
    change(arrays)
    with pytest.raises(ValueError, match=message):
        _step("momentum_", arrays)
    np.testing.assert_array_equal(arrays[0], 1)
    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        _step("sgd_", [frozen, np.ones(3), np.array([0.1, 0, 1])])


# ---- the classes ----

CASES = [
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1, "maximize": True}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.5, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.9, "centered": True}),
    ("RMSprop", {"momentum": 0.9, "maximize": True}),
    ("RMSprop", {"centered": True}),
    ("Adam", {}),
    ("Adam", {"betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.3, "amsgrad": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"betas": (0.5, 0.9), "momentum_decay": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
]


def _parameters(dtype=np.float64):
    rng = np.random.default_rng(3)
    return [nn.Parameter(rng.normal(size=s).astype(dtype)) for s in ((3, 4), (5,))]


def _gradients(step):
    rng = np.random.default_rng(100 + step)
    return [rng.normal(size=s) for s in ((3, 4), (5,))]


def _advance(optimizer, params, steps, start=0):
    for step in range(start, start + steps):
        for p, g in zip(params, _gradients(step), strict=True):
            p.grad = pn.tensor(g.astype(p.dtype))
        optimizer.step()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_class_equals_pytorch(name, options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    ours = _parameters()
    theirs = [torch.nn.Parameter(torch.from_numpy(np.array(p.detach()))) for p in ours]
    a = getattr(optim, name)(ours, **options)
    b = getattr(torch.optim, name)(theirs, **options)
    for step in range(6):
        for p, q, g in zip(ours, theirs, _gradients(step), strict=True):
            p.grad, q.grad = pn.tensor(g), torch.from_numpy(g)
        a.step()
        b.step()
        for group in (a.param_groups[0], b.param_groups[0]):
            group["lr"] *= 0.9  # a setting that changes reaches the next step
        for p, q in zip(ours, theirs, strict=True):
            # PyTorch holds NAdam's product of momenta in single precision.
            slack = 1e-9 if name == "NAdam" else 1e-12
            np.testing.assert_allclose(np.asarray(p.detach()), q.detach().numpy(), rtol=slack, atol=slack)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "NAdam"])
def test_defaults_and_argument_order_are_pytorchs(name):
    import inspect

    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    ours = {k: v.default for k, v in inspect.signature(getattr(optim, name)).parameters.items()}
    theirs = {k: v.default for k, v in inspect.signature(getattr(torch.optim, name)).parameters.items() if k in ours}
    order = [k for k in ours if k not in ("maximize", "decoupled_weight_decay")]
    assert order == [k for k in theirs if k in order]
    assert ours == theirs


@pytest.mark.parametrize(("name", "options"), CASES)
def test_state_that_is_saved_and_loaded_goes_on_with_the_same_bits(name, options):
    whole = _parameters(np.float32)
    a = getattr(optim, name)(whole, **options)
    _advance(a, whole, 3)
    rest = [nn.Parameter(np.array(p.detach())) for p in whole]
    b = getattr(optim, name)(rest, lr=123.0)
    b.load_state_dict(copy.deepcopy(a.state_dict()))
    _advance(a, whole, 3, 3)
    _advance(b, rest, 3, 3)
    for p, q in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(np.asarray(p.detach()), np.asarray(q.detach()))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_pytorchs_state_loads(name, options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    ours = _parameters()
    theirs = [torch.nn.Parameter(torch.from_numpy(np.array(p.detach()))) for p in ours]
    a, b = getattr(optim, name)(ours), getattr(torch.optim, name)(theirs, **options)
    for step in range(6):
        for q, g in zip(theirs, _gradients(step), strict=True):
            q.grad = torch.from_numpy(g)
        b.step()
        if step == 2:
            a.load_state_dict(b.state_dict())
            with pn.no_grad():
                for p, q in zip(ours, theirs, strict=True):
                    p.copy_(q.detach().numpy())
    _advance(a, ours, 3, 3)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(p.detach()), q.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_updates_keep_their_objects():
    params = _parameters()
    o = optim.Adam(params)
    _advance(o, params, 1)
    before = [(id(t), np.asarray(t).ctypes.data) for s in o.state.values() for t in s.values()]
    memory = [np.asarray(p.detach()).ctypes.data for p in params]
    _advance(o, params, 2)
    o.load_state_dict(copy.deepcopy(o.state_dict()))
    assert before == [(id(t), np.asarray(t).ctypes.data) for s in o.state.values() for t in s.values()]
    assert memory == [np.asarray(p.detach()).ctypes.data for p in params]


def test_groups_have_their_own_settings_and_none_is_skipped():
    a, b, c = (nn.Parameter(np.ones(2)) for _ in range(3))
    o = optim.SGD([{"params": a, "lr": 1.0}, {"params": [b]}], lr=0.5)
    o.add_param_group({"params": [c], "lr": 0.25})
    for p in (a, b):
        p.grad = pn.ones(2, dtype=np.float64)
    o.step()
    assert [p.detach().tolist()[0] for p in (a, b, c)] == [0.0, 0.5, 1.0]
    o.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0, 0]
    o.zero_grad()
    assert a.grad is None
    assert "group 2: 1 parameters, lr=0.25" in repr(o)


def test_momentum_that_is_switched_on_later():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    p, q = nn.Parameter(np.ones(3)), torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    a, b = optim.SGD([p], lr=0.1), torch.optim.SGD([q], lr=0.1)
    for step in range(4):
        p.grad, q.grad = pn.full((3,), step + 1.0, dtype=np.float64), torch.full((3,), step + 1.0, dtype=torch.float64)
        if step == 2:
            a.param_groups[0]["momentum"] = b.param_groups[0]["momentum"] = 0.9
        a.step()
        b.step()
    np.testing.assert_allclose(np.asarray(p.detach()), q.detach().numpy(), rtol=1e-14)


def test_closure_is_called_and_its_loss_returned():
    p = nn.Parameter(np.array([3.0]))
    o = optim.SGD([p], lr=0.1)

    def closure():
        o.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with pn.no_grad():
        assert o.step(closure).item() == 9
    assert p.item() == pytest.approx(2.4)


def test_what_optimisers_refuse():
    p = nn.Parameter(np.ones(2))
    for make, error, message in (
        (lambda: optim.SGD(p, lr=0.1), TypeError, "iterable of tensors or dicts"),
        (lambda: optim.SGD([]), ValueError, "no parameters"),
        (lambda: optim.SGD([p], lr=-1), ValueError, "SGD: lr must be at least 0, got -1"),
        (lambda: optim.SGD([p], lr=float("nan")), ValueError, "lr must be"),
        (lambda: optim.SGD([p], nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda: optim.Adam([p], betas=(0.9, 1.0)), ValueError, r"betas\[1\] must be at least 0 and below 1, got 1"),
        (lambda: optim.Adam([p, p]), ValueError, "given twice"),
        (lambda: optim.Adam([p * 2]), ValueError, "only leaf tensors"),
        (lambda: optim.Adam([np.ones(2)]), TypeError, "must be tensors, got ndarray"),
        (lambda: optim.Adam([{"params": [p], "momentum": 1}]), ValueError, r"unknown settings \['momentum'\]"),
        (lambda: optim.Adam([{"lr": 1}]), ValueError, "needs the key 'params'"),
        (lambda: optim.Adam([p], betas=(0.9,)), ValueError, r"Adam: betas must be two numbers, got \(0.9,\)"),
        (lambda: optim.Adam([p]).add_param_group([p]), TypeError, "Adam: a parameter group must be a dict, got list"),
        (
            lambda: optim.Adam([p]).load_state_dict({"state": {}}),
            ValueError,
            r"lacks \['param_groups'\]; it has \['state'\]",
        ),
    ):
        with pytest.raises(error, match=message):
            make()
    state = optim.Adam([p]).state_dict()
    with pytest.raises(ValueError, match=r"groups of \[1\] parameters do not fit groups of \[2\]"):
        optim.Adam([p, nn.Parameter(np.ones(1))]).load_state_dict(state)
    state["state"] = {0: {"exp_avg": np.zeros(3)}}
    with pytest.raises(ValueError, match=r"lacks \['step', 'exp_avg_sq'\]"):
        optim.Adam([p]).load_state_dict(state)
    state["state"] = {0: {"step": np.zeros(()), "exp_avg": np.zeros(3), "exp_avg_sq": np.zeros(2)}}
    with pytest.raises(ValueError, match=r"'exp_avg' of parameter 0 is \(3,\), not \(2,\)"):
        optim.Adam([p]).load_state_dict(state)
    state["param_groups"][0]["speed"] = 3
    with pytest.raises(ValueError, match=r"Adam.*: unknown settings \['speed'\]; there are \['lr', "):
        optim.Adam([p]).load_state_dict(state)


# ---- clipping ----


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
def test_clip_grad_norm_is_pytorchs(norm_type):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    for max_norm in (0.5, 1e6):
        ours, theirs = _parameters(), [torch.nn.Parameter(torch.zeros(s)) for s in ((3, 4), (5,))]
        for p, q, g in zip(ours, theirs, _gradients(0), strict=True):
            p.grad, q.grad = pn.tensor(g), torch.from_numpy(g).float()
        a = nn.utils.clip_grad_norm_(ours, max_norm, norm_type)
        b = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
        assert a.item() == pytest.approx(b.item(), rel=1e-5)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(np.asarray(p.grad), q.grad.numpy(), rtol=1e-5)


def test_clip_grad_value_and_vectors():
    p, q = nn.Parameter(np.zeros(3)), nn.Parameter(np.zeros((2, 2)))
    p.grad = pn.tensor(np.array([-2.0, 0.5, 3.0]))
    nn.utils.clip_grad_value_([p, q], 1.0)
    assert p.grad.tolist() == [-1, 0.5, 1]
    p.grad = pn.tensor(np.array([np.nan, 1, 1]))
    with pytest.raises(RuntimeError, match="total norm of the gradients is nan"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_(q, 1.0).item() == 0
    nn.utils.vector_to_parameters(pn.arange(7).double(), [p, q])
    assert nn.utils.parameters_to_vector([p, q]).tolist() == list(range(7))
    with pytest.raises(ValueError, match="7 entries, the vector is"):
        nn.utils.vector_to_parameters(pn.zeros(6), [p, q])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.5),
        lambda p: optim.RMSprop(p, alpha=0.5, momentum=0.5, centered=True),
        lambda p: optim.Adam(p, betas=(0.5, 0.5)),
        lambda p: optim.Adadelta(p, rho=0.5),
        lambda p: optim.Adamax(p, betas=(0.5, 0.5)),
        lambda p: optim.NAdam(p, betas=(0.5, 0.5)),
    ],
)
def test_means_of_gradients_that_are_gone_end_at_zero(make, dtype):
    """And not at a subnormal number, which rounding would keep for ever and which makes each later step slow."""
    p = nn.Parameter(np.ones(40, dtype))
    optimizer = make([p])
    tiny = np.finfo(dtype).tiny
    for step in range(1200):
        p.grad = pn.tensor(np.linspace(-1, 1, 40).astype(dtype) * (step == 0))
        optimizer.step()
        for value in optimizer.state[p].values():
            if getattr(value, "shape", None) == p.shape:
                size = np.abs(value.numpy())
                assert not ((size > 0) & (size < tiny)).any()
    means = [v.numpy() for k, v in optimizer.state[p].items() if getattr(v, "shape", None) == p.shape]
    assert any((m == 0).all() for m in means)
    assert np.isfinite(p.detach().numpy()).all()


def test_a_square_without_eps_stays_as_small_as_it_is():
    """Then it alone keeps the division from being one by zero."""
    p = nn.Parameter(np.ones(3, np.float32))
    optimizer = optim.Adam([p], lr=0.1, eps=0.0)
    p.grad = pn.tensor(np.full(3, 1e-20, np.float32))
    optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), 0.9, rtol=0.05)
