"""Probability distributions: densities, entropies, divergences, and draws that gradients pass through.

Names, arguments and shapes are those of ``torch.distributions``. A distribution has a ``batch_shape``, one
distribution for each element of it, and an ``event_shape``, the shape of one draw; ``sample(sample_shape)`` has the
shape ``sample_shape + batch_shape + event_shape``, and ``log_prob``, ``entropy`` and ``kl_divergence`` give one number
per element of the batch. Everything is made of ops, so it can be differentiated any number of times and recorded by
:func:`pyneural.compile`; draws come from the counter-based streams of :mod:`pyneural.random`.

Parameters are tensors, arrays or numbers, brought to one shape and float type (float32 for plain numbers). Outside a
step that is being captured their values are checked as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from . import _engine, ops
from .autodiff import no_grad
from .random import Generator, rand, randn
from .tensor import Tensor, as_tensor

__all__ = [
    "Bernoulli", "Categorical", "Distribution", "Independent", "MultivariateNormal", "Normal", "elbo",
    "importance_weighted_bound", "kl_divergence", "register_kl",
]  # fmt: skip

_LOG_2PI = math.log(2 * math.pi)


def _parameters(**values: Any) -> list[Tensor]:
    """The parameters as tensors of one float type; plain numbers take the type of the others."""
    typed = [x for x in values.values() if isinstance(x, (Tensor, np.ndarray, np.generic)) and x.dtype.kind == "f"]
    dtype = np.result_type(*[x.dtype for x in typed]) if typed else np.dtype(np.float32)
    return [as_tensor(x, dtype) for x in values.values()]


def _together(name: str, **values: Any) -> list[Tensor]:
    """The parameters, of one float type and broadcast to one shape."""
    tensors = _parameters(**values)
    try:
        shape = np.broadcast_shapes(*[t.shape for t in tensors])
    except ValueError:
        shapes = ", ".join(f"{key} is {t.shape}" for key, t in zip(values, tensors, strict=True))
        raise ValueError(f"{name}: the parameters' shapes do not broadcast: {shapes}") from None
    return [ops.expand(t, shape) for t in tensors]


def _demand(name: str, parameter: str, x: Tensor, holds: Callable[[np.ndarray], Any], what: str) -> None:
    """Refuses values of a parameter; a step that is being captured must not read values, and goes without."""
    if _engine.capturing() is None:
        values = np.asarray(x.detach())
        bad = values[~np.asarray(holds(values))]
        if bad.size:
            raise ValueError(f"{name}: {parameter} must be {what}, but holds {bad.flat[0]}")


def _one_of(name: str, **given: Any) -> str:
    """The name of the one argument that is not None."""
    names = [key for key, value in given.items() if value is not None]
    if len(names) != 1:
        raise ValueError(f"{name}: give exactly one of {' and '.join(given)}, got {' and '.join(names) or 'none'}")
    return names[0]


class Distribution:
    """What all distributions have. `batch_shape` and `event_shape` are tuples, `dtype` is that of the parameters."""

    has_rsample: ClassVar[bool] = False

    def __init__(self, batch_shape: Sequence[int], event_shape: Sequence[int], dtype: np.dtype) -> None:
        self.batch_shape, self.event_shape, self.dtype = tuple(batch_shape), tuple(event_shape), dtype

    @property
    def mean(self) -> Tensor:
        """The expectation: batch_shape + event_shape."""
        raise NotImplementedError

    @property
    def variance(self) -> Tensor:
        """The variance of each component: batch_shape + event_shape."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The square root of :attr:`variance`."""
        return ops.sqrt(self.variance)

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density, or of the probability, of `value` (..., *event_shape): one number per event."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """-E log p, in nats: batch_shape."""
        raise NotImplementedError

    def rsample(self, sample_shape: Sequence[int] = (), generator: Generator | None = None) -> Tensor:
        """A draw as a function of the parameters and of noise that does not depend on them, so that gradients pass.

        Raises:
            NotImplementedError: The distribution is discrete.
        """
        raise NotImplementedError(
            f"{type(self).__name__}.rsample: a discrete draw has no gradient with respect to the parameters; use "
            "sample() and the gradient of log_prob"
        )

    def sample(self, sample_shape: Sequence[int] = (), generator: Generator | None = None) -> Tensor:
        """A draw, off the tape: sample_shape + batch_shape + event_shape."""
        with no_grad():
            return self.rsample(sample_shape, generator)

    def _shape_of(self, sample_shape: Sequence[int]) -> tuple[int, ...]:
        return (*sample_shape, *self.batch_shape, *self.event_shape)

    def _value(self, value: Any) -> Tensor:
        """What log_prob is asked about, in the parameters' dtype; refused if its last axes are no event."""
        x = as_tensor(value, self.dtype)
        own = self.batch_shape + self.event_shape
        events = len(self.event_shape)
        try:
            fits = not events or x.shape[-events:] == self.event_shape
            np.broadcast_shapes(x.shape, own)
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"{type(self).__name__}.log_prob: value is {x.shape}, which does not fit batch_shape "
                f"{self.batch_shape} and event_shape {self.event_shape}; expected (..., {', '.join(map(str, own))})"
            )
        return x

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_shape={self.batch_shape}, event_shape={self.event_shape})"


