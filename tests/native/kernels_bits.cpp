// Runs every kernel of csrc/kernels on odd sizes and addresses, once per instruction set that this CPU has, holds it
// against plain scalar code and prints one line per kernel and type: instruction set, name, type, hash of the result's
// bits. The hashes of all sets with a fused multiply-add must be the same, on x86 and on Arm (tests/test_kernel_bits.py
// compares them). The exit status is 1 if a result is wrong.
//
// In the hashes one NaN is like another: their sign and payload differ between processor families. Left out are sines,
// cosines and tangents beyond 1e7, which the C library computes.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/cpu.h"
#include "core/philox.h"
#include "core/threads.h"
#include "kernels/kernels.h"

namespace {

using namespace pn;

std::string isa;
bool good = true;

template <class T>
constexpr const char* kType = sizeof(T) == 4 ? "f32" : "f64";

// ---- inputs ----
uint64_t state = 1;
uint64_t random_bits() {  // splitmix64
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
double uniform(double low, double high) {
  return low + (high - low) * static_cast<double>(random_bits() >> 11) * 0x1p-53;
}

// n elements at an address that no vector is aligned to.
template <class T>
class Data {
 public:
  explicit Data(int64_t n) : n_(n), memory_(new T[static_cast<size_t>(n) + 1]()) {}
  Data(const Data& other) : Data(other.n_) { std::copy(other.get(), other.get() + n_, get()); }
  T* get() const { return memory_.get() + 1; }
  T& operator[](int64_t i) const { return get()[i]; }
  int64_t size() const { return n_; }

 private:
  int64_t n_;
  std::unique_ptr<T[]> memory_;
};

template <class T>
Data<T> moderate(int64_t n, double low = -3, double high = 3) {
  Data<T> x(n);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(uniform(low, high));
  return x;
}

// Small and large magnitudes, whole numbers, special values.
template <class T>
Data<T> mixed(int64_t n) {
  using Limits = std::numeric_limits<T>;
  const T special[] = {0,    -T(0),  Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), Limits::denorm_min(),
                       1,    -1,     Limits::max(),      Limits::lowest(),    Limits::min(),       T(0.5),
                       T(2), T(-2.5)};
  Data<T> x(n);
  for (int64_t i = 0; i < n; ++i) {
    const double u = uniform(-1, 1);
    const int scale = static_cast<int>(random_bits() % 60) - 40;
    switch (i % 5) {
      case 0: x[i] = special[random_bits() % (sizeof special / sizeof *special)]; break;
      case 1: x[i] = static_cast<T>(u); break;
      case 2: x[i] = static_cast<T>(std::nearbyint(8 * u)); break;
      case 3: x[i] = static_cast<T>(100 * u); break;
      default: x[i] = static_cast<T>(std::ldexp(u, scale));
    }
  }
  return x;
}

// ---- results ----
template <class T>
bool same(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0 || (a != a && b != b);
}

class Hash {
 public:
  template <class T>
  void add(const T* y, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const T v = y[i] != y[i] ? std::numeric_limits<T>::quiet_NaN() : y[i];
      uint64_t bits = 0;
      std::memcpy(&bits, &v, sizeof(T));
      value_ = (value_ ^ bits) * 1099511628211u;
    }
  }
  void print(const std::string& name, const char* type) const {
    std::printf("%s %s %s %016llx\n", isa.c_str(), name.c_str(), type, static_cast<unsigned long long>(value_));
  }

 private:
  uint64_t value_ = 1469598103934665603u;
};

void wrong(const std::string& name, const char* type, int64_t at, double got, double wanted) {
  good = false;
  std::printf("WRONG %s %s %s at %lld: %a but should be %a\n", isa.c_str(), name.c_str(), type,
              static_cast<long long>(at), got, wanted);
}

template <class T>
void expect(const std::string& name, const char* type, const T* got, const T* wanted, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (!same(got[i], wanted[i])) return wrong(name, type, i, double(got[i]), double(wanted[i]));
}

