"""Builds the package with gcc's sanitizers of addresses and undefined behaviour, and runs the kernels' tests with it.

    python tools/sanitize.py [TEST.py ...]

The C++ test program is among them (test_kernel_bits.py). Run it with the Python of an environment that has the build
and test requirements but no editable install of pyneural. The build stays in build/sanitize, so that a second run
builds only what changed. Exit code 0: no finding.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    "test_kernel_bits.py", "test_convolution.py", "test_attention.py", "test_nn_recurrent.py", "test_normalization.py",
    "test_graphs.py", "test_padding.py", "test_resampling.py", "test_embedding.py", "test_kmeans.py",
    "test_kmeans_bounds.py", "test_svm.py", "test_matmul_kernel.py", "test_precision.py", "test_capture.py",
    "test_capture_bits.py", "test_capture_epoch.py", "test_capture_errors.py", "test_capture_fusion.py",
    "test_tensor.py", "test_indexing.py", "test_shape_ops.py", "test_reductions.py", "test_random.py", "test_optim.py",
    "test_data_idx.py", "test_ops.py",
]  # fmt: skip


def found(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tests", nargs="*", help="files of tests/ (default: those of all kernels)")
    options = parser.parse_args()
    folder = ROOT / "build" / "sanitize"
    site = folder / "site"
    settings = ["cmake.define.PYNEURAL_SANITIZE=ON", f"build-dir={folder}/cmake", "install.strip=false"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--upgrade"]
    command += ["--target", str(site), str(ROOT), *(f"-C{s}" for s in settings)]
    subprocess.run(command, env=os.environ | {"CC": "gcc", "CXX": "g++"}, check=True)
    # The runtime must be loaded before Python is; Python itself never frees what lives to its end.
    libraries = [found("gcc", f"-print-file-name={name}") for name in ("libasan.so", "libubsan.so", "libstdc++.so")]
    run = os.environ | {
        "PYTHONPATH": str(site),
        "LD_PRELOAD": ":".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    where = [sys.executable, "-c", "import pyneural; print(pyneural.__file__)"]
    used = subprocess.run(where, env=run, cwd=folder, capture_output=True, text=True)
    if str(site) not in used.stdout:
        print(used.stdout + used.stderr, "is in use, not the build with the sanitizers", sep="")
        return 2
    tests = [str(ROOT / "tests" / name) for name in options.tests or TESTS]
    # A finding ends the process; -s, since pytest would keep the report to itself.
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-s", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *tests]
    return subprocess.run(pytest, env=run, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
