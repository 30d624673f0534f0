"""What a library costs before it has computed anything: time to import it, and its size on disk."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyneural.benchmarking import Job, Way, case

#: What has to be installed for each import name.
LIBRARIES = {
    "pyneural": ("pyneural",),
    "numpy": ("numpy",),
    "torch": ("torch",),
    "jax": ("jax", "jaxlib"),
    "sklearn": ("scikit-learn", "scipy"),
}
CLOCK = "import time; start = time.perf_counter(); import {name}; print(time.perf_counter() - start)"


def importing(name: str, first: str = "") -> Any:
    """Seconds that `import name` takes in a fresh interpreter, after `first` was done there."""

    def run() -> float:
        # Isolated: not from the folder that we happen to stand in, where a checkout may lie.
        command = [sys.executable, "-I", "-c", first + CLOCK.format(name=name)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return run


def installed_size(name: str) -> float:
    """Bytes of a library's files, compiled Python aside: its package folder and all that its distributions brought."""
    spec = importlib.util.find_spec(name)
    files = set(Path(spec.origin).parent.rglob("*")) if spec and spec.origin else set()
    for distribution in LIBRARIES[name]:
        files |= {Path(str(f.locate())) for f in importlib.metadata.files(distribution) or ()}
    own = {f.resolve() for f in files if "__pycache__" not in f.parts and f.is_file()}
    return float(sum(f.stat().st_size for f in own))


@case("import")
def imports(quick: bool) -> Iterator[Job]:
    """Fresh interpreters; the first one of each library, which fills the disk cache, counts like the others."""
    yield Job(
        "import", {name: Way(lambda n=name: importing(n)) for name in LIBRARIES}, step="import", measures="s"
    )  # fmt: skip
    yield Job(
        "import after NumPy",
        {n: Way(lambda n=n: importing(n, "import numpy; ")) for n in LIBRARIES if n != "numpy"},
        step="import",
        measures="s",
    )
    yield Job(
        "installed size",
        {name: Way(lambda n=name: lambda: installed_size(n)) for name in LIBRARIES},
        step="library",
        measures="B",
    )
