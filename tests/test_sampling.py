"""Images read at the points of a grid, beside PyTorch, replayed, and in a spatial transformer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim

RNG = np.random.default_rng(0)
#: Borders, centres, the middle and what is not a number; the slope at a border depends on the side.
SPECIAL = [-1.0, 1.0, 0.0, -1.5, 1.5, 3.25, -7.0, 1e9, float("inf"), -float("inf"), float("nan")]


def sample(library, x, grid, *how):
    x, grid = (library.from_numpy(a.copy()).requires_grad_() for a in (x, grid))
    f = F if library is pn else library.nn.functional
    y = f.grid_sample(x, grid, *how)
    (y * library.from_numpy(np.linspace(-1, 2, int(np.prod(y.shape))).reshape(tuple(y.shape)))).sum().backward()
    return [np.asarray(t.detach()) for t in (y, x.grad, grid.grad)]


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_beside_torch(mode, padding_mode):
    torch = pytest.importorskip("torch")
    for align, shape in itertools.product((False, True), [(5, 4), (1, 3), (4, 1), (3, 4, 5), (1, 1)]):
        if mode == "bicubic" and len(shape) == 3:
            continue
        x = RNG.normal(size=(2, 3, *shape))
        grids = [
            RNG.uniform(-2.5, 2.5, (2, *[3] * len(shape), len(shape))),
            RNG.choice(SPECIAL[:7], (2, *[5] * len(shape), len(shape))),
        ]
        for grid in grids:
            ours, theirs = (
                sample(pn, x, grid, mode, padding_mode, align),
                sample(torch, x, grid, mode, padding_mode, align),
            )
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=f"{mode} {padding_mode} {align} {shape}")


def test_what_is_not_a_number_counts_as_minus_one_and_the_infinite_lies_outside():
    x = pn.from_numpy(RNG.normal(size=(1, 1, 3, 4)))
    grid = np.zeros((1, 1, len(SPECIAL), 2))
    grid[..., 0] = SPECIAL
    y = F.grid_sample(x, pn.from_numpy(grid), align_corners=True).numpy()[0, 0, 0]
    assert y[-1] == y[0] == x.numpy()[0, 0, 1, 0]
    assert (y[5:-1] == 0).all()
    border = F.grid_sample(x, pn.from_numpy(grid), padding_mode="border", align_corners=True).numpy()[0, 0, 0]
    assert border[7] == border[8] == x.numpy()[0, 0, 1, 3]
    infinite = pn.from_numpy(np.full((1, 1, 3, 4), np.inf))
    assert F.grid_sample(infinite, pn.from_numpy(np.full((1, 1, 1, 2), 5.0))).numpy().item() == 0


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_reading_and_its_gradient_are_adjoint(mode):
    x, y = RNG.normal(size=(3, 9, 8, 7)), RNG.normal(size=(3, 9, 13, 11))
    grid = RNG.uniform(-1.3, 1.3, (3, 13, 11, 2))
    for padding in ("zeros", "border", "reflection"):
        t = pn.from_numpy(x).requires_grad_()
        read = F.grid_sample(t, pn.from_numpy(grid), mode, padding)
        read.backward(pn.from_numpy(y))
        np.testing.assert_allclose((read.detach().numpy() * y).sum(), (x * t.grad.numpy()).sum(), rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x, g: F.grid_sample(x[0], g), ValueError, r"x must be \(N, C, H, W\) or \(N, C, D, H, W\), got shape"),
        (lambda x, g: F.grid_sample(x, g[:, :, :, :1]), ValueError, r"grid must be \(N, \.\.\., 2\) .*\(2, \*, \*"),
        (lambda x, g: F.grid_sample(x, g[:1]), ValueError, r"but its shape is \(1, 3, 3, 2\)"),
        (lambda x, g: F.grid_sample(x[:, :, :0], g), ValueError, "grid_sample: x has no elements to read"),
        (lambda x, g: F.grid_sample(x, g, "linear"), ValueError, "mode is 'linear' but must be one of 'bilinear'"),
        (lambda x, g: F.grid_sample(x, g, padding_mode="wrap"), ValueError, "padding_mode is 'wrap' but must be"),
        (lambda x, g: F.grid_sample(pn.zeros(2, 3, 4, 5, 6), pn.zeros(2, 3, 3, 3, 3), "bicubic"), ValueError,
         r"grid_sample: mode 'bicubic' is for images \(N, C, H, W\) only"),
        (lambda x, g: F.grid_sample(pn.zeros(2, 1, 1, 1).expand(2, 1, 65536, 65536), g), ValueError,
         "grid_sample: a channel of x has 4294967296 elements; at most 1073741824 can be read"),
        (lambda x, g: F.grid_sample(x, g.double()), TypeError, "x is float32 and grid is float64"),
    ],
)  # fmt: skip
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call(pn.zeros(2, 3, 4, 5), pn.zeros(2, 3, 3, 2))


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid")
def test_affine_grids_beside_torch():
    torch = pytest.importorskip("torch")
    for size, align in itertools.product([(2, 1, 3, 4), (2, 1, 1, 5), (2, 1, 2, 3, 4), (2, 3, 1, 1, 2)], (False, True)):
        theta = RNG.normal(size=(2, len(size) - 2, len(size) - 1))
        np.testing.assert_allclose(
            F.affine_grid(pn.from_numpy(theta), size, align).numpy(),
            torch.nn.functional.affine_grid(torch.from_numpy(theta), size, align_corners=align).numpy(), rtol=1e-12,
            atol=1e-12,
        )  # fmt: skip


def test_the_identity_gives_the_image():
    x = pn.from_numpy(RNG.normal(size=(2, 3, 5, 7)))
    same = pn.from_numpy(np.tile(np.eye(2, 3), (2, 1, 1)))
    for align in (False, True):
        y = F.grid_sample(x, F.affine_grid(same, x.shape, align), align_corners=align)
        np.testing.assert_allclose(y.numpy(), x.numpy(), rtol=1e-12, atol=1e-12)


def test_a_transformer_finds_a_shift_and_is_replayed():
    """The parameters of a map are learnt through the points; a replayed step has the bits of an eager one."""
    ys, xs = np.mgrid[0:16, 0:16].astype(np.float32)

    def blob(cx, cy):
        return np.exp(-((xs - cx) ** 2 + (ys - cy) ** 2) / 18)[None, None]

    def train(wrap):
        theta = nn.Parameter(pn.from_numpy(np.eye(2, 3, dtype=np.float32)[None]))
        o = optim.Adam([theta], lr=0.02)

        def step(x, target):
            o.zero_grad()
            loss = F.mse_loss(F.grid_sample(x, F.affine_grid(theta, x.shape)), target)
            loss.backward()
            o.step()
            return loss

        step = wrap(step)
        losses = [step(pn.from_numpy(blob(9.5, 6.5)), pn.from_numpy(blob(6.5, 8.5))).item() for _ in range(60)]
        return losses, theta.detach().numpy()

    eager, replayed = train(lambda f: f), train(pn.compile)
    assert eager[0] == replayed[0]
    assert eager[1].tobytes() == replayed[1].tobytes()
    assert eager[0][-1] < eager[0][0] / 50
    np.testing.assert_allclose(eager[1][0, :, 2], [3 / 8, -2 / 8], atol=0.05)  # of half the width, 8
