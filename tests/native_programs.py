"""C++ programs that tests build and link with the library that pyneural itself uses.

They are built by CXX with CXXFLAGS if these are set.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
FLAGS = ["-std=gnu++20", "-ffp-contract=off", f"-I{ROOT / 'csrc'}", *os.environ.get("CXXFLAGS", "").split()]


def compile_all(commands: list[list[str]]) -> None:
    """Runs the commands side by side."""
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for c in commands]
    said = [process.communicate()[0] for process in running]
    for process, text in zip(running, said, strict=True):
        assert process.returncode == 0, text


def linked_program(sources: Sequence[Path], folder: Path, *options: str) -> str:
    """The program made of these sources; skips where there is no compiler or no library to link with."""
    if COMPILER is None:
        pytest.skip("no C++ compiler (c++, g++ or clang++) on PATH")
    spec = importlib.util.find_spec("pyneural._kernels")
    assert spec is not None
    assert spec.origin is not None
    where = Path(spec.origin).parent
    libraries = [*where.glob("libpyneural_core.so"), *where.glob("libpyneural_core.dylib")]
    if not libraries:
        pytest.skip(f"no shared library that a program can be linked with in {where}")
    objects = {source: str(folder / f"{source.stem}.o") for source in sources}
    compile_all([[COMPILER, *FLAGS, *options, "-O1", "-c", str(s), "-o", objects[s]] for s in sources])
    program = str(folder / sources[0].stem)
    library = [str(libraries[0]), f"-Wl,-rpath,{where}"]
    compile_all([[COMPILER, *FLAGS, *options, *objects.values(), *library, "-o", program]])
    return program
