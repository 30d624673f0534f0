// What the parts of the program kernels_bits share: inputs, hashes of results, and what is said of a wrong one.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/threads.h"
#include "kernels/kernels.h"

using namespace pn;

// The parts; each defines one for float and double.
template <class T>
void elements(const FloatKernels<T>&);
template <class T>
void products(const FloatKernels<T>&);
template <class T>
void sums(const FloatKernels<T>&);

inline std::string isa;  // that is run now
inline bool good = true;

template <class T>
constexpr const char* kType = sizeof(T) == 4 ? "f32" : "f64";

// ---- inputs ----
inline uint64_t state = 1;
inline uint64_t random_bits() {  // splitmix64
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
inline double uniform(double low, double high) {
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

inline void wrong(const std::string& name, const char* type, int64_t at, double got, double wanted) {
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

// a * b + c, rounded as the instruction set rounds it.
template <class T>
T fused(T a, T b, T c) {
  return isa != "base" ? std::fma(a, b, c) : a * b + c;
}

// The sum of n products in 16 lanes, joined 8 apart, 4 apart, 2 apart and neighbours; b's elements are `step` apart.
template <class T>
T dot_in_lanes(int64_t n, const T* a, const T* b, int64_t step) {
  T lane[16] = {};
  for (int64_t i = 0; i < n; ++i) lane[i % 16] = fused(a[i], b[i * step], lane[i % 16]);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}
