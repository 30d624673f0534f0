"""Products in bfloat16: half the memory traffic, and twice the speed where the CPU has an instruction for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from . import _engine


class autocast:
    """Within it, matrix products of float32 tensors take operands rounded to bfloat16 (per thread, off by default).

    ``matmul``, ``@``, ``linear`` and what is made of them round both operands to 8 bits of significand as they read
    them; products and sums are float32, as are the results, parameters, gradients and everything else. The gradients of
    such a product are products of the same kind, inside the block or not. float64 is left alone. Also a decorator; a
    compiled step is recorded once for each setting.

    Where the CPU has the instruction (AVX512-BF16, see ``pyneural info``) such products are about twice as fast, and
    elsewhere somewhat slower than float32; the bits are the same on every CPU with a fused multiply-add, but for sums
    below 1.2e-38.

    Args:
        enabled: False switches it off within an outer block.
        dtype: Only ``"bfloat16"``.

    Raises:
        ValueError: Another dtype.

    Example:
        >>> with pn.autocast():
        ...     loss = functional.cross_entropy(model(x), y)
        >>> loss.backward()
    """

    def __init__(self, enabled: bool = True, dtype: Any = "bfloat16") -> None:
        if dtype not in ("bfloat16", "bf16"):
            given = dtype if isinstance(dtype, str) else np.dtype(dtype).name
            raise ValueError(f"autocast: dtype is {given}; only 'bfloat16' is there")
        self.enabled = bool(enabled)
        self._before: list[bool] = []

    def __enter__(self) -> autocast:
        self._before.append(_engine.set_autocast_enabled(self.enabled))
        return self

    def __exit__(self, *_: Any) -> None:
        _engine.set_autocast_enabled(self._before.pop())

    def __call__(self, function: Callable) -> Callable:
        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.enabled):
                return function(*args, **kwargs)

        return inside


is_autocast_enabled = _engine.is_autocast_enabled

__all__ = ["autocast", "is_autocast_enabled"]
