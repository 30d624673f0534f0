"""Random tensors from counter-based streams: the same seed gives the same bits on every run, CPU and number of threads.

A :class:`Generator` is a seed and a position in its stream; every draw moves the position on by what it reads.
Functions take ``generator=``; without one they use the package's own generator, which starts with seed 0 (not with
entropy: a program gives the same bits every time) and is set by :func:`manual_seed`. Names and signatures are
PyTorch's.

How numbers are made from the stream is written out in NumPy in :mod:`pyneural.ops.randomness`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import _engine
from ._arguments import integer
from .ops.randomness import (
    _bernoulli,
    _draw,
    _integers,
    _normal,
    _permutation,
    _uniform,
    blocks_for,
    dropout,
)
from .ops.shape import sizes_of
from .tensor import Tensor

__all__ = [
    "Generator", "bernoulli", "default_generator", "dropout", "get_rng_state", "initial_seed", "manual_seed", "normal",
    "preserved", "rand", "rand_like", "randint", "randn", "randn_like", "randperm", "seed", "set_rng_state", "uniform",
    "using",
]  # fmt: skip

_WRAP = 1 << 64


def _signed(n: int) -> int:
    return n - _WRAP if n >= _WRAP >> 1 else n


class Generator:
    """A random stream: Philox4x32-10 with a seed, and how many of its 128-bit blocks have been read.

    Two generators with one seed give the same numbers; with different seeds, independent ones.

    Args:
        seed: Any integer, taken modulo 2^64; 0 by default.
    """

    __slots__ = ("_state", "_tensor")

    def __init__(self, seed: int | None = None) -> None:
        # Seed and position lie in memory that ops read and move on, so that replayed steps draw from the stream as
        # well.
        self._state = np.zeros(2, np.int64)
        self._tensor = _engine.tensor_from_array(self._state, False)
        self.manual_seed(0 if seed is None else seed)

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream of this seed from its beginning; returns the generator."""
        self._state[:] = _signed(integer("manual_seed", "seed", seed) % _WRAP), 0
        return self

    def seed(self) -> int:
        """Starts the stream of a seed taken from the system's entropy, and returns that seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self.initial_seed()

    def initial_seed(self) -> int:
        """The seed in use."""
        return int(self._state[0]) % _WRAP

    @property
    def position(self) -> int:
        """The number of the next block."""
        return int(self._state[1]) % _WRAP

    def get_state(self) -> Tensor:
        """Seed and position: int64, (2,). See :meth:`set_state`."""
        return _engine.tensor_from_array(self._state.copy(), False)

    def set_state(self, state: Any) -> Generator:
        """Goes on where :meth:`get_state` was called; returns the generator.

        Raises:
            ValueError: state is no int64 vector of two.
        """
        state = np.asarray(state)
        if state.shape != (2,) or state.dtype != np.int64:
            raise ValueError(f"set_state: expected int64 of shape (2,), got {state.dtype} of shape {state.shape}")
        self._state[:] = state
        return self

    def draw(self, blocks: int) -> Tensor:
        """A key for an op that reads so many blocks (:func:`pyneural.ops.randomness.blocks_for`): int64, (2,).

        The position moves on by as many blocks, so no two keys of a generator share one.
        """
        return _draw(self._tensor, blocks)

    def __repr__(self) -> str:
        return f"Generator(seed={self.initial_seed()}, position={self.position})"

    def __getstate__(self) -> tuple[int, int]:
        return self.initial_seed(), self.position

    def __setstate__(self, state: tuple[int, int]) -> None:
        self.__init__()  # type: ignore[misc]
        self._state[:] = [_signed(n) for n in state]


#: The generator of all functions that are not given one, unless a thread is :func:`using` another.
default_generator = Generator(0)
_of_thread = threading.local()


def generator_or_default(generator: Generator | None) -> Generator:
    """generator; for None the one that this thread is :func:`using`, or the package's own."""
    return getattr(_of_thread, "generator", default_generator) if generator is None else generator


@contextmanager
def using(generator: Generator) -> Iterator[Generator]:
    """Makes this the generator of all functions that are not given one, in this thread: ``manual_seed`` seeds it, and
    layers, orders and dropout draw from it. Trainings in several threads stay repeatable so, whichever comes first."""
    before = getattr(_of_thread, "generator", default_generator)
    _of_thread.generator = generator
    try:
        yield generator
    finally:
        _of_thread.generator = before


def manual_seed(seed: int) -> Generator:
    """Starts the package's generator from the beginning of this seed's stream; returns it."""
    return generator_or_default(None).manual_seed(seed)


def seed() -> int:
    """Seeds the package's generator from the system's entropy; returns the seed."""
    return generator_or_default(None).seed()


def initial_seed() -> int:
    """The seed of the package's generator."""
    return generator_or_default(None).initial_seed()


def get_rng_state() -> Tensor:
    """Seed and position of the package's generator: int64, (2,)."""
    return generator_or_default(None).get_state()


def set_rng_state(state: Any) -> None:
    """Puts the package's generator where :func:`get_rng_state` was called.

    Raises:
        ValueError: state is no int64 vector of two.
    """
    generator_or_default(None).set_state(state)


@contextmanager
def preserved(generator: Generator | None = None) -> Iterator[Generator]:
    """Puts a generator (by default the package's) back afterwards, as if nothing had been drawn."""
    generator = generator_or_default(generator)
    state = generator.get_state()
    try:
        yield generator
    finally:
        generator.set_state(state)


# ---- random tensors ----


