"""Interpolation and upsampling layers: PyTorch over a wide range of arguments, adjoints, replay, errors."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from capturing import descent, eager_and_compiled

import pyneural as pn
from pyneural import functional as F
from pyneural import nn
from pyneural.ops import resampling

RNG = np.random.default_rng(0)
SIZES = {1: (7,), 2: (5, 8), 3: (4, 3, 6)}
MODES = [("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 1), ("nearest-exact", 2),
         ("nearest-exact", 3), ("linear", 1), ("bilinear", 2), ("bicubic", 2), ("trilinear", 3), ("area", 1),
         ("area", 2), ("area", 3)]  # fmt: skip


def uniform(*shape):
    return RNG.uniform(-1, 1, shape)


def close(a, b, what, tolerance=1e-10):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, what
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=str(what))


def compare(n, dtype=np.float64, shape=None, **settings):
    """Result and gradient of interpolate in both libraries."""
    torch = pytest.importorskip("torch")
    x = uniform(*(shape or (2, 3, *SIZES[n]))).astype(dtype)
    a, b = torch.from_numpy(x.copy()).requires_grad_(), pn.from_numpy(x.copy()).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = torch.nn.functional.interpolate(a, **settings)
    z = F.interpolate(b, **settings)
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    close(z.detach(), y.detach(), settings, tolerance)
    g = uniform(*z.shape).astype(dtype)
    y.backward(torch.from_numpy(g))
    z.backward(pn.from_numpy(g))
    close(b.grad, a.grad, settings, 10 * tolerance)


@pytest.mark.parametrize(("mode", "n"), MODES)
def test_interpolate_matches_torch(mode, n):
    corners = (None, False, True) if "linear" in mode or mode == "bicubic" else (None,)
    wanted = (1, 2, 5, 11, tuple(range(2, 2 + n)), tuple(range(9, 9 - n, -1)), SIZES[n])
    for size, align in itertools.product(wanted, corners):
        compare(n, size=size, mode=mode, align_corners=align)
    factors = (2, 3, 0.5, 1.7, 0.41, tuple([1.3, 0.6, 2.5][:n]))
    for factor, align, anew in itertools.product(factors, corners, (None, True, False)):
        compare(n, scale_factor=factor, mode=mode, align_corners=align, recompute_scale_factor=anew)
    compare(n, np.float32, (3, 17, *[m + 13 for m in SIZES[n]]), scale_factor=2, mode=mode)
    compare(n, np.float32, (1, 2, *[m * 9 for m in SIZES[n]]), scale_factor=1.3, mode=mode)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_takes_the_same_places_as_torch(mode, dtype):
    torch = pytest.importorskip("torch")
    for n, m in itertools.product((1, 2, 7, 10, 29, 49, 100), range(1, 230, 3)):
        x = np.arange(float(n), dtype=dtype).reshape(1, 1, n)
        theirs = torch.nn.functional.interpolate(torch.from_numpy(x), m, mode=mode)
        np.testing.assert_array_equal(F.interpolate(x, m, mode=mode), theirs, f"{n} to {m}")


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialias_matches_torch(mode):
    for size, align in itertools.product((1, 3, (2, 11), (20, 4), SIZES[2]), (False, True)):
        compare(2, size=size, mode=mode, align_corners=align, antialias=True)
    for factor in (0.3, 2, (0.7, 1.6)):
        compare(2, scale_factor=factor, mode=mode, antialias=True)
    compare(2, np.float32, (2, 3, 90, 70), size=(31, 40), mode=mode, antialias=True)


def test_modules_match_torch():
    torch = pytest.importorskip("torch")
    x = uniform(2, 3, 4, 5)
    for name, args, kwargs in (
        ("Upsample", (7,), {}),
        ("Upsample", (), {"scale_factor": 2, "mode": "bicubic"}),
        ("Upsample", (), {"scale_factor": (2, 1.5), "mode": "bilinear", "align_corners": True}),
        ("Upsample", (), {"scale_factor": 1.5, "mode": "bilinear", "recompute_scale_factor": True}),
        ("Upsample", ((3, 9),), {"mode": "nearest-exact"}),
        ("UpsamplingNearest2d", (), {"scale_factor": 2}),
        ("UpsamplingBilinear2d", ((7, 4),), {}),
        ("UpsamplingBilinear2d", (), {"scale_factor": 2}),
    ):
        ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
        assert repr(ours) == repr(theirs)
        close(ours(pn.from_numpy(x)), theirs(torch.from_numpy(x)), (name, args, kwargs))


# ---- what holds without a peer ----


@pytest.mark.parametrize("planes", [(2, 3), (3, 16)])
@pytest.mark.parametrize(
    ("small", "large"), [((6, 6), (12, 12)), ((9, 70), (68, 130)), ((5,), (11,)), ((3, 4, 5), (7, 6, 9))]
)
def test_adjoint_identity(planes, small, large):
    for size, other in ((large, small), (small, large)):
        for mode, align, antialias in itertools.product(range(4), (False, True), (False, True)):
            rest = (mode, align, antialias, (0.0,) * len(size))
            x, y = pn.from_numpy(uniform(*planes, *other)), pn.from_numpy(uniform(*planes, *size))
            forward = (resampling._resample(x, size, *rest) * y).sum().item()
            back = (x * resampling._resample_backward(y, other, *rest)).sum().item()
            assert abs(forward - back) < 1e-10 * (1 + abs(forward))


@pytest.mark.parametrize(("mode", "n"), MODES)
def test_constants_stay_constant(mode, n):
    for antialias in (False, True) if mode in ("bilinear", "bicubic") else (False,):
        for size in (11, 2):
            y = F.interpolate(np.full((1, 1, *SIZES[n]), 0.7), size, mode=mode, antialias=antialias)
            close(y, np.full((1, 1, *[size] * n), 0.7), (mode, antialias))


def test_linear_modes_reproduce_straight_lines():
    line = np.arange(8.0).reshape(1, 1, 8)
    close(F.interpolate(line, 15, mode="linear", align_corners=True), np.arange(15).reshape(1, 1, 15) / 2, "aligned")
    inner = F.interpolate(line, scale_factor=2, mode="linear").numpy()[..., 1:-1]
    close(inner, np.arange(0.25, 7, 0.5).reshape(1, 1, 14), "not aligned")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_whatever_stands_beside(dtype):
    """One plane alone, among others and in another layout: the path through the kernel differs, the bits do not."""
    x = uniform(37, 1, 6, 7).astype(dtype)
    for mode in ("bilinear", "bicubic"):
        whole = F.interpolate(x, (13, 11), mode=mode).numpy()
        for part in (slice(0, 1), slice(30, 37), slice(5, 22)):
            np.testing.assert_array_equal(F.interpolate(x[part], (13, 11), mode=mode), whole[part])
    x = uniform(1, 1, 80, 90).astype(dtype)
    large = resampling._resample(x, (90, 85), 3, False, False, (0.0, 0.0)).numpy()
    rows = resampling._resample(x.transpose(0, 3, 2, 1)[..., None].reshape(90, 1, 80), (90,), 3, False, False, (0.0,))
    columns = rows.numpy().reshape(90, 90).T.reshape(90, 1, 90).copy()
    np.testing.assert_array_equal(
        resampling._resample(columns, (85,), 3, False, False, (0.0,)).numpy().reshape(90, 85), large[0, 0]
    )


def test_second_derivatives_of_a_square():
    x = pn.from_numpy(uniform(1, 1, 4, 3)).requires_grad_()

    def f(v):
        return (F.interpolate(v, (7, 5), mode="bicubic") ** 2).sum() / 2

    r = np.stack([np.asarray(F.interpolate(e.reshape(1, 1, 4, 3), (7, 5), mode="bicubic")).ravel() for e in np.eye(12)])
    close(np.asarray(pn.hessian(f)(x)).reshape(12, 12), r @ r.T, "hessian")


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_replayed_step_has_the_same_bits(mode):
    def make():
        model = nn.Sequential(nn.Linear(5, 36), nn.Unflatten(1, (4, 3, 3)), nn.Upsample(scale_factor=2, mode=mode),
                              nn.Conv2d(4, 2, 3), nn.Upsample((9, 5), mode=mode))  # fmt: skip
        return descent(model, lambda x: (model(x) ** 2).mean())

    eager_and_compiled(make, [(uniform(6, 5).astype(np.float32),) for _ in range(4)])


def test_bad_arguments_are_named():
    x = pn.zeros((2, 3, 4, 5))
    for arguments, message in (
        ({}, "give either size or scale_factor"),
        ({"size": 3, "scale_factor": 2}, "give either size or scale_factor, not both"),
        ({"size": (3, 3, 3)}, r"size is \(3, 3, 3\) but must be one number or 2"),
        ({"scale_factor": (2.0,)}, "scale_factor is .* one number or 2"),
        ({"scale_factor": -1.0}, "scale_factor is -1.0 but must be positive"),
        ({"scale_factor": float("nan")}, "scale_factor is nan but must be positive"),
        ({"scale_factor": 0.1}, r"spatial sizes \(4, 5\) would become \(0, 0\)"),
        ({"size": 0}, "all must be at least 1"),
        ({"size": 3, "mode": "cubic"}, "mode is 'cubic' but must be one of 'nearest'"),
        ({"size": 3, "mode": "linear"}, r"'linear' is for 3 dimensions .*\(2, 3, 4, 5\)"),
        ({"size": 3, "mode": "trilinear"}, "'trilinear' is for 5 dimensions"),
        ({"size": 3, "align_corners": True}, "align_corners is for linear and cubic modes"),
        ({"size": 3, "antialias": True}, "antialias is for modes 'bilinear' and 'bicubic', but mode is 'nearest'"),
        ({"size": 3, "recompute_scale_factor": True}, "recompute_scale_factor says nothing"),
    ):
        with pytest.raises(ValueError, match=message):
            F.interpolate(x, **arguments)
    with pytest.raises(ValueError, match="is for 4 dimensions"):
        nn.UpsamplingBilinear2d(scale_factor=2)(pn.zeros((3, 4, 5)))
