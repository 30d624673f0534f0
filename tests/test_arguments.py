"""Arguments of a wrong kind are refused with a message that names the function and the argument."""

from __future__ import annotations

import numpy as np
import pytest

import pyneural as pn
from pyneural import functional as F
from pyneural import learn, models, nn, optim, plots
from pyneural.optim import lr_scheduler

X = pn.ones(4, 3)
IMAGES = pn.ones(2, 3, 8, 8)


def parameters():
    return list(nn.Linear(3, 2).parameters())


def sgd():
    return optim.SGD(parameters(), lr=0.1)


def trainer():
    model = nn.Linear(3, 2)
    return pn.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))


def step_lr(size):
    return lr_scheduler.StepLR(sgd(), size)


WRONG_KIND = [
    (lambda: pn.zeros("3"), "zeros: size is '3' but must be an integer or a sequence of them"),
    (lambda: pn.ones((2, None)), r"ones: size is \(2, None\) but must be"),
    (lambda: pn.full((2, 2), "a"), "full: fill_value is 'a' but must be a number or bool"),
    (lambda: pn.arange("a"), "arange: end is 'a' but must be a number"),
    (lambda: pn.linspace(0, 1, 2.5), r"linspace: steps is 2\.5 but must be an integer"),
    (lambda: pn.eye("a"), r"eye: size is \('a', 'a'\) but must be"),
    (lambda: pn.rand("2"), "rand: size is '2' but must be"),
    (lambda: pn.randn(2.5), r"randn: size is 2\.5 but must be"),
    (lambda: pn.randint("a", (3,)), "randint: high is 'a' but must be an integer"),
    (lambda: pn.randperm(None), "randperm: n is None but must be an integer"),
    (lambda: pn.manual_seed(1.5), r"manual_seed: seed is 1\.5 but must be an integer"),
    (lambda: X.view("a"), "view: shape is 'a' but must be"),
    (lambda: pn.reshape(X, "a"), "reshape: shape is 'a' but must be"),
    (lambda: pn.permute(X, ("a", 0)), "permute: dims is .*'a'.* but must be"),
    (lambda: X.expand(None, 3), r"expand: sizes is \(None, 3\) but must be"),
    (lambda: pn.transpose(X, 0, "b"), "transpose: dim is 'b' but must be an integer"),
    (lambda: pn.select(X, 0, 0.5), r"select: index is 0\.5 but must be an integer"),
    (lambda: pn.split(X, "a"), "split: split_size_or_sections is 'a' but must be an integer"),
    (lambda: pn.split(X, [2, "a"]), r"split: split_size_or_sections is \[2, 'a'\] but must be"),
    (lambda: pn.chunk(X, "a"), "chunk: chunks is 'a' but must be an integer"),
    (lambda: pn.roll(X, "a"), "roll: shifts is 'a' but must be an integer"),
    (lambda: pn.tile(X, "a"), "tile: dims is 'a' but must be"),
    (lambda: X.repeat("a"), "repeat: sizes is 'a' but must be"),
    (lambda: F.pad(IMAGES, "a"), "pad: pad is 'a' but must be"),
    (lambda: pn.sum(X, dim="a"), "sum: dim is 'a' but must be"),
    (lambda: pn.std(X, dim=[0, "a"]), r"std: dim is \[0, 'a'\] but must be"),
    (lambda: F.softmax(X, "a"), "softmax: dim is 'a' but must be a number"),
    (lambda: pn.clip(X, "a", 1), "clip: min is 'a' but must be a number"),
    (lambda: pn.clip(X, 0, "b"), "clip: max is 'b' but must be a number"),
    (lambda: F.leaky_relu(X, "a"), "leaky_relu: negative_slope is 'a' but must be a number"),
    (lambda: F.elu(X, "a"), "elu: alpha is 'a' but must be a number"),
    (lambda: F.softplus(X, "a"), "softplus: beta is 'a' but must be a number"),
    (lambda: F.dropout(X, "a"), "dropout: p is 'a' but must be a number"),
    (lambda: nn.Dropout(None), "Dropout: p is None but must be a number"),
    (lambda: nn.MultiheadAttention(4, 2, "a"), "MultiheadAttention: dropout is 'a' but must be a number"),
    (lambda: nn.GRU(3, 4, dropout="a"), "GRU: dropout is 'a' but must be a number"),
    (lambda: nn.GATConv(3, 4, dropout="a"), "GATConv: dropout is 'a' but must be a number"),
    (lambda: F.adaptive_avg_pool2d(IMAGES, "a"), "adaptive_avg_pool2d: output_size is 'a' but must be an integer"),
    (lambda: F.avg_pool2d(IMAGES, 2, divisor_override=0.5), r"avg_pool2d: divisor_override is 0\.5 but must be"),
    (lambda: F.interpolate(IMAGES, size="a"), "interpolate: size is 'a' but must be an integer"),
    (lambda: F.interpolate(IMAGES, scale_factor="a"), "interpolate: scale_factor is 'a' but must be a number"),
    (lambda: F.layer_norm(X, "a"), "normalization: normalized_shape is 'a' but must be"),
    (lambda: F.group_norm(IMAGES, "a"), "group_norm: num_groups is 'a' but must be an integer"),
    (lambda: F.local_response_norm(IMAGES, "a"), "local_response_norm: size is 'a' but must be an integer"),
    (lambda: F.embedding([0], X, padding_idx="a"), "embedding: padding_idx is 'a' but must be an integer"),
    (lambda: F.pixel_shuffle(IMAGES, "a"), "pixel_shuffle: upscale_factor is 'a' but must be an integer"),
    (lambda: optim.SGD(parameters(), lr="a"), "SGD: lr is 'a' but must be a number"),
    (lambda: optim.SGD(parameters(), lr=None), "SGD: lr is None but must be a number"),
    (lambda: optim.SGD(nn.Linear(3, 2), lr=0.1), r"SGD: params must be .*, got Linear; take its parameters\(\)"),
    (lambda: optim.SGD(3, lr=0.1), "SGD: params must be an iterable of tensors or dicts, got int"),
    (lambda: sgd().step(3), r"SGD\.step: closure must be a function, got int"),
    (lambda: step_lr("a"), "StepLR: step_size is 'a' but must be an integer"),
    (lambda: lr_scheduler.LambdaLR(sgd(), 3), "LambdaLR: lr_lambda is 3 but must be a function of the epoch"),
    (lambda: pn.EarlyStopping(patience="a"), "EarlyStopping: patience is 'a' but must be an integer"),
    (lambda: plots.lines([1, 2], [3, 4]), "lines: curves must map names to values, got list"),
    (lambda: pn.compile(3), "compile: takes a function, got int"),
    (lambda: learn.svc(np.eye(2), [0, 1], kernel="rbf"), "svc: kernel must be a Kernel, .* got 'rbf'"),
    (lambda: learn.svc(np.eye(2), [0, 1], C="a"), "svc: C is 'a' but must be a number"),
    (lambda: pn.load(3), "load: f must be a path or an open binary file, got int"),
    (lambda: pn.save(X, None), "save: f must be a path or an open binary file, got NoneType"),
    (lambda: trainer().fit(X, X[:, :2], epochs="a"), "fit: epochs is 'a' but must be an integer"),
]

