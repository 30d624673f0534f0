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
void max_of_squares(const MaxOfSquares<T>& s) {
  constexpr int L = matmul::kLanes<T>;
  using Places = typename matmul::Vector<Place<T>, L>::type;
  const typename matmul::Count<L>::type lanes{};
  Places twice;
  for (int l = 0; l < L; ++l) twice[l] = static_cast<Place<T>>(2 * l);
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t j = 0; j < s.n; j += L) {
      const int64_t at = 2 * (r * s.x_row + j), left = 2 * (s.n - j);
      matmul::V<T> best;
      const Places first = twice + static_cast<Place<T>>(at);
      Places where = first;
      const auto take = [&](matmul::V<T> v, int64_t step) {
        const auto better = (v > best) | (v != v);
        best = better ? v : best;
        where = better ? first + static_cast<Place<T>>(step) : where;
      };
      for (int64_t i = 0; i < 2; ++i) {
        const T* x = s.x + at + i * s.x_row;
        const auto a = matmul::load_part(x, conv::lanes_of<T>(left, 0));
        const auto b = matmul::load_part(x + L, conv::lanes_of<T>(left, L));
        const auto even = conv::every_other<T, 0>(a, b, lanes);
        if (i == 0)
          best = even;
        else
          take(even, s.x_row);
        take(conv::every_other<T, 1>(a, b, lanes), i * s.x_row + 1);
      }
      T* const y = s.y + r * s.n + j;
      int64_t* const index = s.index + r * s.n + j;
      if ((s.rows - r) * s.n - j >= L) {  // what goes beyond the row's end, the next row writes anew
        typedef int64_t Wide __attribute__((vector_size(8 * L), aligned(8), may_alias));
        matmul::store<T>(y, best);
        *reinterpret_cast<Wide*>(index) = __builtin_convertvector(where, Wide);
        continue;
      }
      for (int l = 0; l < conv::lanes_of<T>(s.n, j); ++l) y[l] = best[l], index[l] = where[l];
    }
}

template <class T>
void spread_places(int64_t n, int64_t lanes, const Place<T>* place, int64_t* index, int64_t index_row) {
  for (int64_t l = 0; l < lanes; ++l)
    for (int64_t i = 0; i < n; ++i) index[l * index_row + i] = place[i * lanes + l];
}

template <class T>
PoolKernels<T> table() {
  return {&max_of_taps<T>, &max_of_squares<T>, &spread_places<T>};
}

}  // namespace pool
