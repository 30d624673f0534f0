"""Functional forms: values against NumPy and PyTorch, gradients against PyTorch and differences, edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pyneural as pn
from pyneural import functional as F
from pyneural import nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)) * 3
CLASSES = np.array([0, 5, 2, 2])


def _torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed to compare with")


def _same_as_torch(call, *arrays, differentiate=None, slack=1e-10):
    """call(functional, as_tensor, *tensors) with both libraries: the value and the gradients of its weighted sum."""
    torch = _torch()
    which = range(len(arrays)) if differentiate is None else differentiate
    ours = [pn.tensor(a, requires_grad=i in which) for i, a in enumerate(arrays)]
    theirs = [torch.from_numpy(np.array(a)).requires_grad_(i in which) for i, a in enumerate(arrays)]
    y = call(F, pn.tensor, *ours)
    z = call(torch.nn.functional, lambda a: torch.from_numpy(np.array(a)), *theirs)
    np.testing.assert_allclose(np.asarray(y.detach()), z.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert y.shape == tuple(z.shape)
    weights = np.random.default_rng(1).normal(size=y.shape)
    (y * pn.tensor(weights)).sum().backward()
    (z * torch.from_numpy(np.array(weights))).sum().backward()
    for a, b, i in zip(ours, theirs, range(len(arrays)), strict=True):
        if i in which and b.grad is not None:
            got = np.zeros(a.shape) if a.grad is None else np.asarray(a.grad)
            np.testing.assert_allclose(got, b.grad.numpy(), rtol=slack, atol=slack)


# ---- activations ----

ACTIVATIONS = {
    "relu": (lambda F, x: F.relu(x), lambda x: np.maximum(x, 0)),
    "leaky_relu": (lambda F, x: F.leaky_relu(x, 0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    "relu6": (lambda F, x: F.relu6(x), lambda x: np.clip(x, 0, 6)),
    "elu": (lambda F, x: F.elu(x, 1.3), lambda x: np.where(x > 0, x, 1.3 * np.expm1(np.minimum(x, 0)))),
    "selu": (
        lambda F, x: F.selu(x),
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    ),
    "celu": (lambda F, x: F.celu(x, 2.0), lambda x: np.where(x > 0, x, 2.0 * np.expm1(np.minimum(x, 0) / 2.0))),
    "gelu": (
        lambda F, x: F.gelu(x),
        lambda x: x * 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))),
    ),
    "gelu-tanh": (
        lambda F, x: F.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "silu": (lambda F, x: F.silu(x), lambda x: x / (1 + np.exp(-x))),
    "mish": (lambda F, x: F.mish(x), lambda x: x * np.tanh(np.logaddexp(x, 0))),
    "sigmoid": (lambda F, x: F.sigmoid(x), lambda x: 1 / (1 + np.exp(-x))),
    "logsigmoid": (lambda F, x: F.logsigmoid(x), lambda x: -np.logaddexp(-x, 0)),
    "softplus": (lambda F, x: F.softplus(x, 2.0, 10.0), lambda x: np.where(2 * x > 10, x, np.logaddexp(2 * x, 0) / 2)),
    "tanh": (lambda F, x: F.tanh(x), np.tanh),
    "hardtanh": (lambda F, x: F.hardtanh(x, -2.0, 1.0), lambda x: np.clip(x, -2, 1)),
    "hardsigmoid": (lambda F, x: F.hardsigmoid(x), lambda x: np.clip(x + 3, 0, 6) / 6),
    "hardswish": (lambda F, x: F.hardswish(x), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "softsign": (lambda F, x: F.softsign(x), lambda x: x / (1 + np.abs(x))),
    "tanhshrink": (lambda F, x: F.tanhshrink(x), lambda x: x - np.tanh(x)),
    "hardshrink": (lambda F, x: F.hardshrink(x, 0.7), lambda x: np.where(np.abs(x) <= 0.7, 0, x)),
    "softshrink": (lambda F, x: F.softshrink(x, 0.7), lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.7, 0)),
    "threshold": (lambda F, x: F.threshold(x, 0.3, -1.5), lambda x: np.where(x > 0.3, x, -1.5)),
    "glu": (lambda F, x: F.glu(x, 1), lambda x: x[:, :3] / (1 + np.exp(-x[:, 3:]))),
    "softmax": (lambda F, x: F.softmax(x, 1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    "softmin": (lambda F, x: F.softmin(x, 0), lambda x: np.exp(-x) / np.exp(-x).sum(0)),
    "log_softmax": (lambda F, x: F.log_softmax(x, -1), lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))),
    "normalize": (lambda F, x: F.normalize(x, dim=0), lambda x: x / np.sqrt((x**2).sum(0))),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_formula(name):
    ours, formula = ACTIVATIONS[name]
    for dtype, tolerance in ((np.float64, 1e-14), (np.float32, 1e-6)):
        y = ours(F, pn.tensor(X.astype(dtype)))
        assert y.dtype == dtype
        np.testing.assert_allclose(np.asarray(y), formula(X), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_and_its_gradient_are_pytorchs(name):
    # PyTorch's derivative of hardsigmoid holds 1/6 in single precision.
    _same_as_torch(lambda F, t, x: ACTIVATIONS[name][0](F, x), X, slack=1e-7 if name == "hardsigmoid" else 1e-10)


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in ("normalize", "glu")])
def test_activation_at_kinks_infinities_and_nan(name):
    kinks = [0.0, 0.7, -0.7, 1.0, -2.0, 0.3, 6.0, 3.0, -3.0]
    far = [1000.0, -1000.0, 50.0, -50.0]
    with np.errstate(all="ignore"):
        slack = 1e-7 if name == "hardsigmoid" else 1e-10
        _same_as_torch(lambda F, t, x: ACTIVATIONS[name][0](F, x), np.array([kinks + far]), slack=slack)
    x = pn.tensor(np.array([[np.nan, 1.0]]))
    y = np.asarray(ACTIVATIONS[name][0](F, x))
    assert np.isnan(y[0, 0]), "NaN must stay visible"


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in ("relu6", "hardtanh", "hardsigmoid", "hardswish")])
def test_activation_can_be_differentiated_twice(name):
    pn.autodiff.gradgradcheck(lambda x: ACTIVATIONS[name][0](F, x), np.random.default_rng(5).normal(size=(2, 6)))


def test_prelu():
    _same_as_torch(lambda F, t, x, w: F.prelu(x, w), X, np.array([0.3]))
    _same_as_torch(lambda F, t, x, w: F.prelu(x, w), X, RNG.normal(size=6))
    _same_as_torch(lambda F, t, x, w: F.prelu(x, w), RNG.normal(size=(2, 3, 4)), RNG.normal(size=3))
    with pytest.raises(ValueError, match=r"prelu: weight has 5 entries but x has 6 channels \(x is \(4, 6\)\)"):
        F.prelu(pn.tensor(X), pn.zeros(5))


def test_rrelu():
    x = pn.tensor(X)
    np.testing.assert_allclose(np.asarray(F.rrelu(x)), np.where(X > 0, X, X * (1 / 8 + 1 / 3) / 2))
    slopes = (np.asarray(F.rrelu(x, 0.2, 0.4, training=True)) / X)[X < 0]
    assert slopes.min() >= 0.2
    assert slopes.max() <= 0.4
    assert len(np.unique(slopes)) > 1


# ---- losses ----

T = RNG.normal(size=(4, 6)) * 3
P = np.exp(X) / np.exp(X).sum(1, keepdims=True)
SIGNS = np.array([1.0, -1.0, -1.0, 1.0])
HOT = (RNG.random((4, 6)) > 0.5).astype(float)
WEIGHT = RNG.random(6) + 0.1
IMAGES = RNG.normal(size=(2, 3, 4, 5))
PIXELS = RNG.integers(0, 3, (2, 4, 5))

LOSSES = {
    "mse": lambda F, t, r: ([X, T], lambda x, y: F.mse_loss(x, y, reduction=r)),
    "l1": lambda F, t, r: ([X, T], lambda x, y: F.l1_loss(x, y, reduction=r)),
    "l1-weight": lambda F, t, r: ([X, T], lambda x, y: F.l1_loss(x, y, reduction=r, weight=t(np.abs(X)))),
    "mse-weight": lambda F, t, r: ([X, T], lambda x, y: F.mse_loss(x, y, reduction=r, weight=t(np.abs(X)))),
    "smooth_l1": lambda F, t, r: ([X, T], lambda x, y: F.smooth_l1_loss(x, y, reduction=r, beta=2.0)),
    "smooth_l1-0": lambda F, t, r: ([X, T], lambda x, y: F.smooth_l1_loss(x, y, reduction=r, beta=0.0)),
    "huber": lambda F, t, r: ([X, T], lambda x, y: F.huber_loss(x, y, reduction=r, delta=1.5)),
    "bce": lambda F, t, r: ([P, HOT], lambda x, y: F.binary_cross_entropy(x, y, reduction=r)),
    "bce-weight": lambda F, t, r: ([P, HOT], lambda x, y: F.binary_cross_entropy(x, y, t(WEIGHT), reduction=r)),
    "bce-logits": lambda F, t, r: ([X, HOT], lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction=r)),
    "bce-logits-weights": lambda F, t, r: (
        [X, HOT],
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, t(WEIGHT), reduction=r, pos_weight=t(WEIGHT * 3)),
    ),
    "nll": lambda F, t, r: ([X], lambda x: F.nll_loss(x, t(CLASSES), reduction=r)),
    "nll-weight-ignore": lambda F, t, r: (
        [X],
        lambda x: F.nll_loss(x, t(CLASSES), t(WEIGHT), ignore_index=2, reduction=r),
    ),
    "ce": lambda F, t, r: ([X], lambda x: F.cross_entropy(x, t(CLASSES), reduction=r)),
    "ce-one": lambda F, t, r: ([X[0]], lambda x: F.cross_entropy(x, t(np.array(3)), reduction=r)),
    "ce-weight": lambda F, t, r: ([X], lambda x: F.cross_entropy(x, t(CLASSES), t(WEIGHT), reduction=r)),
    "ce-smooth": lambda F, t, r: ([X], lambda x: F.cross_entropy(x, t(CLASSES), label_smoothing=0.2, reduction=r)),
    "ce-all": lambda F, t, r: (
        [X],
        lambda x: F.cross_entropy(x, t(CLASSES), t(WEIGHT), ignore_index=2, label_smoothing=0.3, reduction=r),
    ),
    "ce-ignore": lambda F, t, r: (
        [X],
        lambda x: F.cross_entropy(x, t(np.array([0, -100, 2, -100])), label_smoothing=0.1, reduction=r),
    ),
    "ce-images": lambda F, t, r: (
        [IMAGES],
        lambda x: F.cross_entropy(x, t(PIXELS), t(WEIGHT[:3]), ignore_index=1, label_smoothing=0.1, reduction=r),
    ),
    "ce-soft": lambda F, t, r: (
        [X, P],
        lambda x, y: F.cross_entropy(x, y, t(WEIGHT), label_smoothing=0.1, reduction=r),
    ),
    "kl": lambda F, t, r: ([X, P * HOT], lambda x, y: F.kl_div(x, y, reduction=r)),
    "kl-log": lambda F, t, r: ([X, T], lambda x, y: F.kl_div(x, y, reduction=r, log_target=True)),
    "poisson": lambda F, t, r: ([X, np.abs(T)], lambda x, y: F.poisson_nll_loss(x, y, reduction=r)),
    "poisson-full": lambda F, t, r: (
        [np.abs(X), np.abs(T)],
        lambda x, y: F.poisson_nll_loss(x, y, log_input=False, full=True, reduction=r),
    ),
    "gauss": lambda F, t, r: ([X, T, P], lambda x, y, v: F.gaussian_nll_loss(x, y, v, reduction=r)),
    "gauss-full": lambda F, t, r: (
        [X, T, np.array([0.5, 1e-9, 0.0, 2.0])],
        lambda x, y, v: F.gaussian_nll_loss(x, y, v, full=True, eps=1e-3, reduction=r),
    ),
    "hinge": lambda F, t, r: (
        [X, np.sign(T)],
        lambda x, y: F.hinge_embedding_loss(x, y, margin=0.5, reduction=r),
    ),
    "multi_margin": lambda F, t, r: ([X], lambda x: F.multi_margin_loss(x, t(CLASSES), reduction=r)),
    "multi_margin-2": lambda F, t, r: (
        [X],
        lambda x: F.multi_margin_loss(x, t(CLASSES), p=2, margin=0.5, weight=t(WEIGHT), reduction=r),
    ),
    "cosine": lambda F, t, r: (
        [X, T],
        lambda x, y: F.cosine_embedding_loss(x, y, t(SIGNS), margin=0.1, reduction=r),
    ),
    "ranking": lambda F, t, r: (
        [X, T],
        lambda x, y: F.margin_ranking_loss(x, y, t(np.sign(X + T)), margin=0.5, reduction=r),
    ),
    "soft_margin": lambda F, t, r: ([X, np.sign(T)], lambda x, y: F.soft_margin_loss(x, y, reduction=r)),
    "multilabel": lambda F, t, r: (
        [X, HOT],
        lambda x, y: F.multilabel_soft_margin_loss(x, y, t(WEIGHT), reduction=r),
    ),
    "triplet": lambda F, t, r: (
        [X, T, P],
        lambda a, p, n: F.triplet_margin_loss(a, p, n, margin=2.0, p=1.5, swap=True, reduction=r),
    ),
    "triplet-distance": lambda F, t, r: (
        [X, T, P],
        lambda a, p, n: F.triplet_margin_with_distance_loss(
            a, p, n, distance_function=lambda u, v: ((u - v) ** 2).sum(-1), margin=2.0, reduction=r
        ),
    ),
}


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # PyTorch's, for kl_div
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_its_gradient_are_pytorchs(name, reduction):
    arrays, _ = LOSSES[name](F, pn.tensor, reduction)
    # Where PyTorch refuses to differentiate by the target, or gives NaN where it is 0 (kl), only x is a variable.
    first_only = [0] if name in ("hinge", "soft_margin", "kl") else None
    _same_as_torch(lambda F, t, *xs: LOSSES[name](F, t, reduction)[1](*xs), *arrays, differentiate=first_only)


def test_losses_by_hand_without_pytorch():
    x = pn.tensor(np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]))
    logs = np.array([3 - np.log(np.exp([1, 2, 3]).sum()), -np.log(3)])
    assert F.cross_entropy(x, pn.tensor([2, 0])).item() == pytest.approx(-logs.mean(), abs=1e-14)
    assert F.cross_entropy(x, pn.tensor([2, 0]), reduction="sum").item() == pytest.approx(-logs.sum(), abs=1e-14)
    weighted = -(2 * logs[0] + 0.5 * logs[1]) / 2.5
    assert F.cross_entropy(x, pn.tensor([2, 0]), np.array([0.5, 1, 2])).item() == pytest.approx(weighted, abs=1e-14)
    assert F.cross_entropy(x, pn.tensor([2, -100])).item() == pytest.approx(-logs[0], abs=1e-14)
    assert F.mse_loss(x, np.zeros((2, 3))).item() == pytest.approx(17 / 6)
    assert F.l1_loss(x, np.zeros((2, 3)), reduction="sum").item() == 9
    p = pn.tensor(np.array([0.0, 1.0, 0.25]))
    expected = [100.0, 0.0, -np.log(0.25)]
    np.testing.assert_allclose(np.asarray(F.binary_cross_entropy(p, np.ones(3), reduction="none")), expected)
    kl = F.kl_div(pn.tensor(np.log([[0.5, 0.5]])), np.array([[1.0, 0.0]]), reduction="batchmean")
    assert kl.item() == pytest.approx(np.log(2))
    weighted = F.mse_loss(x, np.zeros((2, 3)), weight=np.array([1.0, 0.0, 3.0])).item()
    assert weighted == pytest.approx((1 + 27 + 1 + 3) / 8)


def test_losses_stay_finite_far_out():
    x = pn.tensor(np.array([1000.0, -1000.0, 1000.0, -1000.0]), requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, np.array([1.0, 0.0, 0.0, 1.0]), reduction="none")
    assert loss.tolist() == [0, 0, 1000, 1000]
    loss.sum().backward()
    np.testing.assert_allclose(np.asarray(x.grad), [0, 0, 1, -1])
    x = pn.tensor(np.array([[1000.0, -1000.0, 0.0]]), requires_grad=True)
    loss = F.cross_entropy(x, pn.tensor([1]))
    assert loss.item() == 2000
    loss.backward()
    np.testing.assert_allclose(np.asarray(x.grad), [[1, -1, 0]])
    p = pn.tensor(np.array([0.0, 1.0]), requires_grad=True)
    F.binary_cross_entropy(p, np.array([1.0, 0.0])).backward()
    assert np.isfinite(np.asarray(p.grad)).all()


def test_an_ignored_element_counts_for_nothing_even_if_it_is_infinite():
    x = pn.tensor(np.array([[-np.inf, 0.0], [0.0, 0.0]]), requires_grad=True)
    loss = F.nll_loss(x, pn.tensor([0, 1]), ignore_index=0)
    assert loss.item() == 0
    assert math.isnan(F.cross_entropy(pn.zeros(2, 3), pn.tensor([-100, -100])).item())


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize(
    ("shape", "target", "ignore"),
    [
        ((5, 3), [0, -100, 2, 1, 1], -100),
        ((5, 3), [0, 2, 2, 1, 2], 2),
        ((3,), 1, -100),
        ((3,), -100, -100),
        ((0, 3), np.zeros(0, int), -100),
        ((2, 3, 4), [[0, 1, 2, 0], [-1, 2, 2, 1]], -1),
        ((2, 3, 2, 2), [[[0, 1], [2, 1]], [[2, 2], [-100, 0]]], -100),
    ],
)
def test_class_losses_of_every_layout_are_pytorchs(loss, shape, target, ignore, reduction):
    x = np.random.default_rng(0).normal(size=shape) * 3
    _same_as_torch(
        lambda F, t, a: getattr(F, loss)(a, t(np.array(target)), ignore_index=ignore, reduction=reduction), x
    )


def test_cross_entropy_of_infinite_logits_is_pytorchs():
    torch = pytest.importorskip("torch")
    inf, nan = np.inf, np.nan
    rows = np.array(
        [[nan, 1, 2], [inf, 1, 2], [-inf, 1, 2], [-inf, -inf, -inf], [inf, inf, 0], [1e30, 0, -1e30]], np.float32
    )
    for target in range(3):
        classes = np.full(len(rows), target)
        x, tx = pn.tensor(rows, requires_grad=True), torch.tensor(rows, requires_grad=True)
        y = F.cross_entropy(x, classes, reduction="none")
        ty = torch.nn.functional.cross_entropy(tx, torch.tensor(classes), reduction="none")
        y.sum().backward()
        ty.sum().backward()
        np.testing.assert_allclose(np.asarray(y.detach()), ty.detach().numpy(), rtol=1e-6)
        np.testing.assert_allclose(np.asarray(x.grad), tx.grad.numpy(), rtol=1e-6)


def test_a_class_number_out_of_range_is_named_with_its_place():
    x = pn.zeros(2, 3, 4)
    target = np.zeros((2, 4), int)
    target[1, 2] = 7
    for loss in (F.cross_entropy, F.nll_loss):
        for options in ({}, {"weight": np.ones(3)}):
            with pytest.raises(IndexError, match=rf"^{loss.__name__}: target 7 is out of range for 3 .* \(1, 2\)\)"):
                loss(x, target, **options)
    with pytest.raises(IndexError, match="cross_entropy: target 7 is"):
        F.cross_entropy(x, target, label_smoothing=0.1)


def test_targets_take_the_inputs_dtype():
    x = pn.tensor(X.astype(np.float32), requires_grad=True)
    for loss in (F.mse_loss(x, T), F.cross_entropy(x, P), F.cross_entropy(x, CLASSES, WEIGHT), F.huber_loss(x, T)):
        assert loss.dtype == np.float32
    assert F.cross_entropy(x, CLASSES.astype(np.uint8)).item() == F.cross_entropy(x, CLASSES).item()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.cross_entropy(x, np.array([0, 5])), IndexError, "target 5 is out of range for 3 classes .at 1"),
        (lambda x: F.cross_entropy(x, np.array([-1, 0])), IndexError, "cross_entropy: target -1 is out of range for 3"),
        (lambda x: F.nll_loss(x, np.array([0, 3]), ignore_index=1), IndexError, "nll_loss: target 3 is out of range"),
        (lambda x: F.multi_margin_loss(x, np.array([0, 3])), IndexError, "multi_margin_loss: target 3"),
        (lambda x: F.cross_entropy(x, np.array([0, 1, 2])), ValueError, r"input is \(2, 3\), so .* \(2,\), got \(3,\)"),
        (lambda x: F.cross_entropy(x, np.zeros((2, 3), int)), ValueError, "class probabilities"),
        (lambda x: F.cross_entropy(x, np.zeros(2)), ValueError, r"input's shape \(2, 3\), got \(2,\)"),
        (lambda x: F.nll_loss(x, np.zeros(2)), TypeError, "class numbers must be integers, target has dtype float64"),
        (lambda x: F.cross_entropy(x, np.array([0, 1]), np.ones(2)), ValueError, r"one entry per class, \(3,\)"),
        (lambda x: F.cross_entropy(x, np.array([0, 1]), label_smoothing=2), ValueError, "label_smoothing"),
        (
            lambda x: F.cross_entropy(x, np.array([0, 1]), reduction="avg"),
            ValueError,
            "one of mean, sum, none; got 'avg'",
        ),
        (lambda x: F.mse_loss(x, np.zeros((2, 1))), ValueError, r"mse_loss: input is \(2, 3\) but target is \(2, 1\)"),
        (lambda x: F.huber_loss(x, x, delta=0), ValueError, "delta must be above 0"),
        (lambda x: F.gaussian_nll_loss(x, x, -np.ones((2, 3))), ValueError, "negative"),
        (lambda x: F.gaussian_nll_loss(x, x, np.ones((3, 2))), ValueError, r"var \(3, 2\) does not fit input \(2, 3\)"),
        (lambda x: F.multi_margin_loss(x, np.array([0, 1]), p=3), ValueError, "p must be 1 or 2"),
        (lambda x: F.triplet_margin_loss(x, x, x[:1]), ValueError, "must have one shape"),
        (lambda x: F.glu(x, 1), ValueError, "even length"),
        (lambda x: F.hardtanh(x, 1, -1), ValueError, "above max_val"),
        (lambda x: F.softshrink(x, -1), ValueError, "lambd"),
        (lambda x: F.dropout(x, 1.5), ValueError, "p must be a probability between 0 and 1, got 1.5"),
        (lambda x: F.linear(x, pn.zeros(4, 8)), ValueError, "linear.*3.*8"),
        (lambda x: F.bilinear(x, x, pn.zeros(4, 3, 2)), ValueError, r"do not fit weight \(4, 3, 2\)"),
        (lambda x: F.bilinear(x, pn.zeros(5, 3), pn.zeros(4, 3, 3)), ValueError, r"x1 \(2, 3\) and x2 \(5, 3\) differ"),
        (lambda x: F.smooth_l1_loss(x, x, beta=-1), ValueError, "smooth_l1_loss: beta must be at least 0, got -1"),
        (lambda x: F.cross_entropy(x[0, 0], 0), ValueError, r"input must be \(C\), \(N, C\) or .* got a scalar"),
        (lambda x: F.multi_margin_loss(x[None], [0]), ValueError, r"input must be \(N, C\) or \(C\), got \(1, 2, 3\)"),
        (
            lambda x: F.cosine_embedding_loss(x, x, np.ones(3)),
            ValueError,
            r"inputs must be \(N, D\) with a target \(N\), or \(D\) with \(\); got \(2, 3\), \(2, 3\) and \(3,\)",
        ),
        (lambda x: F.triplet_margin_loss(x, x, x, margin=0), ValueError, "margin must be above 0, got 0"),
        (lambda x: F.rrelu(x, 0.5, 0.1), ValueError, "rrelu: lower 0.5 is above upper 0.1"),
        (
            lambda x: pn.take_along_dim(x, [0], 1),
            ValueError,
            r"indices \(1,\) must have as many dimensions as x",
        ),
        (lambda x: F.prelu(x, pn.ones(2)), ValueError, "prelu: weight has 2 entries but x has 3 channels"),
        (lambda x: pn.topk(x, 4), ValueError, r"topk: k is 4 but dim -?1 of shape \(2, 3\) has 3 elements"),
        (
            lambda x: F.scaled_dot_product_attention(*(pn.ones(h, 4, 8) for h in (3, 2, 2)), enable_gqa=True),
            ValueError,
            "3 heads of query cannot share 2 of key and 2 of value",
        ),
        (lambda x: F.celu(x, 0), ValueError, "celu: alpha must not be 0"),
        (lambda x: F.gelu(x, "fast"), ValueError, "gelu: approximate must be 'none' or 'tanh', not 'fast'"),
        (lambda x: pn.clip(x), ValueError, "clip: give min, max or both"),
        (lambda x: F.one_hot(np.zeros(0, int)), ValueError, "one_hot: num_classes cannot be told from no labels"),
        (lambda x: pn.bincount([0, 1], pn.ones(3)), ValueError, r"weights have shape \(3,\) but x has shape \(2,\)"),
        (lambda x: x & 1.5, TypeError, "works on bool tensors"),
    ],
)
def test_errors_say_what_is_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call(pn.zeros(2, 3))


# ---- the rest ----


def test_linear_and_bilinear():
    w, b = RNG.normal(size=(5, 6)), RNG.normal(size=5)
    _same_as_torch(lambda F, t, x, w, b: F.linear(x, w, b), X, w, b)
    np.testing.assert_allclose(np.asarray(F.linear(pn.tensor(X), pn.tensor(w), pn.tensor(b))), X @ w.T + b, rtol=1e-13)
    x1, x2, w = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(2, 4, 5)), RNG.normal(size=(6, 3, 5))
    _same_as_torch(lambda F, t, *xs: F.bilinear(*xs), x1, x2, w, RNG.normal(size=6))


def test_distances():
    for p in (1.0, 2.0, 3.0):
        _same_as_torch(lambda F, t, x, y, p=p: F.pairwise_distance(x, y, p), X, T)
    _same_as_torch(lambda F, t, x, y: F.cosine_similarity(x, y, dim=0), X, T)
    _same_as_torch(lambda F, t, x, y: F.cosine_similarity(x, y), np.zeros((2, 3)), np.ones((2, 3)), differentiate=[1])


def test_one_hot_is_pytorchs():
    torch = _torch()
    t = np.array([[0, 2], [1, 3]])
    np.testing.assert_array_equal(
        np.asarray(F.one_hot(pn.tensor(t), 5)), torch.nn.functional.one_hot(torch.tensor(t), 5)
    )


def test_dropout_keeps_the_mean_and_scales_what_it_keeps():
    pn.manual_seed(0)
    x = pn.ones(1000, 100, requires_grad=True)
    y = F.dropout(x, 0.3)
    values = np.unique(np.asarray(y.detach()))
    np.testing.assert_allclose(values, [0, 1 / 0.7], rtol=1e-6)
    assert abs(float(y.mean().item()) - 1) < 0.01
    y.sum().backward()
    np.testing.assert_array_equal(np.asarray(x.grad), np.asarray(y.detach()))  # the same mask on the way back
    assert F.dropout(x, 0.3, training=False) is x
    assert not np.asarray(F.dropout(x, 1.0).detach()).any()


def test_channel_dropout_drops_whole_channels():
    pn.manual_seed(1)
    y = np.asarray(F.dropout2d(pn.ones(20, 30, 4, 5), 0.5))
    assert set(np.unique(y)) == {0, 2}
    assert (y == y[:, :, :1, :1]).all()
    with pytest.raises(ValueError, match=r"dropout1d: x must have 2 or 3 dimensions, x is \(2, 3, 4, 5\)"):
        F.dropout1d(pn.ones(2, 3, 4, 5))


def test_alpha_dropout_keeps_mean_and_variance():
    pn.manual_seed(2)
    y = np.asarray(F.alpha_dropout(pn.randn(300, 1000), 0.4, training=True))
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02


def test_activation_modules_are_their_functions():
    torch = _torch()
    x = pn.tensor(X)
    made = 0
    for name in dir(nn):
        cls = getattr(nn, name)
        if not isinstance(cls, type) or cls.__module__ != "pyneural.nn.activation" or name == "Softmax2d":
            continue
        theirs = getattr(torch.nn, name)
        options = {"Threshold": (0.1, 20.0), "Softmax": (1,), "LogSoftmax": (1,), "Softmin": (1,)}.get(name, ())
        a, b = cls(*options).eval(), theirs(*options).eval().double()
        np.testing.assert_allclose(np.asarray(a(x).detach()), b(torch.from_numpy(X)).detach().numpy(), atol=1e-12)
        made += 1
    assert made >= 26
    assert repr(nn.LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"
    y = nn.Softmax2d()(pn.tensor(IMAGES))
    np.testing.assert_allclose(np.asarray(y.sum(1)), 1, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
def test_loss_modules_are_their_functions():
    torch = _torch()
    cases = {
        "MSELoss": (X, T),
        "L1Loss": (X, T),
        "SmoothL1Loss": (X, T),
        "HuberLoss": (X, T),
        "BCELoss": (P, HOT),
        "BCEWithLogitsLoss": (X, HOT),
        "NLLLoss": (X, CLASSES),
        "CrossEntropyLoss": (X, CLASSES),
        "KLDivLoss": (X, P),
        "HingeEmbeddingLoss": (X, np.sign(T)),
        "SoftMarginLoss": (X, np.sign(T)),
        "MultiLabelSoftMarginLoss": (X, HOT),
        "CosineEmbeddingLoss": (X, T, SIGNS),
        "MarginRankingLoss": (X, T, np.sign(X + T)),
        "PoissonNLLLoss": (X, np.abs(T)),
        "GaussianNLLLoss": (X, T, P),
        "MultiMarginLoss": (X, CLASSES),
        "TripletMarginLoss": (X, T, P),
        "TripletMarginWithDistanceLoss": (X, T, P),
    }
    ours = {n for n in dir(nn) if getattr(getattr(nn, n), "__module__", "") == "pyneural.nn.loss"}
    assert ours == set(cases)
    for name, arrays in cases.items():
        for reduction in ("mean", "sum"):
            a, b = getattr(nn, name)(reduction=reduction), getattr(torch.nn, name)(reduction=reduction)
            got = a(*[pn.tensor(v) for v in arrays]).item()
            assert got == pytest.approx(b(*[torch.from_numpy(np.array(v)) for v in arrays]).item(), rel=1e-12), name
        with pytest.raises(ValueError, match=f"{name}: reduction"):
            getattr(nn, name)(reduction="avg")
    t = np.array([0, 1, 2, 0])
    weighted = (
        (nn.NLLLoss(WEIGHT, ignore_index=2), F.nll_loss(pn.tensor(X), t, WEIGHT, ignore_index=2), (X, t)),
        (nn.CrossEntropyLoss(WEIGHT), F.cross_entropy(pn.tensor(X), t, WEIGHT), (X, t)),
        (nn.BCELoss(WEIGHT), F.binary_cross_entropy(pn.tensor(P), HOT, WEIGHT), (P, HOT)),
        (
            nn.BCEWithLogitsLoss(WEIGHT, pos_weight=WEIGHT),
            F.binary_cross_entropy_with_logits(pn.tensor(X), HOT, WEIGHT, pos_weight=WEIGHT),
            (X, HOT),
        ),
        (nn.MultiLabelSoftMarginLoss(WEIGHT), F.multilabel_soft_margin_loss(pn.tensor(X), HOT, WEIGHT), (X, HOT)),
        (
            nn.MultiMarginLoss(2, 0.5, WEIGHT),
            F.multi_margin_loss(pn.tensor(X), t, p=2, margin=0.5, weight=WEIGHT),
            (X, t),
        ),
    )
    for module, value, (x, target) in weighted:
        assert module(pn.tensor(x), target).item() == value.item()
    settings = nn.CrossEntropyLoss(np.ones(3), label_smoothing=0.1)
    assert repr(settings) == "CrossEntropyLoss(ignore_index=-100, label_smoothing=0.1, reduction='mean')"
    assert list(settings.state_dict()) == ["weight"]
