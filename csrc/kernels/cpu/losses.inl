// Loss kernels. Included by isa_unit.cpp inside the namespace of one instruction set, after reduce.inl, whose folds
// they use: the order of every sum is that of softmax.
namespace losses {

using reduce::kPiece;

template <class T>
void cross_entropy(int64_t rows, int64_t n, const T* x, const int64_t* target, int64_t ignore, T* y) {
  T m[kPiece], s[kPiece];
  for (int64_t k; rows > 0; rows -= k, x += k * n, target += k, y += k) {
    k = reduce::rows_together(n, rows);
    for (int64_t r = 0; r < k; ++r) m[r] = reduce::fold_long_row<reduce::Max>(n, x + r * n);
    reduce::exp_sums(k, n, n, x, m, s);
    for (int64_t r = 0; r < k; ++r) s[r] = log(s[r]);
    for (int64_t r = 0; r < k; ++r) {
      const int64_t t = target[r];
      if (t == ignore)
        y[r] = 0;
      else if (t < 0 || t >= n)
        y[r] = Fp<T>::nan;
      else
        y[r] = s[r] - (x[r * n + t] - m[r]);  // not (s + m) - x, which would round twice at the size of the logits
    }
  }
}

template <class T>
void cross_entropy_backward(int64_t rows, int64_t n, const T* x, const int64_t* target, int64_t ignore, const T* g,
                            int64_t g_step, T* y) {
  for (int64_t k; rows > 0; rows -= k, x += k * n, target += k, g += k * g_step, y += k * n) {
    k = reduce::rows_together(n, rows);
    for (int64_t r = 0; r < k; ++r) {
      const T m = reduce::fold_long_row<reduce::Max>(n, x + r * n);
      for (int64_t i = 0; i < n; ++i) y[r * n + i] = x[r * n + i] - m;
    }
    reduce::exp_all(k * n, y);
    for (int64_t r = 0; r < k; ++r) {
      T* row = y + r * n;
      const int64_t t = target[r];
      if (t == ignore || t < 0 || t >= n) {
        __builtin_memset(row, 0, static_cast<size_t>(n) * sizeof(T));
        continue;
      }
      const T s = reduce::fold_long_row<reduce::Add>(n, row), f = g[r * g_step];
      const T own = (row[t] / s - T(1)) * f;  // the difference first: near 1 it is exact
      const T scale = f / s;
      for (int64_t i = 0; i < n; ++i) row[i] *= scale;
      row[t] = own;
    }
  }
}

template <class T>
LossKernels<T> table() {
  return {&cross_entropy<T>, &cross_entropy_backward<T>};
}

}  // namespace losses