// For results that have no exact definition: within a few units in the last place of `scale`.
template <class T>
void expect_near(const std::string& name, T got, double wanted, double scale, int64_t at) {
  const double tolerance = 64 * scale * double(std::numeric_limits<T>::epsilon());
  if (!(std::fabs(double(got) - wanted) <= tolerance)) wrong(name, kType<T>, at, double(got), wanted);
}

// ---- elementwise ----
// call(i, n, y) runs the kernel on n elements from i on. Long runs (vectors), single elements (scalar code) and every
// other length up to 40 must agree.
template <class R, class F>
void check_elementwise(const std::string& name, const char* type, int64_t n, const F& call) {
  Data<R> whole(n), single(n), pieces(n);
  call(0, n, whole.get());
  for (int64_t i = 0; i < n; ++i) call(i, 1, &single[i]);
  for (int64_t i = 0, k = 2; i < n; i += k, k = k % 40 + 1) {
    k = std::min(k, n - i);
    call(i, k, &pieces[i]);
  }
  expect(name, type, whole.get(), single.get(), n);
  expect(name, type, pieces.get(), single.get(), n);
  Hash hash;
  hash.add(whole.get(), n);
  hash.print(name, type);
}

template <class T>
void elementwise(const ElementwiseKernels<T>& k) {
  const int64_t n = 2011;
  const Data<T> a = mixed<T>(n), b = mixed<T>(n), c = mixed<T>(n);
  Data<T> turns = a;
  for (int64_t i = 0; i < n; ++i)
    if (std::fabs(turns[i]) > T(1e7)) turns[i] = T(i);
  Data<bool> condition(n);
  for (int64_t i = 0; i < n; ++i) condition[i] = random_bits() & 1;
  const double parameters[2] = {0.75, 1.25};

  const char* unary[] = {
#define PN_UNARY_ANY(name, ...) #name,
#define PN_UNARY_FLOAT(name, ...) #name,
#include "kernels/elementwise_rows.h"
  };
  for (int f = 0; f < static_cast<int>(Unary::count); ++f) {
    const bool turning = f == int(Unary::sin) || f == int(Unary::cos) || f == int(Unary::tan);
    const Data<T>& x = turning ? turns : a;
    check_elementwise<T>(unary[f], kType<T>, n,
                         [&](int64_t i, int64_t m, T* y) { k.unary[f](m, &x[i], y, parameters); });
    Data<T> in_place = x, y(n);
    k.unary[f](n, x.get(), y.get(), parameters);
    k.unary[f](n, in_place.get(), in_place.get(), parameters);
    expect(std::string(unary[f]) + " in place", kType<T>, in_place.get(), y.get(), n);
  }
  const char* binary[] = {
#define PN_BINARY_ANY(name, ...) #name,
#define PN_BINARY_FLOAT(name, ...) #name,
#include "kernels/elementwise_rows.h"
  };
  for (int f = 0; f < static_cast<int>(Binary::count); ++f)
    check_elementwise<T>(binary[f], kType<T>, n, [&](int64_t i, int64_t m, T* y) { k.binary[f](m, &a[i], &b[i], y); });
  const char* ternary[] = {
#define PN_TERNARY_FLOAT(name, ...) #name,
#include "kernels/elementwise_rows.h"
  };
  for (int f = 0; f < static_cast<int>(Ternary::count); ++f)
    check_elementwise<T>(ternary[f], kType<T>, n,
                         [&](int64_t i, int64_t m, T* y) { k.ternary[f](m, &a[i], &b[i], &c[i], y); });
  const char* test[] = {
#define PN_TEST_ANY(name, ...) #name,
#define PN_TEST_FLOAT(name, ...) #name,
#include "kernels/elementwise_rows.h"
  };
  for (int f = 0; f < static_cast<int>(Test::count); ++f)
    check_elementwise<bool>(test[f], kType<T>, n, [&](int64_t i, int64_t m, bool* y) { k.test[f](m, &a[i], y); });
  const char* compare[] = {
#define PN_COMPARE_ANY(name, ...) #name,
#include "kernels/elementwise_rows.h"
  };
  for (int f = 0; f < static_cast<int>(Compare::count); ++f)
    check_elementwise<bool>(compare[f], kType<T>, n,
                            [&](int64_t i, int64_t m, bool* y) { k.compare[f](m, &a[i], &b[i], y); });
  check_elementwise<T>("where", kType<T>, n,
                       [&](int64_t i, int64_t m, T* y) { k.where(m, &condition[i], &a[i], &b[i], y); });
}

