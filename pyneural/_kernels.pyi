# Made by tools/make_stubs.py; do not edit.
"""
Kernels on NumPy arrays, the instruction set and the threads in use.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
__all__: list[str] = ['KMeansRows', 'available_isas', 'bf16_instruction', 'compiler', 'copy_memory', 'current_isa', 'gemm', 'multiply_adds', 'num_threads', 'read_memory', 'set_isa', 'set_num_threads', 'svm_decide', 'svm_fit', 'svm_kernel']
class KMeansRows:
    """
    Rows (n, d) of float32, float64 or uint8, C-contiguous, for k-means; float64 weights (n,).
    
    Arrays are read in place. mean is any point near the rows, their mean if None.
    """
    def __init__(self, x: numpy.ndarray, weights: typing.Any = None, mean: typing.Any = None) -> None:
        ...
    def assign(self, centers: numpy.typing.NDArray[numpy.float64], labels: numpy.typing.NDArray[numpy.int32], distances: bool = False) -> typing.Any:
        """
        Writes labels (n,); with distances returns the squared ones to the nearest centre (n,), else None.
        """
    def distances(self, centers: numpy.typing.NDArray[numpy.float64], closest: typing.Any = None) -> numpy.typing.NDArray[numpy.float64]:
        """
        Squared distances (n, k) to centers, none above closest (n,) if given.
        """
    def step(self, centers: numpy.typing.NDArray[numpy.float64], labels: numpy.typing.NDArray[numpy.int32], sums: numpy.typing.NDArray[numpy.float64], weights: numpy.typing.NDArray[numpy.float64]) -> tuple:
        """
        One pass over the rows: writes the labels (n,) int32 of centers (k, d), and sums (k, d) and weights (k,) of the rows of each label. Returns how many labels changed, and the inertia for the given centers.
        """
    @property
    def full_rows(self) -> int:
        """
        Of how many rows the last pass made the products with all centres.
        """
    @property
    def mean(self) -> numpy.typing.NDArray[numpy.float64]:
        """
        The mean of the rows (d,), or the given point.
        """
    @property
    def spread(self) -> float:
        """
        Weighted sum of squared distances from the mean.
        """
def available_isas() -> list[str]:
    """
    Instruction sets that this CPU can run, weakest first.
    """
def bf16_instruction() -> bool:
    """
    Whether products in bfloat16 are done by an instruction of this CPU, with the current instruction set.
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
def svm_decide(x: numpy.ndarray, vectors: typing.Any, kernel: tuple, centre: typing.Annotated[numpy.typing.ArrayLike, numpy.float64] | None, first: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], coefficients: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], rho: typing.Annotated[numpy.typing.ArrayLike, numpy.float64]) -> numpy.typing.NDArray[numpy.float64]:
    """
    Decision values (rows, pairs), float64, of one-vs-one machines or of one regression.
    """
def svm_fit(x: numpy.ndarray, kernel: tuple, centre: typing.Annotated[numpy.typing.ArrayLike, numpy.float64] | None, problems: collections.abc.Sequence[tuple[typing.Annotated[numpy.typing.ArrayLike, numpy.int64], typing.Annotated[numpy.typing.ArrayLike, numpy.float64], typing.Annotated[numpy.typing.ArrayLike, numpy.float64], typing.Annotated[numpy.typing.ArrayLike, numpy.float64]]], tolerance: typing.SupportsFloat | typing.SupportsIndex, shrinking: bool, cache_bytes: typing.SupportsInt | typing.SupportsIndex, max_iterations: typing.SupportsInt | typing.SupportsIndex, max_seconds: typing.SupportsFloat | typing.SupportsIndex, report: typing.Any) -> list:
    """
    Solves problems (row, linear, low, high) over the rows of x, or over a kernel matrix.
    
    Args: x (n, d) or (n, n), float32 or float64; kernel (name, degree, gamma, coef0); centre (d,) that is taken
    off each row, or None; report(done, problems, iterations, gap, seconds) or None, False stops.
    Returns: for each problem (beta, rho, gap, objective, iterations, status).
    """
def svm_kernel(a: numpy.ndarray, b: numpy.ndarray, kernel: tuple, centre: typing.Annotated[numpy.typing.ArrayLike, numpy.float64] | None = None) -> numpy.ndarray:
    """
    Kernel values (rows of a, rows of b), in float32 if both are.
    """
compiler: str = 'GNU 12.2.0 -O3 -DNDEBUG -ffp-contract=off'
