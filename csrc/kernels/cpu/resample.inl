// Resampling along one axis; vectors run along the rows. Included by isa_unit.cpp inside namespace pn::PN_ISA, once per
// instruction set.
namespace resample {

using matmul::kLanes;
using matmul::load;
using matmul::multiply_add;
using matmul::store;
using matmul::V;

// `Vectors` vectors of output row j, from column i on.
template <class T, int Vectors>
inline void sum_block(const AxisSum<T>& s, int64_t j, int64_t i) {
  V<T> sum[Vectors] = {};
  for (int64_t t = s.begin[j]; t < s.begin[j + 1]; ++t) {
    const V<T> weight = s.weight[t] - V<T>{};
    const T* x = s.x + s.place[t] * s.n + i;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sum[v] = multiply_add(weight, load<T>(x + v * kLanes<T>), sum[v]);
  }
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) store<T>(s.y + j * s.n + i + v * kLanes<T>, sum[v]);
}

template <class T>
void axis_sum(const AxisSum<T>& s) {
  constexpr int64_t L = kLanes<T>;
  for (int64_t j = 0; j < s.outputs; ++j) {
    int64_t i = 0;
    for (; i + 4 * L <= s.n; i += 4 * L) sum_block<T, 4>(s, j, i);
    for (; i + L <= s.n; i += L) sum_block<T, 1>(s, j, i);
    if (i < s.n && s.n >= L) {
      sum_block<T, 1>(s, j, s.n - L);  // overlaps the block before
    } else {
      for (; i < s.n; ++i) {
        T sum = 0;
        for (int64_t t = s.begin[j]; t < s.begin[j + 1]; ++t)
          sum = multiply_add(s.weight[t], s.x[s.place[t] * s.n + i], sum);
        s.y[j * s.n + i] = sum;
      }
    }
  }
}

}  // namespace resample
