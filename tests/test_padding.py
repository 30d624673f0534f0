"""Padding, pixel and channel shuffles, windows as columns: PyTorch over a wide range of arguments, adjoints, errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from capturing import descent, eager_and_compiled

import pyneural as pn
from pyneural import functional as F
from pyneural import nn

RNG = np.random.default_rng(0)
SIZES = {1: (7,), 2: (5, 6), 3: (4, 5, 6)}


def uniform(*shape):
    return RNG.uniform(-1, 1, shape)


def compare(what, ours, theirs, shape):
    """Results and gradients of two functions of one tensor must be equal to rounding."""
    torch = pytest.importorskip("torch")
    x = uniform(*shape)
    a, b = torch.from_numpy(x.copy()).requires_grad_(), pn.from_numpy(x.copy()).requires_grad_()
    y, z = theirs(a), ours(b)
    assert z.shape == tuple(y.shape), what
    np.testing.assert_allclose(z.detach(), y.detach(), rtol=1e-12, err_msg=str(what))
    g = uniform(*z.shape)
    y.backward(torch.from_numpy(g))
    z.backward(pn.from_numpy(g))
    np.testing.assert_allclose(b.grad, a.grad, rtol=1e-12, atol=1e-12, err_msg=str(what))


def compare_layers(name, args, kwargs, shape):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    compare((name, args, kwargs), ours, theirs, shape)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", ["ConstantPad", "ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad"])
def test_padding_layers_match_torch(name, n):
    rest = (1.5,) if name == "ConstantPad" else ()
    for padding, batch in itertools.product((0, 2, tuple(range(2 * n)[::-1]), (1, 3) * n), ((2, 3), (3,))):
        if name == "ReflectionPad" and np.max(padding) >= min(SIZES[n]):
            continue
        if name == "CircularPad" and np.max(padding) > min(SIZES[n]):
            continue
        compare_layers(f"{name}{n}d", (padding, *rest), {}, (*batch, *SIZES[n]))
    if name in ("ConstantPad", "ZeroPad"):
        compare_layers(f"{name}{n}d", ((-1, 2) * n, *rest), {}, (2, 3, *SIZES[n]))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_matches_torch(mode):
    torch = pytest.importorskip("torch")
    for n in (1, 2, 3):
        for padding in ((1, 2) * n, (0, 3) * n, (2, 0) * n, (-1, 1) * n, (1, -2) * n):
            rest = (padding, mode, *((0.25,) if mode == "constant" else ()))
            ours, theirs = (lambda x, f=f, rest=rest: f(x, *rest) for f in (F.pad, torch.nn.functional.pad))
            compare(rest, ours, theirs, (2, 3, *SIZES[n]))


def test_shuffles_match_torch():
    for r in (1, 2, 3):
        for batch in ((), (2,), (2, 3)):
            compare_layers("PixelShuffle", (r,), {}, (*batch, 5 * r * r, 3, 4))
            compare_layers("PixelUnshuffle", (r,), {}, (*batch, 5, 3 * r, 4 * r))
    for groups, n in itertools.product((1, 2, 3), (1, 2, 3)):
        compare_layers("ChannelShuffle", (groups,), {}, (2, 12, *SIZES[n]))


def test_fold_and_unfold_match_torch():
    torch = pytest.importorskip("torch")
    for kernel, dilation, padding, stride in itertools.product(
        (1, 2, (3, 2)), (1, (1, 2)), (0, 1, (2, 1)), (1, (2, 3))
    ):
        settings = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": stride}
        for batch in ((2, 3), (3,)):
            compare_layers("Unfold", (), settings, (*batch, 6, 7))
            columns = torch.nn.functional.unfold(torch.zeros((*batch, 6, 7)), **settings).shape
            compare_layers("Fold", ((6, 7),), settings, tuple(columns))
    compare_layers("Unfold", (4,), {"padding": 1}, (16, 20, 27, 27))


@pytest.mark.parametrize(
    ("kernel", "dilation", "padding", "stride"), [(3, 1, 0, 1), ((2, 3), (2, 1), (1, 2), (3, 2)), (4, 1, 1, 2)]
)
def test_fold_is_the_adjoint_of_unfold(kernel, dilation, padding, stride):
    rest = (kernel, dilation, padding, stride)
    x = pn.from_numpy(uniform(2, 3, 9, 8))
    columns = F.unfold(x, *rest)
    y = pn.from_numpy(uniform(*columns.shape))
    forward = (columns * y).sum().item()
    assert abs(forward - (x * F.fold(y, (9, 8), *rest)).sum().item()) < 1e-12 * (1 + abs(forward))
    if stride != 1:
        return
    ones = F.fold(F.unfold(pn.ones((1, 1, 9, 8), dtype=np.float64), *rest), (9, 8), *rest).numpy()
    assert ones[0, 0, 4, 4] == 9, "every inner pixel is in 9 windows of 3 by 3"


def test_convolution_is_a_product_with_unfolded_windows():
    x, w = pn.from_numpy(uniform(2, 3, 7, 8)), pn.from_numpy(uniform(5, 3, 3, 2))
    y = pn.matmul(w.reshape(5, -1), F.unfold(x, (3, 2), padding=1, stride=2)).reshape(2, 5, 4, 5)
    np.testing.assert_allclose(y, F.conv2d(x, w, stride=2, padding=1), rtol=1e-12, atol=1e-12)


def test_replayed_step_has_the_same_bits():
    def make():
        model = nn.Sequential(
            nn.ReflectionPad2d((1, 2, 0, 1)), nn.Conv2d(1, 8, 3, padding=1, padding_mode="circular"),
            nn.PixelShuffle(2), nn.ReplicationPad2d(1), nn.ConstantPad2d(1, 0.5), nn.CircularPad2d(2),
            nn.ChannelShuffle(2), nn.PixelUnshuffle(2), nn.Unfold(3, stride=2),
            nn.Fold((9, 9), 2, padding=1, stride=2), nn.Flatten(),
        )  # fmt: skip
        return descent(model, lambda x: (model(x) ** 2).mean())

    eager_and_compiled(make, [(uniform(3, 1, 6, 5).astype(np.float32),) for _ in range(4)])


def test_bad_arguments_are_named():
    x = pn.zeros((2, 3, 4, 5))
    for make, message in (
        (
            lambda: nn.ReflectionPad2d((1, 2, 3)),
            r"ReflectionPad2d: padding is \(1, 2, 3\) but must be one integer or 4",
        ),
        (lambda: nn.ReflectionPad2d(4)(x), "ReflectionPad2d: padding 4 must be at most 3 for an axis of size 4"),
        (lambda: nn.CircularPad2d((0, 6, 0, 0))(x), "CircularPad2d: padding 6 must be at most 5 for an axis of size 5"),
        (lambda: nn.ReplicationPad1d(1)(x), r"ReplicationPad1d: x must have 3 dimensions.*\(2, 3, 4, 5\)"),
        (lambda: nn.ZeroPad2d(-3)(x), "pad: nothing is left of x"),
        (lambda: F.pad(x, (1,)), "pad: pad has 1 entries"),
        (lambda: F.pad(x, (1, 1), "mirror"), "pad: mode 'mirror' is none of"),
        (lambda: nn.PixelShuffle(2)(x), "pixel_shuffle: x has 3 channels but upscale_factor 2 needs a multiple of 4"),
        (lambda: nn.PixelUnshuffle(3)(x), "pixel_unshuffle: downscale_factor 3 must divide height and width"),
        (lambda: nn.ChannelShuffle(2)(x), "channel_shuffle: groups is 2 but must divide the 3 channels"),
        (lambda: nn.Unfold(6)(x), r"unfold: the kernel \(6, 6\) .* larger than the padded image \(4, 5\)"),
        (lambda: nn.Unfold(2, stride=0)(x), "unfold: stride is 0 but must be at least 1"),
        (lambda: nn.Fold((4, 5), 2)(pn.zeros((2, 12, 11))), "fold: x has 11 columns but output_size"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match=r"ZeroPad2d: padding is 1\.5 but must hold integers"):
        nn.ZeroPad2d(1.5)
