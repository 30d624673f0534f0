// The limits of the machine, measured with as little as possible around them. Included by isa_unit.cpp inside
// namespace pn::PN_ISA, once per instruction set.
namespace roofs {

// Independent chains: a multiply-add takes four cycles or so and two can start in each, so eight are needed; twelve
// still fit sixteen registers together with the two operands.
constexpr int kChains = 12;

template <class T>
int64_t multiply_adds(int64_t rounds, T* sink) {
  using Lanes = matmul::V<T>;
  const T shrink = static_cast<T>(0.5), add = sink[0];  // read at run time, so that nothing is computed by the compiler
  Lanes chain[kChains], factor = Lanes{} + shrink, term = Lanes{} + add;
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) chain[i] = term * static_cast<T>(i);
#pragma GCC unroll 1
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) chain[i] = matmul::multiply_add(chain[i], factor, term);
  Lanes total{};
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) total += chain[i];
  for (int i = 0; i < matmul::kLanes<T>; ++i) sink[0] += total[i];
  return rounds * kChains * matmul::kLanes<T>;
}

template <class T>
void read(int64_t n, const T* x, T* sink) {
  constexpr int L = matmul::kLanes<T>, kStreams = 8;
  matmul::V<T> part[kStreams] = {};
  int64_t i = 0;
  for (; i + kStreams * L <= n; i += kStreams * L)
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) part[s] += matmul::load<T>(x + i + s * L);
  T total = 0;
  for (; i < n; ++i) total += x[i];
  for (int s = 0; s < kStreams; ++s)
    for (int lane = 0; lane < L; ++lane) total += part[s][lane];
  *sink = total;
}

template <class T>
void copy(int64_t n, const T* __restrict x, T* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i];
}

template <class T>
RoofKernels<T> table() {
  return {&multiply_adds<T>, &read<T>, &copy<T>};
}

}  // namespace roofs
