"""Builds the package with a sanitizer, and runs the C++ test program and a part of the Python tests with it.

    python tools/sanitize.py address    # gcc: addresses and undefined behaviour
    python tools/sanitize.py thread     # clang, libomp and its tool archer: data races

Run it with the Python of an environment that has the build and test requirements but no editable install of pyneural.
The build stays in build/sanitize-KIND, so that a second run builds only what changed. Exit code 0: no finding.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "address": [
        "test_ops.py", "test_tensor.py", "test_indexing.py", "test_shape_ops.py", "test_reductions.py",
        "test_matmul_kernel.py", "test_convolution.py", "test_capture.py", "test_capture_bits.py",
        "test_capture_epoch.py", "test_capture_errors.py", "test_capture_fusion.py", "test_kmeans.py", "test_svm.py",
        "test_random.py", "test_data_idx.py", "test_optim.py", "test_precision.py", "test_kernel_bits.py",
    ],
    "thread": [
        "test_capture_bits.py", "test_capture_epoch.py", "test_capture.py", "test_convolution.py",
        "test_matmul_kernel.py", "test_kmeans.py", "test_svm.py", "test_kernel_bits.py",
    ],
}  # fmt: skip


def found(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def surroundings(kind: str, clang: str) -> tuple[dict[str, str], dict[str, str]]:
    """Variables for the build, and those for the run: the runtime must be loaded before Python is."""
    if kind == "address":
        build = {"CC": "gcc", "CXX": "g++"}
        libraries = [found("gcc", f"-print-file-name={name}") for name in ("libasan.so", "libubsan.so", "libstdc++.so")]
        # Python itself never frees what lives to its end.
        run = {"ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    else:
        build = {"CC": clang, "CXX": clang.replace("clang", "clang++")}
        libraries = [found(clang, "-print-file-name=libclang_rt.tsan-x86_64.so")]
        openmp = Path(found(clang, "-print-file-name=libomp.so")).resolve().parent
        # Without archer the sanitizer does not see OpenMP's own synchronisation.
        run = {
            "TSAN_OPTIONS": f"ignore_noninstrumented_modules=1:halt_on_error=1:suppressions={ROOT}/tools/thread.supp",
            "OMP_TOOL_LIBRARIES": str(openmp / "libarcher.so"),
            "LD_LIBRARY_PATH": str(openmp),
            "PYNEURAL_NUM_THREADS": "4",
        }
    return build, run | {"LD_PRELOAD": ":".join(libraries)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=sorted(TESTS))
    parser.add_argument("tests", nargs="*", help="files of tests/ (default: a list for each kind)")
    parser.add_argument("--clang", default="clang-16", help="the compiler for `thread`")
    options = parser.parse_args()
    build, run = surroundings(options.kind, options.clang)
    folder = ROOT / "build" / f"sanitize-{options.kind}"
    site = folder / "site"
    settings = [f"cmake.define.PYNEURAL_SANITIZE={options.kind}", f"build-dir={folder}/cmake", "install.strip=false"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--upgrade"]
    command += ["--target", str(site), str(ROOT), *(f"-C{s}" for s in settings)]
    subprocess.run(command, env=os.environ | build, check=True)
    where = [sys.executable, "-c", "import pyneural; print(pyneural.__file__)"]
    path = os.environ | {"PYTHONPATH": str(site)} | run
    used = subprocess.run(where, env=path, cwd=folder, capture_output=True, text=True)
    if str(site) not in used.stdout:
        print(used.stdout + used.stderr, "is in use, not the build with the sanitizer", sep="")
        return 2
    tests = [str(ROOT / "tests" / name) for name in options.tests or TESTS[options.kind]]
    # The sanitizer ends the process; -s, since pytest would keep its report to itself.
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-s", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *tests]
    return subprocess.run(pytest, env=path, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
