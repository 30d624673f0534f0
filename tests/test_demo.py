"""The main job, on a small share of the images, and its k-means."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from pyneural.experiments import demo
from pyneural.experiments.frame import load_images


def test_kmeans_finds_separated_groups_and_repeats():
    rng = np.random.default_rng(0)
    means = 20 * rng.normal(size=(5, 8))
    truth = rng.integers(0, 5, 500)
    x = (means[truth] + rng.normal(size=(500, 8))).astype(np.float32)
    centres, labels, spread = demo.kmeans(x, 5, np.random.default_rng(1))
    assert all(len(set(labels[truth == c])) == 1 for c in range(5))
    assert len(set(labels)) == 5
    for c in range(5):
        np.testing.assert_allclose(centres[c], x[labels == c].mean(axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(spread, ((x - centres[labels]) ** 2).sum(axis=1).mean(), rtol=1e-3)
    again = demo.kmeans(x, 5, np.random.default_rng(1))
    np.testing.assert_array_equal(again[0], centres)
    np.testing.assert_array_equal(again[1], labels)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_kmeans_with_points_that_coincide(k):
    x = np.repeat(np.eye(3, dtype=np.float32), [3, 3, 1], axis=0)
    centres, labels, spread = demo.kmeans(x, k, np.random.default_rng(0))
    assert centres.shape == (k, 3)
    assert len(labels) == 7
    assert np.isfinite(centres).all()
    assert (spread < 1e-6) == (k >= 3)


@pytest.mark.parametrize("k", [0, 8])
def test_kmeans_refuses_a_wrong_number_of_clusters(k):
    with pytest.raises(ValueError, match=f"k is {k}, expected between 1 and the number of points, 7"):
        demo.kmeans(np.zeros((7, 2)), k, np.random.default_rng(0))


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src")]


def test_the_job_learns_and_writes_a_page_that_stands_alone(tmp_path, monkeypatch):
    images = load_images("digits").first(2000, 500)
    monkeypatch.setattr(demo, "load_images", lambda name, folder: images)
    monkeypatch.setattr(demo, "CLASSIFIER_EPOCHS", {"digits": 6})
    monkeypatch.setattr(demo, "AUTOENCODER_EPOCHS", {"digits": 8})
    result = demo.run(out=tmp_path, seed=1)
    linear, network = result["accuracy"].values()
    assert 0.6 < linear < network
    assert all(0.2 < share < 1 for share in result["purity"].values())
    assert set(result["tables"]) == {"accuracy", "compression", "clusters"}
    page = tmp_path / "demo" / "index.html"
    assert result["page"] == str(page)
    links = Links(page.read_text(encoding="utf-8")).found
    assert len(links) == len(result["figures"]) >= 8
    assert all(link.startswith("data:image/png;base64,") for link in links)
    for figure in result["figures"]:
        assert (page.parent / figure["file"]).exists()
        assert (page.parent / figure["data"]).exists()
