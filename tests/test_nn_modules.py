"""Module, parameters, containers, state dicts, layers and initialisation."""

from __future__ import annotations

import copy
import pickle
import sys
from collections import OrderedDict

import numpy as np
import pytest

import pyneural as pn
from pyneural import nn


def _torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed to compare with")


def _net(nn=nn):
    """In pyneural, or from PyTorch's modules."""
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Sequential(nn.Dropout(), nn.Linear(16, 3, bias=False)))


class _Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.again = self.first
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.register_buffer("mean", pn.zeros(2))
        self.register_buffer("scratch", pn.zeros(1), persistent=False)

    def forward(self, x):
        return self.again(self.first(x)) * self.scale + self.mean


REFUSED = [
    (lambda: nn.Module()(1), NotImplementedError, r"Module defines no forward\(\)"),
    (lambda: delattr(nn.Linear(2, 2), "scale"), AttributeError, "Linear has no attribute 'scale'"),
    (
        lambda: nn.Linear(2, 2).register_parameter("a", pn.ones(2)),
        TypeError,
        "'a' must be a Parameter or None, got Tensor",
    ),
    (lambda: nn.Linear(2, 2).register_buffer("a", 1.5), TypeError, "'a' must be a Tensor or None, got float"),
    (lambda: nn.Linear(2, 2).add_module("a", "b"), TypeError, "'a' must be a Module or None, got str"),
    (lambda: Early(), AttributeError, r"Early: call super\(\).__init__\(\) first"),
    (lambda: nn.Linear(2, 2).get_parameter("scale"), AttributeError, "Linear has no parameter 'scale'"),
    (lambda: nn.BatchNorm1d(2).get_buffer("scale"), AttributeError, "BatchNorm1d has no buffer 'scale'"),
    (
        lambda: setattr(nn.BatchNorm1d(2), "running_mean", 1),
        TypeError,
        "'running_mean' is a buffer and must be assigned",
    ),
    (
        lambda: setattr(nn.Sequential(nn.ReLU()), "0", 1),
        TypeError,
        "'0' is a module and must be assigned a Module or None",
    ),
    (
        lambda: nn.BatchNorm1d(2).load_state_dict(
            {**nn.BatchNorm1d(2).state_dict(), "num_batches_tracked": np.array(1.5)}
        ),
        TypeError,
        "load_state_dict: 'num_batches_tracked' is float64 and does not fit the model's int64",
    ),
    (
        lambda: nn.Sequential(OrderedDict(a=nn.ReLU())).insert(0, nn.ReLU()),
        ValueError,
        "insert: the entries have names",
    ),
    (lambda: nn.ModuleDict().pop("a"), KeyError, "'a'"),
    (lambda: nn.ModuleDict().__delitem__("first"), KeyError, "'first'"),
    (lambda: nn.ParameterDict().__delitem__("first"), KeyError, "'first'"),
    (lambda: nn.Hardtanh(1.0, -1.0), ValueError, "Hardtanh: min_val 1.0 is above max_val -1.0"),
    (lambda: nn.Softshrink(-0.5), ValueError, "Softshrink: lambd must be at least 0, got -0.5"),
    (
        lambda: nn.Softmax2d()(pn.ones(2, 3)),
        ValueError,
        r"Softmax2d: x must be \(N, C, H, W\) or \(C, H, W\), got \(2, 3\)",
    ),
    (lambda: nn.MultiMarginLoss(p=3), ValueError, "MultiMarginLoss: p must be 1 or 2, got 3"),
    (lambda: nn.TripletMarginLoss(margin=0), ValueError, "TripletMarginLoss: margin must be above 0, got 0"),
    (
        lambda: nn.ConvTranspose2d(1, 1, 3, padding="same"),
        ValueError,
        "ConvTranspose2d: padding is 'same' but must be int",
    ),
    (
        lambda: nn.ConvTranspose2d(1, 1, 3)(pn.ones(1, 1, 4, 4), output_size=(6, 6, 6)),
        ValueError,
        r"ConvTranspose2d: output_size is \(6, 6, 6\) but must have 2 entries",
    ),
    (lambda: nn.MSELoss(reduction="average"), ValueError, "MSELoss: reduction must be one of .*; got 'average'"),
    (
        lambda: nn.Transformer(8, 2, 1, 1)(pn.ones(3, 2, 8), pn.ones(3, 2, 7)),
        ValueError,
        r"Transformer: src \(3, 2, 8\) and tgt \(3, 2, 7\) must have last size 8",
    ),
    (
        lambda: nn.Transformer(8, 2, 1, 1)(pn.ones(3, 2, 8), pn.ones(3, 4, 8)),
        ValueError,
        r"Transformer: src \(3, 2, 8\) and tgt \(3, 4, 8\) must have as many sequences \(batch_first=False\)",
    ),
    (lambda: nn.init.calculate_gain("swish"), ValueError, "calculate_gain: unknown nonlinearity 'swish'; one of"),
    (lambda: nn.init.xavier_normal_(pn.ones(3)), ValueError, r"fan-in and fan-out need at least 2 dim.* is \(3,\)"),
    (lambda: nn.init.dirac_(pn.ones(3, 2)), ValueError, r"a convolution weight has 3 to 5 dimensions, .* is \(3, 2\)"),
    (lambda: nn.init.eye_(pn.ones(3)), ValueError, r"eye_: the tensor must have 2 dimensions, it is \(3,\)"),
    (lambda: nn.init.dirac_(pn.ones(3, 2, 2), 2), ValueError, "dirac_: 2 groups do not divide the 3 output channels"),
    (
        lambda: nn.init.kaiming_normal_(pn.ones(2, 2), mode="fan"),
        ValueError,
        "mode must be 'fan_in' or 'fan_out', got 'fan'",
    ),
    (
        lambda: nn.init.orthogonal_(pn.ones(3)),
        ValueError,
        r"orthogonal_: the tensor must have at least 2 .* it is \(3,\)",
    ),
    (lambda: nn.init.sparse_(pn.ones(3), 0.5), ValueError, r"sparse_: the tensor must have 2 dimensions, it is \(3,\)"),
    (lambda: nn.init.sparse_(pn.ones(3, 2), 1.5), ValueError, "sparse_: sparsity must lie between 0 and 1, got 1.5"),
]


