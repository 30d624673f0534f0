// Accuracy of csrc/kernels/cpu/math.h: the largest error of each function, in units in the last place, against libm in
// a wider type (double for float, 80-bit long double for double), over sampled or all floats. Compiled by
// tests/test_math_accuracy.py once per instruction set, with the flags of the kernels; by hand:
//   g++ -std=c++20 -O3 -march=x86-64-v3 -ffp-contract=off -fno-math-errno -fno-trapping-math
//     -DPN_ISA=avx2 math_accuracy.cpp && ./a.out
// Arguments: --stride N (every N-th float; 1 is exhaustive, minutes per function), --random N (that many random
// arguments), --only NAME, --speed (elements per ns). Also checks that vectors and scalar tails give the same bits.
// Prints one line per function and type: name, type, largest error, bound, where, hash of all output bits. The exit
// status is 1 if a bound is exceeded. Doubles are left out where long double is no wider (Windows, Arm Macs).
#include <cfloat>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

namespace pn::PN_ISA {
#include "../../csrc/kernels/cpu/math.h"
}  // namespace pn::PN_ISA

namespace {

namespace m = pn::PN_ISA;
constexpr int block = 4096;

template <class T>
struct Wide;
template <>
struct Wide<float> {
  using type = double;
};
template <>
struct Wide<double> {
  using type = long double;
};
template <class W>
using Narrow = std::conditional_t<std::is_same_v<W, double>, float, double>;
template <class T>
using W = typename Wide<T>::type;

template <class T>
struct Function {
  const char* name;
  double bound;
  void (*run)(const T*, const T*, T*, int);
  W<T> (*reference)(W<T>, W<T>);
  bool binary = false;
};

// The error of y as an approximation of `exact`, in units in the last place of T at `exact`.
template <class T>
double ulps(T y, W<T> exact) {
  constexpr int digits = sizeof(T) == 4 ? FLT_MANT_DIG : DBL_MANT_DIG;
  constexpr int smallest = sizeof(T) == 4 ? FLT_MIN_EXP - 1 : DBL_MIN_EXP - 1;
  constexpr W<T> largest = sizeof(T) == 4 ? W<T>(FLT_MAX) : W<T>(DBL_MAX);
  if (std::isnan(exact)) return std::isnan(y) ? 0 : INFINITY;
  if (std::isnan(y)) return INFINITY;
  int exponent = exact == 0 || std::isinf(exact) ? smallest : std::ilogb(exact);
  W<T> ulp = std::ldexp(W<T>(1), (exponent < smallest ? smallest : exponent) - digits + 1);
  if (std::fabs(exact) >
      largest) {  // overflow is due once rounding to T gives infinity; just below it, either is right
    W<T> top = std::ldexp(W<T>(1), (sizeof(T) == 4 ? FLT_MAX_EXP : DBL_MAX_EXP) - digits);
    if (std::isinf(y)) return std::signbit(y) == std::signbit(exact) ? 0 : INFINITY;
    return std::isinf(exact) ? INFINITY : double(std::fabs(W<T>(y) - exact) / top);
  }
  if (std::isinf(y)) {
    W<T> top = std::ldexp(W<T>(1), (sizeof(T) == 4 ? FLT_MAX_EXP : DBL_MAX_EXP) - digits);
    return std::signbit(y) == std::signbit(exact) ? double((largest + top - std::fabs(exact)) / top) : INFINITY;
  }
  if (y == 0 && exact == 0) return std::signbit(y) == std::signbit(exact) ? 0 : INFINITY;
  return double(std::fabs(W<T>(y) - exact) / ulp);
}

uint64_t random_state = 1;

uint64_t random_bits() {  // splitmix64
  uint64_t z = random_state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

double uniform(double low, double high) { return low + (high - low) * double(random_bits() >> 11) * 0x1p-53; }

// Special values, then random ones that dwell where functions of this kind change: around 0 and 1, up to +-50, +-750.
template <class T>
std::vector<T> inputs(size_t random_count) {
  const bool single = sizeof(T) == 4;
  std::vector<T> x;
  const double tiny = single ? FLT_TRUE_MIN : DBL_TRUE_MIN, normal = single ? FLT_MIN : DBL_MIN;
  const double specials[] = {0,
                             tiny,
                             2 * tiny,
                             normal,
                             normal - tiny,
                             1,
                             0.5,
                             2,
                             3,
                             10,
                             100,
                             1000,
                             8,
                             1024,
                             0.1,
                             0.55,
                             1.5707963,
                             4,
                             88.7,
                             88.73,
                             103.97,
                             104.1,
                             709,
                             709.79,
                             745,
                             746,
                             17.5,
                             37.5,
                             1e10,
                             1e30,
                             126,
                             127,
                             149,
                             1022,
                             1023,
                             1074,
                             single ? FLT_MAX : DBL_MAX,
                             INFINITY};
  for (double s : specials)
    for (double sign : {1.0, -1.0})
      for (int step = -2; step <= 2; ++step) {
        T v = T(sign * s);
        for (int i = 0; i < std::abs(step); ++i) v = std::nextafter(v, T(step < 0 ? -INFINITY : INFINITY));
        x.push_back(v);
      }
  x.push_back(T(NAN));
  for (size_t i = 0; i < random_count; ++i) {
    double v = 0;
    const double unit = uniform(-1, 1);  // drawn here: compilers differ in the order in which arguments are evaluated
    switch (i % 8) {
      case 0: v = unit; break;
      case 1: v = uniform(-4, 4); break;
      case 2: v = uniform(-50, 50); break;
      case 3: v = uniform(single ? -120 : -750, single ? 120 : 750); break;
      case 4: v = uniform(0, 2); break;
      case 5: v = 1 + std::ldexp(unit, -int(random_bits() % 50)); break;
      case 6: v = std::ldexp(unit, int(random_bits() % 90) - 60); break;
      default: {
        uint64_t bits = random_bits();
        if (single) {
          float f;
          std::memcpy(&f, &bits, 4);
          v = f;
        } else {
          std::memcpy(&v, &bits, 8);
        }
      }
    }
    x.push_back(T(v));
  }
  while (x.size() % block) x.push_back(T(1));
  return x;
}

template <class T>
struct Record {
  double worst = 0;
  T at = 0, at2 = 0;
  uint64_t hash = 1469598103934665603u;

  void check(const Function<T>& f, const T* x, const T* x2, const T* y, int n) {
    for (int i = 0; i < n; ++i) {
      double error = ulps<T>(y[i], f.reference(W<T>(x[i]), W<T>(x2[i])));
      if (!(error <= worst)) worst = error, at = x[i], at2 = x2[i];
      uint64_t bits = 0;
      T canonical = std::isnan(y[i]) ? T(NAN) : y[i];
      std::memcpy(&bits, &canonical, sizeof(T));
      hash = (hash ^ bits) * 1099511628211u;
    }
  }
};

// Whether pieces too short for vectors give the bits that one long call gave.
template <class T>
bool same_in_pieces(const Function<T>& f, const T* x, const T* x2, const T* y) {
  T piece[3];
  for (int i = 0; i + 3 <= block; i += 3) {
    f.run(x + i, x2 + i, piece, 3);
    for (int j = 0; j < 3; ++j)
      if (std::memcmp(&piece[j], &y[i + j], sizeof(T)) != 0 && !(std::isnan(piece[j]) && std::isnan(y[i + j]))) {
        std::printf("%s(%a) depends on its place in the array\n", f.name, double(x[i + j]));
        return false;
      }
  }
  return true;
}

template <class T>
bool report(const Function<T>& f, const Record<T>& r) {
  const bool good = r.worst <= f.bound;
  std::printf("%-11s %s  %8.3f  <= %.2f  at %a", f.name, sizeof(T) == 4 ? "f32" : "f64", r.worst, f.bound,
              double(r.at));
  if (f.binary) std::printf(" %a", double(r.at2));
  std::printf("  hash %016llx%s\n", static_cast<unsigned long long>(r.hash), good ? "" : "  EXCEEDED");
  std::fflush(stdout);
  return good;
}

template <class T>
bool measure(const Function<T>& f, uint64_t stride, size_t random_count) {
  if (sizeof(T) == 8 && LDBL_MANT_DIG < 64) return true;
  Record<T> record;
  std::vector<T> y(block);
  bool same = true;
  random_state = 1;
  auto x = inputs<T>(random_count);
  auto x2 = x;
  if (f.binary)  // all pairs of specials first, then a shuffle of the second column
    for (size_t i = x2.size() - 1; i > 0; --i) std::swap(x2[i], x2[random_bits() % (i + 1)]);
  for (size_t i = 0; i < x.size(); i += block) {
    f.run(&x[i], &x2[i], y.data(), block);
    record.check(f, &x[i], &x2[i], y.data(), block);
    if (i < 4 * block) same = same_in_pieces(f, &x[i], &x2[i], y.data()) && same;
  }
  if (f.binary) {
    std::vector<T> a(x.begin(), x.begin() + 400), b(a.size()), out(a.size());
    for (size_t s = 0; s < a.size(); ++s) {
      for (auto& v : b) v = x[s];
      f.run(a.data(), b.data(), out.data(), int(a.size()));
      record.check(f, a.data(), b.data(), out.data(), int(a.size()));
    }
  }
  if (sizeof(T) == 4 && !f.binary) {
    x.resize(block);
    for (uint64_t bits = 0; bits <= 0xffffffffu;) {
      for (int i = 0; i < block; ++i, bits += stride) {
        uint32_t b = bits <= 0xffffffffu ? uint32_t(bits) : 0;
        std::memcpy(&x[i], &b, 4);
      }
      f.run(x.data(), x.data(), y.data(), block);
      record.check(f, x.data(), x.data(), y.data(), block);
    }
  }
  return report(f, record) && same;
}

template <class T>
void speed(const Function<T>& f) {
  std::vector<T> x(block), x2(block), y(block);
  random_state = 7;
  for (auto& v : x) v = T(uniform(0.01, 6));
  for (auto& v : x2) v = T(uniform(-3, 3));
  double best = 1e30;
  for (int repeat = 0; repeat < 30; ++repeat) {
    auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 20; ++i) f.run(x.data(), x2.data(), y.data(), block);
    double ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
    best = ns < best ? ns : best;
  }
  std::printf("%-11s %s  %6.3f elements/ns\n", f.name, sizeof(T) == 4 ? "f32" : "f64", 20.0 * block / best);
}

#define UNARY(name, bound32, bound64, exact)                                                             \
  struct name##_case {                                                                                   \
    template <class T>                                                                                   \
    __attribute__((noinline)) static void run(const T* __restrict x, const T*, T* __restrict y, int n) { \
      for (int i = 0; i < n; ++i) y[i] = m::name(x[i]);                                                  \
    }                                                                                                    \
    template <class W>                                                                                   \
    static W reference(W x, W) {                                                                         \
      return exact;                                                                                      \
    }                                                                                                    \
    static constexpr Function<float> f32 = {#name, bound32, run<float>, reference<double>};              \
    static constexpr Function<double> f64 = {#name, bound64, run<double>, reference<long double>};       \
  };

// Compared only where the vector code is meant to work; elsewhere the caller falls back.
#define TRIG(name, bound32, bound64, exact) \
  UNARY(name, bound32, bound64, m::trig_needs_libm(Narrow<W>(x)) ? W(m::name(Narrow<W>(x))) : exact)

#define BINARY(name, bound32, bound64, exact)                                                                         \
  struct name##_case {                                                                                                \
    template <class T>                                                                                                \
    __attribute__((noinline)) static void run(const T* __restrict x, const T* __restrict z, T* __restrict y, int n) { \
      for (int i = 0; i < n; ++i) y[i] = m::name(x[i], z[i]);                                                         \
    }                                                                                                                 \
    template <class W>                                                                                                \
    static W reference(W x, W z) {                                                                                    \
      return exact;                                                                                                   \
    }                                                                                                                 \
    static constexpr Function<float> f32 = {#name, bound32, run<float>, reference<double>, true};                     \
    static constexpr Function<double> f64 = {#name, bound64, run<double>, reference<long double>, true};              \
  };

#include "math_cases.inc"

#undef UNARY
#undef TRIG
#undef BINARY

}  // namespace

int main(int argc, char** argv) {
  uint64_t stride = 10007, random_count = 200000;
  const char* only = nullptr;
  bool time_it = false;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--stride") && i + 1 < argc) stride = std::strtoull(argv[++i], nullptr, 10);
    if (!std::strcmp(argv[i], "--random") && i + 1 < argc) random_count = std::strtoull(argv[++i], nullptr, 10);
    if (!std::strcmp(argv[i], "--only") && i + 1 < argc) only = argv[++i];
    if (!std::strcmp(argv[i], "--speed")) time_it = true;
  }
  bool good = true;
  auto each = [&](const auto& f) {
    if (only && std::strcmp(only, f.name)) return;
    if (time_it)
      speed(f);
    else
      good = measure(f, stride ? stride : 1, random_count) && good;
  };
#define UNARY(name, bound32, bound64, exact) each(name##_case::f32), each(name##_case::f64);
#define TRIG(name, bound32, bound64, exact) UNARY(name, bound32, bound64, exact)
#define BINARY(name, bound32, bound64, exact) UNARY(name, bound32, bound64, exact)
#include "math_cases.inc"
  return good ? 0 : 1;
}