def _float_code(name: str, dtype: Any) -> tuple[int, int]:
    """The code of a float dtype, float32 by default, and the bits of one draw."""
    dtype = np.dtype(np.float32 if dtype is None else dtype)
    if dtype.kind != "f":
        raise TypeError(f"{name}: dtype is {dtype} but must be float32 or float64")
    return _engine.dtype_code(dtype), 8 * dtype.itemsize


def _count(shape: Sequence[int]) -> int:
    n = 1
    for size in shape:
        n *= max(size, 0)  # a negative size is refused by the op
    return n


def _finished(x: Tensor, requires_grad: bool) -> Tensor:
    if requires_grad:
        x.requires_grad = True
    return x


def uniform(
    low: float = 0.0,
    high: float = 1.0,
    size: Sequence[int] = (),
    generator: Generator | None = None,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from the uniform distribution on [low, high), from a grid of 2^24 (float32) or 2^53 (float64) points.

    Raises:
        ValueError: low is above high, or one of them is not finite.
        TypeError: dtype is no float type.
    """
    code, bits = _float_code("uniform", dtype)
    shape = tuple(size)
    key = generator_or_default(generator).draw(blocks_for(_count(shape), bits))
    return _finished(_uniform(key, shape, code, float(low), float(high)), requires_grad)


def rand(*size: Any, generator: Generator | None = None, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers from the uniform distribution on [0, 1): ``rand(2, 3)`` or ``rand((2, 3))``."""
    return uniform(0.0, 1.0, sizes_of("rand", "size", size), generator, dtype, requires_grad)


def randn(*size: Any, generator: Generator | None = None, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Numbers from the standard normal distribution: ``randn(2, 3)`` or ``randn((2, 3))``."""
    return normal(0.0, 1.0, sizes_of("randn", "size", size), generator, dtype, requires_grad)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Sequence[int] | None = None,
    generator: Generator | None = None,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from a normal distribution.

    Args:
        mean: A number, or a tensor of one mean per result.
        std: A number that is at least 0, or a tensor of them.
        size: Shape of the result; left out where mean or std is a tensor, which then broadcast together.
        generator: Where the numbers are drawn from.
        dtype: float32 (default) or float64; that of the tensors where there are any.
        requires_grad: Record ops on the result.

    Raises:
        ValueError: std is negative, a number is not finite, or size is given together with tensors.
        TypeError: dtype is no float type.
    """
    if isinstance(mean, (Tensor, np.ndarray)) or isinstance(std, (Tensor, np.ndarray)):
        if size is not None:
            raise ValueError("normal: size cannot be given together with tensors; their shapes make it")
        mean, std = _engine.as_tensor(mean), _engine.as_tensor(std)
        # A step that is being captured must not read values in Python; its replays go without this check.
        if _engine.capturing() is None and (np.asarray(std) < 0).any():
            raise ValueError(f"normal: std holds {np.asarray(std).min()}, but must be at least 0")
        own = np.result_type(*[t.dtype for t in (mean, std) if t.ndim] or [np.float32])
        shape = np.broadcast_shapes(mean.shape, std.shape)
        noise = randn(shape, generator=generator, dtype=dtype or (own if own.kind == "f" else np.float32))
        return _finished(mean + std * noise, requires_grad)
    code, bits = _float_code("normal", dtype)
    shape = () if size is None else tuple(size)
    key = generator_or_default(generator).draw(blocks_for(_count(shape), bits))
    return _finished(_normal(key, shape, code, float(mean), float(std)), requires_grad)


def rand_like(x: Tensor, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """Uniform numbers on [0, 1) in the shape and dtype of x."""
    return rand(x.shape, generator=generator, dtype=dtype or x.dtype)


def randn_like(x: Tensor, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """Standard normal numbers in the shape and dtype of x."""
    return randn(x.shape, generator=generator, dtype=dtype or x.dtype)


def randint(
    low: int, high: Any = None, size: Sequence[int] | None = None, generator: Generator | None = None, dtype: Any = None
) -> Tensor:
    """Integers in [low, high): ``randint(10, (2, 3))`` or ``randint(5, 10, (2, 3))``.

    The chances differ from equal ones by less than (high - low) / 2^64.

    Raises:
        ValueError: low is not less than high.
        TypeError: No size, or a dtype that is unknown.
    """
    if size is None:
        low, high, size = 0, low, high
    if not isinstance(size, (tuple, list)):
        raise TypeError("randint: the size is missing; call randint(high, size) or randint(low, high, size)")
    shape = tuple(size)
    key = generator_or_default(generator).draw(blocks_for(_count(shape), 64))
    numbers = _integers(key, shape, integer("randint", "low", low), integer("randint", "high", high))
    return numbers if dtype is None else numbers.to(dtype)


def randperm(n: int, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """The integers from 0 to n - 1 in random order: int64 (or another dtype), (n,).

    Raises:
        ValueError: n is negative.
    """
    count = integer("randperm", "n", n)
    key = generator_or_default(generator).draw(blocks_for(max(count - 1, 0), 64))
    order = _permutation(key, count)
    return order if dtype is None else order.to(dtype)


def bernoulli(p: Any, generator: Generator | None = None) -> Tensor:
    """Ones with probability p, else zeros: for every element of p, in its shape and dtype.

    Args:
        p: Float tensor of probabilities.
        generator: Where the numbers are drawn from.

    Raises:
        ValueError: p holds something outside [0, 1].
        TypeError: p is not of a float type.
    """
    p = _engine.as_tensor(p)
    if p.dtype.kind == "f":
        return _bernoulli(generator_or_default(generator).draw(blocks_for(p.numel())), p)
    raise TypeError(f"bernoulli: p is {p.dtype} but must be float32 or float64; convert it with .to(np.float32)")
