"""Blocks of the batch: a program keeps what passes between convolutions and pooling in them, with the same bits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from capturing import eager_and_compiled

import pyneural as pn
import pyneural.functional as F
from pyneural import nn, optim


def operands(compiled, op):
    """For each call of an op whether each operand lies in blocks, inputs first."""
    (program,) = [p.program for p in compiled.programs]
    calls = [call for step in program.listing() for call in step["calls"] if call["op"] == op]
    return [[text.endswith("in blocks") for text in (*call["inputs"], *call["outputs"])] for call in calls]


def training(make, dtype=np.float32, shape=(32, 3, 14, 15), **passes):
    rng = np.random.default_rng(4)

    def world():
        model = make()
        if dtype == np.float64:
            model.double()
        optimizer = optim.Adam(model.parameters(), lr=1e-2)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x).flatten(1), y)
            loss.backward()
            optimizer.step()
            return loss

        return SimpleNamespace(step=step, state=lambda: list(model.parameters()))

    inputs = [(rng.normal(size=shape).astype(dtype), rng.integers(0, 2, shape[0])) for _ in range(4)]
    return eager_and_compiled(world, inputs, **passes)


MODELS = {
    "lenet": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 7, 3), nn.Tanh(), nn.MaxPool2d(2)
    ),
    "padded": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 5, stride=2, padding=2, groups=2), nn.Sigmoid(),
        nn.Conv2d(6, 2, 3)
    ),
    "transposed": lambda: nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2), nn.ConvTranspose2d(5, 4, 4, stride=3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)
    ),
    "overlapping windows": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(4, 3, 3), nn.MaxPool2d(3, 2)
    ),
    "windows with gaps": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, 3), nn.Conv2d(4, 3, 2), nn.AdaptiveMaxPool2d(2)
    ),
    "large windows": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=(8, 9)), nn.MaxPool2d(17), nn.Conv2d(4, 3, 1), nn.Upsample(scale_factor=20),
        nn.Conv2d(3, 2, 3), nn.MaxPool2d(18, 3, padding=2)
    ),
    "pooled from outside": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2),
        nn.Upsample(scale_factor=2), nn.MaxPool2d(3, 2), nn.Conv2d(3, 2, 1)
    ),
    "spread windows": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, 4, dilation=3), nn.Conv2d(4, 3, 2)),
    "only indices would": lambda: nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.AvgPool2d(2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 2)
    ),
    "with norms": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.BatchNorm2d(3),
        nn.Conv2d(3, 3, 2), nn.BatchNorm2d(3), nn.AvgPool2d(2)
    ),
    "norms of short planes": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(4), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 3, 2), nn.Tanh()
    ),
    "dropout": lambda: nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.BatchNorm2d(5), nn.Dropout(0.3), nn.Conv2d(5, 3, 3), nn.Dropout2d(0.3),
        nn.Dropout(0.2), nn.MaxPool2d(2), nn.AlphaDropout(0.1), nn.ConvTranspose2d(3, 2, 2), nn.Dropout(1.0)
    ),
    "resampled and padded": lambda: nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bicubic"), nn.Conv2d(3, 4, 3), nn.Upsample(size=(9, 8), mode="bilinear"),
        nn.ReflectionPad2d(2), nn.ConvTranspose2d(4, 3, 3), nn.Upsample(scale_factor=1.5), nn.ReplicationPad2d(1)
    ),
    "dropout on the way out": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Dropout(0.4), nn.AvgPool2d(2), nn.Dropout(0.3), nn.Conv2d(4, 3, 2), nn.Dropout(0.2)
    ),
    "frozen": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.MaxPool2d(2), nn.Conv2d(4, 3, 2).requires_grad_(False)
    ),
}  # fmt: skip


NOTHING = {"only indices would", "dropout on the way out"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
def test_same_bits(name, dtype):
    compiled = training(MODELS[name], dtype)
    found = any(any(where) for op in ("conv", "max_pool") for where in operands(compiled, op))
    assert found == (name not in NOTHING)


@pytest.mark.parametrize("shape", [(32, 3, 40), (16, 3, 6, 7, 8)])
def test_same_bits_in_one_and_three_dimensions(shape):
    d = len(shape) - 2
    conv, pool = getattr(nn, f"Conv{d}d"), getattr(nn, f"MaxPool{d}d")
    compiled = training(lambda: nn.Sequential(conv(3, 4, 3, padding=1), nn.ReLU(), pool(2), conv(4, 3, 2)), shape=shape)
    assert operands(compiled, "max_pool") == [[True, True, True]]


def test_what_lies_in_blocks():
    compiled = training(MODELS["lenet"])
    # The images are the caller's; the last maxima go to a loss in their usual order, and their gradient comes from it.
    assert operands(compiled, "conv") == [[False, False, False, True], [True, False, False, True]]
    assert operands(compiled, "max_pool") == [[True, True, True], [True, False, True]]
    assert operands(compiled, "max_pool_backward") == [[False, True, True], [True, True, True]]
    assert operands(compiled, "conv_transpose") == [[True, False, False, True]]
    assert operands(compiled, "conv_weight") == [[True, True, False, False], [False, True, False, False]]
    assert operands(compiled, "relu_backward") == [[True, True, True]]


def test_norms_dropout_and_resampling_lie_in_blocks():
    """A norm's sums, and a mask of bits, have an order that both layouts can follow."""
    compiled = training(
        lambda: nn.Sequential(
            nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Dropout(0.3), nn.Upsample(scale_factor=2, mode="bicubic"),
            nn.ReflectionPad2d(1), nn.ConvTranspose2d(5, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 2)
        )
    )  # fmt: skip
    x, weight, statistics = True, False, False
    assert operands(compiled, "batch_norm") == [[x, weight, weight, x, statistics, statistics]] * 2
    assert all(
        where == [True, True, *[False] * 5, True, False, False] for where in operands(compiled, "batch_norm_backward")
    )
    assert operands(compiled, "dropout_mask") == [[False, True]]
    assert operands(compiled, "dropout") == [[True] * 3] * 2
    for op in ("resample", "resample_backward", "extend", "extend_backward"):
        assert operands(compiled, op) == [[True, True]]
    assert operands(compiled, "sum") == []  # the bias's gradient comes with the weight's


