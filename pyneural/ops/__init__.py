"""Every op, one record each: NumPy reference, gradient rule, formula, samples and error inputs.

The C++ half of an op is the row of the same name in ``csrc/ops/``; ``tests/test_ops.py`` runs all records and fails on
a half without its other half.
"""

from __future__ import annotations

from .. import _engine
from . import (
    attention,
    convolution,
    elementwise,
    embeddings,
    gathering,
    linalg,
    losses,
    normalization,
    normalized,
    patches,
    pooling,
    randomness,
    rearrange,
    reduction,
    resampling,
    sampling,
    segments,
    shape,
    synonyms,
)
from . import indexing as indexing  # x[i] and x[i] = v
from . import optim as optim  # the optimisers' updates, which are no functions of the surface
from . import recurrent as recurrent  # whole sequences, which nn.GRU and its like are made of
from .record import RECORDS

#: Modules whose public functions are the op surface; each has ``__all__`` and ``METHODS`` (those that tensors
#: have too).
FAMILIES = (elementwise, linalg, attention, convolution, pooling, resampling, sampling, normalization, reduction, normalized,
            losses, shape, rearrange, patches, gathering, segments, embeddings, randomness, synonyms)  # fmt: skip

for _family in FAMILIES:
    for _name in _family.__all__:
        globals()[_name] = getattr(_family, _name)

_engine.set_operators({name: r.function for name, r in RECORDS.items() if r.primitive}, linalg.matmul)

METHODS = {name: getattr(family, name) for family in FAMILIES for name in family.METHODS}
METHODS |= synonyms.ONLY_METHODS

__all__ = sorted({name for family in FAMILIES for name in family.__all__})