class Early(nn.Module):
    """Registers a buffer too early."""

    def __init__(self):
        self.register_buffer("a", pn.ones(1))


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_names_and_order_are_pytorchs():
    m, t = _net(), _net(_torch().nn)
    assert [n for n, _ in m.named_parameters()] == [n for n, _ in t.named_parameters()]
    assert [n for n, _ in m.named_modules()] == [n for n, _ in t.named_modules()]
    assert list(m.state_dict()) == list(t.state_dict())
    assert [tuple(p.shape) for p in m.parameters()] == [tuple(p.shape) for p in t.parameters()]
    assert repr(m) == repr(t).replace("inplace=False)", "inplace=False)")


def test_shared_modules_come_once_but_are_saved_under_both_names():
    m = _Shared()
    assert [n for n, _ in m.named_parameters()] == ["scale", "first.weight", "first.bias"]
    assert len(list(m.named_parameters(remove_duplicate=False))) == 5
    assert list(m.state_dict()) == ["scale", "mean", "first.weight", "first.bias", "again.weight", "again.bias"]
    assert [n for n, _ in m.named_buffers()] == ["mean", "scratch"]
    assert m.get_parameter("again.weight") is m.first.weight
    with pytest.raises(AttributeError, match="no sub-module 'third'"):
        m.get_submodule("third.x")


def test_attributes():
    m = _Shared()
    with pytest.raises(TypeError, match="'scale' is a parameter, so it must be assigned a Parameter or None"):
        m.scale = pn.ones(2)
    m.scale = None
    assert m.scale is None
    assert "scale" not in dict(m.named_parameters())
    m.scale = nn.Parameter(np.zeros(2, np.float32))
    m.mean = pn.ones(2)
    assert m.state_dict()["mean"].tolist() == [1, 1]
    del m.first
    assert [n for n, _ in m.named_modules()] == ["", "again"]
    with pytest.raises(AttributeError):
        _ = m.first
    with pytest.raises(KeyError, match="exists already"):
        m.register_buffer("forward", pn.ones(1))
    with pytest.raises(KeyError, match="without dots"):
        m.add_module("a.b", nn.ReLU())

    class Late(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) before assigning 'layer'"):
        Late()


