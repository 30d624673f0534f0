// Pooling, planes side by side as lanes. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per instruction
// set.
namespace pool {

template <class T>
using Place = typename PoolPlace<T>::type;

// A vector's places, and as many indices anywhere in memory.
template <class T>
using Places = typename matmul::Vector<Place<T>, matmul::kLanes<T>>::type;
template <class T>
struct Wide {
  typedef int64_t type __attribute__((vector_size(8 * matmul::kLanes<T>), aligned(8), may_alias));
};

// The lanes of output row j from l on, a vector of them or one; without branches, because which of random numbers is
// larger cannot be foretold.
template <class T, class Value, class Loose, class Where>
inline void max_at(const MaxOfTaps<T>& s, int64_t j, int64_t l) {
  const T* const x = s.x + j * s.stride * s.lanes + l;
  const auto value_at = [&](int64_t t) -> Value { return *reinterpret_cast<const Loose*>(x + s.tap[t] * s.lanes); };
  Value best = value_at(0);
  Where where = Where{} + static_cast<Place<T>>(s.at[0]);
  for (int64_t t = 1; t < s.taps; ++t) {
    const Value v = value_at(t);
    const auto take = (v > best) | (v != v);
    best = take ? v : best;
    where = take ? Where{} + static_cast<Place<T>>(s.at[t]) : where;
  }
  *reinterpret_cast<Loose*>(s.y + j * s.lanes + l) = best;
  Place<T>* const place = s.place + j * s.lanes + l;
  where += static_cast<Place<T>>(j * s.stride);
  __builtin_memcpy(place, &where, sizeof where);
}

template <class T>
void max_of_taps(const MaxOfTaps<T>& s) {
  constexpr int L = matmul::kLanes<T>;
  for (int64_t j = 0; j < s.n; ++j) {
    int64_t l = 0;
    for (; l + L <= s.lanes; l += L) max_at<T, matmul::V<T>, typename matmul::Vector<T, L>::loose, Places<T>>(s, j, l);
    for (; l < s.lanes; ++l) max_at<T, T, T, Place<T>>(s, j, l);
  }
}

template <class T>
void choose_places(const ChosenPlaces<T>& s) {
  constexpr int L = matmul::kLanes<T>;
  for (int64_t j = 0; j < s.n; ++j)
    for (int64_t l = 0; l < kBatchLanes; l += L) {
      const matmul::V<T> dy = matmul::load<T>(s.dy + j * kBatchLanes + l);
      const auto index = *reinterpret_cast<const typename Wide<T>::type*>(s.index + j * kBatchLanes + l);
      const Places<T> chosen = __builtin_convertvector(index, Places<T>) - static_cast<Place<T>>(j * s.stride);
      T* const dx = s.dx + j * s.stride * kBatchLanes + l;
      for (int64_t t = 0; t < s.taps; ++t) {
        const auto here = chosen == static_cast<Place<T>>(s.at[t]);
        matmul::store<T>(dx + s.at[t] * kBatchLanes, here ? dy : matmul::V<T>{});
      }
    }
}

template <class T>
void max_of_squares(const MaxOfSquares<T>& s) {
  constexpr int L = matmul::kLanes<T>;
  const typename matmul::Count<L>::type lanes{};
  Places<T> twice;
  for (int l = 0; l < L; ++l) twice[l] = static_cast<Place<T>>(2 * l);
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t j = 0; j < s.n; j += L) {
      const int64_t at = 2 * (r * s.x_row + j), left = 2 * (s.n - j);
      matmul::V<T> best;
      const Places<T> first = twice + static_cast<Place<T>>(at);
      Places<T> where = first;
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
        matmul::store<T>(y, best);
        *reinterpret_cast<typename Wide<T>::type*>(index) = __builtin_convertvector(where, typename Wide<T>::type);
        continue;
      }
      for (int l = 0; l < conv::lanes_of<T>(s.n, j); ++l) y[l] = best[l], index[l] = where[l];
    }
}

template <class T>
void spread_places(int64_t n, int64_t lanes, const Place<T>* place, int64_t* index, int64_t index_row,
                   int64_t index_step) {
  if (index_row == 1 && index_step == lanes)  // in the same order
    for (int64_t i = 0; i < n * lanes; ++i) index[i] = place[i];
  else
    for (int64_t l = 0; l < lanes; ++l)
      for (int64_t i = 0; i < n; ++i) index[l * index_row + i * index_step] = place[i * lanes + l];
}

template <class T>
PoolKernels<T> table() {
  return {&max_of_taps<T>, &max_of_squares<T>, &choose_places<T>, &spread_places<T>};
}

}  // namespace pool
