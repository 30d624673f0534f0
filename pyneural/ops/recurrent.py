"""Recurrent layers: one op for a whole sequence in one direction, and its backward pass through time.

x is (T, N, F). State and gates after each step are outputs, so that nothing is computed again:

    rnn   h' = tanh(W x + b + R h + c), or relu
    lstm  i, f, o = sigmoid(...), g = tanh(...) of the sums W x + b + R h + c;  cell' = f cell + i g,
          h' = o tanh(cell'), or that projected by w_hr (Hochreiter and Schmidhuber 1997; projections: Sak et al. 2014)
    gru   r, z = sigmoid(...);  q = R_n h + c_n;  n = tanh(W_n x + b_n + r q);  h' = n + z (h - n)  (Cho et al. 2014)

Rows of the weights are in the order of PyTorch: i f g o, and r z n. With ``lengths`` (N,) a sequence keeps its state
from its end on, and its gates and their gradients are 0 there. With ``reverse`` the last step comes first.

The backward ops give d, the gradient of each step's sums: of i f g o; of r z n and q, where q has what reaches R_n.
What follows from it are products over all steps at once, in the gradient rules here. The rules of the backward ops
themselves (second derivatives) differentiate the same pass written step by step with ops, which is also its reference.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import _engine
from .elementwise import sigmoid, tanh, where
from .linalg import _rows, matmul
from .record import op
from .reduction import sum as sum_over
from .shape import concatenate, stack, transpose

Tensor = Any  # pyneural.tensor.Tensor, which imports this module

# ---- step by step, for arrays and for tensors alike ----


def _np_sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


_NUMPY = SimpleNamespace(sigmoid=_np_sigmoid, tanh=np.tanh, where=np.where, stack=np.stack,
                         join=lambda xs: np.concatenate(xs, -1), zeros=np.zeros_like)  # fmt: skip
_OPS = SimpleNamespace(sigmoid=sigmoid, tanh=tanh, where=where, stack=lambda xs: stack(xs, 0),
                       join=lambda xs: concatenate(xs, -1), zeros=lambda x: _engine.tensor_from_array(np.zeros(x.shape, x.dtype), False))  # fmt: skip


def _order(steps: int, reverse: bool) -> range:
    return range(steps - 1, -1, -1) if reverse else range(steps)


def _running(lengths: Any, t: int) -> Any:
    """(N, 1): which sequences have a step t; None: all."""
    return None if lengths is None else (lengths > t)[:, None]


def _kept(xp: Any, mask: Any, new: Any, old: Any) -> Any:
    """new for the sequences that are still running, old for the others."""
    return new if mask is None else xp.where(mask, new, old)


def _cut(x: Any, parts: int) -> list[Any]:
    n = x.shape[-1] // parts
    return [x[..., k * n : (k + 1) * n] for k in range(parts)]


def _forward(
    cell: Callable[..., tuple], x: np.ndarray, states: list[Any], sizes: list[int], lengths: Any, reverse: bool
) -> tuple[np.ndarray, ...]:
    """Runs ``cell(x[t], *states)``, which gives the new states and the gates, along the sequence."""
    steps, batch = x.shape[:2]
    made: list[Any] = [None] * steps
    before = [s if s is not None else np.zeros((batch, n), x.dtype) for s, n in zip(states, sizes, strict=True)]
    for t in _order(steps, reverse):
        *new, gates = cell(x[t], *before)
        mask = _running(lengths, t)
        before = [_kept(np, mask, a, b) for a, b in zip(new, before, strict=True)]
        made[t] = [*before, _kept(np, mask, gates, np.zeros_like(gates))]
    return tuple([np.stack(part) for part in zip(*made, strict=True)])


def _sums(x: Any, w: Any, b: Any) -> Any:
    return x @ w.T if b is None else x @ w.T + b


def _rnn_reference(
    x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any, relu: Any, reverse: Any
) -> Any:
    def cell(x: Any, h: Any) -> tuple:
        s = _sums(x, w_ih, b_ih) + _sums(h, w_hh, b_hh)
        y = np.maximum(s, 0) if relu else np.tanh(s)
        return y, y

    return _forward(cell, x, [h], [w_hh.shape[1]], lengths, reverse)[0]


def _gru_reference(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any, reverse: Any) -> tuple:
    def cell(x: Any, h: Any) -> tuple:
        (a, b, c), (d, e, q) = _cut(_sums(x, w_ih, b_ih), 3), _cut(_sums(h, w_hh, b_hh), 3)
        r, z = _np_sigmoid(a + d), _np_sigmoid(b + e)
        n = np.tanh(c + r * q)
        return n + z * (h - n), np.concatenate([r, z, n, q], -1)

    return _forward(cell, x, [h], [w_hh.shape[1]], lengths, reverse)


def _lstm_reference(
    x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, lengths: Any, reverse: Any
) -> tuple:
    def cell(x: Any, h: Any, c: Any) -> tuple:
        i, f, g, o = _cut(_sums(x, w_ih, b_ih) + _sums(h, w_hh, b_hh), 4)
        i, f, g, o = _np_sigmoid(i), _np_sigmoid(f), np.tanh(g), _np_sigmoid(o)
        c = f * c + i * g
        m = o * np.tanh(c)
        return (m if w_hr is None else m @ w_hr.T), c, np.concatenate([i, f, g, o], -1)

    return _forward(cell, x, [h, c], [w_hh.shape[1], w_hh.shape[0] // 4], lengths, reverse)


def _steps_back(made: Any, lengths: Any, reverse: bool) -> Iterator[tuple[int, int, Any]]:
    """From the last step to the first: the step, the one before it (-1: there is none), and the mask."""
    order = _order(made.shape[0], reverse)
    for s in reversed(range(len(order))):
        yield order[s], order[s - 1] if s else -1, _running(lengths, order[s])


def _part(g: Any, t: int, like: Any, xp: Any) -> Any:
    return xp.zeros(like) if g is None else g[t]


def _rnn_back(xp: Any, g: Any, y: Any, w_hh: Any, lengths: Any, relu: bool, reverse: bool) -> tuple:
    d: list[Any] = [None] * y.shape[0]
    dh = xp.zeros(y[0])
    for t, _, mask in _steps_back(y, lengths, reverse):
        h = dh + g[t]
        slope = xp.where(y[t] > 0, xp.zeros(h) + 1, xp.zeros(h)) if relu else 1 - y[t] * y[t]
        d[t] = _kept(xp, mask, h * slope, xp.zeros(h))
        dh = _kept(xp, mask, d[t] @ w_hh, h)
    return xp.stack(d), dh


def _gru_back(
    xp: Any, g: Any, g_gates: Any, y: Any, gates: Any, h: Any, w_hh: Any, lengths: Any, reverse: bool
) -> tuple:
    d: list[Any] = [None] * y.shape[0]
    dh = xp.zeros(y[0])
    for t, t_before, mask in _steps_back(y, lengths, reverse):
        before = y[t_before] if t_before >= 0 else xp.zeros(y[0]) if h is None else h
        r, z, n, q = _cut(gates[t], 4)
        gr, gz, gn, gq = _cut(_part(g_gates, t, gates[t], xp), 4)
        total = dh + _part(g, t, dh, xp)
        new = (total * (1 - z) + gn) * (1 - n * n)
        reset, keep = (new * q + gr) * (r * (1 - r)), (total * (before - n) + gz) * (z * (1 - z))
        inner = new * r + gq
        passed = total * z + xp.join([reset, keep, inner]) @ w_hh
        row = xp.join([reset, keep, new, inner])
        d[t], dh = _kept(xp, mask, row, xp.zeros(row)), _kept(xp, mask, passed, total)
    return xp.stack(d), dh


def _lstm_back(
    xp: Any, g: Any, g_cells: Any, g_gates: Any, cells: Any, gates: Any, c: Any, w_hh: Any, w_hr: Any, lengths: Any,
    reverse: bool,
) -> tuple:  # fmt: skip
    d: list[Any] = [None] * cells.shape[0]
    dc = xp.zeros(cells[0])
    dh = xp.zeros(cells[0] if w_hr is None else cells[0] @ w_hr.T)
    for t, t_before, mask in _steps_back(cells, lengths, reverse):
        before = cells[t_before] if t_before >= 0 else xp.zeros(cells[0]) if c is None else c
        i, f, new, o = _cut(gates[t], 4)
        gi, gf, gn, go = _cut(_part(g_gates, t, gates[t], xp), 4)
        top = xp.tanh(cells[t])
        state, cell = dh + _part(g, t, dh, xp), dc + _part(g_cells, t, dc, xp)
        out = state if w_hr is None else state @ w_hr
        inner = cell + out * o * (1 - top * top)
        sums = [(inner * new + gi) * (i * (1 - i)), (inner * before + gf) * (f * (1 - f)),
                (inner * i + gn) * (1 - new * new), (out * top + go) * (o * (1 - o))]  # fmt: skip
        row = xp.join(sums if w_hr is None else [*sums, state])
        d[t] = _kept(xp, mask, row, xp.zeros(row))
        dh, dc = _kept(xp, mask, xp.join(sums) @ w_hh, state), _kept(xp, mask, inner * f, cell)
    return xp.stack(d), dh, dc


def _pulled_back(steps: Callable[..., tuple], arguments: tuple, settings: tuple, outgoing: tuple) -> list[Any]:
    """The gradients of ``steps(_OPS, *arguments, *settings)`` for each argument, from those of what it gives."""
    from ..autodiff.modes import enable_grad
    from ..autodiff.tape import gradients

    deep = _engine.is_grad_enabled()  # this walk is to be differentiated, too
    with enable_grad():
        leaves = [a if a is None or (deep and a.requires_grad) else a.detach().requires_grad_() for a in arguments]
        made = steps(_OPS, *leaves, *settings)
        pairs = [(y, g) for y, g in zip(made, outgoing, strict=True) if g is not None]
        there = [a for a in leaves if a is not None]
        found = iter(
            gradients([y for y, _ in pairs], there, [g for _, g in pairs], create_graph=deep, allow_unused=True)
        )
    return [None if a is None else next(found) for a in leaves]


# ---- what follows from d ----


def _times_x(d: Tensor, x: Tensor) -> Tensor:
    """d^T x, summed over steps and batch."""
    return matmul(transpose(_rows(d), 0, 1), _rows(x))


def _times_before(d: Tensor, h: Tensor, y: Tensor, reverse: bool) -> Tensor:
    """d^T and the state of the step before, summed over steps and batch."""
    later, earlier, first = (d[:-1], y[1:], d[-1]) if reverse else (d[1:], y[:-1], d[0])
    if d.shape[0] == 1 and h is not None:
        return _times_x(first, h)
    product = _times_x(later, earlier)
    return product if h is None else product + _times_x(first, h)


def _column_sums(d: Tensor) -> Callable[[], Tensor]:
    """The sums over steps and batch, made once if at all."""
    return functools.cache(lambda: sum_over(d, (0, 1)))


def _rnn_rule(
    g: Any, y: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, lengths: Any, relu: Any, reverse: Any
) -> tuple[Any, ...]:
    d, dh = _rnn_backward(g, y, w_hh, lengths, relu, reverse)
    sums = _column_sums(d)
    return lambda: matmul(d, w_ih), dh, lambda: _times_x(d, x), lambda: _times_before(d, h, y, reverse), sums, sums


def _gru_rule(
    y0: Any, y1: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, lengths: Any, reverse: Any, g0: Any = None, g1: Any = None
) -> tuple[Any, ...]:
    all_parts, dh = _gru_backward(g0, g1, y0, y1, h, w_hh, lengths, reverse)
    n, sums = dh.shape[-1], _column_sums(all_parts)
    d = all_parts[..., : 3 * n]
    recurrent = all_parts[..., : 2 * n], all_parts[..., 3 * n :]  # what reaches R_r and R_z, and what reaches R_n
    return (lambda: matmul(d, w_ih), dh, lambda: _times_x(d, x),
            lambda: concatenate([_times_before(part, h, y0, reverse) for part in recurrent], 0),
            lambda: sums()[: 3 * n], lambda: concatenate([sums()[: 2 * n], sums()[3 * n :]], 0))  # fmt: skip


def _lstm_rule(
    y0: Any, y1: Any, y2: Any, x: Any, h: Any, c: Any, w_ih: Any, w_hh: Any, w_hr: Any, lengths: Any, reverse: Any,
    g0: Any = None, g1: Any = None, g2: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    both, dh, dc = _lstm_backward(g0, g1, g2, y1, y2, c, w_hh, w_hr, lengths, reverse)
    n = dc.shape[-1]
    d = both if w_hr is None else both[..., : 4 * n]
    sums = _column_sums(d)
    return (lambda: matmul(d, w_ih), dh, dc, lambda: _times_x(d, x), lambda: _times_before(d, h, y0, reverse),
            sums, sums, lambda: _times_x(both[..., 4 * n :], y2[..., 3 * n :] * tanh(y1)))  # fmt: skip


# ---- samples ----


def _samples(make: Any, gates: int, *settings: tuple, cell: bool = False) -> list[tuple]:
    # The bound is that of PyTorch's start: with larger weights a sequence magnifies its rounding errors.
    def small(*shape: int) -> np.ndarray:
        return np.asarray(make(*shape, low=-(size**-0.5), high=size**-0.5))

    found = []
    for k, (steps, batch, features, size, out, given, biased, lengths) in enumerate((
        (3, 4, 4, 3, 0, True, True, None), (4, 3, 2, 5, 0, False, True, (4, 1, 3)), (1, 2, 3, 2, 0, True, False, None),
        (3, 2, 2, 3, 2, True, True, (2, 3)), (2, 2, 3, 4, 2, False, False, None), (2, 0, 3, 4, 0, True, True, None),
        (5, 17, 3, 16, 0, True, True, None), (6, 33, 5, 40, 24, True, True, None),
        (4, 35, 20, 33, 0, True, True, tuple(1 + i % 4 for i in range(35))),
    )):  # fmt: skip
        projected = out if cell and out else size
        states = [small(batch, projected), *([small(batch, size)] if cell else [])]
        weights = [small(gates * size, features), small(gates * size, projected)]
        biases = [small(gates * size), small(gates * size)] if biased else [None, None]
        projection = [small(out, size) if out else None] if cell else []
        found.append((make(steps, batch, features), *(states if given else [None] * len(states)), *weights, *biases,
                      *projection, None if lengths is None else np.array(lengths), *settings[k % len(settings)]))  # fmt: skip
    return found


def _errors(name: str, gates: int, setting: tuple, cell: bool = False) -> Callable[[Any], list[tuple]]:
    def errors(make: Any) -> list[tuple]:
        def call(
            x: Any, h: Any = None, w_ih: Any = None, w_hh: Any = None, b: Any = None, lengths: Any = None
        ) -> tuple:
            w_ih = make(gates * 3, 4) if w_ih is None else w_ih
            w_hh = make(gates * 3, 3) if w_hh is None else w_hh
            return (x, h, *([None] if cell else []), w_ih, w_hh, b, None, *([None] if cell else []), lengths, *setting)

        x = make(5, 2, 4)
        return [
            (call(make(5, 4)), ValueError, rf"{name}: x must be \(steps, batch, features\), but its shape is \(5, 4\)"),
            (call(make(0, 2, 4)), ValueError, "a sequence of length 0"),
            (
                call(x, w_ih=make(gates * 3, 5)),
                ValueError,
                rf"w_ih is \({gates * 3}, 5\) but must be \({gates * 3}, 4\)",
            ),
            (call(x, w_hh=make(gates * 3)), ValueError, "w_hh must be"),
            (call(x, w_hh=make(gates * 3, 2)), ValueError, "w_hh is .* but must be"),
            (call(x, h=make(3, 3)), ValueError, r"h is \(3, 3\) but must be \(2, 3\)"),
            (call(x, b=make(4)), ValueError, "b_ih is"),
            (call(x, h=make(2, 3).astype(np.float32)), TypeError, "h is float32 but must be float64"),
            (call(x, lengths=np.array([5, 0])), ValueError, "length 0 of sequence 1 must be at least 1 and at most 5"),
            (call(x, lengths=np.array([6, 1])), ValueError, "length 6 of sequence 0"),
            (call(x, lengths=np.array([5])), ValueError, r"lengths is \(1,\) but must be \(2,\)"),
            (call(x, lengths=np.array([5.0, 1.0])), TypeError, "lengths is float64 but must be int64"),
        ]

    return errors


_SAMPLES: dict[str, Callable[[Any], list[tuple]]] = {
    "rnn": lambda make: _samples(make, 1, (False, False), (True, True), (False, True), (True, False)),
    "gru": lambda make: _samples(make, 3, (False,), (True,)),
    "lstm": lambda make: _samples(make, 4, (False,), (True,), cell=True),
}


def _back_samples(make: Any, kind: str) -> list[tuple]:
    """Arguments of a backward op, from those of the forward op and what it gives."""
    rows: list[tuple] = []
    for k, sample in enumerate(_SAMPLES[kind](make)):
        lengths, settings = sample[-3 if kind == "rnn" else -2], sample[-2 if kind == "rnn" else -1 :]
        if kind == "rnn":
            y = make(*_rnn_reference(*sample).shape, low=-1, high=1)
            rows.append((make(*y.shape), y, sample[3], lengths, *settings))
            continue
        states, *cells, gates = (_gru_reference if kind == "gru" else _lstm_reference)(*sample)
        g: list[Any] = [make(*part.shape) for part in (states, *cells, gates)]
        if k % 4:
            g[k % len(g)] = None
        weights = [sample[3]] if kind == "gru" else [sample[4], sample[7]]
        rows.append((*g, *(cells or [states]), gates, sample[len(cells) + 1], *weights, lengths, *settings))
    return rows


# ---- the ops ----

_FROM_X = {"x": r"d\,W", "w_ih": r"\sum_t d_t^T x_t", "b_ih": r"\sum d", "b_hh": r"\sum d", "h": r"\text{through time}",
           "w_hh": r"\sum_t d_t^T h_{t-1}"}  # fmt: skip

rnn: Any = op(
    "rnn", "x h? w_ih w_hh b_ih? b_hh? lengths?", attributes="relu reverse", reference=_rnn_reference,
    gradient={"x h w_ih w_hh b_ih b_hh": _rnn_rule}, formula=_FROM_X,
    samples=_SAMPLES["rnn"], errors=_errors("rnn", 1, (False, False)), tolerance=64,
)  # fmt: skip

gru: Any = op(
    "gru", "x h? w_ih w_hh b_ih? b_hh? lengths?", attributes="reverse", reference=_gru_reference,
    gradient={"x h w_ih w_hh b_ih b_hh": _gru_rule}, formula=_FROM_X,
    samples=_SAMPLES["gru"], errors=_errors("gru", 3, (False,)), tolerance=64,
)  # fmt: skip

lstm: Any = op(
    "lstm", "x h? c? w_ih w_hh b_ih? b_hh? w_hr? lengths?", attributes="reverse", reference=_lstm_reference,
    gradient={"x h c w_ih w_hh b_ih b_hh w_hr": _lstm_rule},
    formula=_FROM_X | {"c": r"\text{through time}", "w_hr": r"\sum_t dh_t^T o_t \tanh(c_t)"},
    samples=_SAMPLES["lstm"], errors=_errors("lstm", 4, (False,), cell=True), tolerance=64,
)  # fmt: skip


def _backward(name: str, inputs: str, attributes: str, steps: Callable[..., tuple], rule: Any) -> Any:
    """The backward op of a cell: the pass that ``steps`` writes with ops. ``rule`` hands its arguments to that."""
    tensors = [i.strip("?") for i in inputs.split() if i != "lengths?"]
    return op(f"{name}_backward", inputs, attributes=attributes, reference=lambda *a: steps(_NUMPY, *a),
              gradient={" ".join(tensors): rule}, formula=dict.fromkeys(tensors, r"\text{step by step}"),
              samples=lambda make: _back_samples(make, name), tolerance=128)  # fmt: skip


_rnn_backward: Any = _backward(
    "rnn", "g y w_hh lengths?", "relu reverse", _rnn_back,
    lambda g, y, w_hh, lengths, relu, reverse, g0=None, g1=None: _pulled_back(
        _rnn_back, (g, y, w_hh), (lengths, relu, reverse), (g0, g1)),
)  # fmt: skip
_gru_backward: Any = _backward(
    "gru", "g? g_gates? y gates h? w_hh lengths?", "reverse", _gru_back,
    lambda g, g_gates, y, gates, h, w_hh, lengths, reverse, g0=None, g1=None: _pulled_back(
        _gru_back, (g, g_gates, y, gates, h, w_hh), (lengths, reverse), (g0, g1)),
)  # fmt: skip
_lstm_backward: Any = _backward(
    "lstm", "g? g_cells? g_gates? cells gates c? w_hh w_hr? lengths?", "reverse", _lstm_back,
    lambda g, g_cells, g_gates, cells, gates, c, w_hh, w_hr, lengths, reverse, g0=None, g1=None, g2=None: _pulled_back(
        _lstm_back, (g, g_cells, g_gates, cells, gates, c, w_hh, w_hr), (lengths, reverse), (g0, g1, g2)),
)  # fmt: skip

__all__: list[str] = []
METHODS = ()
