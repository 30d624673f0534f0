"""Variational autoencoders of dense layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import functional as F
from .. import nn, ops, random
from ..callbacks import Callback
from ..tensor import Tensor, as_tensor, full, zeros
from ..training import recordable
from .dense import Activation, batchwise, dense, float_type, per_layer, sizes_of


class Variational(NamedTuple):
    """What a :class:`VariationalAutoencoder` gives for a batch of N rows.

    Attributes:
        output: The decoded sample: (N, outputs).
        mean: Of the code's normal distribution: (N, code).
        log_variance: Of the code's distribution, independent in each dimension: (N, code).
    """

    output: Tensor
    mean: Tensor
    log_variance: Tensor


def gaussian_kl(mean: Any, log_variance: Any) -> Tensor:
    """The divergence KL(N(mean, exp(log_variance)) || N(0, 1)) of each element, in nats.

    (mean^2 + exp(log_variance) - 1 - log_variance) / 2, in the broadcast shape of the two; the divergence of a vector
    is the sum over its elements. Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), appendix B.
    """
    mean, log_variance = as_tensor(mean), as_tensor(log_variance)
    return 0.5 * (ops.square(mean) + (ops.expm1(log_variance) - log_variance))


class VariationalAutoencoder(nn.Module):
    """A variational autoencoder: the encoder gives a normal distribution of codes, the decoder is fed a sample of it.

    In training the code is mean + exp(log_variance / 2) * noise, with noise from pyneural's default generator, so that
    the same seed gives the same bits, replayed or not; in evaluation it is the mean. The model brings its objective,
    reconstruction + kl_weight * divergence, to be made small::

        model = pn.models.VariationalAutoencoder((784, 400, 20), output_activation="sigmoid")
        trainer = pn.Trainer(model, model.loss, optim.Adam(model.parameters()), model.terms)
        history = trainer.fit(images, epochs=20, callbacks=[pn.models.KLWarmup(model, 5)])
        pictures = model.sample(100)

    Kingma and Welling, "Auto-Encoding Variational Bayes" (2014); weights other than 1 are those of Higgins et al.,
    "beta-VAE" (2017).

    Args:
        sizes: Features from the input to the code, at least two. Mean and log variance of the code are affine in what
            lies before it.
        activation: After the hidden layers: one for all, or a list with one for each, encoder first. An activation is
            None, a name ("relu", "tanh", ...), a module or its class, or a function of a tensor.
        mean_activation: After the mean.
        output_activation: After the decoder's last layer.
        decoder_sizes: Features from the code to the output; the encoder's, backwards, if None.
        code_variance: "learned": the encoder gives it for each row and dimension; or a number above 0, the same for
            all.
        output_variance: None: outputs are compared as ``reconstruction`` says. A number above 0 or "learned" (one
            parameter, the same for all outputs): the reconstruction term is the negative log-likelihood of a normal
            distribution with this variance around the output, constants included, so that with ``kl_weight=1`` and
            ``reduction="sum"`` the objective is the negative evidence lower bound.
        reconstruction: "squared" error, or "bce": the cross-entropy of inputs in [0, 1] with outputs in (0, 1).
        kl_weight: Of the divergence in the objective. It may be assigned at any time, also between replays.
        reduction: "sum": both terms are summed over features and code dimensions and averaged over the batch; "mean":
            averaged over features and code dimensions too.
        bias: Whether layers have one.
        dtype: Of the parameters; float32 by default.

    Attributes:
        encoder, decoder: :class:`pyneural.nn.Sequential`. ``encoder`` ends before the code.
        code_mean, code_log_variance: The layers that give the code; the latter is None if the variance is fixed.
        output_log_variance: The learned log variance of outputs, (1,), or None.

    Shapes: x (N, sizes[0]), codes (N, sizes[-1]), outputs (N, decoder_sizes[-1]).

    Raises:
        ValueError: Sizes, activations, variances or names do not fit; the message says which.
        TypeError: An activation is of no known kind.
    """

    encoder: nn.Sequential
    decoder: nn.Sequential
    code_mean: nn.Sequential
    code_log_variance: nn.Linear | None
    output_log_variance: nn.Parameter | None
    _kl_weight: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation | Sequence[Activation] = "relu",
        *,
        mean_activation: Activation = None,
        output_activation: Activation = None,
        decoder_sizes: Sequence[int] | None = None,
        code_variance: float | str = "learned",
        output_variance: float | str | None = None,
        reconstruction: str = "squared",
        kl_weight: float = 1.0,
        reduction: str = "sum",
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        owner = "VariationalAutoencoder"
        down = sizes_of(owner, sizes)
        up = down[::-1] if decoder_sizes is None else sizes_of(owner, decoder_sizes)
        if up[0] != down[-1]:
            raise ValueError(f"{owner}: decoder_sizes {up} must start with the {down[-1]} features of the code")
        if reduction not in ("sum", "mean"):
            raise ValueError(f"{owner}: reduction must be 'sum' or 'mean', got {reduction!r}")
        if reconstruction not in ("squared", "bce"):
            raise ValueError(f"{owner}: reconstruction must be 'squared' or 'bce', got {reconstruction!r}")
        if reconstruction == "bce" and output_variance is not None:
            raise ValueError(f"{owner}: output_variance is {output_variance!r}, but a cross-entropy has none; leave it")
        self.code_variance = _variance(owner, "code_variance", code_variance)
        self.output_variance = None if output_variance is None else _variance(owner, "output_variance", output_variance)
        self.sizes, self.decoder_sizes = down, up
        self.reconstruction, self.reduction = reconstruction, reduction
        hidden = len(down) - 2
        chosen = per_layer(owner, activation, hidden + len(up) - 2)
        self.encoder = nn.Sequential()
        if hidden:
            self.encoder = dense(down[:-1], chosen[: hidden - 1], chosen[hidden - 1], bias=bias, dtype=dtype)
        self.code_mean = dense(down[-2:], None, mean_activation, bias=bias, dtype=dtype)
        learned = self.code_variance is None
        self.code_log_variance = nn.Linear(down[-2], down[-1], bias=bias, dtype=dtype) if learned else None
        self.decoder = dense(up, chosen[hidden:], output_activation, bias=bias, dtype=dtype)
        kind = float_type(self)
        self.output_log_variance = nn.Parameter(zeros((1,), dtype=kind)) if output_variance == "learned" else None
        # In a tensor, which a recorded step reads anew at each replay. A setting, so no part of the state dict.
        self.register_buffer("_kl_weight", full((), 1.0, dtype=kind), persistent=False)
        self.kl_weight = kl_weight

    def __setattr__(self, name: str, value: Any) -> None:
        # Module keeps attributes in a dict of its own, past properties.
        if name == "kl_weight":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def kl_weight(self) -> float:
        """The weight of the divergence in the objective; ValueError if one below 0 or not finite is assigned."""
        return float(self._kl_weight.item())

    @kl_weight.setter
    def kl_weight(self, value: float) -> None:
        number = float(value)
        if not (number >= 0 and math.isfinite(number)):
            raise ValueError(f"VariationalAutoencoder: kl_weight must be finite and at least 0, got {value!r}")
        self._kl_weight.fill_(number)

    # ---- tensors, with gradients ----

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the codes of x (N, inputs): two tensors (N, code)."""
        h = self.encoder(x)
        mean = self.code_mean(h)
        if self.code_log_variance is not None:
            return mean, self.code_log_variance(h)
        return mean, full((), math.log(self.code_variance or 1.0), dtype=mean.dtype).expand(mean.shape)

    def decode(self, code: Tensor) -> Tensor:
        """What codes (N, code) stand for: (N, outputs)."""
        return self.decoder(code)

    def reparameterise(self, mean: Tensor, log_variance: Tensor, noise: Tensor | None = None) -> Tensor:
        """Codes from N(mean, exp(log_variance)), differentiable in both: mean + exp(log_variance / 2) * noise.

        ``noise`` is standard normal, by default drawn from pyneural's generator.
        """
        drawn = random.randn_like(mean) if noise is None else noise
        if self.code_log_variance is None:
            scale = math.sqrt(self.code_variance or 1.0)
            return mean + drawn if scale == 1.0 else mean + scale * drawn
        return mean + ops.exp(0.5 * log_variance) * drawn

    def forward(self, x: Tensor) -> Variational:
        mean, log_variance = self.encode(x)
        code = self.reparameterise(mean, log_variance) if self.training else mean
        return Variational(self.decoder(code), mean, log_variance)

    # ---- the objective ----

    @recordable
    def loss(self, output: Variational, target: Tensor) -> Tensor:
        """The objective of a batch, to be made small: reconstruction + kl_weight * divergence."""
        return self.reconstruction_term(output, target) + self._kl_weight * self.kl_term(output, target)

    @recordable
    def reconstruction_term(self, output: Variational, target: Tensor) -> Tensor:
        """How far the outputs (N, outputs) are from the targets: a tensor of one element."""
        compare = F.binary_cross_entropy if self.reconstruction == "bce" else F.mse_loss
        error = compare(output.output, target, reduction=self.reduction)
        rows, features = output.output.shape
        if self.reduction == "sum":
            error = error / rows
        if self.output_variance is None and self.output_log_variance is None:
            return error
        # -log N(x; x', v): half of error / v + log(2 pi v), for each feature.
        count = features if self.reduction == "sum" else 1
        if self.output_log_variance is None:
            v = float(self.output_variance or 1.0)
            return 0.5 / v * error + 0.5 * count * math.log(2 * math.pi * v)
        log_v = self.output_log_variance.sum()
        return 0.5 * (ops.exp(-log_v) * error + count * (log_v + math.log(2 * math.pi)))

    @recordable
    def kl_term(self, output: Variational, target: Tensor | None = None) -> Tensor:
        """The divergence of the codes' distributions from N(0, I), without its weight: a tensor of one element."""
        rows, size = output.mean.shape
        count = rows if self.reduction == "sum" else rows * size
        if self.code_log_variance is not None:
            return gaussian_kl(output.mean, output.log_variance).sum() / count
        v = float(self.code_variance or 1.0)
        constant = 0.5 * (v - 1 - math.log(v)) * (size if self.reduction == "sum" else 1)
        term = ops.square(output.mean).sum() * (0.5 / count)
        return term + constant if constant else term

    @property
    def terms(self) -> Mapping[str, Callable[[Variational, Tensor], Tensor]]:
        """The two terms as metrics of a Trainer: "reconstruction" and "kl"."""
        return {"reconstruction": self.reconstruction_term, "kl": self.kl_term}

    # ---- arrays ----

    def distribution(self, x: Any, batch_size: int = 1000) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log variance (N, code) for an array (N, inputs): in evaluation mode, ``batch_size`` rows at a time.

        Raises ValueError if x has other columns than the encoder expects.
        """
        joined = batchwise(self, lambda part: ops.cat(self.encode(part), 1), x, batch_size)
        return joined[:, : self.sizes[-1]], joined[:, self.sizes[-1] :]

    def codes(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """The codes' means (N, code), as :meth:`distribution`."""
        return batchwise(self, lambda part: self.encode(part)[0], x, batch_size)

    def decoded(self, codes: Any, batch_size: int = 1000) -> np.ndarray:
        """Outputs (N, outputs) for an array of codes (N, code), as :meth:`distribution`."""
        return batchwise(self, self.decoder, codes, batch_size)

    def reconstruct(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """Outputs (N, outputs) for an array (N, inputs), decoded from the codes' means, as :meth:`distribution`."""
        return batchwise(self, lambda part: self.decoder(self.encode(part)[0]), x, batch_size)

    def sample(self, n: int, *, generator: random.Generator | None = None, std: float = 1.0) -> np.ndarray:
        """Outputs (n, outputs) for codes drawn from N(0, std^2 I), from ``generator`` or pyneural's own.

        Raises ValueError if n is negative or std is below 0.
        """
        codes = random.normal(0.0, std, (n, self.sizes[-1]), generator, dtype=float_type(self))
        return self.decoded(codes)

    def extra_repr(self) -> str:
        return f"code_variance={self.code_variance or 'learned'}, kl_weight={self.kl_weight:g}"


class KLWarmup(Callback):
    """Raises a model's ``kl_weight`` in equal steps from ``start`` to ``end`` over the first epochs of a training.

    The first epoch has ``start``, epoch number ``epochs`` and all later ones ``end``: without the divergence at first,
    the code is in use before there is a price on it (Bowman et al., "Generating Sentences from a Continuous Space",
    2016).

    Args:
        model: A :class:`VariationalAutoencoder`.
        epochs: How many epochs the rise takes, at least 1.
        start: The first weight.
        end: The last one; the weight that the model has when the callback is made, if None.

    Raises:
        ValueError: ``epochs`` is below 1.
    """

    def __init__(
        self, model: VariationalAutoencoder, epochs: int, start: float = 0.0, end: float | None = None
    ) -> None:
        if epochs < 1:
            raise ValueError(f"KLWarmup: epochs must be at least 1, got {epochs}")
        self.model = model
        self.epochs = epochs
        self.start = float(start)
        self.end = model.kl_weight if end is None else float(end)

    def weight(self, epoch: int) -> float:
        """The weight in an epoch; the first is number 0."""
        share = min(epoch / self.epochs, 1.0)
        return self.start + (self.end - self.start) * share

    def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
        self.model.kl_weight = self.weight(epoch)


def lattice(
    low: Any, high: Any, side: int = 12, *, size: int = 2, dims: tuple[int, int] = (0, 1), center: Any = 0.0
) -> np.ndarray:
    """A square lattice of codes (side * side, size), for a decoder to make pictures of.

    Args:
        low, high: Least and largest value along the two dimensions: a number, or one for each.
        side: Points along each of them, at least 2.
        size: Dimensions of a code.
        dims: The two that vary.
        center: What the others are: a number, or a code (size,).

    Returns:
        float64, row by row from the top: dims[0] rises from left to right, dims[1] from bottom to top, as
        :func:`pyneural.plots.latent_lattice` draws it.

    Raises:
        ValueError: ``side`` is below 2, or ``dims`` are not two different dimensions of the code.
    """
    if side < 2:
        raise ValueError(f"lattice: side must be at least 2, got {side}")
    if len(set(dims)) != 2 or not all(0 <= d < size for d in dims):
        raise ValueError(f"lattice: dims must be two different numbers from 0 to {size - 1}, got {dims}")
    (left, bottom), (right, top) = (np.broadcast_to(np.asarray(v, np.float64), (2,)) for v in (low, high))
    codes = np.empty((side * side, size))
    codes[:] = center
    codes[:, dims[0]] = np.tile(np.linspace(left, right, side), side)
    codes[:, dims[1]] = np.repeat(np.linspace(top, bottom, side), side)
    return codes


def _variance(owner: str, name: str, value: float | str) -> float | None:
    """The variance, None for a learned one."""
    if isinstance(value, str):
        if value != "learned":
            raise ValueError(f"{owner}: {name} must be 'learned' or a number above 0, got {value!r}")
        return None
    number = float(value)
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(f"{owner}: {name} must be 'learned' or a number above 0, got {value!r}")
    return number
