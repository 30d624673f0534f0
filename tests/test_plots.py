"""Pictures: each helper draws what it is given, refuses what it cannot draw, and leaves global state alone."""

from __future__ import annotations

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from pyneural import plots

RNG = np.random.default_rng(0)
IMAGES = RNG.random((12, 28, 28)).astype(np.float32)
LABELS = np.arange(12) % 4


def test_learning_curves_are_linear_and_logarithmic_and_pair_validation_with_training():
    fig = plots.learning_curves(
        {"loss": [1.0, 0.5, np.inf], "val_loss": [1.2, -0.1, np.nan], "accuracy": [0.1, 0.2, 0.3]}
    )
    linear, logarithmic = fig.axes
    assert (linear.get_yscale(), logarithmic.get_yscale()) == ("linear", "log")
    loss, validation, accuracy = linear.get_lines()
    assert loss.get_color() == validation.get_color() != accuracy.get_color()
    assert (loss.get_linestyle(), validation.get_linestyle()) == ("-", "--")
    np.testing.assert_array_equal(loss.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(validation.get_ydata(), [1.2, -0.1, np.nan])
    np.testing.assert_array_equal(logarithmic.get_lines()[1].get_ydata(), [1.2, np.nan, np.nan])


def test_image_grid_names_each_image_by_its_index():
    fig = plots.image_grid(IMAGES, columns=5)
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == [str(i) for i in range(12)]
    np.testing.assert_array_equal(shown[7].images[0].get_array(), IMAGES[7])
    assert len({(ax.images[0].norm.vmin, ax.images[0].norm.vmax) for ax in shown}) == 1


def test_images_may_be_rows():
    fig = plots.image_grid(IMAGES.reshape(12, 784)[:1], ["only"])
    np.testing.assert_array_equal(fig.axes[0].images[0].get_array(), IMAGES[0])
    wide = plots.image_grid(np.zeros((2, 6)), shape=(2, 3))
    assert wide.axes[0].images[0].get_array().shape == (2, 3)


def test_originals_stand_over_reconstructions():
    fig = plots.originals_over_reconstructions(
        IMAGES[:4], [IMAGES[4:8], IMAGES[8:]], [3, 1, 4, 1], names=("a", "b", "c")
    )
    assert len(fig.axes) == 12
    assert [ax.get_title() for ax in fig.axes[:4]] == ["no. 3", "no. 1", "no. 4", "no. 1"]
    assert [fig.axes[i].get_ylabel() for i in (0, 4, 8)] == ["a", "b", "c"]
    np.testing.assert_array_equal(fig.axes[9].images[0].get_array(), IMAGES[9])


def test_weights_have_one_scale_around_zero():
    fig = plots.weight_images(RNG.normal(size=(6, 784)))
    norms = {(ax.images[0].norm.vmin, ax.images[0].norm.vmax) for ax in fig.axes if ax.images}
    assert len(norms) == 1
    low, high = norms.pop()
    assert low == -high < 0
    plots.weight_images(np.zeros((1, 784)))


def test_code_scatter_draws_every_point_and_names_every_class():
    fig = plots.code_scatter(RNG.normal(size=(12, 2)), LABELS, names=["zero", "one", "two", "three"])
    ax = fig.axes[0]
    assert len(ax.collections[0].get_offsets()) == 12
    assert [t.get_text() for t in ax.texts] == ["zero", "one", "two", "three"]


def test_confusion_table_shows_counts_and_leaves_zeros_blank():
    fig = plots.confusion_table([[1500, 0], [3, 7]], ["cat", "dog"])
    assert [t.get_text() for t in fig.axes[0].texts] == ["1,500", "", "3", "7"]
    np.testing.assert_allclose(fig.axes[0].images[0].get_array(), [[1, 0], [0.3, 0.7]])


def test_heat_map_takes_nan_and_draws_into_given_axes():
    fig, (left, right) = plots.new(1, 2)
    assert plots.heat_map([[0.5, np.nan]], ["SGD"], [0.1, 0.01], axes=right) is fig
    assert not left.images
    assert [t.get_text() for t in right.texts] == ["0.5", "nan"]


def test_lines_into_given_axes():
    fig, ax = plots.new()
    assert plots.lines([0, 1], {"a": [1, 2], "b": [2, 3]}, log=True, axes=ax) is fig
    assert ax.get_yscale() == "log"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.image_grid(IMAGES, ["one"]), "1 titles for 12 images"),
        (lambda: plots.image_grid(np.zeros((0, 28, 28))), r"got shape \(0, 28, 28\)"),
        (lambda: plots.image_grid(np.zeros((2, 783))), "783 pixels are not square"),
        (lambda: plots.originals_over_reconstructions(IMAGES, IMAGES[:3]), "must be equal"),
        (lambda: plots.originals_over_reconstructions(IMAGES, IMAGES, names=("x",)), "1 names for 2 rows"),
        (lambda: plots.code_scatter(np.zeros((4, 3)), LABELS[:4]), r"codes \(4, 3\)"),
        (lambda: plots.confusion_table(np.zeros((2, 3))), r"got shape \(2, 3\)"),
        (
            lambda: plots.voronoi_cells(np.zeros((3, 2)), np.zeros((4, 3))),
            r"points must have shape \(N, 2\), got \(4, 3\)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_global_state_is_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    fig = plots.image_grid(IMAGES)
    assert isinstance(fig, Figure)
    fig.savefig(tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_matplotlib_comes_with_the_first_picture():
    code = "import sys, pyneural.plots as p; assert 'matplotlib' not in sys.modules; p.new(); import matplotlib; "
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_code_scatter_shows_the_middle_share_of_the_codes():
    codes = np.stack([np.arange(101.0), np.arange(101.0) ** 3], axis=1)
    labels = np.zeros(101, int)
    ax = plots.code_scatter(codes, labels, middle=0.8).axes[0]
    np.testing.assert_allclose(ax.get_xlim(), (10, 90))
    np.testing.assert_allclose(ax.get_ylim(), (10**3, 90**3))
    assert plots.code_scatter(codes, labels).axes[0].get_xlim()[1] > 100
    for share in (0, 1.5):
        with pytest.raises(ValueError, match=f"code_scatter: middle is {share}, expected a share above 0"):
            plots.code_scatter(codes, labels, middle=share)


def test_unit_activity_counts_zeros_and_dead_units():
    values = np.ones((10, 4))
    values[:, 0] = 0
    values[:5, 1] = 0.01
    fig = plots.unit_activity(values, threshold=0.1, bins=10)
    left, right = fig.axes
    assert left.get_title(loc="left") == "37.5% are within 0.1 of 0"
    assert right.get_title(loc="left") == "1 of 4 units are dead"
    heights = {round(bar.get_x(), 3): bar.get_height() for bar in left.patches}
    assert heights[0.0] == pytest.approx(0.375)
    assert heights[0.9] == pytest.approx(0.625)
    assert [bar.get_height() for bar in right.patches] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 2]


def test_unit_activity_of_several_layers():
    fig = plots.unit_activity({"a": np.zeros((3, 2)), "b": np.ones((3, 5))}, title="layers")
    assert [ax.get_title(loc="left") for ax in fig.axes] == [
        "a: 100.0% are 0", "a: 2 of 2 units are dead", "b: 0.0% are 0", "b: 0 of 5 units are dead"
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"unit_activity: values 'b' must be \(rows, units\), not empty, got .*\(3,\)"):
        plots.unit_activity({"b": np.ones(3)})
    with pytest.raises(ValueError, match=r"unit_activity: values must be"):
        plots.unit_activity(np.ones((0, 3)))


def test_slices_as_surface_contour_and_lines():
    x, y = np.linspace(-1, 1, 9), np.linspace(0, 1, 5)
    z = x[:, None] ** 2 - y[None, :] ** 2
    marks = z < 0
    fig = plots.surface(x, y, z, marks=marks, title="t", xlabel="x", ylabel="y", zlabel="z")
    assert fig.axes[0].get_zlabel() == "z"
    fig.savefig(io.BytesIO())
    fig = plots.contour(x, y, z, marks=marks)
    assert len(fig.axes) == 2
    fig = plots.slice_lines(x, y, z, marks=marks, name="y", most=3)
    drawn = [line for line in fig.axes[0].lines if line.get_linestyle() == "-"]
    assert [tuple(line.get_ydata()) for line in drawn] == [tuple(z[:, j]) for j in (0, 2, 4)]
    assert [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == ["y = 0", "y = 1"]
    fig = plots.slice_line(x, z[:, 4], marks=marks[:, 4])
    assert len(fig.axes[0].lines[1].get_xdata()) == marks[:, 4].sum()
    with pytest.raises(ValueError, match=r"values \(5, 9\)"):
        plots.contour(x, y, z.T)
    with pytest.raises(ValueError, match="three-dimensional"):
        plots.surface(x, y, z, axes=plots.new()[1])


def test_a_surface_of_any_size_is_drawn_whatever_fresh_memory_holds(monkeypatch):
    empty = np.empty

    def full_of_huge_numbers(*args, **kwargs):
        a = empty(*args, **kwargs)
        if a.dtype.kind == "f":
            a[...] = np.finfo(a.dtype).max
        return a

    side = np.linspace(0, 0.1, 100)  # neither 50 lines nor a multiple of them
    monkeypatch.setattr(np, "empty", full_of_huge_numbers)
    plots.surface(side, side, side[:, None] ** 2 + side**2).savefig(io.BytesIO())


def test_filters_and_maps_of_any_model():
    from pyneural import models, nn

    fig = plots.filter_images(RNG.normal(size=(3, 2, 4, 4)), most=5)
    shown = [ax for ax in fig.axes if ax.images and ax.get_title()]
    assert [ax.get_title() for ax in shown] == ["0.0", "0.1", "1.0", "1.1", "2.0"]
    model = models.LeNet5()
    plots.filter_images(model.features[0])
    maps = plots.activations(model, IMAGES[0])
    assert list(maps) == [
        "features.0 Conv2d", "features.1 ReLU", "features.2 MaxPool2d",
        "features.3 Conv2d", "features.4 ReLU", "features.5 MaxPool2d",
    ]  # fmt: skip
    assert maps["features.5 MaxPool2d"].shape == (16, 5, 5)
    fig = plots.feature_maps(model, IMAGES[0], most=4)
    np.testing.assert_array_equal(fig.axes[0].images[0].get_array(), IMAGES[0])
    np.testing.assert_array_equal(fig.axes[4].images[0].get_array(), maps["features.0 Conv2d"][0])
    assert not any(m._hooks for m in model.modules())
    plots.feature_maps(nn.Conv2d(2, 3, 3), RNG.random((2, 6, 7)))
    with pytest.raises(ValueError, match="no layer of the model gives maps"):
        plots.feature_maps(nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), IMAGES[0])
    with pytest.raises(ValueError, match=r"must be \(out, in, H, W\)"):
        plots.filter_images(np.zeros((3, 4)))
