"""The page of ``pn.explain``: it needs nothing from outside, and stepping works in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import pyneural as pn
from pyneural import functional as F
from pyneural import nn, optim
from pyneural.explaining.values import MINUS

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

# Clicks through the page and writes down what it shows.
PROBE = """<script>
const seen = [], all_of = q => [...document.querySelectorAll(q)];
const shown = q => all_of(q).filter(e => getComputedStyle(e).visibility !== "hidden");
function note() {
  seen.push({where: document.getElementById("where").textContent, panel: document.getElementById("panel").innerText,
             now: shown(".box.now").map(b => b.dataset.key), values: shown(".edge .ahead").length,
             messages: shown(".edge .back").length, row: all_of("tr.now td:first-child").map(e => e.textContent),
             first: document.getElementById("prev").disabled, last: document.getElementById("next").disabled});
}
note();
for (let i = 1; i < steps.length; i++) { document.getElementById("next").click(); note(); }
document.getElementById("prev").click(); note();
document.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowLeft"})); note();
document.dispatchEvent(new KeyboardEvent("keydown", {key: "Home"})); note();
document.querySelector('.box[data-key="f2"]').dispatchEvent(new MouseEvent("click")); note();
const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
const out = document.createElement("pre");
out.id = "probe";
out.textContent = JSON.stringify({seen, wide, math: document.querySelectorAll("math").length});
document.body.append(out);
</script>"""


def explanation(**options):
    w = pn.tensor([[0.5, -0.25], [1.0, 0.75]]).requires_grad_()
    x = pn.tensor([[1.0], [2.0]])
    return pn.explain(lambda x: ((w @ (w @ x).tanh()) - x).square().sum(), x, **options)


def probed(page, tmp_path, width):
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom", file.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def test_page_is_self_contained():
    for page in (explanation().html(), explanation(order=2).html(), explanation(differences=True).html()):
        assert not re.search(r"https?://|//[a-z]+\.[a-z]|\bsrc=|\bhref=|@import", page)
        assert set(re.findall(r"url\([^)]*\)", page)) == {"url(#tip)"}
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
        assert "<" not in data[1]
        assert len(json.loads(data[1])["steps"]) > 10


def test_names_are_escaped():
    x = pn.tensor([1.0]).requires_grad_()

    def f():
        return (x * 2.0).sum()

    f.__name__ = "<b>&</b></script>"
    page = pn.explain(f).html()
    assert "<b>" not in page
    assert page.count("</script>") == 2


def test_tables_hold_the_numbers():
    page = explanation().html()
    e = explanation()
    for node in e:
        assert node.outputs[0].line() in page
        for message in node.sent:
            assert message.result.line() in page
    assert e["w"].collected[0].line() in page
    assert page.count("+ from f(3)") == 1  # the tied weight's two paths
    assert "<th>differences</th>" not in page
    assert page.count("<td>off by") == 0
    assert explanation(differences=True).html().count("<td>off by") == 7  # six sums, one gradient


@needs_browser
@pytest.mark.parametrize("width", [1300, 500])
def test_stepping_in_a_browser(tmp_path, width):
    e = explanation(differences=True)
    result = probed(e.html(), tmp_path, width)
    seen = result["seen"]
    assert not result["wide"]  # the page itself does not scroll sideways
    steps = ["leaves", *(f"f({k})" for k in range(1, 7)), *(f"t({k})" for k in range(6, 0, -1)), "gradients"]
    forth, rest = seen[: len(steps)], seen[len(steps) :]
    assert [s["where"] for s in forth] == [f"step {i} of {len(steps) - 1}: {s}" for i, s in enumerate(steps)]
    assert [s["now"] for s in forth[1:13]] == [[f"f{k}"] for k in (1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1)]
    assert [s["row"] for s in forth[1:13]] == [[s] for s in steps[1:13]]
    values = [s["values"] for s in forth]
    messages = [s["messages"] for s in forth]
    assert values == sorted(values)
    assert values[0] < values[6] == values[-1]
    assert messages[6] == 0  # nothing has come back yet
    assert messages[6:13] == sorted(set(messages[6:13]))
    assert (forth[0]["first"], forth[0]["last"], forth[-1]["last"]) == (True, False, True)
    assert [s["where"].split(": ")[1] for s in rest] == ["t(1)", "t(2)", "leaves", "f(2)"]
    assert rest[0]["messages"] == forth[-2]["messages"]
    assert rest[1]["messages"] < rest[0]["messages"]

    def shown(array):
        return [f"{v:.5g}".replace("-", MINUS) for v in np.ravel(array)]

    for step, k in zip(forth[7:13], range(6, 0, -1), strict=True):
        assert all(v in step["panel"] for v in shown(e[k].t)), step["panel"]
        assert "central differences: off by" in step["panel"]
    for path in (*(m.value for m in e["w"].messages), e["w"].gradient):
        assert all(v in forth[-1]["panel"] for v in shown(path))
    assert result["math"] > 6


@needs_browser
def test_training_step_in_a_browser(tmp_path):
    pn.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 40), nn.ReLU(), nn.Dropout(0.2), nn.Linear(40, 10))
    optimizer = optim.Adam(model.parameters())

    @pn.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    e = pn.explain(step, pn.randn(16, 60), np.arange(16) % 10)
    seen = probed(e.html(), tmp_path, 1300)["seen"]
    at = {s["where"].split(": ")[1]: s["panel"] for s in seen}
    assert "in module model.1" in at["f(2)"]
    assert "16 \N{MULTIPLICATION SIGN} 40" in at["f(2)"]
    assert "model.0.weight after adam_" in at["updates"]
    assert "model.3.bias" in at["gradients"]