class Normal(Distribution):
    """The normal distribution N(loc, scale^2), elementwise.

    Args:
        loc: Mean, of any shape.
        scale: Standard deviation, > 0; broadcasts with loc.

    Raises:
        ValueError: The shapes do not broadcast, or a scale is not positive.
    """

    has_rsample = True

    def __init__(self, loc: Any, scale: Any) -> None:
        self.loc, self.scale = _together("Normal", loc=loc, scale=scale)
        _demand("Normal", "scale", self.scale, lambda s: s > 0, "positive")
        super().__init__(self.loc.shape, (), self.loc.dtype)

    @property
    def mean(self) -> Tensor:
        """loc."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """scale^2."""
        return ops.square(self.scale)

    def log_prob(self, value: Any) -> Tensor:
        """-(x - loc)^2 / (2 scale^2) - log scale - log(2 pi) / 2."""
        return ops.square((self._value(value) - self.loc) / self.scale) * -0.5 - ops.log(self.scale) - 0.5 * _LOG_2PI

    def entropy(self) -> Tensor:
        """log(2 pi e scale^2) / 2."""
        return ops.log(self.scale) + 0.5 * (1 + _LOG_2PI)

    def rsample(self, sample_shape: Sequence[int] = (), generator: Generator | None = None) -> Tensor:
        """loc + scale * noise, with standard normal noise."""
        return self.loc + self.scale * randn(self._shape_of(sample_shape), generator=generator, dtype=self.dtype)


def _cholesky(a: Tensor) -> Tensor:
    """The lower triangular L (..., d, d) with L L^T = a, column by column, out of ops that can be differentiated."""
    size = a.shape[-1]
    below = np.tril(np.ones((size, size), a.dtype))
    columns: list[Tensor] = []
    for j in range(size):
        column = a[..., j]
        if columns:
            done = ops.stack(columns, -1)
            column = column - (done * done[..., j : j + 1, :]).sum(-1)
        columns.append(column * below[:, j] / ops.sqrt(column[..., j : j + 1]))
    return ops.stack(columns, -1)


def _solve_lower(lower: Tensor, b: Tensor) -> Tensor:
    """y (..., d) with lower y = b for lower triangular matrices (..., d, d) and vectors b (..., d)."""
    solved: list[Tensor] = []
    for i in range(lower.shape[-1]):
        rest = b[..., i]
        if solved:
            rest = rest - (lower[..., i, :i] * ops.stack(solved, -1)).sum(-1)
        solved.append(rest / lower[..., i, i])
    return ops.stack(solved, -1)


class MultivariateNormal(Distribution):
    """The normal distribution of vectors, N(loc, covariance_matrix).

    For independent components use ``Independent(Normal(loc, scale), 1)``: this takes some 5 d ops.

    Args:
        loc: Mean, (..., d).
        covariance_matrix: Symmetric and positive definite, (..., d, d); or
        scale_tril: its Cholesky factor, lower triangular with a positive diagonal, (..., d, d).

    Raises:
        ValueError: None or both of the two are given, a shape does not fit, or a matrix is not of its kind.
    """

    has_rsample = True

    def __init__(self, loc: Any, covariance_matrix: Any = None, scale_tril: Any = None) -> None:
        name = _one_of("MultivariateNormal", covariance_matrix=covariance_matrix, scale_tril=scale_tril)
        mean, matrix = _parameters(loc=loc, matrix=covariance_matrix if scale_tril is None else scale_tril)
        size = matrix.shape[-1] if matrix.ndim > 1 else 0
        if matrix.ndim < 2 or mean.ndim < 1 or matrix.shape[-2:] != (size, size) or mean.shape[-1] not in (1, size):
            raise ValueError(
                f"MultivariateNormal: {name} is {matrix.shape} and loc is {mean.shape}; expected (..., d, d) and "
                "(..., d)"
            )
        batch = np.broadcast_shapes(mean.shape[:-1], matrix.shape[:-2])
        super().__init__(batch, (size,), mean.dtype)
        self.loc = ops.expand(mean, (*batch, size))
        if _engine.capturing() is None:
            self._check(name, np.asarray(matrix.detach()))
        self.scale_tril = ops.expand(matrix if name == "scale_tril" else _cholesky(matrix), (*batch, size, size))

    @staticmethod
    def _check(name: str, matrix: np.ndarray) -> None:
        if name == "scale_tril":
            if np.triu(matrix, 1).any() or not (np.diagonal(matrix, axis1=-2, axis2=-1) > 0).all():
                raise ValueError("MultivariateNormal: scale_tril must be lower triangular with a positive diagonal")
            return
        if not np.allclose(matrix, matrix.swapaxes(-1, -2), rtol=1e-5, atol=1e-7 * np.abs(matrix).max()):
            raise ValueError("MultivariateNormal: covariance_matrix is not symmetric")
        smallest = np.linalg.eigvalsh(matrix).min()
        if not smallest > 0:
            raise ValueError(
                f"MultivariateNormal: covariance_matrix is not positive definite, its smallest eigenvalue is "
                f"{smallest:.4g}"
            )

    @property
    def mean(self) -> Tensor:
        """loc."""
        return self.loc

    @property
    def covariance_matrix(self) -> Tensor:
        """(..., d, d)."""
        return self.scale_tril @ self.scale_tril.mT

    @property
    def variance(self) -> Tensor:
        """The diagonal of the covariance: (..., d)."""
        return ops.square(self.scale_tril).sum(-1)

    def _half_log_det(self) -> Tensor:
        """(1/2) log det of the covariance."""
        return ops.log(self.scale_tril.diagonal(dim1=-2, dim2=-1)).sum(-1)

    def log_prob(self, value: Any) -> Tensor:
        """-(x - loc)^T S^-1 (x - loc) / 2 - log det(2 pi S) / 2."""
        whitened = _solve_lower(self.scale_tril, self._value(value) - self.loc)
        return ops.square(whitened).sum(-1) * -0.5 - self._half_log_det() - 0.5 * self.event_shape[0] * _LOG_2PI

    def entropy(self) -> Tensor:
        """log det(2 pi e S) / 2."""
        return self._half_log_det() + 0.5 * self.event_shape[0] * (1 + _LOG_2PI)

    def rsample(self, sample_shape: Sequence[int] = (), generator: Generator | None = None) -> Tensor:
        """loc + scale_tril @ noise, with standard normal noise."""
        noise = randn(self._shape_of(sample_shape), generator=generator, dtype=self.dtype)
        return self.loc + (self.scale_tril * noise.unsqueeze(-2)).sum(-1)


class Independent(Distribution):
    """Another distribution whose last batch dimensions are counted as one event: log_prob and entropy sum over them.

    Args:
        base: The distribution, with a batch shape of at least that many dimensions.
        reinterpreted_batch_ndims: How many.

    Raises:
        ValueError: base has fewer batch dimensions.
    """

    def __init__(self, base: Distribution, reinterpreted_batch_ndims: int) -> None:
        batch, moved = base.batch_shape, reinterpreted_batch_ndims
        if not 0 <= moved <= len(batch):
            raise ValueError(
                f"Independent: reinterpreted_batch_ndims is {moved}, but the batch shape of {base} has {len(batch)} "
                "dimensions"
            )
        keep = len(batch) - moved
        super().__init__(batch[:keep], batch[keep:] + base.event_shape, base.dtype)
        self.base, self.reinterpreted_batch_ndims = base, moved

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """That of base."""
        return self.base.has_rsample

    @property
    def mean(self) -> Tensor:
        """That of base."""
        return self.base.mean

    @property
    def variance(self) -> Tensor:
        """That of base."""
        return self.base.variance

    def _summed(self, x: Tensor) -> Tensor:
        moved = self.reinterpreted_batch_ndims
        return x.sum(tuple(range(-moved, 0))) if moved else x

    def log_prob(self, value: Any) -> Tensor:
        """The sum of base's over the dimensions of the event."""
        return self._summed(self.base.log_prob(self._value(value)))

    def entropy(self) -> Tensor:
        """The sum of base's over the dimensions of the event."""
        return self._summed(self.base.entropy())

    def rsample(self, sample_shape: Sequence[int] = (), generator: Generator | None = None) -> Tensor:
        """That of base."""
        return self.base.rsample(sample_shape, generator)

    def sample(self, sample_shape: Sequence[int] = (), generator: Generator | None = None) -> Tensor:
        """That of base."""
        return self.base.sample(sample_shape, generator)