def test_state_dict_round_trip_and_memory():
    m, other = _net(), _net()
    state = m.state_dict()
    with pn.no_grad():
        m[0].bias.fill_(7)
    assert state["0.bias"].tolist() == [7] * 16, "a state dict shares the model's memory, as in PyTorch"
    memory = [np.asarray(p.detach()).ctypes.data for p in other.parameters()]
    missing, unexpected = other.load_state_dict({k: np.array(v) for k, v in state.items()})
    assert (missing, unexpected) == ([], [])
    assert memory == [np.asarray(p.detach()).ctypes.data for p in other.parameters()]
    for a, b in zip(m.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(np.asarray(a.detach()), np.asarray(b.detach()))
    m.load_state_dict(m.state_dict())


def test_pytorchs_state_dict_loads_as_it_is():
    torch = _torch()
    m = _net()
    t = _net(torch.nn).eval()
    m.eval().load_state_dict(t.state_dict())
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(m(pn.tensor(x)).detach()), t(torch.from_numpy(x)).detach().numpy(), atol=1e-6)
    m.load_state_dict(t.bfloat16().state_dict())
    np.testing.assert_array_equal(np.asarray(m[0].weight.detach()), t[0].weight.detach().float().numpy())


def test_a_state_that_does_not_fit_changes_nothing():
    m = _net()
    before = {k: np.array(v) for k, v in m.state_dict().items()}
    good = {k: v + 1 for k, v in before.items()}
    bad = dict(good, extra=np.ones(1))
    bad["0.weight"] = np.ones((16, 9))
    del bad["2.1.weight"]
    words = r"'0.weight' has shape \(16, 9\) but the model's is \(16, 8\); missing: '2.1.weight'; unexpected: 'extra'"
    with pytest.raises(ValueError, match=words):
        m.load_state_dict(bad)
    with pytest.raises(ValueError, match=r"\(16, 9\)"):
        m.load_state_dict(bad, strict=False)
    with pytest.raises(TypeError, match=r"'0.bias': expected an array or tensor of numbers"):
        m.load_state_dict({**good, "0.bias": ["a"]})
    for k, v in m.state_dict().items():
        np.testing.assert_array_equal(np.asarray(v), before[k])
    missing, unexpected = m.load_state_dict({"0.bias": good["0.bias"], "new": 1}, strict=False)
    assert missing == ["0.weight", "2.1.weight"]
    assert unexpected == ["new"]
    np.testing.assert_array_equal(np.asarray(m[0].bias.detach()), good["0.bias"])


def test_modes_apply_and_gradients():
    m = _net()
    assert m.eval() is m
    assert not any(x.training for x in m.modules())
    assert m.train()[2][0].training
    seen = []
    m.apply(lambda x: seen.append(type(x).__name__))
    assert seen == ["Linear", "ReLU", "Dropout", "Linear", "Sequential", "Sequential"]
    m(pn.ones(2, 8)).sum().backward()
    m.zero_grad(set_to_none=False)
    assert not np.asarray(m[0].weight.grad).any()
    m.zero_grad()
    assert m[0].weight.grad is None
    m.requires_grad_(False)
    assert not m(pn.ones(2, 8)).requires_grad


def test_dtype_changes_in_place():
    m = _Shared()
    weight = m.first.weight
    m(pn.ones(1, 2)).sum().backward()
    o = pn.optim.SGD(m.parameters(), lr=0.5)
    assert m.double() is m
    assert m.first.weight is weight
    assert weight.dtype == weight.grad.dtype == m.mean.dtype == np.float64
    before = np.array(weight.detach())
    o.step()
    assert (np.asarray(weight.detach()) != before).any()
    assert m.float().first.weight.dtype == np.float32
    with pytest.raises(TypeError, match="must be float32 or float64, got int64"):
        m.to(np.int64)


