"""Where the package raises, and which of these places a test holds to their text.

conftest.py puts :func:`raises` in the place of ``pytest.raises``. A place is held to its text if ``pytest.raises(...,
match=...)`` has caught what was raised there: in Python the traceback says where that was. What C++ throws has no
traceback, one of Cython's may name another of its files, and exceptions of the package's own use (``_TransferError``)
reach the user as part of another one's text: all these are known by the fixed parts of what they say.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import pyneural

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(pyneural.__file__).parent
VALUE = "..."  # stands for a value in a text
#: What no test on this machine can reach, and why.
UNREACHABLE = {
    "isa.def names the feature": "checks the library's own table, when it is loaded",
    "is in the table twice": "checks the library's own table, when it is loaded",
    "pyneural needs a CPU with": "no test runs on a CPU without SSE4.2",
    "has no gradient and its shape is unknown": "no rule of an op reads the gradient of an output that is not kept",
    "this CPU lacks": "a CPU may have every instruction set of the build; test_package.py tests the others",
}
WHOLE = pytest.StashKey[bool]()  # of the configuration: whether all test files are run

pytest_raises = pytest.raises
lines: set[tuple[str, int]] = set()  # of raise statements that were seen: the file as tracebacks name it, and the line
messages: set[str] = set()


class Site(NamedTuple):
    """A raise statement of Python or Cython, or a call of fail<> in C++."""

    file: str  # from the root of the sources on
    first: int
    last: int
    text: str
    by_text: bool  # whether a message shows that it was seen; otherwise a line does

    def __str__(self) -> str:
        return f"{self.file}:{self.first}: {self.text}"


# ---- what tests have seen ----


@contextmanager
def raises(expected: Any, *, match: Any = None, **options: Any) -> Iterator[Any]:
    """``pytest.raises``; notes where what was held to a text came from."""
    with pytest_raises(expected, match=match, **options) as caught:
        yield caught
    if match is not None:
        _note(caught.value)


def _note(error: BaseException) -> None:
    text = str(error)
    messages.add(text)
    cause: BaseException | None = error
    while cause is not None:
        trace = cause.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None and str(cause) in text:  # also what the message repeats
            lines.add((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        cause = cause.__cause__ or cause.__context__


def printed(text: str) -> None:
    """Notes the last error of what a process has printed, which a test holds to its text."""
    messages.add(text)
    for file, line in re.findall(r'File "(.*?)", line (\d+)', text)[-1:]:
        lines.add((file, int(line)))


# ---- the places ----


def in_python() -> list[Site]:
    """The raise statements that make an exception with arguments.

    Not those of the benchmarks, which an installed package holds: what they say is for their own tables.
    """
    found = []
    for file in sorted(set(PACKAGE.rglob("*.py")) - set((PACKAGE / "benchmarks").rglob("*.py"))):
        name = file.relative_to(PACKAGE.parent).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and (node.exc.args or node.exc.keywords):
                private = ast.unparse(node.exc.func).startswith("_")
                said = _fixed(node.exc.args[0]) if private else ast.unparse(node.exc)
                found.append(Site(name, node.lineno, node.end_lineno or node.lineno, said, private))
    return found


def _fixed(text: ast.expr) -> str:
    """The fixed parts of a literal or an f-string."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in parts)


def in_cython() -> list[Site]:
    """Statements that begin with raise, to the line where its brackets close."""
    found = []
    for file in sorted((ROOT / "bindings").glob("*.p[yx][xi]")):
        source = file.read_text(encoding="utf-8").splitlines()
        for first, line in enumerate(source):
            if re.match(r"\s*raise \w+\(", line):
                last = first
                while sum(part.count("(") - part.count(")") for part in source[first : last + 1]) > 0:
                    last += 1
                said = "".join(re.findall(r'"((?:\\.|[^"\\])*)"', " ".join(source[first : last + 1])))
                said = re.sub(r"\{[^{}]*\}", VALUE, said)
                found.append(Site(file.relative_to(ROOT).as_posix(), first + 1, last + 1, said, True))
    return found


def in_cpp() -> list[Site]:
    """Calls of fail<>."""
    found = []
    for file in sorted([*(ROOT / "csrc").rglob("*.cpp"), *(ROOT / "bindings").glob("*.cpp")]):
        source = file.read_text(encoding="utf-8")
        for call in re.finditer(r"\bfail<[\w:]+>\(", source):
            arguments, end = _arguments(source, call.end())
            said = VALUE.join(_literal(argument) for argument in arguments)
            first, last = (source.count("\n", 0, at) + 1 for at in (call.start(), end))
            found.append(Site(file.relative_to(ROOT).as_posix(), first, last, said, True))
    return found


def _arguments(source: str, at: int) -> tuple[list[str], int]:
    """The arguments of a call whose bracket has just been opened, and where it ends."""
    arguments, depth = [""], 0
    for token in re.finditer(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'|.', source[at:], re.DOTALL):
        text = token.group()
        depth += (text in "([{") - (text in ")]}")
        if depth < 0:
            return arguments, at + token.start()
        if text == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += text
    raise AssertionError("a call without an end")


def _literal(argument: str) -> str:
    """What a string literal says; nothing for a value."""
    if not re.fullmatch(r'\s*(?:"(?:\\.|[^"\\])*"\s*)+', argument):
        return ""
    return "".join(re.findall(r'"((?:\\.|[^"\\])*)"', argument)).replace('\\"', '"')


# ---- which of them no test has seen ----


def untested() -> list[Site]:
    caught: dict[str, set[int]] = {}
    for file, line in lines:
        _, _, name = Path(file).as_posix().rpartition(f"/{PACKAGE.name}/")
        caught.setdefault(f"{PACKAGE.name}/{name}", set()).add(line)

    def seen(site: Site) -> bool:
        if any(reason in site.text for reason in UNREACHABLE):
            return True
        if site.by_text:
            return any(_says(site.text, message) for message in messages)
        return not caught.get(site.file, set()).isdisjoint(range(site.first, site.last + 1))

    return [site for site in (*in_python(), *in_cython(), *in_cpp()) if not seen(site)]


def _says(text: str, message: str) -> bool:
    """Whether a message has the fixed parts of a text, in order."""
    at = 0
    for part in text.split(VALUE):
        at = message.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


def expecting(file: Path) -> set[str]:
    """The functions of a test file that use ``raises`` or this module, themselves or through others of that file."""
    functions = [f for f in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(f, ast.FunctionDef)]
    uses = {f.name: {getattr(x, "attr", getattr(x, "id", "")) for x in ast.walk(f)} for f in functions}
    found = {"raises", "error_sites"}
    while more := {name for name, used in uses.items() if used & found} - found:
        found |= more
    return found
