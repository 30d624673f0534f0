"""Transformers: encoder and decoder layers, their stacks, and encodings of positions.

All as in PyTorch, whose state dicts load as they are. Vaswani et al. 2017, "Attention is all you need",
arXiv:1706.03762; ``norm_first`` is the order of Xiong et al. 2020, "On layer normalization in the transformer
architecture", arXiv:2002.04745.

Masks of bools are True where a query must not look; ``is_causal`` needs no mask beside it (PyTorch wants one) and then
none is looked at. Causality is not guessed from a mask's values.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Tensor, as_tensor, zeros
from . import init
from .attention import MultiheadAttention
from .containers import ModuleList
from .dropout import Dropout
from .linear import Linear, _check_count
from .module import Module
from .normalization import LayerNorm
from .parameter import Parameter


def activation_of(owner: str, activation: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function that a layer's ``activation`` names or is. ValueError for another name."""
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise ValueError(f"{owner}: activation must be 'relu', 'gelu' or a function, got {activation!r}")
    return F.relu if activation == "relu" else F.gelu


class _Layer(Module):
    """What the two layers share: attention over the sequence itself, and two linear maps of each position."""

    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

    _attentions: tuple[str, ...]

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        activation = activation_of(self._get_name(), activation)
        for name in self._attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype))
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype)
        self.norm_first = norm_first
        blocks = range(1, 2 + len(self._attentions))
        for i in blocks:
            setattr(self, f"norm{i}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for i in blocks:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = activation

    def _residual(self, x: Tensor, i: int, block: Callable[[Tensor], Tensor]) -> Tensor:
        """x plus what its i-th block makes of it, normalised before or after."""
        norm, dropout = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
        if self.norm_first:
            return x + dropout(block(norm(x)))
        return norm(x + dropout(block(x)))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, then two linear maps of each position; each with a residual and a norm.

    As ``torch.nn.TransformerEncoderLayer``: x = norm1(x + attention(x)), then x = norm2(x + linear2(activation(
    linear1(x)))).

    Args:
        d_model: Size of a position.
        nhead: Number of heads.
        dim_feedforward: Size between the two linear maps.
        dropout: Of the attention's weights, of both blocks' results and between the maps, in training.
        activation: "relu", "gelu" or a function.
        layer_norm_eps: See :class:`LayerNorm`.
        batch_first: Sequences are (N, L, d_model) rather than (L, N, d_model).
        norm_first: Normalise what goes into a block, and not the sum.
        bias: Learn biases.
        dtype: Of the parameters; float32 by default.

    Raises:
        ValueError: See :class:`MultiheadAttention`; or the activation is unknown.
    """

    _attentions = ("self_attn",)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """src in its shape; for the masks see :meth:`MultiheadAttention.forward`."""

        def attention(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        return self._residual(self._residual(src, 1, attention), 2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """An encoder layer with a second attention in the middle, from the sequence to ``memory``, as
    ``torch.nn.TransformerDecoderLayer``. Arguments as for :class:`TransformerEncoderLayer`.
    """

    _attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """tgt in its shape; for the masks see :meth:`MultiheadAttention.forward`."""

        def attention(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0]

        def attention_to_memory(x: Tensor) -> Tensor:
            return self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask, is_causal=memory_is_causal
            )[0]

        x = self._residual(self._residual(tgt, 1, attention), 2, attention_to_memory)
        return self._residual(x, 3, self._feed_forward)


def _copies(layer: Module, n: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(n)])


class TransformerEncoder(Module):
    """A stack of copies of a layer, as ``torch.nn.TransformerEncoder``.

    Args:
        encoder_layer: A :class:`TransformerEncoderLayer`; all copies start with its values.
        num_layers: Number of copies.
        norm: Applied to the result, if given.
        enable_nested_tensor, mask_check: Accepted, so that code ports; they change nothing. (With the first, PyTorch in
            evaluation puts 0 where padding was.)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.num_layers = _check_count("TransformerEncoder", "num_layers", num_layers)
        self.layers = _copies(encoder_layer, num_layers)
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """src in its shape; every layer is given the masks."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """A stack of copies of a layer, as ``torch.nn.TransformerDecoder``.

    Args:
        decoder_layer: A :class:`TransformerDecoderLayer`; all copies start with its values.
        num_layers: Number of copies.
        norm: Applied to the result, if given.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.num_layers = _check_count("TransformerDecoder", "num_layers", num_layers)
        self.layers = _copies(decoder_layer, num_layers)
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """tgt in its shape; every layer is given the memory and the masks."""
        for layer in self.layers:
            tgt = layer(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
                        bool(tgt_is_causal), memory_is_causal)  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """Encoder and decoder, as ``torch.nn.Transformer``.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype: See
            :class:`TransformerEncoderLayer`.
        num_encoder_layers, num_decoder_layers: Layers of each stack; a LayerNorm follows either.
        custom_encoder, custom_decoder: Modules in their place.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        settings: tuple[Any, ...] = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
                                     norm_first, bias, dtype)  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*settings), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*settings), num_decoder_layers, norm()
        )
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoder's result, in the shape of tgt, which looks at what the encoder makes of src.

        Raises:
            ValueError: src and tgt differ in their batches or their last sizes from each other or from d_model.
        """
        src, tgt = as_tensor(src), as_tensor(tgt)
        batch = 0 if self.batch_first else 1
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise ValueError(f"Transformer: src {src.shape} and tgt {tgt.shape} must have last size {self.d_model}")
        if src.ndim != tgt.ndim or (src.ndim == 3 and src.shape[batch] != tgt.shape[batch]):
            raise ValueError(
                f"Transformer: src {src.shape} and tgt {tgt.shape} must have as many sequences "
                f"(batch_first={self.batch_first})"
            )
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
                            tgt_is_causal, memory_is_causal)  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = None) -> Tensor:
        """The mask of numbers (sz, sz) that lets position i look at 0 to i: 0 there, -inf elsewhere."""
        kind = np.dtype(np.float32 if dtype is None else dtype)
        return as_tensor(np.triu(np.full((sz, sz), -np.inf, kind), 1))