def test_norms_of_given_statistics_lie_in_blocks():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 2)).eval()

    def make():
        return SimpleNamespace(step=lambda x: layers(x).sum(), state=lambda: [])

    x = np.random.default_rng(0).normal(size=(16, 3, 14, 15)).astype(np.float32)
    with pn.no_grad():
        compiled = eager_and_compiled(make, [(x,)] * 3)
    assert operands(compiled, "batch_norm_fixed") == [[True, False, False, False, False, True]]


def test_nothing_lies_in_blocks():
    for compiled in (
        training(MODELS["lenet"], block=False),
        training(MODELS["lenet"], shape=(15, 3, 14, 15)),  # less than a block
        training(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU()), shape=(32, 3, 4)),
    ):
        for op in ("conv", "max_pool", "conv_weight", "relu"):
            assert not any(any(where) for where in operands(compiled, op))


def test_what_leaves_the_step_does_not():
    layer = nn.Conv2d(3, 4, 3)

    def make():
        def step(x):
            y = layer(x)
            z, places = F.max_pool2d(y, 2, return_indices=True)
            return F.relu(y), layer(z[:, :3]), places

        return SimpleNamespace(step=step, state=lambda: list(layer.parameters()))

    rng = np.random.default_rng(0)
    compiled = eager_and_compiled(make, [(rng.normal(size=(16, 3, 8, 9)).astype(np.float32),) for _ in range(3)])
    # relu's result is handed out, and so is not in blocks; hence neither is what it reads, place by place.
    assert operands(compiled, "max_pool") == [[False, False, False]]


@pytest.mark.parametrize("kernel", [2, 3, 17])
@pytest.mark.parametrize("unpool", [False, True])
def test_indices_of_maxima(kernel, unpool):
    """They are made of places that then do not lie in blocks; the gradient of the maxima reads those as well."""
    before, after = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 1)

    def make():
        def step(x):
            y, indices = F.max_pool2d(before(x), kernel, min(kernel, 2), return_indices=True)
            z = F.max_unpool2d(y, indices, kernel, min(kernel, 2), output_size=(18, 18)) if unpool else y
            return indices, pn.autodiff.gradients(after(z).square().sum(), [*before.parameters(), *after.parameters()])

        return SimpleNamespace(step=step, state=lambda: [])

    rng = np.random.default_rng(0)
    compiled = eager_and_compiled(make, [(rng.normal(size=(32, 3, 20, 20)).astype(np.float32),) for _ in range(3)])
    assert operands(compiled, "max_pool") == [[True, not unpool, False]]
    assert operands(compiled, "max_pool_backward") == [[not unpool, False, True]]


def test_sums_that_are_not_finite():
    """The gradient of the weight is then made anew, from operands in their usual order."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1))

    def make():
        def step(x, scale):
            layers.zero_grad()
            (layers(x) * scale).sum().backward()
            return [p.grad for p in layers.parameters()]

        return SimpleNamespace(step=step, state=lambda: [])

    x = np.random.default_rng(0).normal(size=(16, 3, 6, 5)).astype(np.float32)
    scale = np.ones((16, 2, 6, 5), np.float32)
    scale[3, 1, 0, 0] = np.inf
    compiled = eager_and_compiled(make, [(x, scale)] * 3)
    assert any(where[0] for where in operands(compiled, "conv_weight"))


@pytest.mark.parametrize("threads", [1, 3])
def test_same_bits_for_any_number_of_threads(threads):
    before = pn.get_num_threads()
    pn.set_num_threads(threads)
    try:
        training(MODELS["lenet"])
    finally:
        pn.set_num_threads(before)