// ---- matrix product ----
template <class T>
void gemm(void (*run)(const Gemm<T>&)) {
  const bool fused = isa != "base";
  const int64_t sizes[][3] = {{1, 1, 1},   {1, 37, 5},   {37, 1, 19},  {3, 5, 1},     {5, 7, 3},     {17, 23, 31},
                              {8, 48, 16}, {67, 9, 130}, {9, 67, 530}, {33, 65, 129}, {101, 83, 67}, {4, 3, 1031}};
  int turn = 0;
  for (const auto& [m, n, k] : sizes) {
    Hash hash;
    for (int layout = 0; layout < 5; ++layout, ++turn) {
      const bool accumulate = turn % 2, biased = turn % 3 != 0;
      const bool a_turned = layout & 1, b_turned = layout & 2;
      const int64_t step = layout == 4 ? 2 : 1, a_gap = 3, b_gap = 1, c_row = n + 2;  // 4: no unit stride at all
      const int64_t a_long = (a_turned ? m : k) * step + a_gap, b_long = (b_turned ? k : n) * step + b_gap;
      const Data<T> a = moderate<T>((a_turned ? k : m) * a_long), b = moderate<T>((b_turned ? n : k) * b_long);
      const Data<T> bias = moderate<T>(n), c = moderate<T>(m * c_row), wanted = c;
      Gemm<T> g = {m, n, k, a.get(), a_long, step, b.get(), b_long, step, c.get(), c_row, accumulate, nullptr};
      if (a_turned) std::swap(g.a_row, g.a_col);
      if (b_turned) std::swap(g.b_row, g.b_col);
      if (biased) g.bias = bias.get();
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
          T sum = accumulate ? c[i * c_row + j] : T(0);
          for (int64_t p = 0; p < k; ++p) {
            const T x = g.a[i * g.a_row + p * g.a_col], y = g.b[p * g.b_row + j * g.b_col];
            sum = fused ? std::fma(x, y, sum) : x * y + sum;
          }
          wanted[i * c_row + j] = biased ? sum + bias[j] : sum;
        }
      set_num_threads(turn % 2 ? 1 : 3);
      run(g);
      expect("gemm", kType<T>, c.get(), wanted.get(), c.size());  // with the gaps between rows
      hash.add(c.get(), c.size());
    }
    hash.print("gemm " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k), kType<T>);
  }
}

// ---- reductions ----
template <class T>
T fold_two(Fold f, T a, T b) {
  switch (f) {
    case Fold::sum: return a + b;
    case Fold::prod: return a * b;
    case Fold::max: return a > b || a != a ? a : b;
    default: return a < b || a != a ? a : b;
  }
}

// The order that reduce.inl promises: 16 lanes, 4 (2) chains.
template <class T>
T fold_in_order(Fold f, int64_t n, const T* x) {
  constexpr int chains = sizeof(T) == 4 ? 4 : 2;
  const T infinity = std::numeric_limits<T>::infinity();
  T v[16 * chains];
  for (T& lane : v) lane = f == Fold::sum ? T(0) : f == Fold::prod ? T(1) : f == Fold::max ? -infinity : infinity;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t group = i / 16, chain = n - group * 16 < 16 ? chains - 1 : group % chains;
    T& lane = v[chain * 16 + i % 16];
    lane = fold_two(f, lane, x[i]);
  }
  for (int half = 8 * chains; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = fold_two(f, v[i], v[i + half]);
  return v[0];
}

template <class T>
double log_sum_exp(int64_t n, const T* x, int64_t step) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t i = 0; i < n; ++i) top = std::max(top, double(x[i * step]));
  for (int64_t i = 0; i < n; ++i) sum += std::exp(double(x[i * step]) - top);
  return std::log(sum) + top;
}

