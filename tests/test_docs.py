"""Every Python block of the documentation runs, in order, file by file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILES = [f for f in (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))) if BLOCK.search(f.read_text())]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_python_blocks_run(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = file.read_text()
    names = {"__name__": "__main__"}
    for block in BLOCK.finditer(text):
        # Line numbers of an error are those of the file.
        above = "\n" * (text.count("\n", 0, block.start()) + 1)
        exec(compile(above + block[1], str(file), "exec"), names)


def test_the_site_builds_without_a_warning(tmp_path):
    for part in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(part)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(ROOT / "docs"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = [f.read_text(encoding="utf-8") for f in tmp_path.glob("**/*.html")]
    assert any("argsort" in page and "<math>" in page for page in pages)
    for page in pages:  # links may lead away; what a page is made of may not come from the network
        assert not re.search(r'(<script[^>]*src|<link[^>]*href|<img[^>]*src)="https?:', page)
