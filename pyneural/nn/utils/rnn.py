"""Batches of sequences of different lengths, padded and packed: ``torch.nn.utils.rnn``.

A packed sequence holds no padding: first the first step of every sequence, longest first, then the second step of those
that have one, and so on. Its shape depends on the lengths, so a captured step is recorded anew for each total length; a
recurrent layer called with padded input and ``lengths=`` has one shape for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...tensor import Tensor, as_tensor, full, tensor

__all__ = ["PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
           "pad_sequence", "unpack_sequence", "unpad_sequence"]  # fmt: skip


class PackedSequence(NamedTuple):
    """Sequences without padding.

    ``data`` (sum of the lengths, \\*); ``batch_sizes`` (longest length,): how many sequences have each step;
    ``sorted_indices`` (N,): which sequence stands where, longest first, and ``unsorted_indices``, the inverse, or None
    if they came in that order.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, dtype: Any) -> PackedSequence:
        """The same with data of another dtype."""
        return self._replace(data=self.data.to(dtype))


def invert_permutation(permutation: Any) -> Tensor | None:
    """The permutation that undoes this one; None for None."""
    if permutation is None:
        return None
    given = np.asarray(permutation)
    inverse = np.empty_like(given)
    inverse[given] = np.arange(len(given))
    return as_tensor(inverse)


def checked_lengths(name: str, lengths: Any, batch: int, steps: int) -> np.ndarray:
    """Lengths as an int64 array. Raises ValueError unless there is one of 1 to ``steps`` for each sequence."""
    given = np.asarray(lengths)
    if given.dtype.kind not in "iu" or given.shape != (batch,):
        raise ValueError(f"{name}: lengths must be {batch} integers, one for each sequence, got {given.dtype} of shape "
                         f"{given.shape}")  # fmt: skip
    wrong = np.flatnonzero((given < 1) | (given > steps))
    if wrong.size:
        i = int(wrong[0])
        raise ValueError(f"{name}: length {given[i]} of sequence {i} must be at least 1 and at most {steps}, the steps "
                         "of input; leave out sequences of length 0")  # fmt: skip
    return given.astype(np.int64)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Packs padded sequences.

    Args:
        input: (T, N, \\*), or (N, T, \\*) with ``batch_first``.
        lengths: (N,) integers of 1 to T.
        batch_first: Batch before steps.
        enforce_sorted: The lengths must not rise. Otherwise the sequences are sorted here.

    Raises:
        ValueError: A length is 0 or longer than T, or they rise and ``enforce_sorted`` is True.
    """
    input = as_tensor(input)
    if input.ndim < 2:
        raise ValueError(f"pack_padded_sequence: input needs steps and batch, but its shape is {input.shape}")
    batch, steps = input.shape[:2] if batch_first else input.shape[1::-1]
    found = checked_lengths("pack_padded_sequence", lengths, batch, steps)
    if batch == 0:
        raise ValueError("pack_padded_sequence: there are no sequences")
    order = np.argsort(-found, kind="stable")
    if enforce_sorted and (np.diff(found) > 0).any():
        raise ValueError(f"pack_padded_sequence: the lengths {found.tolist()} rise; sort the sequences, longest first, "
                         "or pass enforce_sorted=False")  # fmt: skip
    step, row = np.nonzero(np.arange(found.max())[:, None] < found[order])
    place = order[row] * steps + step if batch_first else step * batch + order[row]
    data = input.reshape(batch * steps, *input.shape[2:])[as_tensor(place)]
    sizes = tensor(np.bincount(step))
    if enforce_sorted:
        return PackedSequence(data, sizes)
    return PackedSequence(data, sizes, as_tensor(order), invert_permutation(order))


def lengths_of(sequence: PackedSequence) -> np.ndarray:
    """The lengths in packed order, longest first."""
    sizes = np.asarray(sequence.batch_sizes)
    return (np.arange(sizes[0]) < sizes[:, None]).sum(0)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Padded sequences (T, N, \\*), or (N, T, \\*) with ``batch_first``, in their first order, and their lengths.

    Raises ValueError if ``total_length``, the T that is wanted, is shorter than a sequence.
    """
    lengths = lengths_of(sequence)
    steps = int(lengths[0]) if total_length is None else total_length
    if steps < lengths[0]:
        raise ValueError(f"pad_packed_sequence: total_length is {total_length}, but a sequence has {lengths[0]} steps")
    data = sequence.data
    place = np.full((steps, len(lengths)), data.shape[0])  # the row of padding that is put behind the data
    place[np.arange(steps)[:, None] < lengths] = np.arange(data.shape[0])
    if sequence.unsorted_indices is not None:
        back = np.asarray(sequence.unsorted_indices)
        place, lengths = place[:, back], lengths[back]
    padding = full((1, *data.shape[1:]), padding_value, dtype=data.dtype)
    padded = ops.concatenate([data, padding], 0)[as_tensor(np.ascontiguousarray(place.T if batch_first else place))]
    return padded, tensor(lengths)


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Stacks sequences (T_i, \\*) to (T, N, \\*), or (N, T, \\*) with ``batch_first``, T the longest.

    ``padding_side`` is 'right' or 'left'. Raises ValueError for none, or sequences whose other sizes differ.
    """
    rows = [as_tensor(s) for s in sequences]
    if not rows or any(r.ndim < 1 or r.shape[1:] != rows[0].shape[1:] for r in rows):
        raise ValueError(f"pad_sequence: sequences of shapes {[r.shape for r in rows]} must be (T_i, *), at least one, "
                         "equal but for T_i")  # fmt: skip
    if padding_side not in ("right", "left"):
        raise ValueError(f"pad_sequence: padding_side is {padding_side!r} but must be 'right' or 'left'")
    steps = max(r.shape[0] for r in rows)
    full_rows = []
    for r in rows:
        padding = full((steps - r.shape[0], *r.shape[1:]), padding_value, dtype=r.dtype)
        full_rows.append(ops.concatenate([r, padding] if padding_side == "right" else [padding, r], 0))
    return ops.stack(full_rows, 0 if batch_first else 1)


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences (T_i, \\*); see :func:`pack_padded_sequence`."""
    return pack_padded_sequence(pad_sequence(sequences), [len(s) for s in sequences], enforce_sorted=enforce_sorted)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences (T_i, \\*) of a padded batch."""
    padded = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    found = checked_lengths("unpad_sequence", lengths, *padded.shape[:2])
    return [padded[i, :length] for i, length in enumerate(found.tolist())]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences (T_i, \\*) of a packed batch."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