class Bernoulli(Distribution):
    """1 with probability probs, else 0, elementwise.

    Args:
        probs: In [0, 1]; or
        logits: log(p / (1 - p)).

    Raises:
        ValueError: None or both are given, or a probability lies outside [0, 1].
    """

    def __init__(self, probs: Any = None, logits: Any = None) -> None:
        self._given = _one_of("Bernoulli", probs=probs, logits=logits)
        (self._parameter,) = _parameters(p=probs if logits is None else logits)
        if self._given == "probs":
            _demand("Bernoulli", "probs", self._parameter, lambda p: (p >= 0) & (p <= 1), "in [0, 1]")
        super().__init__(self._parameter.shape, (), self._parameter.dtype)

    @property
    def probs(self) -> Tensor:
        """The probability of 1."""
        return self._parameter if self._given == "probs" else ops.sigmoid(self._parameter)

    @property
    def logits(self) -> Tensor:
        """log(p / (1 - p))."""
        return self._parameter if self._given == "logits" else ops.log(self._parameter) - ops.log1p(-self._parameter)

    def _logs(self) -> tuple[Tensor, Tensor]:
        """(log P(1), log P(0)), each without cancellation."""
        x = self._parameter
        return (ops.log(x), ops.log1p(-x)) if self._given == "probs" else (ops.logsigmoid(x), ops.logsigmoid(-x))

    @property
    def mean(self) -> Tensor:
        """probs."""
        return self.probs

    @property
    def variance(self) -> Tensor:
        """p (1 - p)."""
        return self.probs * (1 - self.probs)

    def log_prob(self, value: Any) -> Tensor:
        """x log p + (1 - x) log(1 - p), where 0 log 0 is 0."""
        x = self._value(value)
        one, zero = self._logs()
        return _times(x, one) + _times(1 - x, zero)

    def entropy(self) -> Tensor:
        """-p log p - (1 - p) log(1 - p), where 0 log 0 is 0."""
        return -self.log_prob(self.probs)

    def sample(self, sample_shape: Sequence[int] = (), generator: Generator | None = None) -> Tensor:
        """Zeros and ones in the parameters' dtype."""
        with no_grad():
            draws = rand(self._shape_of(sample_shape), generator=generator, dtype=self.dtype)
            return (draws < self.probs).to(self.dtype)


