// Recurrent layers, one op for a whole sequence and its adjoint: `rnn`, `lstm`, `gru` and `*_backward`. x is (T, N, F),
// states are (N, H), or (N, P) where the LSTM projects them with w_hr (P, H).
//
// The products with x are one for all steps. The batch is then cut into blocks of rows, and each goes through all steps
// on its own thread; every element is summed in an order that neither the blocks nor the steps' number change. The
// adjoints give the gradient of each step's sums; what follows from it (weights, biases, x) are products over all steps
// at once, made by the gradient rules.
//
// A row whose length is reached keeps its state from there on; its gates and their gradients are 0.
#include <algorithm>
#include <cstring>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace pn {
namespace {

enum Kind { kRnn, kGru, kLstm };
constexpr int64_t kGates[] = {1, 3, 4};  // blocks of rows of the weights
constexpr int64_t kParts[] = {1, 4, 4};  // blocks of columns of the sums: the GRU's new gate has two

struct Layer {
  Kind kind;
  int64_t steps, batch, features, size, out;  // out: of the state
  bool reverse;
  const Array* lengths;  // or null

  int64_t gates() const { return kGates[kind] * size; }
  int64_t parts() const { return kParts[kind] * size; }
  int64_t step(int64_t s) const { return reverse ? steps - 1 - s : s; }  // where the s-th in order stands
  bool runs(int64_t t, int64_t row) const { return t < lengths->ptr<int64_t>()[row * lengths->strides[0]]; }
};

void expect(const OpCall& call, int input, const char* name, int dims, const int64_t* shape) {
  const Array* a = call.in[input];
  if (!a) return;
  const DType type = call.in[0] ? call.in[0]->dtype : a->dtype;
  if (!is_float(a->dtype) || a->dtype != type)
    fail<TypeError>(call.op->name, ": ", name, " is ", dtype_name(a->dtype), " but must be ",
                    call.in[0] && is_float(type) ? dtype_name(type) : "float32 or float64", "; convert it with .to()");
  bool same = a->ndim == dims;
  for (int d = 0; same && d < dims; ++d) same = a->shape[d] == shape[d];
  if (!same)
    fail<ValueError>(call.op->name, ": ", name, " is ", shape_text(*a), " but must be ", shape_text(dims, shape));
}

void check_lengths(const OpCall& call, int input, int64_t steps, int64_t batch) {
  const Array* a = call.in[input];
  if (!a) return;
  if (a->dtype != DType::Int64)
    fail<TypeError>(call.op->name, ": lengths is ", dtype_name(a->dtype), " but must be int64");
  if (a->ndim != 1 || a->shape[0] != batch)
    fail<ValueError>(call.op->name, ": lengths is ", shape_text(*a), " but must be (", batch,
                     ",), one for each sequence");
  for (int64_t i = 0; i < batch; ++i) {
    const int64_t length = a->ptr<int64_t>()[i * a->strides[0]];
    if (length < 1 || length > steps)
      fail<ValueError>(call.op->name, ": length ", length, " of sequence ", i, " must be at least 1 and at most ",
                       steps, ", the steps of x");
  }
}

// ---- forward: x, h?[, c?], w_ih, w_hh, b_ih?, b_hh?[, w_hr?], lengths? ----

template <Kind kind>
struct Inputs {
  static constexpr int x = 0, h = 1, c = 2, w_ih = kind == kLstm ? 3 : 2, w_hh = w_ih + 1, b_ih = w_ih + 2,
                       b_hh = w_ih + 3, w_hr = w_ih + 4, lengths = kind == kLstm ? w_ih + 5 : w_ih + 4,
                       count = lengths + 1;
};

template <Kind kind>
Layer layer_of(const OpCall& call) {
  using In = Inputs<kind>;
  const Array &x = *call.in[In::x], &w = *call.in[In::w_hh];
  Layer l{};
  l.kind = kind;
  l.steps = x.shape[0], l.batch = x.shape[1], l.features = x.shape[2];
  l.size = w.shape[0] / kGates[kind], l.out = w.shape[1];
  l.reverse = call.attributes.ints[call.attributes.int_count - 1] != 0;
  l.lengths = call.in[In::lengths];
  return l;
}

template <Kind kind>
void infer_forward(OpCall& call) {
  using In = Inputs<kind>;
  const Array &x = *call.in[In::x], &w = *call.in[In::w_hh];
  require_float(call, In::x, "x");
  if (x.ndim != 3)
    fail<ValueError>(call.op->name, ": x must be (steps, batch, features), but its shape is ", shape_text(x));
  if (x.shape[0] < 1) fail<ValueError>(call.op->name, ": x is ", shape_text(x), ", a sequence of length 0; it needs 1");
  if (w.ndim != 2 || w.shape[0] % kGates[kind] || w.shape[0] == 0 || w.shape[1] == 0)
    fail<ValueError>(call.op->name, ": w_hh must be (", kGates[kind], " * hidden_size, hidden_size), but its shape is ",
                     shape_text(w));
  const Layer l = layer_of<kind>(call);
  const int64_t w_ih[] = {l.gates(), l.features}, w_hh[] = {l.gates(), l.out}, h[] = {l.batch, l.out};
  const int64_t c[] = {l.batch, l.size}, w_hr[] = {l.out, l.size};
  expect(call, In::w_ih, "w_ih", 2, w_ih);
  expect(call, In::w_hh, "w_hh", 2, w_hh);
  expect(call, In::b_ih, "b_ih", 1, w_ih);
  expect(call, In::b_hh, "b_hh", 1, w_ih);
  expect(call, In::h, "h", 2, h);
  if (kind == kLstm) {
    expect(call, In::c, "c", 2, c);
    expect(call, In::w_hr, "w_hr", 2, w_hr);
  }
  const int64_t square[] = {l.gates(), l.size};
  if (l.out != l.size && !(kind == kLstm && call.in[In::w_hr]))
    fail<ValueError>(call.op->name, ": w_hh is ", shape_text(w), " but must be ", shape_text(2, square));
  check_lengths(call, In::lengths, l.steps, l.batch);
  const int64_t y[] = {l.steps, l.batch, l.out}, cells[] = {l.steps, l.batch, l.size};
  const int64_t gates[] = {l.steps, l.batch, l.parts()};
  int out = 0;
  call.out[out++].describe(x.dtype, 3, y);
  if (kind == kLstm) call.out[out++].describe(x.dtype, 3, cells);
  if (kind != kRnn) call.out[out].describe(x.dtype, 3, gates);
}

// f(low, high) on blocks of the batch, one or two for each thread.
template <class F>
void over_batch(const Layer& l, const F& f) {
  constexpr int64_t kThreadedWork = 200000, kRows = 8, kLongRows = 32;
  const int64_t threads = num_threads(), work = l.steps * l.batch * l.gates() * l.out;
  int64_t blocks = work < kThreadedWork ? 1 : std::min(threads, l.batch / kRows);
  if (blocks > 1 && l.batch / (2 * blocks) >= kLongRows) blocks *= 2;
  if (blocks <= 1) return f(int64_t{0}, l.batch);
  const int64_t rows = ((l.batch + blocks - 1) / blocks + kRows - 1) / kRows * kRows;
  parallel_for((l.batch + rows - 1) / rows, [&](int64_t t) { f(t * rows, std::min((t + 1) * rows, l.batch)); });
}

template <class T>
Array filled(int64_t n, T value) {
  Array a = Array::empty(sizeof(T) == 4 ? DType::Float32 : DType::Float64, 1, &n);
  std::fill_n(a.ptr<T>(), n, value);
  return a;
}

// (columns, rows) of a dense matrix (rows, columns).
template <class T>
Array transposed(const Array& w) {
  const int64_t shape[] = {w.shape[1], w.shape[0]};
  Array a = Array::empty(w.dtype, 2, shape);
  kernels().of<T>().conv.transpose(w.ptr<T>(), w.shape[1], a.ptr<T>(), w.shape[0], w.shape[0], w.shape[1]);
  return a;
}

// What stands at step t, or zeros with stride 0 where there is nothing.
template <class T>
struct At {
  const T* base;
  int64_t row;
  const T* of(int64_t index) const { return base + index * row; }
};
template <class T>
At<T> at(const Array& a, const Array& zeros, int64_t row) {
  return a.data ? At<T>{a.ptr<T>(), row} : At<T>{zeros.ptr<T>(), 0};
}

Array dense(const Array* a) { return a ? as_contiguous(*a) : Array(); }

template <Kind kind, class T>
void forward(const OpCall& call) {
  using In = Inputs<kind>;
  const Layer l = layer_of<kind>(call);
  const int64_t n = l.size, gates = l.gates(), parts = l.parts(), rows = l.steps * l.batch;
  if (l.batch == 0) return;
  const FloatKernels<T>& kernel = kernels().of<T>();
  const Array x = dense(call.in[In::x]), w_ih = dense(call.in[In::w_ih]), h0 = dense(call.in[In::h]);
  const Array b_ih = dense(call.in[In::b_ih]), b_hh = dense(call.in[In::b_hh]);
  const Array c0 = kind == kLstm ? dense(call.in[In::c]) : Array();
  const Array w_hh = transposed<T>(dense(call.in[In::w_hh]));
  const Array w_hr = kind == kLstm && call.in[In::w_hr] ? transposed<T>(dense(call.in[In::w_hr])) : Array();
  const Array zeros = filled<T>(parts, 0), bias = filled<T>(parts, 0);
  for (int64_t j = 0; j < gates; ++j) {
    if (b_ih.data) bias.ptr<T>()[j] = b_ih.ptr<T>()[j];
    if (b_hh.data) bias.ptr<T>()[kind == kGru && j >= 2 * n ? n + j : j] += b_hh.ptr<T>()[j];
  }
  T* y = call.out[0].ptr<T>();
  T* cells = kind == kLstm ? call.out[1].ptr<T>() : nullptr;
  T* sums = kind == kRnn ? y : call.out[kind == kLstm ? 2 : 1].ptr<T>();
  kernel.gemm({rows, gates, l.features, x.ptr<T>(), l.features, 1, w_ih.ptr<T>(), 1, l.features, sums, parts, false,
               bias.ptr<T>()});
  const bool relu = kind == kRnn && call.attributes.ints[0];
  over_batch(l, [&](int64_t low, int64_t high) {
    const int64_t block = high - low;
    const Array m = w_hr.data ? filled<T>(block * n, 0) : Array();  // o tanh(c), before the projection
    At<T> h = at<T>(h0, zeros, l.out), c = at<T>(c0, zeros, n);
    h.base = h.of(low), c.base = c.of(low);
    for (int64_t s = 0; s < l.steps; ++s) {
      const int64_t t = l.step(s), first = t * l.batch + low;
      T *sum = sums + first * parts, *state = y + first * l.out;
      const auto add = [&](int64_t from, int64_t columns, T* to, bool accumulate, const T* added) {
        kernel.gemm(
            {block, columns, l.out, h.base, l.out, 1, w_hh.ptr<T>() + from, gates, 1, to, parts, accumulate, added});
      };
      if (h.row) add(0, kind == kGru ? 2 * n : gates, sum, true, nullptr);
      if (kind == kGru) {
        if (h.row)
          add(2 * n, n, sum + 3 * n, false, bias.ptr<T>() + 3 * n);
        else
          for (int64_t r = 0; r < block; ++r) std::copy_n(bias.ptr<T>() + 3 * n, n, sum + r * parts + 3 * n);
      }
      const double none[2] = {};
      CellRows<T> cell{};
      cell.rows = block, cell.size = n, cell.gates = sum, cell.gates_row = parts;
      cell.state = m.data ? m.ptr<T>() : state, cell.state_row = n;
      if (kind == kRnn) {
        kernel.elementwise.unary[static_cast<int>(relu ? Unary::relu : Unary::tanh)](block * n, sum, sum, none);
      } else if (kind == kGru) {
        cell.before = h.base, cell.before_row = h.row;
        kernel.recurrent.gru(cell);
      } else {
        cell.before = c.base, cell.before_row = c.row, cell.cell = cells + first * n;
        kernel.recurrent.lstm(cell);
        if (m.data)
          kernel.gemm({block, l.out, n, m.ptr<T>(), n, 1, w_hr.ptr<T>(), l.out, 1, state, l.out, false, nullptr});
      }
      for (int64_t r = 0; l.lengths && r < block; ++r) {
        if (l.runs(t, low + r)) continue;
        std::copy_n(h.of(r), l.out, state + r * l.out);
        if (kind == kLstm) std::copy_n(c.of(r), n, cells + (first + r) * n);
        if (kind != kRnn) std::fill_n(sum + r * parts, parts, T(0));
      }
      h = {state, l.out};
      if (kind == kLstm) c = {cells + first * n, n};
    }
  });
}

// ---- backward ----
// rnn_backward(g, y, w_hh, lengths?): d, dh
// gru_backward(g?, g_gates?, y, gates, h?, w_hh, lengths?): d, dh
// lstm_backward(g?, g_cells?, g_gates?, cells, gates, c?, w_hh, w_hr?, lengths?): d, dh, dc
// With a projection, d has the gradient of the states behind that of the sums.

template <Kind kind>
struct Back {  // where the inputs stand; -1: nowhere
  static constexpr int g = 0, g_cells = kind == kLstm ? 1 : -1,
                       g_gates = kind == kLstm  ? 2
                                 : kind == kGru ? 1
                                                : -1,
                       y = kind == kRnn   ? 1
                           : kind == kGru ? 2
                                          : -1,
                       cells = kind == kLstm ? 3 : -1,
                       gates = kind == kLstm  ? 4
                               : kind == kGru ? 3
                                              : -1,
                       before = kind == kLstm  ? 5
                                : kind == kGru ? 4
                                               : -1,
                       w_hh = kind == kLstm  ? 6
                              : kind == kGru ? 5
                                             : 2,
                       w_hr = kind == kLstm ? 7 : -1,
                       lengths = kind == kLstm  ? 8
                                 : kind == kGru ? 6
                                                : 3,
                       count = lengths + 1;
};

template <Kind kind>
Layer layer_back(const OpCall& call) {
  using In = Back<kind>;
  const Array &made = *call.in[kind == kLstm ? In::cells : In::y], &w = *call.in[In::w_hh];
  Layer l{};
  l.kind = kind;
  l.steps = made.shape[0], l.batch = made.shape[1], l.size = made.shape[2], l.out = w.shape[1];
  l.reverse = call.attributes.ints[call.attributes.int_count - 1] != 0;
  l.lengths = call.in[In::lengths];
  return l;
}

template <Kind kind>
void infer_backward(OpCall& call) {
  using In = Back<kind>;
  constexpr int made_at = kind == kLstm ? In::cells : In::y;
  const Array &made = *call.in[made_at], &w = *call.in[In::w_hh];
  require_float(call, made_at, kind == kLstm ? "cells" : "y");
  if (made.ndim != 3 || w.ndim != 2)
    fail<ValueError>(call.op->name, ": ", kind == kLstm ? "cells" : "y",
                     " must be (steps, batch, hidden_size) and w_hh ", "a matrix, but the shapes are ",
                     shape_text(made), " and ", shape_text(w));
  const Layer l = layer_back<kind>(call);
  const int64_t y[] = {l.steps, l.batch, l.out}, w_hh[] = {l.gates(), l.out}, gates[] = {l.steps, l.batch, l.parts()};
  const int64_t state[] = {l.batch, l.out}, cell[] = {l.batch, l.size}, w_hr[] = {l.out, l.size};
  expect(call, In::g, "g", 3, y);
  expect(call, In::w_hh, "w_hh", 2, w_hh);
  if constexpr (kind != kRnn) {
    expect(call, In::g_gates, "g_gates", 3, gates);
    expect(call, In::gates, "gates", 3, gates);
    expect(call, In::before, kind == kLstm ? "c" : "h", 2, cell);
  }
  if constexpr (kind == kLstm) {
    expect(call, In::g_cells, "g_cells", 3, made.shape);
    expect(call, In::w_hr, "w_hr", 2, w_hr);
  }
  check_lengths(call, In::lengths, l.steps, l.batch);
  const bool projects = kind == kLstm && call.in[In::w_hr < 0 ? 0 : In::w_hr];
  const int64_t d[] = {l.steps, l.batch, l.parts() + (projects ? l.out : 0)};
  call.out[0].describe(made.dtype, 3, d);
  call.out[1].describe(made.dtype, 2, state);
  if (kind == kLstm) call.out[2].describe(made.dtype, 2, cell);
}

template <Kind kind, class T>
void backward(const OpCall& call) {
  using In = Back<kind>;
  const auto given = [&](int i) { return i < 0 ? Array() : dense(call.in[i]); };
  const Layer l = layer_back<kind>(call);
  const int64_t n = l.size, gates = l.gates(), parts = l.parts();
  if (l.batch == 0) return;
  const FloatKernels<T>& kernel = kernels().of<T>();
  const Array g = given(In::g), g_cells = given(In::g_cells), g_gates = given(In::g_gates), y = given(In::y);
  const Array cells = given(In::cells), values = given(In::gates), first_before = given(In::before);
  const Array w_hh = given(In::w_hh), w_hr = given(In::w_hr), zeros = filled<T>(std::max(parts, l.out), 0);
  const int64_t d_row = call.out[0].shape[2];
  T *d = call.out[0].ptr<T>(), *dh = call.out[1].ptr<T>();
  std::fill_n(dh, l.batch * l.out, T(0));
  T* dc = kind == kLstm ? call.out[2].ptr<T>() : nullptr;
  if (kind == kLstm) std::fill_n(dc, l.batch * n, T(0));
  const At<T> from_g = at<T>(g, zeros, l.out), from_cells = at<T>(g_cells, zeros, n);
  const At<T> from_gates = at<T>(g_gates, zeros, parts), start = at<T>(first_before, zeros, n);
  const T* states = kind == kLstm ? cells.ptr<T>() : y.ptr<T>();
  over_batch(l, [&](int64_t low, int64_t high) {
    const int64_t block = high - low;
    const Array dm = w_hr.data ? filled<T>(block * n, 0) : Array();
    const Array kept = l.lengths ? filled<T>(block * (l.out + n), 0) : Array();
    T *dh_here = dh + low * l.out, *dc_here = dc ? dc + low * n : nullptr;
    for (int64_t s = l.steps - 1; s >= 0; --s) {
      const int64_t t = l.step(s), first = t * l.batch + low;
      T* d_here = d + first * d_row;
      if (kind == kLstm && from_g.row)
        kernel.elementwise.binary[static_cast<int>(Binary::add)](block * l.out, dh_here, from_g.of(first), dh_here);
      if (l.lengths) {
        std::copy_n(dh_here, block * l.out, kept.ptr<T>());
        if (dc) std::copy_n(dc_here, block * n, kept.ptr<T>() + block * l.out);
      }
      CellRows<T> cell{};
      cell.rows = block, cell.size = n;
      cell.gates = values.data ? values.ptr<T>() + first * parts : nullptr, cell.gates_row = parts;
      const At<T> before =
          s > 0 ? At<T>{states + (l.step(s - 1) * l.batch + low) * n, n} : At<T>{start.of(low), start.row};
      cell.before = before.base, cell.before_row = before.row;
      cell.g_gates = from_gates.of(first), cell.g_gates_row = from_gates.row;
      cell.dh = dh_here, cell.dc = dc_here, cell.d = d_here, cell.d_row = d_row;
      if (kind == kLstm) {
        cell.g = from_cells.of(first), cell.g_row = from_cells.row;
        cell.cell = const_cast<T*>(states) + first * n;
        if (dm.data) {
          for (int64_t r = 0; r < block; ++r) std::copy_n(dh_here + r * l.out, l.out, d_here + r * d_row + parts);
          kernel.gemm({block, n, l.out, dh_here, l.out, 1, w_hr.ptr<T>(), n, 1, dm.ptr<T>(), n, false, nullptr});
          cell.dh = dm.ptr<T>();
        }
        kernel.recurrent.lstm_backward(cell);
        std::fill_n(dh_here, block * l.out, T(0));
      } else {
        cell.g = from_g.of(first), cell.g_row = from_g.row;
        if (kind == kGru) {
          kernel.recurrent.gru_backward(cell);
        } else {
          cell.state = const_cast<T*>(states) + first * n, cell.state_row = n;
          kernel.recurrent.rnn_backward(cell, call.attributes.ints[0] != 0);
        }
      }
      for (int64_t r = 0; l.lengths && r < block; ++r) {
        if (l.runs(t, low + r)) continue;
        std::fill_n(d_here + r * d_row, d_row, T(0));
        const T* came = from_g.of(first + r);
        for (int64_t j = 0; j < l.out; ++j)
          dh_here[r * l.out + j] = kept.ptr<T>()[r * l.out + j] + (kind == kLstm ? T(0) : came[j]);
        if (!dc) continue;
        for (int64_t j = 0; j < n; ++j)
          dc_here[r * n + j] = kept.ptr<T>()[block * l.out + r * n + j] + from_cells.of(first + r)[j];
      }
      const auto carry = [&](int64_t from, int64_t rows, int64_t of) {
        kernel.gemm({block, l.out, rows, d_here + from, d_row, 1, w_hh.ptr<T>() + of * l.out, l.out, 1, dh_here, l.out,
                     true, nullptr});
      };
      carry(0, kind == kGru ? 2 * n : gates, 0);
      if (kind == kGru) carry(3 * n, n, 2 * n);
    }
  });
}

template <void (*f32)(const OpCall&), void (*f64)(const OpCall&)>
void by_type(const OpCall& call) {
  call.out[0].dtype == DType::Float64 ? f64(call) : f32(call);
}

// Of the products alone.
template <Layer (*layer)(const OpCall&)>
double operations(const OpCall& call) {
  const Layer l = layer(call);
  return 2.0 * static_cast<double>(l.steps * l.batch * l.gates() * (l.features + l.out));
}

Op row(const char* name, int inputs, int outputs, void (*infer)(OpCall&), void (*run)(const OpCall&),
       double (*operations)(const OpCall&)) {
  constexpr unsigned flags = kAnyTypes | kChecksValues;
  return {name, inputs, outputs, flags, infer, run, 0, nullptr, nullptr, nullptr, operations};
}

template <Kind kind>
Op forward_op(const char* name, int outputs) {
  return row(name, Inputs<kind>::count, outputs, infer_forward<kind>,
             by_type<forward<kind, float>, forward<kind, double>>, operations<layer_of<kind>>);
}
template <Kind kind>
Op backward_op(const char* name, int outputs) {
  return row(name, Back<kind>::count, outputs, infer_backward<kind>,
             by_type<backward<kind, float>, backward<kind, double>>, operations<layer_back<kind>>);
}

}  // namespace

const OpList& recurrent_ops() {
  static const OpList ops = {
      forward_op<kRnn>("rnn", 1),           forward_op<kGru>("gru", 2),
      forward_op<kLstm>("lstm", 3),         backward_op<kRnn>("rnn_backward", 2),
      backward_op<kGru>("gru_backward", 2), backward_op<kLstm>("lstm_backward", 3),
  };
  return ops;
}

}  // namespace pn