WRONG_VALUE = [
    (lambda: pn.zeros(-1), r"zeros: size is \(-1,\) but cannot have negative entries"),
    (lambda: pn.arange(0, 10, 0), "arange: step must not be 0"),
    (lambda: pn.linspace(0, 1, -3), "linspace: steps is -3 but must be at least 0"),
    (lambda: pn.eye(-2), r"eye: size is \(-2, -2\) but cannot have"),
    (lambda: X.repeat(-1), r"repeat: sizes are \(-1,\), but each of the 2 dimensions of x, of shape \(4, 3\)"),
    (lambda: models.MLP((3, 4), dropout=3), "MLP: dropout must be a probability between 0 and 1, got 3"),
    (lambda: models.MLP(3), "MLP: sizes must be at least 2 integers above 0, .* got 3"),
    (lambda: optim.Adam(parameters(), betas=0.9), r"Adam: betas must be two numbers, got 0\.9"),
    (lambda: learn.svc(np.eye(2), [0, 1], C=0), "svc: C must be above 0, got 0"),
    (lambda: learn.svr(np.eye(2), [0.0, 1.0], C=-1), "svr: C must be above 0, got -1"),
]


@pytest.mark.parametrize(("call", "message"), WRONG_KIND, ids=[m for _, m in WRONG_KIND])
def test_wrong_kind(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), WRONG_VALUE, ids=[m for _, m in WRONG_VALUE])
def test_wrong_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_numbers_of_numpy_are_numbers():
    assert pn.zeros(np.int64(2), np.int32(3)).shape == (2, 3)
    assert pn.reshape(X, np.array([3, 4])).shape == (3, 4)
    assert pn.sum(X, dim=np.int64(0)).shape == (3,)
    assert F.leaky_relu(X, np.float32(0.1)).shape == (4, 3)
    assert optim.SGD(parameters(), lr=np.float64(0.1)).param_groups[0]["lr"] == 0.1
