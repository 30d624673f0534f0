"""Builds the package with sanitizers and runs the kernels' tests with it, the C++ program among them.

    python tools/sanitize.py address [TEST.py ...]    # gcc: addresses and undefined behaviour
    python tools/sanitize.py thread [TEST.py ...]     # clang, with LLVM's OpenMP and its tool archer: data races

Run it with the Python of an environment that has the build and test requirements but no editable install of pyneural.
On Debian `thread` needs clang-19, libclang-rt-19-dev and libomp-19-dev. The build stays in build/sanitize-KIND, so that
a second run builds only what changed. A finding is printed and ends the run. Exit code 0: no finding.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "address": [
        "test_kernel_bits.py", "test_convolution.py", "test_attention.py", "test_nn_recurrent.py",
        "test_normalization.py", "test_graphs.py", "test_padding.py", "test_resampling.py", "test_embedding.py",
        "test_kmeans.py", "test_kmeans_bounds.py", "test_svm.py", "test_matmul_kernel.py", "test_precision.py",
        "test_capture.py", "test_capture_bits.py", "test_capture_epoch.py", "test_capture_errors.py",
        "test_capture_fusion.py", "test_capture_blocks.py", "test_tensor.py", "test_indexing.py", "test_shape_ops.py",
        "test_reductions.py", "test_random.py", "test_optim.py", "test_data_idx.py", "test_ops.py", "test_threads.py",
    ],
    # What runs in parallel: kernels with several threads, and Python threads that compute at the same time.
    "thread": [
        "test_kernel_bits.py", "test_threads.py", "test_stress_processes.py::test_eight_threads_train_each_its_model",
        "test_stress_processes.py::test_eight_threads_share_one_step", "test_convolution.py", "test_attention.py",
        "test_nn_recurrent.py", "test_normalization.py", "test_graphs.py", "test_resampling.py", "test_kmeans.py",
        "test_svm.py", "test_matmul_kernel.py", "test_reductions.py", "test_random.py", "test_capture.py",
        "test_capture_bits.py", "test_capture_blocks.py", "test_capture_epoch.py", "test_model_selection.py",
    ],
}  # fmt: skip


def found(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def surroundings(kind: str, clang: str) -> tuple[dict[str, str], str]:
    """Variables for the build and the run, and the sanitizer's runtime, which must be loaded before Python is."""
    if kind == "address":
        checks, compilers = "address,undefined", {"CC": "gcc", "CXX": "g++"}
        libraries = [found("gcc", f"-print-file-name={name}") for name in ("libasan.so", "libubsan.so", "libstdc++.so")]
        # Python itself never frees what lives to its end.
        run = {"ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    else:
        checks, compilers = "thread -shared-libsan", {"CC": clang, "CXX": clang.replace("clang", "clang++")}
        libraries = [found(clang, "-print-file-name=libclang_rt.tsan-x86_64.so")]
        symbolizer = shutil.which(clang.replace("clang", "llvm-symbolizer")) or shutil.which("llvm-symbolizer") or ""
        openmp = Path(found(clang, "-print-file-name=libomp.so")).resolve().parent
        # The sanitizer learns from archer how OpenMP's threads wait for each other; Python and NumPy, which were not
        # built with it, are left out.
        run = {
            "TSAN_OPTIONS": f"ignore_noninstrumented_modules=1:halt_on_error=1:external_symbolizer_path={symbolizer}",
            "OMP_TOOL_LIBRARIES": str(openmp / "libarcher.so"),
            "LD_LIBRARY_PATH": str(openmp),
            "PYNEURAL_NUM_THREADS": "4",
        }
    flags = {"CXXFLAGS": f"-fsanitize={checks} -fno-omit-frame-pointer -g1", "LDFLAGS": f"-fsanitize={checks}"}
    return compilers | flags | run, ":".join(libraries)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=sorted(TESTS))
    parser.add_argument("tests", nargs="*", help="files of tests/, or tests in them (default: those of all kernels)")
    parser.add_argument("--clang", default="clang-19", help="the compiler for `thread`")
    options = parser.parse_args()
    folder = ROOT / "build" / f"sanitize-{options.kind}"
    site = folder / "site"
    variables, runtime = surroundings(options.kind, options.clang)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--upgrade"]
    command += ["--target", str(site), str(ROOT), f"-Cbuild-dir={folder}/cmake", "-Cinstall.strip=false"]
    subprocess.run(command, env=os.environ | variables, check=True)
    run = os.environ | variables | {"PYTHONPATH": str(site), "LD_PRELOAD": runtime}
    where = [sys.executable, "-c", "import pyneural; print(pyneural.__file__)"]
    used = subprocess.run(where, env=run, cwd=folder, capture_output=True, text=True)
    if str(site) not in used.stdout:
        print(used.stdout + used.stderr, "is in use, not the build with the sanitizers", sep="")
        return 2
    tests = [str(ROOT / "tests" / name) for name in options.tests or TESTS[options.kind]]
    # -s, since pytest would keep the report to itself.
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-s", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *tests]
    return subprocess.run(pytest, env=run, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
