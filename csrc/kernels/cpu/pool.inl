// Pooling. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per instruction set.
namespace pool {

// Outputs side by side; Stride is a constant where that gives vector loads, else 0.
template <class T, int Stride>
void max_of_taps(const MaxOfTaps<T>& s) {
  constexpr int kBlock = 16;
  typedef typename Fp<T>::Bits Number;  // as wide as T
  const int64_t stride = Stride ? Stride : s.stride;
  int64_t j = 0;
  for (; j + kBlock <= s.n; j += kBlock) {
    T best[kBlock];
    Number which[kBlock];
    const T* x = s.x + s.tap[0] + j * stride;
    for (int l = 0; l < kBlock; ++l) best[l] = x[l * stride], which[l] = 0;
    for (int64_t t = 1; t < s.taps; ++t) {
      x = s.x + s.tap[t] + j * stride;
      for (int l = 0; l < kBlock; ++l) {
        const T v = x[l * stride];
        const bool take = (v > best[l]) | (v != v);
        best[l] = take ? v : best[l];
        which[l] = take ? static_cast<Number>(t) : which[l];
      }
    }
    for (int l = 0; l < kBlock; ++l) {
      s.y[j + l] = best[l];
      s.index[j + l] = s.base + s.tap[which[l]] + (j + l) * stride;
    }
  }
  for (; j < s.n; ++j) {
    T best = s.x[s.tap[0] + j * stride];
    int64_t which = 0;
    for (int64_t t = 1; t < s.taps; ++t) {
      const T v = s.x[s.tap[t] + j * stride];
      if (v > best || v != v) best = v, which = t;
    }
    s.y[j] = best;
    s.index[j] = s.base + s.tap[which] + j * stride;
  }
}

template <class T>
void max_of(const MaxOfTaps<T>& s) {
  s.stride == 1 ? max_of_taps<T, 1>(s) : s.stride == 2 ? max_of_taps<T, 2>(s) : max_of_taps<T, 0>(s);
}

template <class T>
PoolKernels<T> table() {
  return {&max_of<T>};
}

}  // namespace pool