def _times(p: Tensor, x: Tensor) -> Tensor:
    """p x, and 0 where p is 0, also for an infinite x."""
    return p * ops.where(p.detach() == 0, as_tensor(0.0, x.dtype), x)


class Categorical(Distribution):
    """The numbers 0 to k - 1 with given probabilities.

    Args:
        probs: Not negative, (..., k); divided by their sum. Or
        logits: Logarithms of the probabilities up to a constant, (..., k).

    Raises:
        ValueError: None or both are given, there is no class, or probs are negative or all 0.
    """

    def __init__(self, probs: Any = None, logits: Any = None) -> None:
        self._given = _one_of("Categorical", probs=probs, logits=logits)
        (self._parameter,) = _parameters(p=probs if logits is None else logits)
        x = self._parameter
        if x.ndim < 1 or x.shape[-1] < 1:
            raise ValueError(f"Categorical: {self._given} is {x.shape}, expected (..., k) with k of at least 1")
        if self._given == "probs":
            _demand("Categorical", "probs", x, lambda p: p >= 0, "at least 0")
            _demand("Categorical", "the sum of probs", x.detach().sum(-1), lambda s: s > 0, "positive")
        super().__init__(x.shape[:-1], (), x.dtype)
        self.num_classes = x.shape[-1]

    @property
    def probs(self) -> Tensor:
        """The probabilities, (..., k)."""
        x = self._parameter
        return x / x.sum(-1, keepdim=True) if self._given == "probs" else ops.softmax(x, -1)

    @property
    def logits(self) -> Tensor:
        """The logarithms of the probabilities, (..., k)."""
        return ops.log(self.probs) if self._given == "probs" else ops.log_softmax(self._parameter, -1)

    @property
    def mean(self) -> Tensor:
        """The mean of the numbers (PyTorch gives NaN)."""
        return (self.probs * np.arange(self.num_classes, dtype=self.dtype)).sum(-1)

    @property
    def variance(self) -> Tensor:
        """The variance of the numbers (PyTorch gives NaN)."""
        away = np.arange(self.num_classes, dtype=self.dtype) - self.mean.unsqueeze(-1)
        return (self.probs * ops.square(away)).sum(-1)

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the probability of each number; value is an integer tensor that broadcasts with the batch.

        Raises:
            TypeError: value is not of an integer type.
            IndexError: A number is no class.
        """
        index = as_tensor(value)
        if index.dtype.kind not in "iu":
            raise TypeError(f"Categorical.log_prob: value is {index.dtype} but must hold integers")
        shape = np.broadcast_shapes(index.shape, self.batch_shape)
        logits = ops.expand(self.logits, (*shape, self.num_classes))
        return ops.gather(logits, -1, ops.expand(index.to(np.int64), shape).unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """-sum p log p, where 0 log 0 is 0."""
        return -_times(self.probs, self.logits).sum(-1)

    def sample(self, sample_shape: Sequence[int] = (), generator: Generator | None = None) -> Tensor:
        """int64, by inversion: as many classes are passed as have a cumulative probability below a uniform number."""
        with no_grad():
            passed = self.probs.cumsum(-1)
            draws = rand(self._shape_of(sample_shape), generator=generator, dtype=self.dtype).unsqueeze(-1)
            # Times the last sum, which rounding may have moved off 1: a class of probability 0 is never drawn.
            return (passed[..., :-1] <= draws * passed[..., -1:]).sum(-1).to(np.int64)


# ---- divergence ----

_KL: dict[tuple[type, type], Callable[[Any, Any], Tensor]] = {}


def register_kl(p: type, q: type) -> Callable:
    """Decorator: this function gives the Kullback-Leibler divergence for distributions of these two classes."""

    def keep(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
        _KL[p, q] = function
        return function

    return keep


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q) = E_p log(p / q) in nats, in closed form: one number per element of the (broadcast) batch.

    Infinite where p gives weight to what q excludes.

    Raises:
        NotImplementedError: No closed form is known here for the two classes; :func:`register_kl` adds one.
        ValueError: Their events have different shapes.
    """
    function = next((_KL[a, b] for a in type(p).__mro__ for b in type(q).__mro__ if (a, b) in _KL), None)
    if function is None:
        raise NotImplementedError(
            f"kl_divergence: no closed form for {type(p).__name__} and {type(q).__name__}; add one with register_kl, "
            "or average p.log_prob(x) - q.log_prob(x) over draws x of p"
        )
    if p.event_shape != q.event_shape:
        raise ValueError(f"kl_divergence: p has event_shape {p.event_shape}, q has {q.event_shape}")
    return function(p, q)


