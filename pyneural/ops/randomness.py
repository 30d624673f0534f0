"""Random ops: what they draw is a function of a key, ``(seed, position)``, and of nothing else.

The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC
2011): block number b of a seed is 128 bits, computed from b and the seed alone. :func:`philox` is that function in
NumPy, and :func:`draws` says in which order ops read a stream, so every number that this package draws can be made in
NumPy too.

A position counts blocks. :meth:`pyneural.Generator.draw` hands out keys whose blocks never overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _engine
from .._arguments import probability
from .record import op

__all__ = ["dropout"]
METHODS: tuple[str, ...] = ()

Tensor = Any  # pyneural.tensor.Tensor, which imports this module
as_tensor = _engine.as_tensor

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_STEPS = 0x9E3779B9, 0xBB67AE85

#: Blocks that ops read together: every call starts a new group.
GROUP = 16


def blocks_for(numbers: int, bits: int = 32) -> int:
    """How many blocks a call reads for that many draws of 32 or 64 bits: whole groups."""
    return GROUP * -(-numbers // (128 * GROUP // bits))


# ---- the stream in NumPy ----


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox4x32-10: four random words for each counter.

    Args:
        counter: uint32, (n, 4).
        key: Two 32-bit numbers.

    Returns:
        uint32, (n, 4).
    """
    a, b, c, d = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        x, y = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b, c, d = (y >> _HALF) ^ b ^ np.uint64(k0), y & _LOW, (x >> _HALF) ^ d ^ np.uint64(k1), x & _LOW
        k0, k1 = (k0 + _STEPS[0]) & 0xFFFFFFFF, (k1 + _STEPS[1]) & 0xFFFFFFFF
    return np.stack([a, b, c, d], 1).astype(np.uint32)


def draws(key: np.ndarray, n: int, bits: int = 32) -> np.ndarray:
    """The first n draws of a key, uint32 or uint64.

    16 blocks are a group: four rows of 16 words, row w being word w of each block. 32-bit draws are the words, row
    after row. 64-bit draws are rows 0 (high half) and 1 (low half) side by side, then rows 2 and 3.
    """
    seed, position = (int(k) & 0xFFFFFFFFFFFFFFFF for k in key)
    count = blocks_for(n, bits)
    block = np.uint64(position) + np.arange(count, dtype=np.uint64)
    counter = np.zeros((count, 4), np.uint32)
    counter[:, 0], counter[:, 1] = (block & _LOW), (block >> _HALF)
    rows = philox(counter, (seed & 0xFFFFFFFF, seed >> 32)).reshape(-1, GROUP, 4).transpose(0, 2, 1)
    if bits == 32:
        return rows.reshape(-1)[:n]
    wide = rows.astype(np.uint64)
    return ((wide[:, 0::2] << _HALF) | wide[:, 1::2]).reshape(-1)[:n]