def test_copies_are_apart_and_pickles_come_back():
    m = _Shared()
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert other.first is other.again
        assert isinstance(other.first.weight, nn.Parameter)
        np.testing.assert_array_equal(np.asarray(other.first.weight.detach()), np.asarray(m.first.weight.detach()))
        with pn.no_grad():
            other.first.weight.zero_()
        assert np.asarray(m.first.weight.detach()).any()
        assert other(pn.ones(1, 2)).requires_grad


def test_hooks():
    m, seen = nn.Linear(2, 2), []
    with m.register_forward_hook(lambda module, args, out: seen.append(out.shape)):
        m(pn.ones(3, 2))
    handle = m.register_forward_pre_hook(lambda module, args: args[0] * 0)
    second = m.register_forward_hook(lambda module, args, out: out - module.bias)
    assert not np.asarray(m(pn.ones(3, 2)).detach()).any()
    handle.remove()
    second.remove()
    m(pn.ones(3, 2))
    assert seen == [(3, 2)]


def test_linear_is_pytorchs():
    torch = _torch()
    a, b = nn.Linear(5, 4), torch.nn.Linear(5, 4)
    a.load_state_dict(b.state_dict())
    for shape in ((5,), (3, 5), (2, 3, 5), (0, 5)):
        x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        y, z = a(pn.tensor(x)), b(torch.from_numpy(x))
        assert y.shape == tuple(z.shape)
        np.testing.assert_allclose(np.asarray(y.detach()), z.detach().numpy(), atol=1e-6)
    bound = 1 / np.sqrt(1000)
    big = nn.Linear(1000, 300)
    for p in big.parameters():
        w = np.asarray(p.detach())
        assert np.abs(w).max() <= bound
        assert abs(w.std() - bound / np.sqrt(3)) < 0.1 * bound
    assert repr(nn.Linear(3, 2, bias=False)) == "Linear(in_features=3, out_features=2, bias=False)"
    assert nn.Linear(3, 2, dtype=np.float64).weight.dtype == np.float64
    with pytest.raises(ValueError, match="Linear: in_features must be an integer of at least 0, got -1"):
        nn.Linear(-1, 2)


def test_an_error_says_which_module_it_comes_from():
    m = nn.Sequential(nn.Linear(8, 16), nn.Sequential(nn.ReLU(), nn.Linear(15, 3)))
    with pytest.raises(ValueError, match=r"linear.*16.*15") as caught:
        m(pn.ones(2, 8))
    notes = caught.value.__notes__
    assert notes == ["in module '1.1': Linear(in_features=15, out_features=3, bias=True)"]
    if sys.version_info >= (3, 11):
        import traceback

        assert notes[0] in "".join(traceback.format_exception(caught.value))


def test_flatten_unflatten_identity_bilinear():
    torch = _torch()
    x = np.random.default_rng(2).normal(size=(2, 3, 4)).astype(np.float32)
    assert nn.Flatten()(pn.tensor(x)).shape == (2, 12)
    assert nn.Unflatten(1, (3, -1))(pn.ones(2, 12)).shape == (2, 3, 4)
    t = pn.tensor(x)
    assert nn.Identity(54, unused=True)(t) is t
    a, b = nn.Bilinear(3, 4, 5), torch.nn.Bilinear(3, 4, 5)
    a.load_state_dict(b.state_dict())
    u, v = x[:, :, 0], x[:, 0, :]
    got, want = a(pn.tensor(u), pn.tensor(v)), b(torch.from_numpy(u.copy()), torch.from_numpy(v.copy()))
    np.testing.assert_allclose(np.asarray(got.detach()), want.detach().numpy(), atol=1e-6)


def test_dropout_modules():
    m = nn.Dropout(0.5)
    x = pn.ones(100)
    assert set(m(x).tolist()) == {0, 2}
    assert m.eval()(x) is x
    assert repr(m) == "Dropout(p=0.5, inplace=False)"
    with pytest.raises(ValueError, match="Dropout2d: p must be a probability"):
        nn.Dropout2d(-0.1)