const int64_t kLengths[] = {1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 257, 1023, 1025, 4095};
const char* const kFolds[] = {"sum", "prod", "max", "min", "logsumexp"};

template <class T>
void reductions(const ReduceKernels<T>& k) {
  for (int f = 0; f < static_cast<int>(Fold::count); ++f) {
    const Fold fold = static_cast<Fold>(f);
    const bool exact = fold != Fold::logsumexp;
    Hash by_rows, by_columns;
    for (const int64_t n : kLengths) {
      const int64_t rows = 3, stride = n + 1;
      Data<T> x = fold == Fold::prod ? moderate<T>(rows * stride, 0.9, 1.1) : moderate<T>(rows * stride), y(rows);
      if (fold == Fold::max || fold == Fold::min) {
        x[n / 2] = std::numeric_limits<T>::quiet_NaN();
        x[stride + n / 3] = std::numeric_limits<T>::infinity();
      }
      k.rows[f](rows, n, stride, x.get(), y.get());
      for (int64_t r = 0; r < rows; ++r) {
        if (exact) {
          const T wanted = fold_in_order(fold, n, &x[r * stride]);
          expect(kFolds[f], kType<T>, &y[r], &wanted, 1);
        } else {
          expect_near(kFolds[f], y[r], log_sum_exp(n, &x[r * stride], 1), 8, r);
        }
      }
      by_rows.add(y.get(), rows);
      if (n > kColumnBlock) continue;
      const int64_t columns = 77, across = columns + 2;
      const Data<T> z = fold == Fold::prod ? moderate<T>(n * across, 0.9, 1.1) : mixed<T>(n * across);
      if (!exact)
        for (int64_t i = 0; i < z.size(); ++i) z[i] = static_cast<T>(uniform(-3, 3));
      Data<T> down(columns);
      k.columns[f](n, columns, across, z.get(), down.get());
      for (int64_t c = 0; c < columns; ++c) {
        if (exact) {
          T wanted = z[c];
          for (int64_t i = 1; i < n; ++i) wanted = fold_two(fold, wanted, z[i * across + c]);
          expect(std::string(kFolds[f]) + " of columns", kType<T>, &down[c], &wanted, 1);
        } else {
          expect_near("logsumexp of columns", down[c], log_sum_exp(n, &z[c], across), 8, c);
        }
      }
      by_columns.add(down.get(), columns);
    }
    by_rows.print(std::string(kFolds[f]) + "_rows", kType<T>);
    by_columns.print(std::string(kFolds[f]) + "_columns", kType<T>);
  }
  for (int logarithm = 0; logarithm < 2; ++logarithm) {
    const std::string name = logarithm ? "log_softmax" : "softmax";
    Hash by_rows, by_columns;
    const auto check = [&](T got, T x, double whole, int64_t at) {
      const double wanted = double(x) - whole;
      expect_near(name, got, logarithm ? wanted : std::exp(wanted), logarithm ? 16 : 1, at);
    };
    for (const int64_t n : kLengths) {
      const int64_t rows = n < 1000 ? 5 : 2;
      const Data<T> x = moderate<T>(rows * n), y(rows * n);
      k.softmax_rows[logarithm](rows, n, x.get(), y.get());
      for (int64_t r = 0; r < rows; ++r) {
        const double whole = log_sum_exp(n, &x[r * n], 1);
        for (int64_t i = r * n; i < (r + 1) * n; ++i) check(y[i], x[i], whole, i);
      }
      by_rows.add(y.get(), rows * n);
      const int64_t columns = 71;
      const Data<T> z = moderate<T>(rows * columns), w(rows * columns);
      k.softmax_columns[logarithm](rows, columns, columns, z.get(), w.get());
      for (int64_t i = 0; i < w.size(); ++i) check(w[i], z[i], log_sum_exp(rows, &z[i % columns], columns), i);
      by_columns.add(w.get(), w.size());
    }
    by_rows.print(name + "_rows", kType<T>);
    by_columns.print(name + "_columns", kType<T>);
  }
}

