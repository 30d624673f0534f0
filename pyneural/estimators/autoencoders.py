"""Autoencoders as transformers."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from .. import functional as F
from .. import models, nn
from ..models.dense import batchwise
from ..tensor import Tensor
from .base import TransformerMixin
from .checks import BOOLEAN, POSITIVE_COUNT, Interval, OneOf, check_rows
from .training import ONE_ACTIVATION, NetworkEstimator, translated

_TRAINING = """

    ``solver`` and the parameters behind it are as for :class:`MLPClassifier`.

    Attributes:
        model_: The network.
        loss_curve_, validation_loss_curve_, best_loss_, n_iter_, seconds_: As for :class:`MLPClassifier`.
"""


class _Coder(TransformerMixin, NetworkEstimator):
    """Rows to codes and back by a network."""

    n_components: int
    output_activation: Any
    loss: str

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        **NetworkEstimator._training_constraints,
        "n_components": (POSITIVE_COUNT,),
        "output_activation": ONE_ACTIVATION,
        "loss": (OneOf(("squared", "bce")),),
    }

    def _sizes(self, inputs: int) -> tuple[int, ...]:
        return (inputs, *self._hidden(), self.n_components)

    def _require_shares(self, rows: np.ndarray) -> None:
        if self.loss == "bce" and (rows.min() < 0 or rows.max() > 1):
            raise ValueError(
                f"{type(self).__name__}: loss='bce' compares numbers in [0, 1], but X goes from {rows.min():g} to "
                f"{rows.max():g}; scale it or take loss='squared'"
            )

    def _fit(
        self,
        X: Any,
        validation_data: Any,
        make: Callable[[int, np.dtype[Any]], nn.Module],
        loss: Callable[[Any], Callable[[Any, Tensor], Tensor]],
    ) -> None:
        rows = self._start(X)
        self._require_shares(rows)
        rows = rows.astype(self._float(rows), copy=False)
        held = None
        if validation_data is not None:
            held = check_rows(validation_data, type(self).__name__).astype(rows.dtype, copy=False)
            if held.shape[1] != rows.shape[1]:
                raise ValueError(
                    f"{type(self).__name__}: validation_data has {held.shape[1]} features, but X has {rows.shape[1]}"
                )
            self._require_shares(held)
        elif self.early_stopping:
            count = self._set_apart(len(rows))
            apart = np.linspace(0, len(rows) - 1, count).round().astype(np.int64)  # spread evenly through the rows
            held, rows = rows[apart], np.delete(rows, apart, axis=0)
        inputs, dtype = rows.shape[1], rows.dtype
        self._train(lambda: make(inputs, dtype), loss, rows, None, validation=None if held is None else (held, None))
        self.model_ = self._model

    @property
    def _outputs(self) -> int:
        return self.n_components

    def _transform(self, X: Any) -> np.ndarray:
        rows = self._rows(X)
        return self._model.codes(rows).astype(rows.dtype, copy=False)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Rows (N, d) that codes (N, n_components) stand for. ValueError if there is another number of columns."""
        self._require_fitted()
        codes = check_rows(X, type(self).__name__)
        if codes.shape[1] != self.n_components:
            raise ValueError(
                f"{type(self).__name__}: codes have {self.n_components} columns, but X has {codes.shape[1]}"
            )
        return self._model.decoded(codes).astype(codes.dtype, copy=False)

    def _errors(self, rows: np.ndarray, rebuilt: np.ndarray) -> np.ndarray:
        """The reconstruction error of each row: summed squares, or the summed cross-entropy."""
        x, y = rows.astype(np.float64), rebuilt.astype(np.float64)
        if self.loss == "squared":
            return ((x - y) ** 2).sum(axis=1)
        tiny = np.exp(-100.0)  # where the network's loss stops as well
        return -(x * np.log(np.maximum(y, tiny)) + (1 - x) * np.log(np.maximum(1 - y, tiny))).sum(axis=1)

    def score_samples(self, X: Any) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} does not say how rows are scored")

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of :meth:`score_samples`."""
        return float(self.score_samples(X).mean())


class Autoencoder(_Coder):
    __doc__ = (
        """An autoencoder as a transformer (:class:`pyneural.models.Autoencoder`): ``transform`` gives the codes,
    ``inverse_transform`` rebuilds rows from them.

    Args:
        n_components: Numbers in a code.
        hidden_layer_sizes: Of the encoder, between input and code; the decoder has the same, backwards.
        activation: After the hidden layers.
        code_activation: After the code.
        output_activation: After the last layer.
        loss: "squared" error (its mean over features), or "bce" for X in [0, 1] and a sigmoid at the output.
        tied: Decode with the encoder's weights, transposed."""
        + _TRAINING
    )

    code_activation: Any
    tied: bool

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        **_Coder._constraints,
        "code_activation": ONE_ACTIVATION,
        "tied": (BOOLEAN,),
    }

    def __init__(
        self,
        n_components: int = 2,
        *,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        code_activation: Any = None,
        output_activation: Any = None,
        loss: str = "squared",
        tied: bool = False,
        solver: str = "adam",
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        dtype: Any = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any = None, validation_data: Any = None) -> Autoencoder:
        """Trains on rows X (N, d); ``validation_data`` are other rows. Returns self. ValueError if they do not fit."""
        self._fit(
            X,
            validation_data,
            lambda inputs, dtype: models.Autoencoder(
                self._sizes(inputs),
                translated(self.activation),
                code_activation=translated(self.code_activation),
                output_activation=translated(self.output_activation),
                tied=self.tied,
                dtype=dtype,
            ),
            lambda model: F.mse_loss if self.loss == "squared" else F.binary_cross_entropy,
        )
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the reconstruction error of each row (N, d), summed over its features: (N,)."""
        rows = self._rows(X)
        return -self._errors(rows, batchwise(self._model, self._model, rows))


class VariationalAutoencoder(_Coder):
    __doc__ = (
        """A variational autoencoder as a transformer (:class:`pyneural.models.VariationalAutoencoder`):
    ``transform`` gives the means of the codes, ``inverse_transform`` decodes, ``sample`` makes new rows.

    Args:
        n_components: Numbers in a code.
        hidden_layer_sizes: Of the encoder, between input and code; the decoder has the same, backwards.
        activation: After the hidden layers.
        output_activation: After the last layer.
        loss: "squared" error, or "bce" for X in [0, 1] and a sigmoid at the output; summed over the features.
        kl_weight: Of the divergence of the codes from N(0, 1)."""
        + _TRAINING
    )

    kl_weight: float

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        **_Coder._constraints,
        "kl_weight": (Interval(Real, 0),),
    }

    def __init__(
        self,
        n_components: int = 2,
        *,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        output_activation: Any = None,
        loss: str = "squared",
        kl_weight: float = 1.0,
        solver: str = "adam",
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        dtype: Any = None,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any = None, validation_data: Any = None) -> VariationalAutoencoder:
        """Trains on rows X (N, d); ``validation_data`` are other rows. Returns self. ValueError if they do not fit."""
        self._fit(
            X,
            validation_data,
            lambda inputs, dtype: models.VariationalAutoencoder(
                self._sizes(inputs),
                translated(self.activation),
                output_activation=translated(self.output_activation),
                reconstruction=self.loss,
                kl_weight=float(self.kl_weight),
                dtype=dtype,
            ),
            lambda model: model.loss,
        )
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus what each row (N, d) adds to the objective, with its code at the mean: reconstruction error plus the
        weighted divergence, (N,)."""
        rows = self._rows(X)
        mean, log_variance = self._model.distribution(rows)
        m, s = mean.astype(np.float64), log_variance.astype(np.float64)
        divergence = 0.5 * (m**2 + np.expm1(s) - s).sum(axis=1)
        return -self._errors(rows, self._model.decoded(mean)) - self.kl_weight * divergence

    def sample(self, n_samples: int = 1) -> np.ndarray:
        """New rows (n_samples, d), decoded from codes of N(0, 1), drawn from pyneural's default generator."""
        self._require_fitted()
        return self._model.sample(n_samples)
