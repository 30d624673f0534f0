// Pooling, planes side by side as lanes. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per instruction
// set.
namespace pool {

template <class T>
using Place = typename PoolPlace<T>::type;

// Lanes [l, l + Block) of output row j; without branches, because which of random numbers is larger cannot be foretold.
template <class T, int Block>
inline void max_block(const MaxOfTaps<T>& s, int64_t j, int64_t l) {
  T best[Block];
  Place<T> where[Block];
  const T* x = s.x + (s.tap[0] + j * s.stride) * s.lanes + l;
  for (int i = 0; i < Block; ++i) best[i] = x[i], where[i] = static_cast<Place<T>>(s.at[0]);
  for (int64_t t = 1; t < s.taps; ++t) {
    x = s.x + (s.tap[t] + j * s.stride) * s.lanes + l;
    const Place<T> at = static_cast<Place<T>>(s.at[t]);
    for (int i = 0; i < Block; ++i) {
      const T v = x[i];
      const bool take = (v > best[i]) | (v != v);
      best[i] = take ? v : best[i];
      where[i] = take ? at : where[i];
    }
  }
  const Place<T> shift = static_cast<Place<T>>(j * s.stride);
  for (int i = 0; i < Block; ++i) {
    s.y[j * s.lanes + l + i] = best[i];
    s.place[j * s.lanes + l + i] = where[i] + shift;
  }
}

template <class T>
void max_of_taps(const MaxOfTaps<T>& s) {
  for (int64_t j = 0; j < s.n; ++j) {
    int64_t l = 0;
    for (; l + kPoolLanes <= s.lanes; l += kPoolLanes) max_block<T, kPoolLanes>(s, j, l);
    for (; l < s.lanes; ++l) max_block<T, 1>(s, j, l);
  }
}

template <class T>
void spread_places(int64_t n, int64_t lanes, const Place<T>* place, int64_t* index, int64_t index_row) {
  constexpr int64_t kPiece = 256;
  Place<T> turned[kPoolLanes * kPiece];
  for (int64_t first = 0; first < n; first += kPiece) {
    const int64_t count = first + kPiece <= n ? kPiece : n - first;
    matmul::transpose<Place<T>, matmul::kLanes<T>, false>(place + first * lanes, lanes, turned, count, count, lanes);
    for (int64_t l = 0; l < lanes; ++l)
      for (int64_t i = 0; i < count; ++i) index[l * index_row + first + i] = turned[l * count + i];
  }
}

template <class T>
PoolKernels<T> table() {
  return {&max_of_taps<T>, &spread_places<T>};
}

}  // namespace pool
