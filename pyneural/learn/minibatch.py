"""k-means from small batches of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .lloyd import Rows


class MiniBatch:
    """Centres that follow batches of rows: each moves to the mean of all rows that were ever its nearest ones (Sculley,
    "Web-scale k-means clustering", 2010: a step of 1/count per row).

    Args:
        centers: To start from, (k, d); copied.
        reassignment: A centre whose count is below this share of the largest is moved to a row of the batch, drawn by
            the caller (:meth:`step`), every time that all centres together have seen ten rows per cluster.

    Attributes:
        centers: (k, d) float64. counts: Weight of the rows that each centre has seen, (k,).
    """

    def __init__(self, centers: Any, reassignment: float = 0.01) -> None:
        self.centers = np.array(centers, dtype=np.float64, order="C")
        self.counts = np.zeros(len(self.centers))
        self.reassignment = reassignment
        self._since = 0.0

    def step(self, x: Any, weights: Any = None, spare: np.ndarray | None = None) -> float:
        """Moves the centres towards a batch (n, d) with weights (n,); returns the batch's mean squared distance to the
        centres as they were.

        ``spare`` holds the order in which rows of the batch may replace centres that have seen hardly any, (n,);
        without it none is replaced.
        """
        rows = Rows(x, weights, mean=self.centers.mean(axis=0))
        k = len(self.centers)
        labels = np.full(len(rows), -1, np.int32)
        sums, held = np.empty_like(self.centers), np.empty(k)
        _, inertia = rows.kernel.step(self.centers, labels, sums, held)
        self.counts += held
        seen = held > 0
        self.centers[seen] += (sums[seen] - held[seen, None] * self.centers[seen]) / self.counts[seen, None]
        self._since += rows.total
        if spare is not None and self.reassignment > 0 and self._since >= 10 * k:
            self._since = 0.0
            low = np.flatnonzero(self.counts < self.reassignment * self.counts.max())
            low = low[np.argsort(self.counts[low], kind="stable")][: len(rows) // 2]
            if len(low):
                self.centers[low] = rows.x[spare[: len(low)]]
                kept = np.delete(self.counts, low)
                self.counts[low] = kept.min()
        return inertia / rows.total
