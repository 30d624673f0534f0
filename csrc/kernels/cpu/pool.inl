// Pooling. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per instruction set.
namespace pool {

// Block outputs side by side, from j on; without branches, because which of random numbers is larger cannot be
// foretold.
template <class T, int Block>
inline void max_block(const MaxOfTaps<T>& s, int64_t j, int64_t stride) {
  typedef typename Fp<T>::Bits Number;  // as wide as T
  T best[Block];
  Number which[Block];
  const T* x = s.x + s.tap[0] + j * stride;
  for (int l = 0; l < Block; ++l) best[l] = x[l * stride], which[l] = 0;
  for (int64_t t = 1; t < s.taps; ++t) {
    x = s.x + s.tap[t] + j * stride;
    for (int l = 0; l < Block; ++l) {
      const T v = x[l * stride];
      const bool take = (v > best[l]) | (v != v);
      best[l] = take ? v : best[l];
      which[l] = take ? static_cast<Number>(t) : which[l];
    }
  }
  for (int l = 0; l < Block; ++l) {
    s.y[j + l] = best[l];
    s.index[j + l] = s.base + s.tap[which[l]] + (j + l) * stride;
  }
}

// In blocks; the last one may overlap the one before. Stride is a constant where that gives vector loads, else 0.
template <class T, int Stride>
void max_of_taps(const MaxOfTaps<T>& s) {
  const int64_t stride = Stride ? Stride : s.stride;
  if (s.n >= 16)
    for (int64_t j = 0; j < s.n; j += 16) max_block<T, 16>(s, j + 16 <= s.n ? j : s.n - 16, stride);
  else if (s.n >= 4)
    for (int64_t j = 0; j < s.n; j += 4) max_block<T, 4>(s, j + 4 <= s.n ? j : s.n - 4, stride);
  else
    for (int64_t j = 0; j < s.n; ++j) max_block<T, 1>(s, j, stride);
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
