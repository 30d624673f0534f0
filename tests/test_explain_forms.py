"""What ``pn.explain`` gives as JSON, LaTeX, files and pictures."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from explaining_cases import hand_network, same, tensor

import pyneural as pn
from pyneural import nn
from pyneural.explaining import Explanation
from pyneural.explaining.scene import folded, scene
from pyneural.explaining.values import FEW, MINUS, Value, number


@pytest.fixture
def hand():
    return hand_network()


# ---- forms ----


def test_json_holds_everything(hand):
    error, x, _ = hand
    e = pn.explain(error, x, differences=True)
    text = e.to_json()
    again = Explanation.from_json(text)
    assert again.text() == e.text()
    assert again.to_json() == text
    for a, b in zip(again, e, strict=True):
        same(a.value, b.value)
        same(a.t, b.t)
        same(a.check.estimate, b.check.estimate)
    same(again["w1"].gradient, e["w1"].gradient)
    again.figure()
    with pytest.raises(ValueError, match="not an explanation: expected the format"):
        Explanation.from_json("{}")
    with pytest.raises(ValueError, match="a damaged explanation: KeyError"):
        Explanation.from_json(json.dumps({**json.loads(text), "nodes": [{}]}))


def test_json_of_large_and_of_strange_numbers():
    x = pn.tensor(np.array([np.nan, np.inf, -np.inf, 0.1])).requires_grad_()
    e = Explanation.from_json(pn.explain(lambda: (x * 2.0).clip(-1.0, float("inf")).sum()).to_json())
    same(e["x"].value, x.detach())
    big = tensor(40, 50).requires_grad_()
    e = pn.explain(lambda: big.square().sum())
    again = Explanation.from_json(e.to_json())
    assert again["big"].value is None
    assert again["big"].before.summary == e["big"].before.summary
    assert again.text() == e.text()
    same(Explanation.from_json(e.to_json(limit=5000))["big"].value, big.detach())


def test_statistics_and_small_pictures():
    a = np.random.default_rng(0).normal(3, 2, size=(70, 90))
    a[0, 0] = 0
    s = Value(a).summary
    assert s["low"] == a.min()
    assert s["high"] == a.max()
    assert s["mean"] == pytest.approx(a.mean(), rel=1e-12)
    assert s["deviation"] == pytest.approx(a.std(), rel=1e-9)
    assert (s["zeros"], s["nonfinite"]) == (1, 0)
    assert s["picture"]["rows"] == 16
    a[1, 1] = np.nan
    assert Value(a).summary["nonfinite"] == 1
    assert Value(a).summary["mean"] == pytest.approx(np.nanmean(a), rel=1e-12)
    assert Value(a + 5).summary["low"] == np.nanmin(a + 5)
    assert Value(np.full(50, np.inf)).line() == "(50,) all NaN or inf"
    far = (1000 + a[2:] / 100).astype(np.float32)
    assert Value(far).summary["deviation"] == pytest.approx(far.std(dtype=np.float64), rel=1e-4)
    json.dumps(Value(np.full((20, 20), 1e308)).to_dict(), allow_nan=False)
    assert Value(np.zeros((0, 3))).summary is None
    assert Value(np.ones((4, 3, 20, 20), np.float32)).summary["picture"]["rows"] == 16
    assert Value(np.ones((64, 8, 1, 1))).summary["picture"]["rows"] == 16
    assert Value(np.ones((64, 1))).summary["picture"]["rows"] == 1
    assert "mean 1" in Value(np.ones(FEW + 1)).line()
    assert [number(v) for v in (0.0, -1.5, 123456.0, 7, True, np.float32(0.1))] == [
        "0",
        MINUS + "1.5",
        "1.2346e+05",
        "7",
        "True",
        "0.1",
    ]


def test_latex(hand):
    error, x, _ = hand
    text = pn.explain(error, x).latex()
    assert text.startswith(r"\documentclass")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert r"$t_{5}\,f_{4}^T = \begin{pmatrix}" in text
    assert MINUS not in text
    assert r"\documentclass" not in pn.explain(error, x).latex(document=False)
    names = pn.explain(lambda some_name: some_name.square().sum(), np.ones(3)).latex()
    assert r"\mathrm{some\_name}" in names


def test_save(hand, tmp_path):
    error, x, _ = hand
    e = pn.explain(error, x)
    for suffix, start in (
        (".html", b"<!doctype"),
        (".json", b"{"),
        (".txt", b"error"),
        (".tex", b"\\doc"),
        (".png", b"\x89PNG"),
    ):
        assert e.save(tmp_path / f"a{suffix}").read_bytes().startswith(start)


# ---- pictures ----


def overlaps(placed):
    """Pairs of boxes and labels that share area, as (x0, y0, x1, y1)."""
    areas = [
        (b.x - b.width / 2, b.y - b.height / 2, b.x + b.width / 2, b.y + b.height / 2)
        for b in (*placed.boxes, *placed.edges)
    ]
    found = []
    for i, (a0, b0, a1, b1) in enumerate(areas):
        for c0, d0, c1, d1 in areas[:i]:
            if min(a1, c1) - max(a0, c0) > 0.01 and min(b1, d1) - max(b0, d0) > 0.01:
                found.append((i, (a0, b0, a1, b1), (c0, d0, c1, d1)))
    return found


def deep(layers=12):
    model = nn.Sequential(*(part for _ in range(layers) for part in (nn.Linear(8, 8), nn.Tanh())))
    return model, lambda x: (model(x) + x).square().mean()


def test_nothing_overlaps(hand):
    error, x, _ = hand
    w = tensor(3, 3).requires_grad_()
    _, f = deep()
    explanations = [pn.explain(error, x), pn.explain(error, x, order=2), pn.explain(f, pn.ones(4, 8)),
                    pn.explain(lambda x: ((w @ (w @ x).tanh()).sigmoid() - x).square().sum(), x)]  # fmt: skip
    for e in explanations:
        for values in (True, False):
            placed = scene(e.graph, values=values, messages=values)
            assert overlaps(placed) == []
            for b in placed.boxes:
                assert b.x - b.width / 2 > -0.01
                assert b.x + b.width / 2 < placed.width + 0.01
                assert b.y - b.height / 2 > -0.01
                assert b.y + b.height / 2 < placed.height + 0.01
    assert scene(explanations[0].graph).down
    assert not scene(explanations[3].graph).down


def test_texts_of_the_picture_do_not_overlap(hand):
    """The room that was planned for texts is what matplotlib needs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    error, x, _ = hand
    fig = pn.explain(error, x).figure(formulas=True)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in fig.axes[0].texts]
    pairs = [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i])
             if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2]  # fmt: skip
    assert pairs == []
    texts = [t.get_text() for t in fig.axes[0].texts]
    assert any("(1 - f(4)^2) t(4)" in t for t in texts)


def test_many_calls_are_folded_by_module():
    model = nn.Sequential(
        *(nn.Sequential(*(p for _ in range(4) for p in (nn.Linear(4, 4), nn.Tanh()))) for _ in range(30))
    )
    e = pn.explain(lambda x: model(x).square().mean(), pn.ones(2, 4))
    assert len(e) == 242
    placed = scene(e.graph)
    folds = [b for b in placed.boxes if b.kind == "fold"]
    assert len(folds) == 30
    assert folds[0].lines == ["model.0", "f(1) to f(8)", "9 leaves inside"]
    assert overlaps(placed) == []
    assert len(folded(e.nodes, 10)) <= 10  # modules are too many as well: runs of equal length
    assert [n.k for g in folded(e.nodes, 10) for n in g] == list(range(1, 243))
    e.figure()
    assert re.search(r">model\.0<.*>f\(1\) to f\(8\)<", e.html())
