"""The experiments on support vector machines, in both profiles, and the pictures that they draw."""

from __future__ import annotations

import numpy as np
import pytest
from experimenting import passing

from pyneural import plots
from pyneural.experiments.svm_c_sweep import clouds

FIGURES = {
    "svm-xor-dual": ["gram"],
    "svm-xor-boundary": ["regions", "surface"],
    "svm-c-sweep": ["boundaries", "path"],
    "svm-hard-margin": ["margin"],
    "svm-margin-and-class": ["strip"],
}


@pytest.mark.parametrize("id", FIGURES)
def test_every_check_passes(id, tmp_path):
    result = passing(id, tmp_path, profile="full" if id != "svm-c-sweep" else "quick")
    assert [f["file"] for f in result["figures"]] == [f"{name}.png" for name in FIGURES[id]]
    for figure in result["figures"]:
        with np.load(tmp_path / id / figure["data"]) as arrays:
            assert all(np.isfinite(arrays[name]).all() for name in arrays.files)


def test_the_clouds_are_drawn_negatives_first():
    x, y = clouds(0)
    assert x[y < 0].mean() < 0 < x[y > 0].mean()
    np.testing.assert_array_equal(x[0], np.random.default_rng(0).normal(-1, 1.2, (50, 2))[0])


class Nearest:
    """Answers the nearest of three corners."""

    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])

    def predict(self, x):
        return np.array(["a", "b", "c"])[((x[:, None] - self.corners) ** 2).sum(-1).argmin(1)]


def test_regions_of_any_predictor():
    fig = plots.decision_regions(Nearest(), Nearest.corners, np.array(["a", "b", "c"]), points=41)
    legend = [t.get_text() for t in fig.axes[0].get_legend().get_texts()]
    assert legend == ["class a", "class b", "class c"]
    limits = ((-1.0, 1.0), (-2.0, 2.0))
    fig = plots.decision_regions(lambda x: x[:, 0] - x[:, 1], limits=limits, points=21)
    assert fig.axes[0].get_xlim() == (-1, 1)
    assert fig.axes[0].get_ylim() == (-2, 2)
    alone = plots.decision_regions(Nearest(), np.zeros((1, 2)), support=[0], points=11)
    assert [t.get_text() for t in alone.axes[0].get_legend().get_texts()] == ["1 support vector"]


def test_path_has_a_panel_for_each_quantity():
    fig, series = plots.regularisation_path(lambda c: {"c": c, "root": c**0.5}, [0.01, 1, 100])
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["c", "root"]
    np.testing.assert_allclose(series["root"], [0.1, 1, 10])
    assert fig.axes[0].get_xscale() == "log"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.decision_regions(Nearest()), "give x or limits"),
        (lambda: plots.decision_regions(Nearest(), np.zeros((2, 3))), r"x has shape \(2, 3\), expected \(N, 2\)"),
        (lambda: plots.decision_regions(Nearest(), np.zeros((2, 2)), [1]), r"y has shape \(1,\)"),
        (lambda: plots.regularisation_path(dict, [1.0]), "at least two positive numbers"),
        (lambda: plots.regularisation_path(dict, [1.0, 0.0]), "at least two positive numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