template <class T>
void losses(const LossKernels<T>& k) {
  Hash forward, backward;
  for (const int64_t n : {1, 3, 10, 33, 1030}) {
    const int64_t rows = 7, ignore = -100;
    const Data<T> x = moderate<T>(rows * n), g = moderate<T>(rows), y(rows), back(rows * n);
    std::vector<int64_t> target(rows);
    for (int64_t r = 0; r < rows; ++r) target[r] = r == 2 ? ignore : r * 5 % n;
    k.cross_entropy(rows, n, x.get(), target.data(), ignore, y.get());
    k.cross_entropy_backward(rows, n, x.get(), target.data(), ignore, g.get(), 1, back.get());
    for (int64_t r = 0; r < rows; ++r) {
      const double whole = log_sum_exp(n, &x[r * n], 1);
      const bool counted = target[r] != ignore;
      expect_near("cross_entropy", y[r], counted ? whole - double(x[r * n + target[r]]) : 0, 16, r);
      for (int64_t i = 0; i < n; ++i) {
        const double p = std::exp(double(x[r * n + i]) - whole) - (i == target[r]);
        expect_near("cross_entropy_backward", back[r * n + i], counted ? double(g[r]) * p : 0, 3, i);
      }
    }
    forward.add(y.get(), rows);
    backward.add(back.get(), rows * n);
  }
  forward.print("cross_entropy", kType<T>);
  backward.print("cross_entropy_backward", kType<T>);
}

// ---- optimisers ----
// update(n, w, g, s): three steps on all elements at once and element by element.
template <class T, class F>
void check_update(const std::string& name, const F& update) {
  const int64_t n = 101;
  const Data<T> w = moderate<T>(n), g = moderate<T>(n);
  Data<T> states[3] = {moderate<T>(n, 0.01, 1), moderate<T>(n, 0.01, 1), moderate<T>(n, 0.01, 1)};
  Data<T> w1 = w, states1[3] = {states[0], states[1], states[2]};
  for (int step = 0; step < 3; ++step) {
    T* all[3] = {states[0].get(), states[1].get(), states[2].get()};
    update(n, w.get(), g.get(), all);
    for (int64_t i = 0; i < n; ++i) {
      T* one[3] = {&states1[0][i], &states1[1][i], &states1[2][i]};
      update(1, &w1[i], &g[i], one);
    }
  }
  expect(name, kType<T>, w.get(), w1.get(), n);
  Hash hash;
  hash.add(w.get(), n);
  for (int s = 0; s < 3; ++s) {
    expect(name + " state", kType<T>, states[s].get(), states1[s].get(), n);
    hash.add(states[s].get(), n);
  }
  hash.print(name, kType<T>);
}

template <class T>
void optimisers(const OptimKernels<T>& k) {
  for (const double decay : {0.0, 0.01}) {
    const std::string with = decay != 0 ? " with decay" : "";
    const double lr = 0.03, sign = decay != 0 ? -1 : 1, eps = 1e-8;
    check_update<T>("sgd" + with, [&](int64_t n, T* w, const T* g, T**) { k.sgd(n, w, g, {lr, decay, sign}); });
    for (const bool nesterov : {false, true})
      check_update<T>(std::string(nesterov ? "nesterov" : "momentum") + with, [&](int64_t n, T* w, const T* g, T** s) {
        k.momentum(n, w, g, s[0], {lr, decay, sign, 0.9, 0.9, 0.8, nesterov});
      });
    for (const int parts : {0, 1, 2, 3})
      check_update<T>("rmsprop " + std::to_string(parts) + with, [&](int64_t n, T* w, const T* g, T** s) {
        k.rmsprop(n, w, g, s[0], parts & 1 ? s[1] : nullptr, parts & 2 ? s[2] : nullptr,
                  {lr, decay, sign, 0.99, eps, 0.9});
      });
    for (const bool top : {false, true})
      check_update<T>(std::string(top ? "amsgrad" : "adam") + with, [&](int64_t n, T* w, const T* g, T** s) {
        k.adam(n, w, g, s[0], s[1], top ? s[2] : nullptr, {lr, decay, sign, 0.9, 0.999, eps, 0.9997, 1.3});
      });
    check_update<T>("adagrad" + with,
                    [&](int64_t n, T* w, const T* g, T** s) { k.adagrad(n, w, g, s[0], {lr, decay, sign, eps}); });
    check_update<T>("adadelta" + with, [&](int64_t n, T* w, const T* g, T** s) {
      k.adadelta(n, w, g, s[0], s[1], {lr, decay, sign, 0.9, 1e-6});
    });
    check_update<T>("adamax" + with, [&](int64_t n, T* w, const T* g, T** s) {
      k.adamax(n, w, g, s[0], s[1], {lr, decay, sign, 0.9, 0.999, eps});
    });
    check_update<T>("nadam" + with, [&](int64_t n, T* w, const T* g, T** s) {
      k.nadam(n, w, g, s[0], s[1], {lr, 0.02, decay, sign, 0.9, 0.999, eps, 0.9997, 1.3});
    });
  }
}

