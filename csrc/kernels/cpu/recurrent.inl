// Recurrent kernels. Included by isa_unit.cpp inside the namespace of one instruction set. What holds for each formula
// stands in pyneural/ops/recurrent.py. No two operands of a loop overlap, other than one that is changed in place.
namespace recurrent {

template <class T>
[[gnu::noinline]] void sigmoids(int64_t n, T* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = sigmoid(x[i]);
}

template <class T>
[[gnu::noinline]] void tanhs(int64_t n, T* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = tanh(x[i]);
}

template <class T>
void lstm(const CellRows<T>& s) {
  const int64_t n = s.size;
  for (int64_t r = 0; r < s.rows; ++r) {
    T* gates = s.gates + r * s.gates_row;
    sigmoids(2 * n, gates);
    tanhs(n, gates + 2 * n);
    sigmoids(n, gates + 3 * n);
    const T *i = gates, *f = gates + n, *g = gates + 2 * n, *o = gates + 3 * n, *before = s.before + r * s.before_row;
    T* c = s.cell + r * n;
    T* h = s.state + r * s.state_row;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) h[j] = c[j] = fma_(f[j], before[j], i[j] * g[j]);
    tanhs(n, h);
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) h[j] *= o[j];
  }
}

template <class T>
void lstm_backward(const CellRows<T>& s) {
  const int64_t n = s.size;
  for (int64_t r = 0; r < s.rows; ++r) {
    const T *i = s.gates + r * s.gates_row, *f = i + n, *g = f + n, *o = g + n, *before = s.before + r * s.before_row;
    const T *gc = s.g + r * s.g_row, *gi = s.g_gates + r * s.g_gates_row, *gf = gi + n, *gg = gf + n, *go = gg + n;
    const T* dh = s.dh + r * n;
    T* dc = s.dc + r * n;
    T* di = s.d + r * s.d_row;
    T* df = di + n;
    T* dg = df + n;
    T* d_o = dg + n;
    __builtin_memcpy(d_o, s.cell + r * n, static_cast<size_t>(n) * sizeof(T));
    tanhs(n, d_o);
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) {
      const T t = d_o[j], c = fma_(dh[j] * o[j], 1 - t * t, dc[j] + gc[j]);
      di[j] = fma_(c, g[j], gi[j]) * (i[j] * (1 - i[j]));
      df[j] = fma_(c, before[j], gf[j]) * (f[j] * (1 - f[j]));
      dg[j] = fma_(c, i[j], gg[j]) * (1 - g[j] * g[j]);
      d_o[j] = fma_(dh[j], t, go[j]) * (o[j] * (1 - o[j]));
      dc[j] = c * f[j];
    }
  }
}

template <class T>
void gru(const CellRows<T>& s) {
  const int64_t n = s.size;
  for (int64_t r = 0; r < s.rows; ++r) {
    T* gates = s.gates + r * s.gates_row;
    sigmoids(2 * n, gates);
    const T *reset = gates, *z = gates + n, *q = gates + 3 * n, *before = s.before + r * s.before_row;
    T* fresh = gates + 2 * n;
    T* h = s.state + r * s.state_row;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) fresh[j] = fma_(reset[j], q[j], fresh[j]);
    tanhs(n, fresh);
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) h[j] = fma_(z[j], before[j] - fresh[j], fresh[j]);
  }
}

template <class T>
void gru_backward(const CellRows<T>& s) {
  const int64_t n = s.size;
  for (int64_t r = 0; r < s.rows; ++r) {
    const T *reset = s.gates + r * s.gates_row, *z = reset + n, *fresh = z + n, *q = fresh + n;
    const T *before = s.before + r * s.before_row, *g = s.g + r * s.g_row;
    const T *gr = s.g_gates + r * s.g_gates_row, *gz = gr + n, *gn = gz + n, *gq = gn + n;
    T* dh = s.dh + r * n;
    T* d_reset = s.d + r * s.d_row;
    T* dz = d_reset + n;
    T* d_fresh = dz + n;
    T* dq = d_fresh + n;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) {
      const T h = dh[j] + g[j];
      const T sum = fma_(h, 1 - z[j], gn[j]) * (1 - fresh[j] * fresh[j]);
      d_reset[j] = fma_(sum, q[j], gr[j]) * (reset[j] * (1 - reset[j]));
      dz[j] = fma_(h, before[j] - fresh[j], gz[j]) * (z[j] * (1 - z[j]));
      d_fresh[j] = sum;
      dq[j] = fma_(sum, reset[j], gq[j]);
      dh[j] = h * z[j];
    }
  }
}

template <class T>
void rnn_backward(const CellRows<T>& s, bool relu) {
  const int64_t n = s.size;
  for (int64_t r = 0; r < s.rows; ++r) {
    const T *y = s.state + r * s.state_row, *g = s.g + r * s.g_row;
    T* dh = s.dh + r * n;
    T* d = s.d + r * s.d_row;
    if (relu)
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) d[j] = (dh[j] + g[j]) * (y[j] > 0 ? T(1) : T(0));
    else
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) d[j] = (dh[j] + g[j]) * (1 - y[j] * y[j]);
    __builtin_memset(dh, 0, static_cast<size_t>(n) * sizeof(T));
  }
}

template <class T>
RecurrentKernels<T> table() {
  return {&lstm<T>, &lstm_backward<T>, &gru<T>, &gru_backward<T>, &rnn_backward<T>};
}

}  // namespace recurrent
