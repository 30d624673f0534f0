"""The static gallery: complete, self-contained, and honest about failures."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import urlparse

import numpy as np
import pytest

from pyneural import benchmarking, plots, report
from pyneural.experiments import find
from pyneural.experiments.frame import Run, execute, experiment

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Collects links and text, and insists that every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.links, self.open, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.text += " "

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def good(e: Run) -> None:
    e.check("loss & <b>", 0.7271, 0.7271, 0.02, printed=0.75, note="from 3 < 4")
    e.check("negative", [-1e-5, 2], [-1e-5, 2], 1e-9)
    e.report("share", 0.3)
    e.table("results", ["net", "loss"], [["<i>", -1.5]], "Lower is better.")
    e.figure("curve", plots.lines([0, 1], {"y": [0, 1]}), 'A "line".', {"y": [0, 1]})
    e.note("The source **slips**: <script>alert(1)</script>")


def bad(e: Run) -> None:
    e.check("accuracy", 0.1, 0.9, kind="above")
    raise RuntimeError("stopped")


@pytest.fixture
def site(tmp_path, monkeypatch):
    for name, function in (("a-good", good), ("b-bad", bad)):
        declared = experiment(
            name, title=f"Title of {name}", source=f"doc-{name}.txt, 1", kind="hand", topic="Clustering"
        )(function)
        execute(declared, out=tmp_path)
    execute(find("activation-curves"), out=tmp_path)
    job = benchmarking.Job(
        "x * <x>",
        {name: benchmarking.Way(lambda: lambda: np.ones(3)) for name in ("pyneural", "numpy")},
        goals={"numpy": 1e-9},
    )
    with monkeypatch.context() as m:
        m.setattr(benchmarking, "load_cases", lambda: {"small": lambda quick: [job]})
        assert benchmarking.main(out=tmp_path, quick=True, peers=["numpy"]) == 0
    (tmp_path / "bench" / "mine.json").write_text("[1]")
    return report.build(tmp_path).parent


def test_every_link_leads_somewhere_and_nothing_comes_from_the_network(site):
    pages = [*site.glob("*.html"), *site.glob("*/index.html")]
    assert len(pages) == 6
    for path in pages:
        page = Page(path.read_text(encoding="utf-8"))
        assert page.links
        for link in page.links:
            assert not urlparse(link).scheme, link
            target, _, anchor = link.partition("#")
            page_there = path.parent / target if target else path
            assert page_there.exists(), f"{path} links to {link}"
            assert not anchor or f'id="{anchor}"' in page_there.read_text(encoding="utf-8")
        assert "<script" not in path.read_text(encoding="utf-8")
        assert '<meta name="viewport"' in path.read_text(encoding="utf-8")
    style = (site / "style.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_index_shows_status_and_main_numbers(site):
    page = Page((site / "index.html").read_text(encoding="utf-8"))
    text = re.sub(r"\s+", " ", page.text)
    assert "2 of 3 passed all their checks" in text
    assert "Title of a-good" in text
    assert "0.7271 expected 0.7271 ± 0.02" in text
    assert "0.1 expected > 0.9" in text
    assert "a-good/curve.png" in page.links


def test_the_other_index_is_by_document_and_both_name_the_groups(site):
    by_topic, by_document = (
        Page((site / name).read_text(encoding="utf-8")) for name in ("index.html", "documents.html")
    )
    assert re.findall(r"#[\w-]+", " ".join(by_topic.links)) == ["#calculations-by-hand", "#clustering"]
    assert "Clustering 1 of 2" in re.sub(r"\s+", " ", by_topic.text)
    assert "Autoencoders, " not in by_document.text
    for part in ("doc-a-good.txt", "doc-b-bad.txt", "Backpropagation by hand", "000_fb1690ef72ed0c7c.txt"):
        assert part in by_document.text
    assert {x for x in by_topic.links if x.endswith("/index.html")} <= set(by_document.links)


def test_benchmarks_have_a_page_with_their_ratios(site):
    text = re.sub(r"\s+", " ", Page((site / "benchmarks.html").read_text(encoding="utf-8")).text)
    assert "x * <x>, per call pyneural" in text
    assert "1e-09x met" in text
    assert "a try and not a result" in text
    assert "pyneural bench small --quick" in text
    assert "mine" not in text


def test_page_shows_expected_beside_measured(site):
    text = re.sub(r"\s+", " ", Page((site / "a-good" / "index.html").read_text(encoding="utf-8")).text)
    for part in (
        "loss & <b>",
        "from 3 < 4",
        "0.7271 0.7271 ± 0.02 0.75",
        "(\N{MINUS SIGN}1e\N{MINUS SIGN}05, 2)",
        "share 0.3",
        "<i> \N{MINUS SIGN}1.5",
        "Lower is better.",
        'A "line".',
        "The source slips: <script>alert(1)</script>",
        "pyneural run a-good --profile quick",
    ):
        assert part in text, part


def test_page_shows_failure_and_error(site):
    text = Page((site / "b-bad" / "index.html").read_text(encoding="utf-8")).text
    assert "fail" in text
    assert "RuntimeError: stopped" in text


def test_page_shows_what_is_asked_and_the_code(site):
    text = Page((site / "activation-curves" / "index.html").read_text(encoding="utf-8")).text
    assert "Draw the activation functions" in text
    assert find("activation-curves").code in text


def test_code_keeps_every_character():
    code = 'def f(x):\n    """Doc <b>.\n\n    More."""\n    return f"{x!r:>3} & {1.5e-3}"  # why\n'
    assert Page(str(report._highlight(code))).text == code
    assert '<span class="keyword">def</span>' in report._highlight(code)


def test_building_again_changes_nothing(site):
    before = {p: p.read_bytes() for p in site.rglob("*.html")}
    report.build(site)
    assert {p: p.read_bytes() for p in site.rglob("*.html")} == before


def test_nothing_to_report(tmp_path):
    with pytest.raises(report.NothingToReport, match="pyneural run ID"):
        report.build(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"id": "x"}', json.dumps(dict.fromkeys(report._FIELDS, "x"))])
def test_a_damaged_result_is_named(tmp_path, content):
    (tmp_path / "a-good").mkdir()
    (tmp_path / "a-good" / "result.json").write_text(content)
    with pytest.raises(report.NothingToReport, match=r"a-good.result\.json is not a result file"):
        report.build(tmp_path)
