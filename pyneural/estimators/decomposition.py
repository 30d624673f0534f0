"""Principal components as an estimator."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from ..learn.pca import PrincipalComponents, pca
from ..learn.randomized import randomized_pca
from .base import TransformerMixin
from .checks import BOOLEAN, COUNT, SEED, Interval, OneOf, generator_of

#: Features from which few components are found by products with the rows instead of the eigen-solver.
_WIDE = 64


class PCA(TransformerMixin):
    """Principal components (:func:`pyneural.learn.pca`): the directions along which rows vary most, the coordinates
    along them, and back.

    Args:
        n_components: How many, at most min(N, d); all if None; or a share in (0, 1) of the variance that they must
            hold.
        copy: For scikit-learn's programs: X is never written to.
        whiten: Divide coordinates by their standard deviations.
        center: Subtract the mean first. Without it the directions are those through the origin (a singular value
            decomposition of the rows).
        svd_solver: "full" or "covariance_eigh": all eigenvectors of the covariance, by
            :func:`pyneural.learn.symmetric_eigen`; "randomized": :func:`pyneural.learn.randomized_pca`, which takes the
            cheapest way by shape; "auto": "randomized" for few components of many features.
        iterated_power: Rounds of "randomized"; "auto" goes on until the components stand.
        random_state: Seed or generator of "randomized".

    Attributes:
        components_: Directions as rows (n_components, d), by descending variance; the largest entry of each is
            positive.
        explained_variance_: Along each direction, over N - 1.
        explained_variance_ratio_: Their shares.
        singular_values_: Of the centred rows.
        mean_: Of the rows, (d,).
        noise_variance_: Mean variance of the directions that are left out.
        n_components_, n_samples_, n_features_in_, feature_names_in_: As scikit-learn has them.
    """

    _constraints: ClassVar[dict[str, tuple[Any, ...]]] = {
        "n_components": (OneOf((None,)), Interval(Integral, 1), Interval(Real, 0, 1, "neither")),
        "copy": (BOOLEAN,),
        "whiten": (BOOLEAN,),
        "center": (BOOLEAN,),
        "svd_solver": (OneOf(("auto", "full", "covariance_eigh", "randomized")),),
        "iterated_power": (OneOf(("auto",)), COUNT),
        "random_state": (SEED,),
    }

    components_: np.ndarray

    def __init__(
        self,
        n_components: int | float | None = None,
        *,
        copy: bool = True,
        whiten: bool = False,
        center: bool = True,
        svd_solver: str = "auto",
        iterated_power: int | str = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.copy = copy
        self.whiten = whiten
        self.center = center
        self.svd_solver = svd_solver
        self.iterated_power = iterated_power
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> PCA:
        """Finds the directions of rows X (N, d). Returns self.

        Raises:
            ValueError: Parameters or data are not as said, or more components are asked for than min(N, d).
        """
        rows = self._start(X)
        n, d = rows.shape
        most = min(n, d)
        wanted = self.n_components
        whole = isinstance(wanted, Integral)
        if whole and wanted > most:
            raise ValueError(
                f"PCA: n_components={wanted} must be at most min(n_samples, n_features)={most}, X is {(n, d)}"
            )
        count = int(wanted) if whole else most  # type: ignore[arg-type]
        few = d > _WIDE and 5 * count < most
        ddof = 1 if n > 1 else 0
        if whole and (self.svd_solver == "randomized" or (self.svd_solver == "auto" and few)):
            rounds = None if self.iterated_power == "auto" else int(self.iterated_power)
            stream = generator_of(0 if self.random_state is None else self.random_state)
            found = randomized_pca(rows, count, center=self.center, ddof=ddof, rounds=rounds, generator=stream)
        else:
            found = pca(rows, count, center=self.center, ddof=ddof)
            if not whole and wanted is not None:
                count = min(int(np.searchsorted(np.cumsum(found.ratios), float(wanted))) + 1, most)
                found = PrincipalComponents(
                    found.mean, found.components[:count], found.variances[:count], found.total_variance
                )
        self._found = found
        self.components_ = found.components
        self.explained_variance_ = found.variances
        self.explained_variance_ratio_ = found.ratios
        self.singular_values_ = np.sqrt(found.variances * (n - ddof))
        self.mean_ = found.mean
        self.noise_variance_ = found.residual / (most - count) if count < most else 0.0
        self.n_components_ = count
        self.n_samples_ = n
        return self

    @property
    def _outputs(self) -> int:
        return len(self.components_)

    def _scale(self) -> np.ndarray:
        """Standard deviations; a direction without variance is left as it is, at 0."""
        deviations = np.sqrt(self.explained_variance_)
        return np.where(deviations > 1e-12 * deviations.max(initial=0.0), deviations, 1.0)

    def _transform(self, X: Any) -> np.ndarray:
        rows = self._rows(X)
        codes = self._found.transform(rows)
        return (codes / self._scale()).astype(rows.dtype, copy=False) if self.whiten else codes

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Rows (N, d) from coordinates (N, n_components): the nearest points of the plane that they span."""
        self._require_fitted()
        codes = np.asarray(X)
        if self.whiten:
            codes = (codes * self._scale()).astype(codes.dtype if codes.dtype.kind == "f" else np.float64)
        return self._found.inverse_transform(codes)

    def get_covariance(self) -> np.ndarray:
        """The covariance (d, d) that the model stands for: that of the components, and the noise variance in all other
        directions (Tipping and Bishop, "Probabilistic principal component analysis", 1999)."""
        self._require_fitted()
        part = self.components_.T * np.maximum(self.explained_variance_ - self.noise_variance_, 0)
        return part @ self.components_ + self.noise_variance_ * np.eye(self.n_features_in_)

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the squared distance of each row (N, d) from its reconstruction, (N,): high for rows that the
        components describe."""
        rows = self._rows(X)
        back = self._found.inverse_transform(self._found.transform(rows))
        return -((rows.astype(np.float64) - back) ** 2).sum(axis=1)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of :meth:`score_samples`."""
        return float(self.score_samples(X).mean())
