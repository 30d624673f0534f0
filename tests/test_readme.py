"""The README says what is so: its example runs, what it quotes is in the files, what it names exists."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = ("demo", "list", "run", "report", "data", "bench", "info")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("mark", "command"), [("run", "pip install . && pyneural demo"), ("test", 'pip install ".[test]" && pytest')]
)
def test_each_command_is_one_line_after_its_mark(mark: str, command: str) -> None:
    found = re.search(rf"<!-- {mark} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found is not None
    assert found[1].strip() == command


def test_example_runs(capsys: Any) -> None:
    (example,) = blocks("python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    exec(compile(example, "README.md", "exec"), {})
    said = capsys.readouterr().out
    share = re.search(r"^(\d+\.\d)% of the test images", said, re.MULTILINE)
    assert share is not None
    assert float(share[1]) > 80
    assert "[[ 6." in said
    assert "12." in said


def test_quoted_op_is_in_the_files() -> None:
    (row,) = blocks("cpp")
    (record,) = blocks("py")
    assert row in (ROOT / "csrc" / "kernels" / "cpu" / "elementwise.def").read_text()
    assert record in (ROOT / "pyneural" / "ops" / "elementwise.py").read_text()


def test_tree_is_true() -> None:
    section = README.split("## Where things are")[1].split("##")[0]
    parents: list[str] = []
    named: set[str] = set()
    for indent, name in re.findall(r"^    ( *)([\w./]+)  +\S", section, re.MULTILINE):
        parents = [*parents[: len(indent) // 2], name]
        path = "".join(parents)
        assert (ROOT / path).exists(), f"README names {path}, which is not there"
        named.add(path.rstrip("/"))
    assert len(named) > 20
    # What lies in the repository's folders of code is named, or is a helper of what is.
    for folder in ("csrc", "pyneural"):
        parts = {
            p.relative_to(ROOT).as_posix() for p in (ROOT / folder).iterdir() if p.is_dir() and p.name[0] not in "_."
        }
        assert parts <= named, f"README does not name {sorted(parts - named)}"
    modules = {p.name for p in (ROOT / "pyneural").glob("*.py") if p.name[0] != "_"}
    assert modules <= set(re.findall(r"\w+\.py", section)), "a public module is not in README's picture"


def test_files_that_are_named_exist() -> None:
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        links = re.findall(r"\]\(([\w./-]+)\)", text)
        quoted = re.findall(r"`((?:csrc|pyneural|tests|tools|docs|bindings|benchmarks)/[\w./]*)`", text)
        for name in {*links, *quoted}:
            assert (ROOT / name).exists(), name


def test_picture_is_small() -> None:
    assert (ROOT / "docs" / "reconstructions.png").stat().st_size < 300_000


def test_commands_are_those_of_the_command_line() -> None:
    section = README.split("## The command line")[1].split("##")[0]
    assert tuple(re.findall(r"^    pyneural (\w+)", section, re.MULTILINE)) == COMMANDS
    said = subprocess.run(
        [sys.executable, "-m", "pyneural", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in COMMANDS:
        assert re.search(rf"^    {command}\b", said, re.MULTILINE), command
