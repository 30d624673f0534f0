"""Competitive learning: neurons that move towards the inputs they win."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Move:
    """One step of :class:`CompetitiveLayer`: the activities w_i . x of all neurons (k,), the winner, its weights before
    the step, after it, and after rounding and normalisation (d,)."""

    activities: np.ndarray
    winner: int
    before: np.ndarray
    moved: np.ndarray
    after: np.ndarray


class CompetitiveLayer:
    """Winner-take-all learning: of linear neurons with activities y_i = w_i . x only the most active one learns.

    Rules: "hebbian", w <- w + eta y (x - w), a Hebbian term eta y x with a decay; "standard", w <- w + eta (x - w), the
    online form of k-means (Rumelhart and Zipser, "Feature discovery by competitive learning", 1985).

    Args:
        weights: To start from, (k, d); copied as float64.
        step_size: eta; or a function of the number of the step, from 0.
        rule: "hebbian" or "standard".
        winner: "product" for the largest w_i . x; "distance" for the nearest w_i.
        ties: Which of equally active neurons wins: "first" or "last".
        rounding: Round the winner's weights to integers after each step, halves to even.
        normalize: Bring weights to length 1, at the start and the winner's after each step.

    Attributes:
        weights: (k, d) float64.

    Raises:
        ValueError: weights is no matrix with rows and columns, holds a NaN or an infinity, or has a row of zeros that
            is to be normalised; or a choice is unknown.
    """

    def __init__(
        self,
        weights: Any,
        step_size: float | Callable[[int], float] = 0.1,
        *,
        rule: str = "hebbian",
        winner: str = "product",
        ties: str = "first",
        rounding: bool = False,
        normalize: bool = False,
    ) -> None:
        self.weights = np.array(weights, dtype=np.float64)
        if self.weights.ndim != 2 or self.weights.size == 0 or not np.isfinite(self.weights).all():
            raise ValueError(
                f"CompetitiveLayer: weights must be finite, a row for each neuron, got shape {self.weights.shape}"
            )
        for name, value, known in (
            ("rule", rule, ("hebbian", "standard")),
            ("winner", winner, ("product", "distance")),
            ("ties", ties, ("first", "last")),
        ):
            if value not in known:
                raise ValueError(f"CompetitiveLayer: {name} must be {' or '.join(map(repr, known))}, got {value!r}")
        self.step_size = step_size
        self.rule, self.winner, self.ties = rule, winner, ties
        self.rounding, self.normalize = rounding, normalize
        self.steps = 0
        if normalize:
            self.weights = np.array([self._unit(w) for w in self.weights])

    def _unit(self, w: np.ndarray) -> np.ndarray:
        length = float(np.sqrt(w @ w))
        if length == 0:
            raise ValueError("CompetitiveLayer: a neuron with weights 0 has no direction; start elsewhere")
        return w / length

    def activities(self, x: Any) -> np.ndarray:
        """What neurons compete with, for rows (N, d) or one row (d,): w_i . x, or minus the squared distances if the
        nearest wins; (N, k) or (k,)."""
        rows = np.asarray(x, dtype=np.float64)
        if self.winner == "product":
            return rows @ self.weights.T
        return -((rows[..., None, :] - self.weights) ** 2).sum(axis=-1)

    def winners(self, x: Any) -> np.ndarray:
        """The winner for each row (N, d), (N,) int64, without learning."""
        return np.asarray(self._winner(self.activities(x)), dtype=np.int64)

    def _winner(self, y: np.ndarray) -> Any:
        return y.argmax(axis=-1) if self.ties == "first" else y.shape[-1] - 1 - y[..., ::-1].argmax(axis=-1)

    def step(self, x: Any) -> Move:
        """Shows one input (d,). ValueError if it has another number of features or is not finite."""
        row = np.asarray(x, dtype=np.float64)
        if row.shape != self.weights.shape[1:] or not np.isfinite(row).all():
            raise ValueError(
                f"CompetitiveLayer: x must be finite and of shape {self.weights.shape[1:]}, got shape {row.shape}"
            )
        y = self.activities(row)
        i = int(self._winner(y))
        eta = self.step_size(self.steps) if callable(self.step_size) else self.step_size
        before = self.weights[i].copy()
        gain = eta * float(before @ row) if self.rule == "hebbian" else eta
        moved = before + gain * (row - before)
        after = np.rint(moved) + 0.0 if self.rounding else moved  # + 0.0 turns -0 into 0
        if self.normalize:
            after = self._unit(after)
        self.weights[i] = after
        self.steps += 1
        return Move(y, i, before, moved, after)

    def fit(self, x: Any, epochs: int = 1) -> list[Move]:
        """Shows all rows (N, d), in order, so many times; returns every step."""
        return [self.step(row) for _ in range(epochs) for row in np.asarray(x, dtype=np.float64)]
