"""Where a run takes place: the facts that belong beside every measured number, and the settings of a run."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

OPTIONAL_PARTS = {
    "torch": "comparisons in `pyneural bench`",
    "jax": "comparisons in `pyneural bench`",
    "scikit-learn": "estimators in its pipelines",
    "sympy": "symbolic checks of experiments",
    "onnx": "exchange of models",
    "mpi4py": "data-parallel training",
    "CUDA": "kernels on NVIDIA GPUs",
}
_IMPORT_NAMES = {"scikit-learn": "sklearn"}


def version() -> str:
    """The version of the installed package."""
    return importlib.metadata.version("pyneural")


def facts() -> dict[str, Any]:
    """What a result file says about the machine: version, python, numpy, cpu, isa, threads, platform."""
    import pyneural as pn

    return {
        "version": version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": cpu_name(),
        "isa": pn.current_isa(),
        "threads": pn.get_num_threads(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


@functools.cache
def fingerprint() -> str:
    """A hash of the package's Python files and libraries: two runs with the same one ran the same code."""
    from . import _engine

    source, libraries = (
        Path(__file__).parent,
        Path(_engine.__file__).parent,
    )  # two folders where the install is editable
    found = hashlib.sha256()
    for path in [*sorted(source.rglob("*.py")), *sorted(libraries.glob("*.so"))]:
        found.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def available_isas() -> list[str]:
    """The instruction sets that this CPU can run, weakest first."""
    import pyneural as pn

    return list(pn.available_isas())


def cpu_name() -> str:
    """The processor as it calls itself, or what Python knows of it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def optional_parts() -> dict[str, str | None]:
    """The version of each optional package, None for one that is not installed. None of them is imported."""
    # CUDA kernels are a part of the build, not a package; this version has none.
    found: dict[str, str | None] = {"CUDA": None}
    for name in OPTIONAL_PARTS.keys() - found.keys():
        try:
            present = importlib.util.find_spec(_IMPORT_NAMES.get(name, name)) is not None
            found[name] = importlib.metadata.version(name) if present else None
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return {name: found[name] for name in OPTIONAL_PARTS}


@contextlib.contextmanager
def running(*, threads: int | None, seed: int) -> Iterator[int]:
    """Seed the generator and set the number of threads (None: as it is) for the block; yields the number in use.

    Ctrl-C ends the whole block; a training inside it would otherwise end alone, and the rest go on with half a model.
    """
    import pyneural as pn

    before = pn.get_num_threads()
    if threads is not None:
        pn.set_num_threads(threads)
    pn.manual_seed(seed)
    # Trainer.fit leaves the signal alone if its handler is not Python's own.
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield pn.get_num_threads()
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        pn.set_num_threads(before)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def show_config() -> None:
    """Print what `pyneural info` says, as plain lines: for bug reports."""
    from ._kernels import bf16_instruction

    isas = ", ".join(available_isas())
    bf16 = "by instruction" if bf16_instruction() else "by rounding"
    for name, value in [*facts().items(), ("isa available", isas), ("bf16 products", bf16), *optional_parts().items()]:
        print(f"{name:>16}  {'not installed' if value is None else value}")
