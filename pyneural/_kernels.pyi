# Made by tools/make_stubs.py; do not edit.
"""
Kernels on NumPy arrays, the instruction set and the threads in use.
"""
from __future__ import annotations
import numpy
import numpy.typing
import typing
__all__: list[str] = ['available_isas', 'compiler', 'copy_memory', 'current_isa', 'gemm', 'multiply_adds', 'num_threads', 'read_memory', 'set_isa', 'set_num_threads']
def available_isas() -> list[str]:
    """
    Instruction sets that this CPU can run, weakest first.
    """
def copy_memory(x: numpy.typing.NDArray[numpy.float32], y: numpy.typing.NDArray[numpy.float32]) -> None:
    """
    y[:] = x on all threads, float32.
    """
def current_isa() -> str:
    """
    The instruction set that the kernels use.
    """
def gemm(a: numpy.ndarray, b: numpy.ndarray, bias: typing.Any = None, c: typing.Any = None, row_order: bool = False) -> numpy.ndarray:
    """
    a @ b [+ bias] [+ c]: the matrix product on NumPy arrays of any strides.
    
    Args: a (m, k) and b (k, n), float32 or float64; bias (n,); c (m, n), which the sums start from; row_order: the
    order in which products of one row are summed (m = 1, no c).
    Returns: a new (m, n) array. Raises: TypeError for other dtypes, ValueError for shapes that do not fit.
    """
def multiply_adds(dtype: str, rounds: typing.SupportsInt | typing.SupportsIndex) -> int:
    """
    Does multiply-adds in registers on all threads and returns how many: with a clock, the peak of the machine.
    """
def num_threads() -> int:
    """
    Threads that a parallel loop uses now.
    """
def read_memory(x: numpy.typing.NDArray[numpy.float32]) -> None:
    """
    Reads a float32 array on all threads.
    """
def set_isa(name: str) -> None:
    """
    Switches all kernels to an instruction set; ValueError if the CPU lacks it.
    """
def set_num_threads(threads: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Sets the number of threads for later loops (at least 1).
    """
compiler: str = 'GNU 12.2.0 -O3 -DNDEBUG -ffp-contract=off'