// ---- random numbers ----
void philox(uint64_t seed, uint64_t block, uint32_t out[4]) {
  uint32_t c[4] = {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0};
  uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t x = uint64_t{kPhiloxM0} * c[0], y = uint64_t{kPhiloxM1} * c[2];
    const uint32_t next[4] = {static_cast<uint32_t>(y >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(y),
                              static_cast<uint32_t>(x >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(x)};
    std::copy(next, next + 4, c);
    key[0] += kPhiloxW0, key[1] += kPhiloxW1;
  }
  std::copy(c, c + 4, out);
}

// make(n, y) draws n numbers: a short draw must be the beginning of a long one.
template <class T, class F>
void check_draw(const std::string& name, const F& make) {
  const int64_t n = 3 * kGroupWords + 11;
  Data<T> whole(n), part(n);
  make(n, whole.get());
  for (const int64_t m : {1, 17, 32, 63, 64, 65, 130}) {
    make(m, part.get());
    expect(name, kType<T>, part.get(), whole.get(), m);
  }
  Hash hash;
  hash.add(whole.get(), n);
  hash.print(name, kType<T>);
}

template <class T>
void random_numbers(const RandomKernels<T>& k) {
  const Stream s = {0x123456789abcdef0u, 0xfffffff5u};  // the counter's low word wraps on the way
  const int64_t groups = 3;
  std::vector<uint32_t> words(groups * kGroupWords), wanted(words.size());
  k.words(s, groups, words.data());
  for (int64_t i = 0; i < groups * kGroupBlocks; ++i) {
    uint32_t four[4];
    philox(s.seed, s.block + static_cast<uint64_t>(i), four);
    const int64_t first = i / kGroupBlocks * kGroupWords + i % kGroupBlocks;
    for (int w = 0; w < 4; ++w) wanted[first + w * kGroupBlocks] = four[w];
  }
  expect("philox", kType<T>, words.data(), wanted.data(), groups * kGroupWords);
  Hash hash;
  hash.add(words.data(), groups * kGroupWords);
  hash.print("philox", kType<T>);
  const Data<T> p = moderate<T>(1000, 0, 1), x = mixed<T>(1000);
  check_draw<T>("uniform", [&](int64_t n, T* y) { k.uniform(s, n, T(-0.7), T(1.9), T(1.1), y); });
  check_draw<T>("normal", [&](int64_t n, T* y) { k.normal(s, n, T(0.3), T(1.7), y); });
  check_draw<T>("bernoulli", [&](int64_t n, T* y) { k.bernoulli(s, n, p.get(), y); });
  check_draw<T>("dropout", [&](int64_t n, T* y) { k.dropout(s, n, x.get(), 0x40000000u, T(4) / T(3), y); });
}

// ---- convolution, pooling, resampling ----
template <class T>
T fused(T a, T b, T c) {
  return isa != "base" ? std::fma(a, b, c) : a * b + c;
}

template <class T>
void convolution(const ConvKernels<T>& k) {
  Hash products, lanes, turns;
  for (int64_t rows = 1; rows < 33; rows += rows < 16 ? 1 : 5) {
    const int64_t columns = 16 * (rows == 1 ? 5 : 1 + rows % 3), taps = rows % 4 * 7, a_row = 1 + rows % 5, c_row = 83;
    const Data<T> a = moderate<T>(500), b = moderate<T>(600), column = moderate<T>(columns), row = moderate<T>(rows);
    const Data<T> c = moderate<T>(rows * c_row), wanted = c;
    std::vector<Tap> tap;
    for (int64_t t = 0; t < taps; ++t)
      tap.push_back({static_cast<int64_t>(random_bits() % 300), static_cast<int64_t>(random_bits() % 500)});
    const bool add = rows & 1, by_column = rows & 2, by_row = rows % 3 == 0;
    k.product({rows, columns, taps, tap.data(), a.get(), a_row, b.get(), c.get(), c_row, add,
               by_column ? column.get() : nullptr, by_row ? row.get() : nullptr});
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < columns; ++j) {
        T sum = 0;
        for (const Tap& t : tap) sum = fused(a[r * a_row + t.a], b[t.b + j], sum);
        if (add) sum = wanted[r * c_row + j] + sum;
        if (by_column) sum += column[j];
        if (by_row) sum += row[r];
        wanted[r * c_row + j] = sum;
      }
    expect("conv product", kType<T>, c.get(), wanted.get(), c.size());
    products.add(c.get(), c.size());
  }
  for (int64_t rows = 1; rows < 12; ++rows) {
    const int64_t columns = 1 + rows * 5 % 11, steps = rows % 4, images = rows % 3, n = rows * columns;
    const Data<T> a = moderate<T>(900), b = moderate<T>(900), sums = moderate<T>(n * kBatchLanes), wanted = sums;
    std::vector<int64_t> place;
    for (int64_t j = 0; j < columns; ++j) place.push_back(static_cast<int64_t>(random_bits() % 500));
    k.lane_product({rows, columns, steps, images, a.get(), 17, 211, b.get(), 143, place.data(), sums.get()});
    for (int64_t i = 0; i < n * kBatchLanes; ++i) {
      const int64_t l = i % kBatchLanes, j = i / kBatchLanes % columns, r = i / kBatchLanes / columns;
      for (int64_t m = 0; m < images; ++m)
        for (int64_t t = l; t < steps * kBatchLanes; t += kBatchLanes)
          wanted[i] = fused(a[m * 211 + r * 17 + t], b[m * 143 + place[j] + t], wanted[i]);
    }
    expect("conv lanes", kType<T>, sums.get(), wanted.get(), sums.size());
    lanes.add(sums.get(), sums.size());
    Data<T> folded(n);
    k.add_lanes(n, sums.get(), folded.get());
    for (int64_t i = 0; i < n; ++i) {
      T s[kBatchLanes];
      for (int64_t l = 0; l < kBatchLanes; ++l) s[l] = sums[i * kBatchLanes + l];
      for (int64_t half = kBatchLanes / 2; half > 0; half /= 2)
        for (int64_t l = 0; l < half; ++l) s[l] += s[l + half];
      if (!same(folded[i], s[0])) wrong("conv lanes", kType<T>, i, 0, 0);
    }
    lanes.add(folded.get(), n);
    Data<T> turned(13 * 130);
    k.transpose(sums.get(), 16, turned.get(), 130, n, 13);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t q = 0; q < 13; ++q)
        if (!same(turned[q * 130 + i], sums[i * 16 + q])) wrong("transpose", kType<T>, i, 0, 0);
    turns.add(turned.get(), turned.size());
  }
  for (int64_t step = 1; step < 4; ++step)
    for (int64_t n = 1; n < 70; n += 3) {
      constexpr int64_t planes = 2, rows = 3, part = 40, row = 130;
      const int64_t apart = (n + step - 1) / step + 1;  // of the rows that lie apart
      const Data<T> x = moderate<T>(planes * 500);
      Data<T> taken(3000), back(planes * 500);
      const int64_t part_of = rows * apart + part;
      k.take({planes, rows, n, step, x.get(), 500, row, taken.get(), 1000, apart, part_of});
      k.put({planes, rows, n, step, taken.get(), 1000, apart, back.get(), 500, row, part_of});
      for (int64_t p = 0; p < planes; ++p)
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t i = 0; i < n; ++i) {
            const T from = x[p * 500 + r * row + i];
            if (!same(taken[p * 1000 + i % step * part_of + r * apart + i / step], from))
              wrong("take", kType<T>, i, 0, 0);
            if (!same(back[p * 500 + r * row + i], from)) wrong("put", kType<T>, i, 0, 0);
          }
    }
  products.print("conv product", kType<T>), lanes.print("conv lanes", kType<T>), turns.print("transpose", kType<T>);
}

