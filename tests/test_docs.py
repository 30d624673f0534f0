"""Every Python block of the documentation runs, in order, file by file."""

from __future__ import annotations

import re
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
