"""Layers that take the size of their input from the first x."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import pyneural as pn
from pyneural import nn, optim

#: Lazy class, the arguments after the size, and shapes of x: one that fits, then some that do not.
LAYERS = [
    ("LazyLinear", (4,), (2, 3, 5), [()]),
    *[(f"LazyConv{d}d", (4, 3), (2, 6, *[7] * d), [(2, 6, *[7] * (d + 1)), (2, *[7] * (d - 1))]) for d in (1, 2, 3)],
    *[(f"LazyConvTranspose{d}d", (4, 3), (2, 6, *[4] * d), [(2, *[4] * (d - 1))]) for d in (1, 2, 3)],
    *[(f"LazyBatchNorm{d}d", (), (3, 5, *[2] * d), [(3, 5, *[2] * (d + 1))]) for d in (1, 2, 3)],
    *[(f"LazyInstanceNorm{d}d", (), (3, 5, *[2] * d), [(3, 5, *[2] * (d + 1))]) for d in (1, 2, 3)],
]  # fmt: skip
IDS = [layer[0] for layer in LAYERS]


def bits(module: nn.Module) -> dict[str, bytes]:
    return {name: t.numpy().tobytes() for name, t in module.state_dict().items()}


def values(*shape: int) -> pn.Tensor:
    return pn.from_numpy(np.random.default_rng(1).normal(size=shape).astype(np.float32))


def network(lazy: bool) -> nn.Sequential:
    if lazy:
        return nn.Sequential(
            nn.LazyConv2d(6, 3, padding=1), nn.LazyBatchNorm2d(), nn.ReLU(), nn.LazyConvTranspose2d(4, 2, groups=2),
            nn.LazyInstanceNorm2d(), nn.Flatten(), nn.LazyLinear(3),
        )  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2, groups=2),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True), nn.Flatten(), nn.Linear(4 * 36, 3),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "shape", "bad"), LAYERS, ids=IDS)
def test_the_first_call_makes_the_ordinary_layer(name, arguments, shape, bad):
    layer, ordinary = getattr(nn, name)(*arguments), getattr(nn, name.removeprefix("Lazy"))
    assert isinstance(layer, ordinary)
    assert sum(p.numel() for p in layer.parameters() if p.ndim > 1) == 0
    before, parameters = repr(layer), list(layer.parameters())
    for wrong in bad:
        with pytest.raises(ValueError, match=f"{name}: .*its shape is"):
            layer(values(*wrong))
        assert repr(layer) == before
        assert type(layer) is getattr(nn, name)
    pn.manual_seed(3)
    y = layer(values(*shape))
    assert type(layer) is ordinary
    pn.manual_seed(3)
    size = shape[-1] if name == "LazyLinear" else shape[1]
    stats = {"affine": True, "track_running_stats": True} if "Norm" in name else {}
    other = ordinary(size, *arguments, **stats)
    assert other(values(*shape)).numpy().tobytes() == y.numpy().tobytes()
    assert repr(layer) == repr(other)
    assert bits(layer) == bits(other)
    assert all(a is b for a, b in zip(layer.parameters(), parameters, strict=True))


def test_groups_must_divide_the_channels_that_come():
    layer = nn.LazyConv2d(6, 3, groups=3)
    with pytest.raises(ValueError, match=r"LazyConv2d: x of shape \(2, 4, 5, 5\) has 4 channels, but .* groups, 3"):
        layer(values(2, 4, 5, 5))
    with pytest.raises(TypeError, match="LazyConv2d: call it with x"):
        layer()
    assert type(layer) is nn.LazyConv2d
    assert layer(values(2, 9, 5, 5)).shape == (2, 6, 3, 3)
    with pytest.raises(ValueError, match="groups is 4 but must divide out_channels"):
        nn.LazyConv2d(6, 3, groups=4)
    with pytest.raises(ValueError, match="in_channels must be an integer of at least 1"):
        nn.Conv2d(0, 6, 3)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam"])
def test_an_optimiser_made_before_trains_the_same(optimizer):
    x, found = values(5, 2, 5, 5), []
    for lazy in (True, False):
        model = network(lazy)
        made_before = getattr(optim, optimizer)(model.parameters(), lr=0.01)
        pn.manual_seed(7)
        for layer in model:
            if not lazy and hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        if lazy:
            with pn.no_grad():
                model.eval()(x)  # draws the parameters and moves no running statistics
            model.train()
        step = pn.compile(lambda x, model=model, o=made_before: descend(model, o, x))
        for _ in range(4):
            step(x)
        found.append(bits(model))
    assert found[0] == found[1]


def descend(model, optimizer, x):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    return loss


def test_a_state_brings_the_sizes():
    pn.manual_seed(0)
    trained = network(False)
    trained(values(5, 2, 5, 5))
    model = network(True)
    parameters, state = list(model.parameters()), pn.get_rng_state().tolist()
    assert model.load_state_dict(trained.state_dict()) == ([], [])
    assert bits(model) == bits(trained)
    assert [type(m) for m in model] == [type(m) for m in trained]
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert pn.get_rng_state().tolist() == state  # nothing was drawn


def test_a_state_that_does_not_fit_leaves_them_lazy():
    state = network(False).state_dict()
    model = network(True)
    before, types = bits(model), [type(m) for m in model]
    for bad, text in (
        ({**state, "more": np.ones(1)}, "unexpected: 'more'"),
        ({**state, "3.bias": np.ones(5)}, r"'3.bias' has shape \(5,\) but the model's is \(4,\)"),
        ({k: v for k, v in state.items() if k != "6.weight"}, "missing: '6.weight'"),
    ):
        with pytest.raises(ValueError, match=text):
            model.load_state_dict(bad)
        assert (bits(model), [type(m) for m in model]) == (before, types)
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("6.")}, strict=False)
    assert [type(m).__name__.startswith("Lazy") for m in model] == [False] * 6 + [True]


def test_copies_and_dtypes():
    model = network(True).double()
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    x = values(3, 2, 5, 5).double()
    expected = None
    for m in (model, *copies):
        pn.manual_seed(2)
        y = m(x)
        assert y.dtype == np.float64
        expected = expected or y.numpy().tobytes()
        assert y.numpy().tobytes() == expected


def test_hooks_and_modes_stay():
    layer, seen = nn.LazyLinear(2), []
    layer.register_forward_hook(lambda module, args, y: seen.append(type(module)))
    layer.eval()
    layer(x=values(3, 4))
    layer(values(3, 4))
    assert seen == [nn.Linear, nn.Linear]
    assert not layer.training


def test_the_first_call_is_no_part_of_a_compiled_step():
    model = network(True)
    step = pn.compile(lambda x: model(x))
    with pytest.raises(RuntimeError, match=r"LazyConv2d: the first call makes the parameters .* call the model once"):
        step(values(5, 2, 5, 5))
    assert type(model[0]) is nn.LazyConv2d
    model.eval()(values(5, 2, 5, 5))
    assert step(values(5, 2, 5, 5)).shape == (5, 3)


def test_beside_torch():
    torch = pytest.importorskip("torch")
    for name, arguments, shape, _ in LAYERS:
        layer, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
        theirs(torch.zeros(shape))
        assert layer.load_state_dict(theirs.state_dict()) == ([], [])
        x = values(*shape)
        np.testing.assert_allclose(layer(x).detach().numpy(), theirs(torch.from_numpy(x.numpy())).detach().numpy(),
                                   rtol=1e-4, atol=1e-5)  # fmt: skip
        assert type(layer).__name__ == type(theirs).__name__