template <class T>
void pooling(const PoolKernels<T>& k) {
  using Place = typename PoolPlace<T>::type;
  Hash hash;
  for (int64_t lanes = 1; lanes <= kPoolLanes; lanes += 3)
    for (int64_t n = 1; n < 300; n += n < 5 ? 1 : 97) {
      const int64_t stride = n % 3 + 1;
      const Data<T> x = mixed<T>((n * stride + 101) * lanes);
      const int64_t tap[] = {3, 5, 4, 100, 101, 0}, at[] = {13, 15, 14, 200, 201, 10};
      Data<T> y(n * lanes);
      Data<Place> place(n * lanes);
      Data<int64_t> index(n * lanes);
      k.max_of_taps({n, stride, lanes, 6, tap, at, x.get(), y.get(), place.get()});
      k.spread_places(n, lanes, place.get(), index.get(), n);
      for (int64_t i = 0; i < n * lanes; ++i) {
        const int64_t j = i / lanes, l = i % lanes;
        int best = 0;
        const auto value = [&](int t) { return x[(tap[t] + j * stride) * lanes + l]; };
        for (int t = 1; t < 6; ++t)
          if (const T v = value(t); v > value(best) || v != v) best = t;
        if (index[l * n + j] != at[best] + j * stride || !same(y[i], value(best)))
          wrong("max of taps", kType<T>, i, double(y[i]), double(value(best)));
      }
      hash.add(y.get(), y.size());
      hash.add(index.get(), index.size());
    }
  hash.print("max of taps", kType<T>);
}