def test_containers():
    s = nn.Sequential({"a": nn.Linear(1, 2), "b": nn.ReLU()})
    assert list(s.state_dict()) == ["a.weight", "a.bias"]
    s = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    assert len(s[:2]) == 2
    assert s[-1].out_features == 3
    del s[1]
    assert list(s._modules) == ["0", "1"]
    s.insert(1, nn.Tanh())
    s.append(nn.Sigmoid()).extend([nn.ReLU()])
    assert [type(m).__name__ for m in s] == ["Linear", "Tanh", "Linear", "Sigmoid", "ReLU"]
    with pytest.raises(IndexError, match="index 5 is out of range for 5 entries"):
        s[5]
    with pytest.raises(TypeError, match="entry 0 must be a Module, got function"):
        nn.Sequential(lambda x: x)
    items = nn.ModuleList([nn.Linear(1, 1)]).append(nn.ReLU())
    items.insert(0, nn.Tanh())
    del items[1]
    assert [type(m).__name__ for m in items] == ["Tanh", "ReLU"]
    named = nn.ModuleDict({"x": nn.Linear(1, 1), "y": nn.ReLU()})
    assert "x" in named
    assert named.pop("y")(pn.ones(1)).item() == 1
    assert list(named.keys()) == ["x"]
    weights = nn.ParameterList([np.ones(2, np.float32), pn.zeros(3)])
    assert [n for n, _ in weights.named_parameters()] == ["0", "1"]
    assert all(p.requires_grad for p in weights)
    table = nn.ParameterDict({"w": pn.ones(2)})
    assert list(table.state_dict()) == ["w"]


def test_parameter():
    data = np.zeros(3, np.float32)
    p = nn.Parameter(data)
    assert isinstance(p, pn.Tensor)
    assert p.requires_grad
    assert p.is_leaf
    data[0] = 5
    assert p.tolist() == [5, 0, 0]
    assert not nn.Parameter(pn.ones(2), requires_grad=False).requires_grad
    assert "Parameter containing:" in repr(p)
    with pytest.raises(TypeError, match="only float tensors can be trained, got int64"):
        nn.Parameter(np.zeros(3, np.int64))
    assert not isinstance(p * 2, nn.Parameter)


# ---- initialisation ----


def test_gains_are_pytorchs():
    torch = _torch()
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert nn.init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))
    with pytest.raises(ValueError, match="unknown nonlinearity 'swish'"):
        nn.init.calculate_gain("swish")


@pytest.mark.parametrize(
    ("fill", "std", "bound"),
    [
        (lambda w: nn.init.uniform_(w, -2, 3), 5 / np.sqrt(12), 3),
        (lambda w: nn.init.normal_(w, 0, 2), 2, None),
        (lambda w: nn.init.xavier_uniform_(w, 2.0), 2 * np.sqrt(2 / (300 + 800)), 2 * np.sqrt(6 / 1100)),
        (lambda w: nn.init.xavier_normal_(w), np.sqrt(2 / 1100), None),
        (lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"), np.sqrt(2 / 800), np.sqrt(6 / 800)),
        (lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), np.sqrt(2 / 300), None),
        (lambda w: nn.init.kaiming_normal_(w, a=1.0), np.sqrt(1 / 800), None),
        (lambda w: nn.init.trunc_normal_(w, std=1.0, a=-1.0, b=1.0), 0.5396, 1.0),
    ],
)
def test_random_initialisation_has_the_right_spread(fill, std, bound):
    pn.manual_seed(0)
    w = nn.Parameter(np.zeros((300, 800), np.float32))
    assert fill(w) is w
    values = np.array(w.detach())
    assert values.std() == pytest.approx(std, rel=0.01)
    if bound is not None:
        assert np.abs(values).max() <= np.float32(bound)
        assert np.abs(values).max() > 0.99 * bound
    pn.manual_seed(0)
    np.testing.assert_array_equal(np.asarray(fill(w).detach()), values)
    pn.manual_seed(1)
    assert (np.asarray(fill(w).detach()) != values).any()
    own = [np.array(nn.init.normal_(w, generator=pn.Generator(5)).detach()) for _ in range(2)]
    np.testing.assert_array_equal(*own)


