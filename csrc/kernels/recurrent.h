// The border of the recurrent kernels (cpu/recurrent.inl): what one step of a cell does to each row of a batch, apart
// from its matrix products.
#pragma once
#include <cstdint>

namespace pn {

// Rows of a batch at one step; `size` units each. A `before` or a gradient that is not there is a row of zeros with
// stride 0.
template <class T>
struct CellRows {
  int64_t rows, size;
  T* gates;  // forward: sums in, values of the gates out; LSTM i f g o, GRU r z n q
  int64_t gates_row;
  const T* before;  // LSTM: cell, GRU: state of the step before
  int64_t before_row;
  T* state;  // forward: the new one
  int64_t state_row;
  T* cell;  // LSTM: the new one, dense
  // backward
  const T* g;  // gradient of the state (RNN, GRU) or of the cell (LSTM), beside what comes from later steps
  int64_t g_row;
  const T* g_gates;
  int64_t g_gates_row;
  T* dh;  // dense; in: gradient of the state. out: the part of the earlier state's that goes past the products
  T* dc;  // LSTM, dense: gradient of the cell, in and out
  T* d;   // out: gradient of the sums
  int64_t d_row;
};

template <class T>
struct RecurrentKernels {
  void (*lstm)(const CellRows<T>&);
  void (*lstm_backward)(const CellRows<T>&);
  void (*gru)(const CellRows<T>&);
  void (*gru_backward)(const CellRows<T>&);
  void (*rnn_backward)(const CellRows<T>&, bool relu);
};

}  // namespace pn