@register_kl(Normal, Normal)
def _kl_normal(p: Normal, q: Normal) -> Tensor:
    ratio = p.scale / q.scale
    return (ops.square(ratio) + ops.square((p.loc - q.loc) / q.scale) - 1) * 0.5 - ops.log(ratio)


@register_kl(MultivariateNormal, MultivariateNormal)
def _kl_multivariate_normal(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    # tr(Sq^-1 Sp) is the squared norm of Lq^-1 Lp: the columns of Lp are solved for as a batch.
    trace = ops.square(_solve_lower(q.scale_tril.unsqueeze(-3), p.scale_tril.mT)).sum((-2, -1))
    apart = ops.square(_solve_lower(q.scale_tril, p.loc - q.loc)).sum(-1)
    return (trace + apart - p.event_shape[0]) * 0.5 + q._half_log_det() - p._half_log_det()


@register_kl(Bernoulli, Bernoulli)
def _kl_bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    one, zero = (a - b for a, b in zip(p._logs(), q._logs(), strict=True))
    return _times(p.probs, one) + _times(1 - p.probs, zero)


@register_kl(Categorical, Categorical)
def _kl_categorical(p: Categorical, q: Categorical) -> Tensor:
    if p.num_classes != q.num_classes:
        raise ValueError(f"kl_divergence: p has {p.num_classes} classes, q has {q.num_classes}")
    return _times(p.probs, p.logits - q.logits).sum(-1)


@register_kl(Independent, Independent)
def _kl_independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise ValueError(
            f"kl_divergence: p counts {p.reinterpreted_batch_ndims} batch dimensions as its event, q "
            f"{q.reinterpreted_batch_ndims}; they must be equal"
        )
    return p._summed(kl_divergence(p.base, q.base))


# ---- bounds on log p(x) for models with a hidden z ----


def _draws(q: Distribution, samples: int, generator: Generator | None) -> Tensor:
    return (q.rsample if q.has_rsample else q.sample)((samples,), generator)


def elbo(
    log_likelihood: Callable[[Tensor], Tensor],
    posterior: Distribution,
    prior: Distribution,
    samples: int = 1,
    generator: Generator | None = None,
) -> Tensor:
    """An estimate of the evidence lower bound E_q log p(x|z) - KL(q || p(z)) <= log p(x).

    The divergence is exact, the expectation a mean over draws, through which gradients reach the parameters of q
    (Kingma and Welling 2013, "Auto-Encoding Variational Bayes", arXiv:1312.6114).

    Args:
        log_likelihood: z -> log p(x|z): takes draws (samples, *batch, *event), gives (samples, *batch).
        posterior: q(z), one per element of the batch.
        prior: p(z).
        samples: Number of draws.
        generator: Where the draws come from.
    """
    return log_likelihood(_draws(posterior, samples, generator)).mean(0) - kl_divergence(posterior, prior)


def importance_weighted_bound(
    log_joint: Callable[[Tensor], Tensor],
    proposal: Distribution,
    samples: int,
    generator: Generator | None = None,
) -> Tensor:
    """log of the mean of p(x, z) / q(z) over draws z of q: its expectation rises from the evidence lower bound
    (one draw) to log p(x) (Burda, Grosse and Salakhutdinov 2015, arXiv:1509.00519).

    Args:
        log_joint: z -> log p(x, z): takes draws (samples, *batch, *event), gives (samples, *batch).
        proposal: q(z).
        samples: Number of draws in the mean.
        generator: Where the draws come from.
    """
    z = _draws(proposal, samples, generator)
    return ops.logsumexp(log_joint(z) - proposal.log_prob(z), 0) - math.log(samples)