def test_fixed_initialisation():
    torch = _torch()
    w = pn.zeros(3, 4)
    assert nn.init.ones_(w).tolist() == np.ones((3, 4)).tolist()
    assert nn.init.constant_(w, 2.5).tolist() == np.full((3, 4), 2.5).tolist()
    assert nn.init.eye_(w).tolist() == np.eye(3, 4).tolist()
    assert not np.asarray(nn.init.zeros_(w)).any()
    for shape, groups in (((4, 2, 3), 2), ((3, 5, 3, 2), 1), ((2, 2, 1, 2, 3), 1)):
        want = torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
        np.testing.assert_array_equal(np.asarray(nn.init.dirac_(pn.ones(shape), groups)), want)
    with pytest.raises(ValueError, match="3 to 5 dimensions"):
        nn.init.dirac_(w)
    with pytest.raises(ValueError, match=r"at least 2 dimensions, the tensor is \(3,\)"):
        nn.init.xavier_normal_(pn.zeros(3))


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (4, 2, 3)])
def test_orthogonal(shape):
    w = np.asarray(nn.init.orthogonal_(pn.zeros(shape, dtype=np.float64), gain=2.0)).reshape(shape[0], -1)
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_sparse():
    w = np.asarray(nn.init.sparse_(pn.ones(10, 50), 0.33, std=2.0))
    assert ((w == 0).sum(0) == 4).all()
    assert w[w != 0].std() == pytest.approx(2, rel=0.1)


def test_bounds_that_leave_nothing_are_refused():
    with pytest.raises(ValueError, match="almost nothing"):
        nn.init.trunc_normal_(pn.zeros(3), mean=0.0, std=1.0, a=50.0, b=60.0)
    with pytest.raises(ValueError, match="a must be below b"):
        nn.init.trunc_normal_(pn.zeros(3), a=1.0, b=1.0)


def test_devices_and_the_functional_modules_place():
    import pyneural.nn.functional as at_pytorchs_place

    assert nn.functional is at_pytorchs_place
    assert at_pytorchs_place.relu is pn.functional.relu
    model = nn.Linear(2, 2)
    assert model.to("cpu") is model
    assert model.cpu() is model
    with pytest.raises(ValueError, match="no device 'cuda'"):
        model.to("cuda")
    with pytest.raises(TypeError, match="got None"):
        model.to(None)


# ---- what state_dict and load_state_dict take ----


def test_state_dict_with_a_prefix_and_the_tensors_themselves():
    layer = nn.BatchNorm1d(3)
    state = layer.state_dict(prefix="norm.", keep_vars=True)
    assert list(state) == [f"norm.{n}" for n in layer.state_dict()]
    assert state["norm.weight"] is layer.weight
    assert not layer.state_dict()["weight"].requires_grad


def test_assigning_a_state_takes_its_memory_and_dtype():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    parameters, state = list(model.parameters()), {k: v.numpy().copy() for k, v in model.state_dict().items()}
    state["0.weight"] = np.arange(6.0).reshape(2, 3)
    state["1.running_mean"] = np.ones(2, np.float32)
    assert model.load_state_dict(state, assign=True) == ([], [])
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert model[0].weight.dtype == np.float64
    state["0.weight"][:] = 7
    state["1.running_mean"][:] = 5
    assert (model[0].weight.detach().numpy() == 7).all()
    assert (model[1].running_mean.numpy() == 5).all()
    before = {k: v.numpy().tobytes() for k, v in model.state_dict().items()}
    for bad, error in (({"0.weight": np.ones((2, 3), int)}, TypeError), ({"0.weight": np.ones((3, 2))}, ValueError)):
        with pytest.raises(error, match=r"load_state_dict.*'0\.weight'"):
            model.load_state_dict({**state, "0.bias": np.full(2, 9.0), **bad}, assign=True)
        assert {k: v.numpy().tobytes() for k, v in model.state_dict().items()} == before