class _Positions(Module):
    def __init__(self, d_model: int, dropout: float, max_len: int, batch_first: bool) -> None:
        super().__init__()
        self.d_model = _check_count(self._get_name(), "d_model", d_model, 1)
        self.max_len = _check_count(self._get_name(), "max_len", max_len, 1)
        self.batch_first = batch_first
        self.dropout = Dropout(dropout)

    def _added(self, x: Tensor, table: Tensor) -> Tensor:
        """x with the rows of a table (max_len, d_model) added."""
        last = x.ndim == 2 or self.batch_first
        length = x.shape[-2 if last else 0]
        if x.ndim not in (2, 3) or x.shape[-1] != self.d_model or length > self.max_len:
            layout = "(N, L, {})" if self.batch_first else "(L, N, {})"
            raise ValueError(
                f"{self._get_name()}: x must be {layout.format(self.d_model)} or (L, {self.d_model}) with L at most "
                f"{self.max_len}, got {x.shape}"
            )
        rows = table[:length]
        return self.dropout(x + (rows if last else rows.unsqueeze(1)))

    def extra_repr(self) -> str:
        return f"{self.d_model}, max_len={self.max_len}, batch_first={self.batch_first}"


class PositionalEncoding(_Positions):
    """Adds waves to a sequence, so that its order is seen: sin(t / 10000^(2i / d_model)) to element 2i of position t,
    the cosine to element 2i + 1 (arXiv:1706.03762, section 3.5); then dropout.

    Named, and kept in the state dict (``pe``, (max_len, 1, d_model)), as in PyTorch's tutorial.

    Args:
        d_model: Size of a position.
        dropout: Probability of dropout in training.
        max_len: The longest sequence.
        batch_first: x is (N, L, d_model) rather than (L, N, d_model); (L, d_model) is one sequence in either case.
        dtype: float32 by default.

    Raises:
        ValueError: A size is below 1; (when called) x does not fit, or is longer than max_len.
    """

    pe: Tensor

    def __init__(
        self, d_model: int, dropout: float = 0.1, max_len: int = 5000, batch_first: bool = False, dtype: Any = None
    ) -> None:
        super().__init__(d_model, dropout, max_len, batch_first)
        angle = np.arange(max_len)[:, None] * np.exp(np.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        waves = np.stack([np.sin(angle), np.cos(angle)], 2).reshape(max_len, -1)[:, :d_model]
        kind = np.dtype(np.float32 if dtype is None else dtype)
        self.register_buffer("pe", as_tensor(np.ascontiguousarray(waves[:, None], kind)))

    def forward(self, x: Tensor) -> Tensor:
        return self._added(x, self.pe.squeeze(1))


class LearnedPositionalEncoding(_Positions):
    """Adds a learned row to every position of a sequence; then dropout.

    The table ``weight`` (max_len, d_model) starts normal with standard deviation 0.02 (Devlin et al. 2018, "BERT",
    arXiv:1810.04805). Arguments as for :class:`PositionalEncoding`.
    """

    weight: Parameter

    def __init__(
        self, d_model: int, dropout: float = 0.1, max_len: int = 512, batch_first: bool = False, dtype: Any = None
    ) -> None:
        super().__init__(d_model, dropout, max_len, batch_first)
        self.weight = Parameter(zeros((self.max_len, self.d_model), dtype=np.float32 if dtype is None else dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the table anew."""
        init.normal_(self.weight, 0.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return self._added(x, self.weight)