template <class T>
void resampling(const ResampleKernels<T>& k) {
  Hash hash;
  for (int64_t n = 1; n < 150; n += n < 40 ? 1 : 17) {
    const Data<T> x = moderate<T>(9 * n), weight = moderate<T>(10);
    const int64_t begin[] = {0, 4, 4, 5, 10}, place[] = {0, 3, 3, 8, 7, 1, 2, 3, 4, 5};
    Data<T> y(4 * n), wanted(4 * n);
    k.axis_sum({4, begin, place, weight.get(), n, x.get(), y.get()});
    for (int64_t i = 0; i < 4 * n; ++i)
      for (int64_t t = begin[i / n]; t < begin[i / n + 1]; ++t)
        wanted[i] = fused(weight[t], x[place[t] * n + i % n], wanted[i]);
    expect("axis sum", kType<T>, y.get(), wanted.get(), y.size());
    hash.add(y.get(), y.size());
  }
  hash.print("axis sum", kType<T>);
}

template <class T>
void all() {
  const FloatKernels<T>& k = kernels().of<T>();
  state = 1;
  elementwise(k.elementwise);
  gemm(k.gemm);
  reductions(k.reduce);
  losses(k.losses);
  optimisers(k.optim);
  random_numbers(k.random);
  convolution(k.conv);
  pooling(k.pool);
  resampling(k.resample);
}

}  // namespace

int main() {
  for (const std::string& name : available_isas()) {
    isa = name;
    set_isa(name);
    all<float>();
    all<double>();
  }
  return good ? 0 : 1;
}
