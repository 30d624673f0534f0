"""Coverage-guided fuzzing of what reads bytes or words from outside: it may refuse them with its own error only.

    python tools/fuzz.py idx 600        # seconds; targets: idx, safetensors, results, arguments

Needs atheris (pip install atheris). Inputs that reached new code are kept in build/fuzz/TARGET, and start the next run.
An input that leads to any other exception, a hang (10 seconds, or --hang: a longer one on a machine that is halted at
times) or more than 1 GB of memory ends the run with exit code 1 or above; atheris prints it and leaves it in a file
crash-* or timeout-*.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np

import pyneural as pn
import pyneural.persistence
from pyneural import cli, report
from pyneural.data.idx import IDXError, encode_idx, read_idx
from pyneural.experiments import find, frame
from pyneural.persistence import FormatError

QUADRATIC = find("quadratic-gd")
ROOT = Path(__file__).resolve().parents[1]
WORDS = ["run", "report", "data", "bench", "demo", "list", "info", "all", "get", "path", "quadratic-gd", "--profile",
         "full", "--threads", "--seed", "--out", "--json", "--again", "--peers", "--quick", "--help", "--version", "0",
         "-1", "1e9", "\0", "", "--", "ä"]  # fmt: skip


def idx(data: bytes) -> None:
    with contextlib.suppress(IDXError):
        array = read_idx(data, max_bytes=1 << 24)
        assert encode_idx(array) is not None


def safetensors(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        pyneural.persistence.from_bytes(data)


def results(data: bytes) -> None:
    """A result file and a benchmark's, in the places where the report looks for them."""
    with tempfile.TemporaryDirectory() as out:
        for place in ("quadratic-gd/result.json", "bench/eager.json"):
            (Path(out) / place).parent.mkdir()
            (Path(out) / place).write_bytes(data)
        frame.finished(QUADRATIC, profile="quick", out=out, threads=None, seed=0, eager=False)
        with contextlib.suppress(report.NothingToReport):
            report.build(out)


def arguments(data: bytes) -> None:
    """A command line: two bytes choose each word, or what follows a high one is the word."""
    choose = atheris.FuzzedDataProvider(data)
    words = []
    for _ in range(choose.ConsumeIntInRange(0, 8)):
        free = choose.ConsumeProbability() < 0.3
        words.append(choose.ConsumeUnicodeNoSurrogates(12) if free else choose.PickValueInList(WORDS))
    with (
        contextlib.suppress(SystemExit),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        cli._parser().parse_args(words)


def seeds(target: str) -> list[bytes]:
    """Valid inputs to start from."""
    if target == "idx":
        return [encode_idx(np.arange(6, dtype=dtype).reshape(2, 3)) for dtype in ("u1", "i2", "f4", "f8")]
    if target == "safetensors":
        held = {"w": pn.ones(2, 3), "n": 1, "s": ["a", None, 2.5, (True,)], "z": np.zeros(0)}
        return [pyneural.persistence.to_bytes(held), pyneural.persistence.to_bytes({"layer.weight": pn.zeros(2)})]
    if target == "results":
        with tempfile.TemporaryDirectory() as out:
            result = frame.execute(QUADRATIC, out=out)
        facts = {"cpu": "c", "isa": "i", "threads": {"pyneural": 1}, "peers": {}, "when": "2020-01-01", "quick": True}
        job = {
            "job": "j",
            "step": "call",
            "unit": "s",
            "ways": {"pyneural": {"minimum": 1.0}},
            "ratios": {},
            "goals": {},
        }
        bench = {"case": "eager", "environment": facts, "absent": [], "roofs": {}, "jobs": [job]}
        return [json.dumps(result).encode(), json.dumps(bench).encode()]
    return [b"\x03" + bytes(range(40))]


TARGETS: dict[str, Callable[[bytes], None]] = {f.__name__: f for f in (idx, safetensors, results, arguments)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("seconds", type=int)
    parser.add_argument("--hang", type=int, default=10, help="seconds that count as a hang")
    options = parser.parse_args()
    corpus = ROOT / "build" / "fuzz" / options.target
    corpus.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(seeds(options.target)):
        (corpus / f"seed-{i}").write_bytes(content)
    limits = [
        f"-timeout={options.hang}",
        "-rss_limit_mb=1024",
        "-max_len=4096",
        f"-max_total_time={options.seconds}",
        "-verbosity=0",
    ]
    limits += ["-print_final_stats=1"]
    atheris.instrument_all()  # the import hooks would miss what an editable install imports by hooks of its own
    atheris.Setup([sys.argv[0], *limits, str(corpus)], TARGETS[options.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
