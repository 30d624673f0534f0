"""Convolutions and pooling: layers against PyTorch over a wide range of arguments, adjoints, errors, replay."""

from __future__ import annotations

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from capturing import eager_and_compiled

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim
from pyneural.ops import convolution, pooling

RNG = np.random.default_rng(0)


def uniform(*shape):
    return RNG.uniform(-1, 1, shape)


def close(a, b, what=""):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, what
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10, err_msg=str(what))


def trained(model, loss, rate=0.1):
    """A training by gradient descent, as eager_and_compiled() takes it: step(*inputs) lowers loss(model, *inputs)."""
    optimizer = optim.SGD(model.parameters(), lr=rate)

    def step(*inputs):
        optimizer.zero_grad()
        value = loss(model, *inputs)
        value.backward()
        optimizer.step()
        return value

    return SimpleNamespace(step=step, state=lambda: list(model.parameters()))


# ---- adjoints ----


@pytest.mark.parametrize("batch", [3, 16, 32])
@pytest.mark.parametrize(
    ("channels", "sizes", "kernel", "stride", "padding", "dilation"),
    [
        ((1, 1, 20), (28, 28), (4, 4), (1, 1), (1, 1), (1, 1)),
        ((1, 20, 20), (27, 27), (4, 4), (2, 2), (0, 0), (1, 1)),
        ((2, 6, 4), (9, 8), (3, 2), (2, 3), (2, 1), (2, 1)),
        ((3, 3, 3), (11,), (5,), (3,), (4,), (2,)),
        ((1, 2, 5), (5, 6, 7), (2, 3, 2), (1, 2, 3), (1, 0, 1), (1, 2, 1)),
    ],
)
def test_adjoint_identities(batch, channels, sizes, kernel, stride, padding, dilation):
    groups, inputs, outputs = channels
    out = convolution._sizes(sizes, kernel, stride, padding, dilation)
    x, w, y = (
        pn.from_numpy(uniform(*shape))
        for shape in ((batch, inputs, *sizes), (outputs, inputs // groups, *kernel), (batch, outputs, *out))
    )
    rest = (stride, padding, dilation, groups)
    forward = (convolution._conv(x, w, None, out, *rest) * y).sum().item()
    transposed = (x * convolution._conv_transpose(y, w, None, sizes, *rest)).sum().item()
    weight = (w * convolution._conv_weight(x, y, kernel, *rest, None)[0]).sum().item()
    assert abs(forward - transposed) < 1e-10 * (1 + abs(forward))
    assert abs(forward - weight) < 1e-10 * (1 + abs(forward))


# ---- PyTorch ----


def torch_and_ours(name, args, shape, kwargs=None, call=()):
    """The layer of both libraries with the same weights: outputs and all gradients must agree."""
    torch = pytest.importorskip("torch")
    kwargs = kwargs or {}
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    ours = getattr(nn, name)(*args, **kwargs)
    ours.to(np.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = uniform(*shape)
    a, b = torch.from_numpy(x.copy()).requires_grad_(), pn.from_numpy(x.copy()).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's: 'same' with an even kernel makes a copy there
        y = theirs(a, *call)
    z = ours(b, *call)
    what = (name, args, kwargs, shape)
    if isinstance(y, tuple):
        assert np.array_equal(z[1].numpy(), y[1].numpy()), what
        y, z = y[0], z[0]
    close(z.detach(), y.detach(), what)
    g = uniform(*z.shape)
    y.backward(torch.from_numpy(g))
    z.backward(pn.from_numpy(g))
    close(b.grad, a.grad, what)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad, what)


SIZES = {1: (13,), 2: (9, 12), 3: (6, 5, 7)}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("batch", [2, 16])
def test_conv_matches_torch(n, batch):
    for stride, padding, dilation, groups in itertools.product((1, 2, 3), (0, 2), (1, 2), (1, 2)):
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": stride != 2}
        torch_and_ours(f"Conv{n}d", (4, 6, 3), (batch, 4, *SIZES[n]), settings)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("batch", [2, 16])
def test_conv_transpose_matches_torch(n, batch):
    for stride, padding, dilation, groups, extra in itertools.product((1, 2, 3), (0, 1), (1, 2), (1, 2), (0, 1)):
        if extra >= max(stride, dilation):
            continue
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        shape = (batch, 4, *[m // 2 for m in SIZES[n]])
        torch_and_ours(f"ConvTranspose{n}d", (4, 6, 3), shape, {**settings, "output_padding": extra})


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_padding_modes_match_torch(mode, n):
    for padding, kernel in itertools.product(("same", "valid", 1, tuple(range(1, n + 1))), (2, 3)):
        torch_and_ours(f"Conv{n}d", (2, 3, kernel), (2, 2, *SIZES[n]), {"padding": padding, "padding_mode": mode})
    torch_and_ours(f"Conv{n}d", (2, 3, 3), (2, *SIZES[n]), {"padding": "same", "padding_mode": mode, "dilation": 2})


def test_more_shapes_match_torch():
    torch_and_ours("Conv2d", (3, 5, (2, 4)), (3, 8, 9), {"stride": (1, 2), "padding": (1, 0)})
    torch_and_ours("ConvTranspose2d", (3, 5, (2, 4)), (3, 8, 9), {"stride": (3, 2), "output_padding": (2, 1)})
    torch_and_ours("ConvTranspose2d", (3, 5, 3), (2, 3, 4, 5), {"stride": 2, "padding": 1}, ([8, 9],))
    torch_and_ours("Conv2d", (6, 12, 3), (16, 6, 7, 7), {"groups": 6})
    torch_and_ours("Conv2d", (20, 40, 1), (2, 20, 7, 7))
    torch_and_ours("Conv2d", (1, 20, 4), (64, 1, 28, 28), {"padding": 1})
    torch_and_ours("Conv2d", (3, 24, 5), (3, 3, 20, 20), {"padding": 2})
    torch_and_ours("ConvTranspose2d", (20, 1, 4), (32, 20, 27, 27), {"padding": 1})
    torch_and_ours("ConvTranspose2d", (20, 20, 4), (32, 20, 12, 12), {"stride": 2, "output_padding": 1})


@pytest.mark.parametrize("n", [1, 2, 3])
def test_pooling_matches_torch(n):
    shapes = ((2, 3, *SIZES[n]), (3, *SIZES[n]))
    several = itertools.product(shapes, (2, 3), (None, 1, 3), (0, 1), (False, True))
    for shape, kernel, stride, padding, ceil in several:
        for dilation in (1, 2) if kernel == 2 or padding == 0 else (1,):
            if dilation * (kernel - 1) + 1 <= min(SIZES[n]) + 2 * padding:
                torch_and_ours(f"MaxPool{n}d", (kernel, stride, padding, dilation), shape,
                               {"ceil_mode": ceil, "return_indices": True})  # fmt: skip
        for count in (False, True):
            torch_and_ours(f"AvgPool{n}d", (kernel, stride, padding, ceil, count), shape)
        if n > 1:
            torch_and_ours(f"AvgPool{n}d", (kernel, stride, padding, ceil), shape, {"divisor_override": 3})
    for shape, size in itertools.product(shapes, (1, 2, 4, 9) if n > 1 else (1, 2, 5, 20)):
        torch_and_ours(f"AdaptiveAvgPool{n}d", (size,), shape)
        torch_and_ours(f"AdaptiveMaxPool{n}d", (size,), shape, {"return_indices": True})


LARGE_WINDOWS = (
    ("MaxPool1d", (300, 7, 150), (2, 3, 700)),
    ("MaxPool1d", (200, 1, 0, 3), (20, 630)),
    ("MaxPool2d", (16, 3), (3, 8, 30, 37)),
    ("MaxPool2d", ((17, 16), 2, 3, 1), (2, 20, 30, 37)),
    ("MaxPool2d", (17, 5, 8), (1, 3, 19, 23)),
    ("MaxPool2d", (56,), (2, 9, 56, 56)),
    ("MaxPool3d", (7, 2, 3), (2, 2, 9, 10, 11)),
    ("AdaptiveMaxPool2d", (1,), (2, 9, 56, 56)),
    ("AdaptiveMaxPool2d", ((3, 2),), (2, 17, 50, 41)),
    ("AdaptiveMaxPool3d", (2,), (2, 2, 13, 14, 15)),
)


@pytest.mark.parametrize(("name", "args", "shape"), LARGE_WINDOWS)
def test_large_windows_match_torch(name, args, shape):
    for ceil in (False, True) if name.startswith("Max") else (None,):
        settings = {"return_indices": True} if ceil is None else {"return_indices": True, "ceil_mode": ceil}
        torch_and_ours(name, args, shape, settings)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(16, 16), (16, 17), (2, 3, 4), (256,), (257,), (4, 8, 9)])
def test_places_of_maxima_are_bytes_where_windows_are_small(sizes, dtype):
    """What max pooling keeps for its gradient counts up to the most elements of x in a window: padding counts nothing,
    nor does dilation."""
    ones, zeros = (1,) * len(sizes), (0,) * len(sizes)
    far = tuple([3 * n for n in sizes])
    for size, more, *windows in (
        (ones, ones, sizes, ones, zeros, ones),
        (ones, ones, (), (), (), ()),
        (tuple([2 * n for n in sizes]), ones, far, ones, sizes, ones),
        (ones, (2,) * len(sizes), sizes, ones, zeros, (2,) * len(sizes)),
    ):
        x = uniform(2, 3, *[m * n for m, n in zip(more, sizes, strict=True)]).astype(dtype)
        y, places = pooling._max_pool(x, size, *windows)
        assert places.dtype == (np.uint8 if np.prod(sizes) <= 256 else np.int32)
        indices = pooling._max_pool_indices(places, x.shape[2:], *windows)
        assert indices.dtype == np.int64
        found = np.take_along_axis(x.reshape(2, 3, -1), indices.numpy().reshape(2, 3, -1), 2)
        np.testing.assert_array_equal(found.reshape(y.shape), y)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_power_means_match_torch(n):
    for norm, kernel, stride, ceil in itertools.product((1, 2, 4.0), (2, 3), (None, 1, 3), (False, True)):
        torch_and_ours(f"LPPool{n}d", (norm, kernel, stride, ceil), (2, 3, *SIZES[n]))
    pool = {1: F.lp_pool1d, 2: F.lp_pool2d, 3: F.lp_pool3d}[n]
    x = pn.zeros((1, 1, *[4] * n), requires_grad=True)
    pool(x, 2, 2).sum().backward()
    assert not x.grad.numpy().any()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_matches_torch(n):
    torch = pytest.importorskip("torch")
    for shape, kernel, stride in itertools.product(((2, 3, *SIZES[n]), (3, *SIZES[n])), (2, 3), (None, 3)):
        x = uniform(*shape)
        y, index = getattr(torch.nn, f"MaxPool{n}d")(kernel, stride, return_indices=True)(torch.from_numpy(x))
        theirs = getattr(torch.nn, f"MaxUnpool{n}d")(kernel, stride)(y, index, output_size=SIZES[n])
        ours = getattr(nn, f"MaxUnpool{n}d")(kernel, stride)
        close(ours(pn.from_numpy(y.numpy()), index.numpy(), SIZES[n]), theirs)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_places_that_no_maximum_has_are_passed_over(dtype):
    """They would otherwise be written outside of the gradient."""
    window = 2 if dtype == np.uint8 else 17
    g = np.ones((1, 1, 2, 2), np.float32)
    places = np.array([[0, 255], [3, 1]] if dtype == np.uint8 else [[0, 2**31 - 1], [-1, 1]], dtype)[None, None]
    # The last windows hold less than the others, so that their later places lie outside, too.
    how = ((window + 1,) * 2, (window,) * 2, (window,) * 2, (0, 0), (1, 1))
    dx = pooling._max_pool_backward(g, places, *how).numpy()
    wanted = np.zeros_like(dx)
    wanted[0, 0, 0, 0] = 1
    np.testing.assert_array_equal(dx, wanted)
    assert pooling._max_pool_indices(places, *how).shape == places.shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_max_pool_takes_the_first_maximum_and_the_last_nan(dtype):
    x = np.array([[[1, 3, 3, np.nan, 2, np.nan, -np.inf, -np.inf] * 5]], dtype)
    y, index = F.max_pool1d(x, 4, return_indices=True)
    np.testing.assert_array_equal(y, np.full((1, 1, 10), np.nan))
    assert index.tolist() == [[[8 * (i // 2) + (3 if i % 2 == 0 else 5) for i in range(10)]]]
    y, index = F.max_pool1d(np.array([[[2, 2, 1, 2], [-np.inf] * 4]], dtype), 2, return_indices=True)
    assert index.tolist() == [[[0, 3], [0, 2]]]
    nan = np.nan
    x = np.array([[[[nan, 1, 2, 2, -np.inf, -np.inf], [0, nan, 2, 1, -np.inf, -np.inf]] * 3] * 2], dtype)
    y, index = F.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(y, np.array([[[[nan, 2, -np.inf]] * 3] * 2], dtype))
    assert index.tolist() == [[[[12 * i + 7, 12 * i + 2, 12 * i + 4] for i in range(3)]] * 2]


def test_parameters_start_as_pytorch_words_it():
    pn.manual_seed(0)
    layer = nn.Conv2d(30, 50, 5)
    bound = 1 / np.sqrt(30 * 25)
    for p in layer.parameters():
        values = p.detach().numpy()
        assert abs(values).max() <= bound
        assert abs(values).max() > 0.8 * bound
    assert repr(nn.Conv2d(3, 8, 3, padding="same")) == "Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding='same')"
    torch = pytest.importorskip("torch")
    for name, args, kwargs in (
        ("Conv2d", (3, 8, (3, 5)), {"stride": 2, "groups": 1, "bias": False}),
        ("ConvTranspose1d", (4, 8, 3), {"stride": 2, "output_padding": 1, "groups": 2, "dilation": 2}),
        ("Conv3d", (2, 2, 3), {"padding": 1, "padding_mode": "circular"}),
        ("MaxPool2d", (2,), {}),
        ("AvgPool2d", (3, 2), {}),
        ("AdaptiveAvgPool2d", (3,), {}),
        ("LPPool2d", (2, 3), {"ceil_mode": True}),
    ):
        ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
        assert repr(ours) == repr(theirs)


# ---- errors ----


def test_bad_arguments_are_named():
    x = pn.zeros((2, 3, 8, 8))
    weight, places = pn.zeros((4, 3, 3, 3)), pn.zeros((2, 3, 8, 8), dtype=np.int64)
    for make, call, message in (
        (lambda: nn.Conv2d(3, 4, 11, padding=1), x, r"conv2d: the kernel \(11, 11\) .* padded input \(10, 10\)"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), None, "groups is 2 but must divide in_channels.* it can be 1$"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), None, "Conv2d: groups is 2 but must divide out_channels, which is 3"),
        (lambda: nn.Conv2d(5, 4, 3), x, "conv2d: x has 3 channels but weight with groups=1 expects 5"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), None, "Conv2d: stride is 0 but must be at least 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), None, "Conv2d: padding is -1 but must be at least 0"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), None, "Conv2d: kernel_size .* one integer or 2 of them"),
        (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"), None, "Conv2d: padding 'same' needs stride 1"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), None, "Conv2d: padding is 'full'"),
        (lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"), None, "Conv2d: padding_mode is 'mirror'"),
        (lambda: nn.Conv2d(0, 4, 3), None, "Conv2d: in_channels must be an integer of at least 1"),
        (lambda: nn.Conv1d(3, 4, 3), x, r"conv1d: x must have 3 dimensions .*\(2, 3, 8, 8\)"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=2), None, r"output_padding is 2 .* 0 to 1"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding=9), x, "conv_transpose2d: nothing is left"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"), None, "padding_mode .* must be 'zeros'"),
        (lambda: nn.MaxPool2d(9), x, "max_pool2d: the window reaches over 9 elements, more than"),
        (lambda: nn.MaxPool2d(2, padding=2), x, "max_pool2d: padding is 2 .* 0 to 1"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), x, "avg_pool2d: divisor_override must not be 0"),
        (lambda: nn.AdaptiveAvgPool2d((2, 3, 4)), x, "adaptive_avg_pool2d: output_size .* 2 of them"),
        (lambda: nn.LPPool2d(0, 2), x, "lp_pool2d: norm_type is 0 but must be positive"),
        (lambda: nn.AdaptiveMaxPool2d(-1), x, "adaptive_max_pool2d: output_size is -1"),
        (lambda: nn.AdaptiveAvgPool2d(2), x[:, :, :0], r"x of shape \(2, 3, 0, 8\) has nothing to pool along a"),
        (lambda: lambda x: F.conv2d(x, pn.zeros((4, 3, 3))), x, "conv2d: weight must have 4 dimensions .out, in /"),
        (lambda: lambda x: F.conv_transpose2d(x, pn.zeros(4)), x, "conv_transpose2d: weight .* 4 dimensions .in, out"),
        (lambda: lambda x: F.conv2d(x, weight, groups=0), x, "conv2d: groups is 0 but must be an integer of at least"),
        (lambda: lambda x: F.conv2d(x, weight[:, :, :0]), x, r"the kernel is empty; weight has shape \(4, 3, 0, 3\)"),
        (lambda: lambda x: F.conv2d(x, weight, padding="full"), x, "padding is 'full' but must be 'same', 'valid', an"),
        (lambda: lambda x: F.conv2d(x, weight, None, 2, "same"), x, "padding 'same' needs stride 1, but stride is 2"),
        (lambda: lambda x: F.max_unpool2d(x, places, 2, output_size=(3, 3, 3)), x, "must have 2 entries"),
        (lambda: lambda x: F.max_unpool2d(x, places, 2, padding=99), x, "nothing is left of the output, whose sizes"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make()(call)
    layer = nn.ConvTranspose2d(3, 4, 3, stride=2)
    with pytest.raises(ValueError, match=r"output_size \(30, 17\) is impossible .* \(17, 17\) to \(18, 18\)"):
        layer(x, (30, 17))
    with pytest.raises(ValueError, match=r"conv_transpose2d: output_padding is 2 but must be smaller .* 0 to 1"):
        F.conv_transpose2d(x, layer.weight, stride=2, output_padding=2)
    with pytest.raises(ValueError, match=r"output_size .* must lie between 15 and 17"):
        F.max_unpool2d(x, pn.zeros((2, 3, 8, 8), dtype=np.int64), 2, output_size=(16, 14))
    with pytest.raises(TypeError, match="conv2d: stride is 'a'"):
        F.conv2d(x, pn.zeros((4, 3, 3, 3)), stride="a")


# ---- Winograd's way: 3x3 windows of wide images between many channels ----

_WINOGRAD = (
    # images, channels in and out, sizes, padding, groups
    (3, 48, 52, (7, 28), 1, 1),
    (2, 50, 48, (5, 57), (1, 0), 2),
    (16, 64, 49, (4, 150), 2, 1),
    (1, 48, 48, (1, 24), (3, 1), 1),
    (17, 48, 48, (2, 28), 1, 1),
)


def _wide(images, in_channels, out_channels, sizes, padding, groups, dtype):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(images, groups * in_channels, *sizes)).astype(dtype)
    w = rng.normal(size=(groups * out_channels, in_channels, 3, 3)).astype(dtype)
    bias = rng.normal(size=groups * out_channels).astype(dtype)
    return x, w, bias, {"padding": padding, "groups": groups}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", _WINOGRAD)
def test_winograd_matches_the_reference(shape, dtype):
    x, w, bias, how = _wide(*shape, dtype)
    y = F.conv2d(x, w, bias, **how)
    g = np.random.default_rng(6).normal(size=y.shape).astype(dtype)
    back = F.conv_transpose2d(g, w, None, **how)
    with pn.reference():
        wanted, wanted_back = F.conv2d(x, w, bias, **how), F.conv_transpose2d(g, w, None, **how)
    # The error of a sum of so many terms of one size grows like the root of their number.
    bound = np.finfo(dtype).eps * np.sqrt(9 * max(x.shape[1], y.shape[1]))
    np.testing.assert_allclose(y.numpy(), wanted.numpy(), rtol=0, atol=bound * np.abs(wanted.numpy()).max())
    np.testing.assert_allclose(
        back.numpy(), wanted_back.numpy(), rtol=0, atol=bound * np.abs(wanted_back.numpy()).max()
    )


def test_winograd_gives_an_image_the_same_bits_in_every_batch():
    x, w, bias, how = _wide(*_WINOGRAD[4], np.float32)
    whole = F.conv2d(x, w, bias, **how).numpy()
    for images in (slice(0, 1), slice(3, 5), slice(0, 16)):
        np.testing.assert_array_equal(F.conv2d(x[images], w, bias, **how).numpy(), whole[images])


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e30])
def test_winograd_leaves_large_values_to_the_definition(value):
    """Sums of neighbours would spread them over the results of a tile."""
    x, w, bias, how = _wide(*_WINOGRAD[0], np.float32)
    before = F.conv2d(x, w, bias, **how).numpy()
    x[1, 3, 2, 9] = value
    y = F.conv2d(x, w, bias, **how).numpy()
    touched = np.zeros(y.shape, bool)
    touched[1, :, 1:4, 8:11] = True
    assert not np.isclose(y[touched], before[touched]).any()
    np.testing.assert_allclose(y[~touched], before[~touched], rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(y[[0, 2]], before[[0, 2]])  # other images keep their bits
    w[0, 0, 0, 0] = value
    of_weight = F.conv2d(x[[0, 2]], w, bias, **how).numpy()
    np.testing.assert_allclose(of_weight[:, 1:], before[[0, 2], 1:], rtol=1e-3, atol=1e-3)
    assert not np.isclose(of_weight[:, 0, 1:, 1:], before[[0, 2], 0, 1:, 1:]).any()


def test_winograd_has_the_same_bits_replayed_and_for_any_number_of_threads():
    x, w, bias, how = _wide(16, 48, 48, (6, 28), 1, 1, np.float32)
    rng = np.random.default_rng(7)
    before, found = pn.get_num_threads(), []

    def make():
        layers = nn.Sequential(nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 50, 3), nn.MaxPool2d(2))
        with pn.no_grad():
            for p, values in zip(layers.parameters(), (w, bias), strict=False):
                p.copy_(pn.tensor(values))
        return trained(layers, lambda model, x: model(x).square().mean(), 1e-3)

    eager_and_compiled(make, [(rng.normal(size=x.shape).astype(np.float32),) for _ in range(4)])
    try:
        for threads in (1, 2, 5):
            pn.set_num_threads(threads)
            found.append(F.conv2d(x, w, bias, **how).numpy().tobytes())
    finally:
        pn.set_num_threads(before)
    assert found[0] == found[1] == found[2]


# ---- thin layers ----

#: (images, few channels, many channels, groups), in sizes, kernel, padding, dilation: few or one channel on one side.
_THIN = (
    ((5, 1, 20, 1), (28, 28), (4, 4), (1, 1), (1, 1)),
    ((16, 1, 9, 1), (13, 37), (3, 5), (2, 9), (1, 3)),
    ((40, 1, 24, 1), (20, 65), (5, 1), (0, 0), (2, 1)),
    ((33, 1, 8, 3), (11, 20), (2, 3), (1, 1), (3, 1)),
    ((1, 1, 65, 1), (64, 64), (7, 7), (3, 3), (1, 1)),
    ((3, 3, 8, 2), (30, 9), (3, 5), (5, 6), (2, 2)),
    ((32, 1, 10, 1), (300,), (8,), (20,), (2,)),
    ((2, 2, 16, 1), (2, 90), (6, 3), (3, 0), (1, 4)),
    ((9, 1, 8, 1), (150, 160), (5, 4), (2, 1), (1, 1)),  # more than the cache holds: bands
)


def _thin(shape, sizes, kernel, padding, dilation, dtype):
    """Passes of a convolution from few channels to many, and of its adjoint."""
    images, few, many, groups = shape
    rng, ones = np.random.default_rng(9), (1,) * len(sizes)
    rest = (ones, padding, dilation, groups)
    out = convolution._sizes(sizes, kernel, *rest[:3])
    x = rng.normal(size=(images, groups * few, *sizes)).astype(dtype)
    y = rng.normal(size=(images, groups * many, *out)).astype(dtype)
    w, turned = (rng.normal(size=(groups * a, b, *kernel)).astype(dtype) for a, b in ((many, few), (few, many)))
    of_x, of_y = (rng.normal(size=groups * n).astype(dtype) for n in (few, many))

    def passes(which=slice(None)):
        return [np.asarray(z) for z in (
            convolution._conv(x[which], w, of_y, out, *rest),
            convolution._conv_transpose(y[which], w, of_x, sizes, *rest),
            convolution._conv(y[which], turned, None, convolution._sizes(out, kernel, *rest[:3]), *rest),
            convolution._conv_transpose(x[which], turned, of_y, out, *rest),
        )]  # fmt: skip

    return passes, (x, y, w)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", _THIN)
def test_thin_layers_match_the_reference(case, dtype):
    passes, _ = _thin(*case, dtype)
    ours = passes()
    with pn.reference():
        wanted = passes()
    for y, z in zip(ours, wanted, strict=True):
        bound = np.finfo(dtype).eps * np.sqrt(case[0][2] * np.prod(case[2]))
        np.testing.assert_allclose(y, z, rtol=0, atol=bound * np.abs(z).max())


@pytest.mark.parametrize("case", [*_THIN[:6], _THIN[-1]])
def test_thin_layers_give_an_image_the_same_bits_in_every_batch_and_for_any_number_of_threads(case):
    passes, _ = _thin(*case, np.float32)
    whole, before = passes(), pn.get_num_threads()
    try:
        for threads in (1, 3):
            pn.set_num_threads(threads)
            for images in (slice(0, 1), slice(1, None), slice(None)):
                for y, z in zip(passes(images), whole, strict=True):
                    assert y.tobytes() == z[images].tobytes()
    finally:
        pn.set_num_threads(before)


@pytest.mark.parametrize("case", _THIN[:3])
def test_what_lies_outside_of_thin_layers_takes_no_part(case):
    passes, (x, y, w) = _thin(*case, np.float32)
    w[2, 0, 0, 0] = np.inf
    x[0, 0, 3, 0] = np.nan
    y[0, 1, 0, 1] = -np.inf
    ours = passes()
    with pn.reference():
        wanted = passes()
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_array_equal(np.isinf(a), np.isinf(b))
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("batch", [5, 16, 48])
def test_thin_layers_have_the_same_bits_replayed(batch):
    rng = np.random.default_rng(4)

    def make():
        model = nn.Sequential(
            nn.Conv2d(1, 20, 4, padding=1),
            nn.ReLU(),
            nn.Conv2d(20, 8, 4, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 12, 4, stride=2, output_padding=1),
            nn.Tanh(),
            nn.ConvTranspose2d(12, 1, 4, padding=1),
            nn.Sigmoid(),
            nn.Conv2d(1, 8, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(8, 1, (3, 5), padding=(1, 2)),
        )
        return trained(model, lambda model, x: (model(x) - x).square().mean())

    eager_and_compiled(make, [(rng.normal(size=(batch, 1, 28, 28)).astype(np.float32),) for _ in range(4)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("sizes", "kernel", "stride", "padding", "extra"),
    [
        ((8, 14), 1, 2, 0, 1),  # rows between the windows, and behind the last one
        ((8, 14), 2, 3, 0, 0),
        ((40, 33), 4, 2, 0, 1),  # several bands
        ((40, 33), 3, 2, 1, 1),
        ((45, 40), 1, 3, 0, 0),
        ((6, 7), 4, 1, 3, 0),
        ((30,), 3, 2, 1, 0),
        ((4, 5, 3), 3, 2, 0, 1),
    ],
)
def test_bias_gradients_of_transposed_convolutions_count_every_place_once(sizes, kernel, stride, padding, extra, dtype):
    d, rng = len(sizes), np.random.default_rng(8)
    layers = (getattr(nn, f"{name}{d}d") for name in ("Conv", "ConvTranspose", "Conv"))
    first, turned, last = layers
    rest = {"stride": stride, "padding": padding, "output_padding": extra}
    model = nn.Sequential(first(2, 4, 1), turned(4, 5, kernel, **rest), nn.Tanh(), last(5, 1, 1)).to(dtype)
    x = pn.tensor(rng.normal(size=(32, 2, *sizes)).astype(dtype))

    def gradients(x):
        for p in model.parameters():
            p.grad = None
        y = model[1](model[0](x))
        model[3](model[2](y)).square().mean().backward()
        return [p.grad for p in model.parameters()], y

    found, y = gradients(x)
    replayed = pn.compile(gradients)
    for _ in range(3):
        again = replayed(x)[0]
    for a, b in zip(found, again, strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    y = y.detach().requires_grad_()
    model[3](model[2](y)).square().mean().backward()
    wanted = np.asarray(y.grad, np.float64).sum((0, *range(2, d + 2)))
    tolerance = 8 * np.finfo(dtype).eps * np.abs(y.grad.numpy()).sum()
    np.testing.assert_allclose(np.asarray(model[1].bias.grad), wanted, rtol=0, atol=tolerance)


# ---- what is not finite ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_lies_outside_takes_no_part(dtype):
    """Zeros around the image times infinite weights or gradients would be NaN."""
    rng = np.random.default_rng(3)
    x, w, g = (rng.normal(size=shape).astype(dtype) for shape in ((16, 3, 9, 9), (5, 3, 3, 3), (16, 5, 9, 9)))
    w[2, 1, 0, 0] = np.inf
    g[3, 4, 0, 0] = -np.inf
    rest = ((1, 1), (1, 1), (1, 1), 1)

    def passes():
        return [np.asarray(y) for y in (
            convolution._conv(x, w, None, (9, 9), *rest),
            convolution._conv_transpose(np.where(np.isfinite(g), g, 0), w, None, (9, 9), *rest),
            *convolution._conv_weight(x, g, (3, 3), *rest, 1),
        )]  # fmt: skip

    with pn.reference():
        wanted = passes()
    for y, z in zip(passes(), wanted, strict=True):
        np.testing.assert_array_equal(np.isnan(y), np.isnan(z))
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-4)


# ---- replay ----


@pytest.mark.parametrize("batch", [5, 16])
def test_replayed_step_has_the_same_bits(batch):
    rng = np.random.default_rng(1)

    def make():
        model = nn.Sequential(
            nn.Conv2d(1, 6, 4, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 5, 3, stride=2),
            nn.AvgPool2d(2, 1),
            nn.ConvTranspose2d(5, 3, 4, stride=2, output_padding=1),
            nn.AdaptiveMaxPool2d(3),
            nn.Flatten(),
            nn.Linear(27, 4),
        )
        return trained(model, lambda model, x, y: F.cross_entropy(model(x), y))

    inputs = [(rng.normal(size=(batch, 1, 16, 16)).astype(np.float32), rng.integers(0, 4, batch)) for _ in range(5)]
    eager_and_compiled(make, inputs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [5, 32])
def test_same_bits_for_any_number_of_threads(batch, dtype):
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (batch, 20, 27, 27)).astype(dtype)
    w = rng.uniform(-1, 1, (20, 20, 4, 4)).astype(dtype)
    g = rng.uniform(-1, 1, (batch, 20, 12, 12)).astype(dtype)
    rest = ((2, 2), (0, 0), (1, 1), 1)
    before, found = pn.get_num_threads(), []
    try:
        for threads in (1, 2, 7):
            pn.set_num_threads(threads)
            results = (
                convolution._conv(x, w, None, (12, 12), *rest),
                convolution._conv_transpose(g, w, None, (27, 27), *rest),
                *convolution._conv_weight(x, g, (4, 4), *rest, 1),
                F.max_pool2d(x, 2),
            )
            found.append([np.asarray(y).tobytes() for y in results])
    finally:
        pn.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("batch", [16, 31, 40, 64])
@pytest.mark.parametrize(("sizes", "kernel", "groups"), [((12, 12), (5, 5), 1), ((9, 7), (4, 5), 2), ((11,), (6,), 1)])
def test_same_bits_for_an_image_alone(batch, sizes, kernel, groups):
    rng = np.random.default_rng(3)
    d, stay = len(sizes), [m - k + 1 for m, k in zip(sizes, kernel, strict=True)]
    w = rng.uniform(-1, 1, (16, 6, *kernel)).astype(np.float32)
    rest = ((1,) * d, (0,) * d, (1,) * d, groups)
    x = rng.uniform(-1, 1, (batch, 6 * groups, *sizes)).astype(np.float32)
    g = rng.uniform(-1, 1, (batch, 16, *stay)).astype(np.float32)
    wider = [m + k - 1 for m, k in zip(sizes, kernel, strict=True)]  # with zeros around it
    padded = ((1,) * d, tuple(k - 1 for k in kernel), (1,) * d, groups)
    for op, source, to in ((convolution._conv, x, (wider, padded)), (convolution._conv_transpose, g, (sizes, rest))):
        together = np.asarray(op(source, w, None, tuple(to[0]), *to[1]))
        alone = [np.asarray(op(source[i : i + 1], w, None, tuple(to[0]), *to[1])) for i in range(batch)]
        assert together.tobytes() == np.concatenate(alone).tobytes()
