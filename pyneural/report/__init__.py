"""The static gallery: a page per experiment that was run, indexes by topic and by source document, and the benchmarks.
Plain HTML and one style sheet, nothing from the network.

`build(out)` reads OUT/ID/result.json and OUT/bench/CASE.json, and writes OUT/index.html, OUT/documents.html,
OUT/benchmarks.html, OUT/style.css and OUT/ID/index.html. `render` fills one template, for pages that stand alone (the
demo's).
"""

from __future__ import annotations

import base64
import html
import io
import json
import keyword
import os
import re
import tokenize
from collections.abc import Callable
from importlib import resources
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

from pyneural import _benchmark_output as _benchmark
from pyneural.experiments import DOCUMENTS
from pyneural.experiments._judge import show, sides
from pyneural.experiments.frame import TOPICS

_FIELDS = (
    "id",
    "title",
    "source",
    "profile",
    "seed",
    "threads",
    "seconds",
    "environment",
    "checks",
    "tables",
    "figures",
)
# Python 3.12 splits f-strings into pieces.
_STRING_PIECES = ("STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
_WORD_KINDS = {"COMMENT": "comment", "NUMBER": "number"} | dict.fromkeys(_STRING_PIECES, "string")


class NothingToReport(RuntimeError):
    """There are no results to make pages of; the message says how to get some."""


def build(out: str | os.PathLike[str]) -> Path:
    """Write the gallery of all results under `out` and return the path of its index.

    Raises NothingToReport if there is no result, or if a result file is damaged (it names the file).
    """
    folder = Path(out)
    results = [_read(path) for path in sorted(folder.glob("*/result.json"))]
    if not results:
        raise NothingToReport(
            f"no results in {folder}: `pyneural run ID --out {folder}` makes them, `pyneural list` shows the ids"
        )
    results.sort(key=lambda r: (_place(r["topic"]), r["id"]))
    for before, result, after in zip([None, *results], results, [*results[1:], None], strict=False):
        page = render("experiment.html", r=result, before=before, after=after, root="../", **_source(result["id"]))
        _write(folder / result["id"] / "index.html", page)
    benchmarks = _benchmarks(folder)
    links = {
        "by topic": "index.html",
        "by document": "documents.html",
        "benchmarks": "benchmarks.html" if benchmarks else None,
        "the main job": "demo/index.html" if (folder / "demo" / "index.html").exists() else None,
    }
    shared = {"results": results, "links": {text: link for text, link in links.items() if link}, "root": ""}
    _write(folder / "style.css", style_sheet())
    if benchmarks:
        _write(folder / "benchmarks.html", render("benchmarks.html", cases=benchmarks, **shared))
    documents = sorted(results, key=lambda r: (_document(r), r["id"]))
    pages = {"documents.html": _grouped(documents, _document), "index.html": _grouped(results, lambda r: r["topic"])}
    for name, groups in pages.items():
        _write(folder / name, render("index.html", groups=groups, here=name, **shared))
    return folder / "index.html"


def _grouped(results: list[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> list[dict[str, Any]]:
    """Groups of the sorted results: heading, the document's title where it is one, anchor, members."""
    return [
        {
            "heading": heading,
            "title": DOCUMENTS.get(heading, ""),
            "anchor": re.sub(r"\W+", "-", heading.lower()),
            "members": list(members),
        }
        for heading, members in groupby(results, key=key)
    ]


def _place(topic: str) -> int:
    return TOPICS.index(topic) if topic in TOPICS else len(TOPICS)


def _benchmarks(folder: Path) -> list[dict[str, Any]]:
    """What `pyneural bench` left, by case; a file that is none of its own is left out."""
    found = []
    for path in sorted((folder / "bench").glob("*.json")):
        try:
            case = json.loads(path.read_text(encoding="utf-8"))
            picture = path.with_suffix(".png")
            found.append(
                {
                    "name": case["case"],
                    "environment": case["environment"],
                    "roofs": case["roofs"],
                    "jobs": [_benchmark.rows(job) for job in case["jobs"]],
                    "picture": f"bench/{picture.name}" if picture.exists() else None,
                }
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found


def render(template: str, **context: Any) -> str:
    """A page from one of the templates beside this file."""
    return str(_templates().get_template(template).render(**context))


def style_sheet() -> str:
    """The text of the one style sheet."""
    return (resources.files(__name__) / "templates" / "style.css").read_text(encoding="utf-8")


def embedded(path: str | os.PathLike[str]) -> str:
    """A PNG as a data URI, for pages that must hold their pictures."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")


def _templates() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "show": lambda value: _typeset(show(value)),
        "typeset": _typeset,
        "markdown": _markdown,
        "highlight": _highlight,
    }
    environment.globals |= {"sides": sides, "main_numbers": _main_numbers, "is_number": _is_number}
    environment.globals["columns"] = _benchmark.COLUMNS
    return environment


def _read(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in _FIELDS if name not in result]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        if result["id"] != path.parent.name:
            raise ValueError(f"it says id {result['id']!r}, its folder says {path.parent.name!r}")
    except (OSError, ValueError, TypeError) as problem:
        raise NothingToReport(
            f"{path} is not a result file ({problem}): run the experiment again, or delete its folder"
        ) from problem
    defaults: dict[str, Any] = {"kind": "", "topic": "Others", "reports": [], "notes": [], "error": None}
    result = defaults | result
    result["passed"] = result["error"] is None and bool(result["checks"]) and all(c["passed"] for c in result["checks"])
    return result


def _document(result: dict[str, Any]) -> str:
    return str(result["source"]).split(",")[0].split(" ")[0]


def _source(id: str) -> dict[str, Any]:
    """The description and code of the experiment, empty if its file is not in this version of the package."""
    from pyneural.experiments import UnknownExperiment, find

    try:
        experiment = find(id)
    except UnknownExperiment:
        return {"description": "", "code": "", "file": ""}
    return {
        "description": experiment.description,
        "code": experiment.code,
        "file": experiment.module.replace(".", "/") + ".py",
    }


def _main_numbers(result: dict[str, Any], count: int = 2) -> list[dict[str, Any]]:
    """The checks for the card: of those that measured one number (all, if none did), failed ones first, then what the
    source prints otherwise, then those with a tolerance."""
    numbers = [c for c in result["checks"] if _is_number(c["measured"])] or result["checks"]
    return sorted(numbers, key=lambda c: (c["passed"], "printed" not in c, not c["tolerance"]))[:count]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _typeset(text: str) -> str:
    """Real minus signs: lines are not broken behind them, as they are behind hyphens."""
    return re.sub(r"(?<![A-Za-z0-9])-(?=\d)|(?<=\de)-(?=\d)", "\N{MINUS SIGN}", text)


def _markdown(text: str) -> Any:
    """Markdown as HTML; HTML inside the text stays text."""
    import jinja2.utils
    from markdown_it import MarkdownIt

    return jinja2.utils.markupsafe.Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))


def _highlight(code: str) -> Any:
    """Python code as HTML with a class for keywords, strings, comments and numbers."""
    import jinja2.utils

    starts = [0, *accumulate(len(line) for line in code.splitlines(keepends=True))]
    parts, done = [], 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        name = tokenize.tok_name[token.type]
        kind = "keyword" if name == "NAME" and keyword.iskeyword(token.string) else _WORD_KINDS.get(name)
        if kind is None:
            continue
        begin, end = (starts[line - 1] + column for line, column in (token.start, token.end))
        parts.append(html.escape(code[done:begin]))
        parts.append(f'<span class="{kind}">{html.escape(code[begin:end])}</span>')
        done = end
    return jinja2.utils.markupsafe.Markup("".join(parts) + html.escape(code[done:]))


def _write(path: Path, text: str) -> None:
    """The whole file or none of it, so that a page opened meanwhile is never half written."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