def _units(key: np.ndarray, n: int, dtype: np.dtype) -> np.ndarray:
    """Numbers in [0, 1): multiples of 2^-24 (float32) or 2^-53 (float64)."""
    if dtype == np.float32:
        return (draws(key, n) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    word = draws(key, n, 64)
    return ((word >> np.uint64(37)) * 2.0**26 + ((word & _LOW) >> np.uint64(6))) * 2.0**-53


#: ``draw(state, blocks)``: the key of a draw that reads so many blocks; the state, in place, moves on by as many. Not a
#: Python sum, so that a replayed step draws anew.
_draw: Any = op(
    "draw",
    "state",
    attributes="blocks",
    reference=lambda state, blocks: state.copy(),
    samples=lambda make: [(np.array([3, 5]), 16), (np.array([-1, 2**62]), 1)],
    errors=lambda make: [((np.zeros(3, np.int64), 1), TypeError, r"draw: key must be int64 of shape \(2,\)")],
)


def _uniform_reference(key: np.ndarray, shape: tuple, code: int, low: float, high: float) -> np.ndarray:
    dtype = _engine.NUMPY_TYPES[code]
    low, high = dtype.type(low), dtype.type(high)
    y = low + _units(key, int(np.prod(shape)), dtype) * (high - low)
    return np.minimum(y, np.nextafter(high, low)).reshape(shape).astype(dtype)


def _normal_reference(key: np.ndarray, shape: tuple, code: int, mean: float, std: float) -> np.ndarray:
    """Box and Muller: draws of one row are the radius, those of the next the angle of two numbers."""
    dtype, n = _engine.NUMPY_TYPES[code], int(np.prod(shape))
    if dtype == np.float32:
        word = draws(key, -(-n // 64) * 64).reshape(-1, 2, 16)
        u = (((word[:, 0] >> np.uint32(1)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-31)).astype(
            np.float64
        )
        v = (word[:, 1] >> np.uint32(8)) * 2.0**-24
    else:
        unit = _units(key, -(-n // 32) * 32, dtype).reshape(-1, 2, 16)
        u, v = unit[:, 0] + 2.0**-54, unit[:, 1]
    r = np.sqrt(-2 * np.log(u))
    pairs = np.stack([r * np.cos(2 * np.pi * v), r * np.sin(2 * np.pi * v)], 1)
    return (mean + std * pairs.reshape(-1)[:n]).reshape(shape).astype(dtype)


def _bernoulli_reference(key: np.ndarray, p: np.ndarray) -> np.ndarray:
    return (draws(key, p.size).reshape(p.shape) * 2.0**-32 < p).astype(p.dtype)


def mask_bytes(count: int) -> int:
    """Bytes of a mask of ``dropout_mask``: a bit for each of so many elements in whole groups of 64, and 8 of zeros."""
    return 8 * (-(-count // 64) + 1)


def _dropout_mask_reference(key: np.ndarray, count: int, p: float) -> np.ndarray:
    kept = draws(key, -(-count // 64) * 64) >= min(np.rint(p * 2.0**32), 2.0**32 - 1)
    return np.append(np.packbits(kept & (p < 1), bitorder="little"), np.zeros(8, np.uint8))


def _dropout_reference(
    x: np.ndarray, mask: np.ndarray, each: int, low: float, scale: float, shift: float
) -> np.ndarray:
    of = x.dtype.type
    kept = np.unpackbits(mask, count=x.size // each, bitorder="little").astype(bool).repeat(each).reshape(x.shape)
    return np.where(kept, x, of(low)) * of(scale) + of(shift)


def _integers_reference(key: np.ndarray, shape: tuple, low: int, high: int) -> np.ndarray:
    numbers = [low + (int(w) * (high - low) >> 64) for w in draws(key, int(np.prod(shape)), 64)]
    return np.array(numbers, np.int64).reshape(shape)


def _permutation_reference(key: np.ndarray, n: int) -> np.ndarray:
    """Fisher and Yates, from the end."""
    order = np.arange(n)
    for last, w in zip(range(n - 1, 0, -1), draws(key, max(n - 1, 0), 64), strict=True):
        other = int(w) * (last + 1) >> 64
        order[[last, other]] = order[[other, last]]
    return order


# ---- records ----

_F32, _F64 = (_engine.dtype_code(t) for t in (np.float32, np.float64))


def _key(seed: int = 7, position: int = 0) -> np.ndarray:
    return np.array([seed, position])


def _key_errors(*rest: Any) -> list[tuple]:
    return [((np.zeros(3, np.int64), *rest), TypeError, r"key must be int64 of shape \(2,\)"),
            ((np.zeros(2, np.int32), *rest), TypeError, "key must be int64")]  # fmt: skip


_uniform: Any = op(
    "uniform",
    "key",
    attributes="shape dtype low high",
    reference=_uniform_reference,
    samples=lambda make: [(_key(), (n,), t, -1.0, 3.0) for n in (0, 1, 33, 64, 65, 70_001) for t in (_F32, _F64)]
    + [(_key(-(2**63), 2**40), (3, 5), _F32, 0.0, 1.0), (_key(), (), _F64, 2.0, 2.0)],
    errors=lambda make: [*_key_errors((3,), _F32, 0.0, 1.0), ((_key(), (3,), _F32, 1.0, 0.0), ValueError, "low is 1"),
                         ((_key(), (-3,), _F32, 0.0, 1.0), ValueError, "no shape"),
                         ((_key(), (3,), 5, 0.0, 1.0), TypeError, "dtype is int64")],
    differences=False,
)  # fmt: skip

_normal: Any = op(
    "normal",
    "key",
    attributes="shape dtype mean std",
    reference=_normal_reference,
    samples=lambda make: [(_key(), (n,), t, 0.0, 1.0) for n in (0, 1, 33, 64, 65, 70_001) for t in (_F32, _F64)]
    + [(_key(3, 5), (3, 5), _F32, 1.0, 2.0), (_key(), (), _F64, 2.0, 0.0)],
    errors=lambda make: [*_key_errors((3,), _F32, 0.0, 1.0),
                         ((_key(), (3,), _F32, 1.0, -1.0), ValueError, "std is -1")],
    tolerance=16,
    differences=False,
)  # fmt: skip

_bernoulli: Any = op(
    "bernoulli",
    "key p",
    reference=_bernoulli_reference,
    samples=lambda make: [(_key(), make(n, low=0.0, high=1.0)) for n in (0, 1, 3)] + [(_key(), np.array([0.0, 1.0]))],
    errors=lambda make: [*_key_errors(make(3, low=0.0, high=1.0)),
                         ((_key(), np.array([0.5, 1.5])), ValueError, "p holds 1.5"),
                         ((_key(), np.array([np.nan])), ValueError, "p holds nan"),
                         ((_key(), np.array([1])), TypeError, "p is int64")],
    differences=False,
)  # fmt: skip

_integers: Any = op(
    "integers",
    "key",
    attributes="shape low high",
    reference=_integers_reference,
    samples=lambda make: (
        [(_key(), (n,), -3, 4) for n in (0, 1, 31, 32, 33, 70_001)] + [(_key(5, 9), (2, 3), -(2**62), 2**62)]
    ),
    errors=lambda make: [*_key_errors((3,), 0, 1), ((_key(), (3,), 4, 4), ValueError, "low must be less than high")],
    differences=False,
)

_permutation: Any = op(
    "permutation",
    "key",
    attributes="n",
    reference=_permutation_reference,
    samples=lambda make: [(_key(), n) for n in (0, 1, 2, 33, 1000)],
    errors=lambda make: [*_key_errors(3), ((_key(), -1), ValueError, "n is -1")],
    differences=False,
)

#: ``dropout_mask(key, count, p)``: a bit for each of so many elements, 0 with probability p, the lowest of a byte first.
_dropout_mask: Any = op(
    "dropout_mask",
    "key",
    attributes="count p",
    reference=_dropout_mask_reference,
    samples=lambda make: [(_key(), n, 0.3) for n in (0, 1, 33, 64, 65, 1600, 70_001)]
    + [(_key(1, 4), 100, 0.5), (_key(), 40, 0.0), (_key(), 40, 1.0), (_key(), 99, 1e-12)],
    errors=lambda make: [*_key_errors(3, 0.5), ((_key(), -1, 0.5), ValueError, "count is -1"),
                         ((_key(), 3, 1.5), ValueError, "dropout_mask: p is 1.5"),
                         ((_key(), 3, -0.1), ValueError, "p is -0.1")],
    differences=False,
)  # fmt: skip


def _mask(count: int) -> np.ndarray:
    return _dropout_mask_reference(_key(), count, 0.3)


#: ``dropout(x, mask, each, low, scale, shift)``: (x or, where the mask has a 0, low) * scale + shift. ``each`` neighbours
#: share a bit. The gradient is the same op.
_dropout: Any = op(
    "dropout",
    "x mask",
    attributes="each low scale shift",
    reference=_dropout_reference,
    gradient={"x": lambda g, mask, each, scale: _dropout(g, mask, each, 0.0, scale, -0.0)},
    formula={"x": r"g\,m\,\text{scale},\ m \text{ the mask}"},
    samples=lambda make: [(make(n), _mask(n), 1, 0.0, 1.25, -0.0) for n in (0, 1, 7, 8, 33, 64, 65, 70_001)]
    + [(make(3, 5), _mask(15), 1, -1.5, 0.75, 0.5), (make(), _mask(1), 1, 0.0, 2.0, -0.0),
       (make(4, 3, 5), _mask(12), 5, 0.0, 2.0, -0.0), (make(7, 40), _mask(7), 40, -1.5, 0.75, 0.5)],
    errors=lambda make: [((np.arange(3), _mask(3), 1, 0.0, 2.0, 0.0), TypeError, "dropout: x is int64"),
                         ((make(3), _mask(65), 1, 0.0, 2.0, 0.0), ValueError, r"mask must be uint8 of shape \(16,\)"),
                         ((make(3), np.zeros(16), 1, 0.0, 2.0, 0.0), ValueError, "got float64"),
                         ((make(3), _mask(3), 2, 0.0, 2.0, 0.0), ValueError, "each is 2 but must be at least 1 and"),
                         ((make(3), _mask(3), 0, 0.0, 2.0, 0.0), ValueError, "each is 0")],
)  # fmt: skip


def dropped(x: Tensor, key: Tensor, p: float, each: int = 1, **affine: float) -> Tensor:
    """x with elements set to 0 with probability p and the rest times 1 / (1 - p); ``each`` neighbours share a fate.

    Or with another ``low``, ``scale`` and ``shift``: (x or low) * scale + shift.
    """
    # A sum with -0 changes nothing, not even the sign of a 0.
    how = {"low": 0.0, "scale": 1.0 if p == 1 else 1 / (1 - p), "shift": -0.0} | affine
    return _dropout(x, _dropout_mask(key, x.numel() // each, p), each, how["low"], how["scale"], how["shift"])


def drop(x: Tensor, p: float, each: int, generator: Any = None, **affine: float) -> Tensor:
    """:func:`dropped` with the next numbers of a generator, by default the package's own."""
    from ..random import generator_or_default

    x, each = as_tensor(x), max(each, 1)
    return dropped(x, generator_or_default(generator).draw(blocks_for(x.numel() // each)), float(p), each, **affine)


def dropout(x: Tensor, p: float = 0.5, training: bool = True, generator: Any = None) -> Tensor:
    """Sets each element of x to 0 with probability p and multiplies the others by 1 / (1 - p), while training.

    A dropped element is 0 even where x is infinite or NaN. The gradient uses the same mask.

    Args:
        x: Float tensor of any shape.
        p: Probability of a zero, from 0 to 1, to within 2^-32.
        training: If false, x is returned as it is.
        generator: :class:`pyneural.Generator` that the mask is drawn from; by default the package's own.

    Raises:
        ValueError: p is no probability.
        TypeError: x is not of a float type.
    """
    probability("dropout", "p", p)
    return drop(x, p, 1, generator) if training else as_tensor(x)
