"""Embeddings: a trained table whose rows are looked up by number."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from .. import ops
from ..autodiff import no_grad
from ..ops.embeddings import row_number
from ..tensor import Tensor, as_tensor, zeros
from . import init
from .linear import _check_count
from .module import Module
from .parameter import Parameter

Self = TypeVar("Self", bound="Embedding")


class Embedding(Module):
    """Rows of a trained table, as ``torch.nn.Embedding``; see :func:`pyneural.embedding`.

    Shapes: x integers of any shape, weight (num_embeddings, embedding_dim), y (\\*x.shape, embedding_dim). The weight
    starts standard normal, with zeros in row ``padding_idx``, which gets no gradient.

    Raises ValueError for arguments out of range and for ``sparse=True``; IndexError, when called, for a number that is
    no row.
    """

    weight: Parameter
    #: What ``repr`` shows, unless it has this value.
    _shown: tuple = (("padding_idx", None), ("max_norm", None), ("norm_type", 2), ("scale_grad_by_freq", False))

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = self._get_name()
        self.num_embeddings = _check_count(name, "num_embeddings", num_embeddings)
        self.embedding_dim = _check_count(name, "embedding_dim", embedding_dim)
        self.padding_idx = row_number(name, padding_idx, self.num_embeddings)
        if sparse:
            raise ValueError(f"{name}: sparse gradients do not exist here; use sparse=False")
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = False
        shape = (self.num_embeddings, self.embedding_dim)
        if _weight is None:
            self.weight = Parameter(zeros(shape, dtype=np.float32 if dtype is None else dtype), not _freeze)
            self.reset_parameters()
        else:
            weight = as_tensor(_weight)
            if weight.shape != shape:
                raise ValueError(f"{name}: the weight has shape {weight.shape} but must have {shape}")
            self.weight = Parameter(weight, not _freeze)

    def reset_parameters(self) -> None:
        """Draws the weight anew; row padding_idx is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    @classmethod
    def from_pretrained(cls: type[Self], embeddings: Any, freeze: bool = True, **options: Any) -> Self:
        """A layer with these rows, (num_embeddings, embedding_dim), which are trained only with ``freeze=False``.

        ``options`` are the constructor's. Raises ValueError if the embeddings are no matrix.
        """
        embeddings = as_tensor(embeddings)
        if embeddings.ndim != 2:
            raise ValueError(f"{cls.__name__}: embeddings must have 2 dimensions, got shape {embeddings.shape}")
        options |= {"_weight": embeddings, "_freeze": freeze}
        return cls(embeddings.shape[0], embeddings.shape[1], **options)

    def forward(self, x: Any) -> Tensor:
        return ops.embedding(x, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)

    def extra_repr(self) -> str:
        set_ones = [f"{name}={getattr(self, name)!r}" for name, usual in self._shown if getattr(self, name) != usual]
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *set_ones])


class EmbeddingBag(Embedding):
    """Sums, means or maxima of an embedding's rows over bags, as ``torch.nn.EmbeddingBag``; see
    :func:`pyneural.embedding_bag`.

    Called with x (bags, n), or with a vector x and ``offsets``, where each bag begins, and for mode "sum" with
    ``per_sample_weights``. Raises ValueError for arguments that do not fit each other.
    """

    _shown = (*Embedding._shown[1:], ("mode", None), Embedding._shown[0])

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Any = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        dtype: Any = None,
        _freeze: bool = False,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse,
                         _weight, _freeze, dtype)  # fmt: skip
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f"{self._get_name()}: mode is {mode!r} but must be 'sum', 'mean' or 'max'")
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, x: Any, offsets: Any = None, per_sample_weights: Any = None) -> Tensor:
        return ops.embedding_bag(
            x, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, False,
            per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip
