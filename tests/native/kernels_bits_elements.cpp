// Part of kernels_bits: what is done to each element by itself, and random numbers.
#include "core/philox.h"
#include "kernels_bits.h"

namespace {

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
  const int64_t groups = 7;
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
  std::vector<uint8_t> bits(1000 / 8 + 16);
  k.mask(s, 16, 0x40000000u, bits.data());
  Hash of_mask;
  of_mask.add(bits.data(), 16 * kGroupWords / 8);
  of_mask.print("dropout_mask", kType<T>);
  for (const int64_t at : {0, 13})
    for (const int64_t each : {1, 7})
      check_draw<T>("dropout", [&](int64_t n, T* y) {
        k.dropout({each, T(-1.5), T(4) / T(3), T(0.25)}, at, n, x.get(), bits.data(), y);
      });
}

// ---- recurrent cells ----
// What a recurrent kernel reads and writes for rows of n units, with gaps between the rows where they may be. Gates are
// sums before a forward step, and their values before a backward one.
template <class T>
struct Units {
  int64_t rows, n, wide, narrow;  // wide, narrow: from row to row of four numbers per unit, and of one
  bool begins;                    // nothing comes before, and no gradient from outside: zeros with stride 0
  Data<T> gates, g_gates, d, before, state, g, cell, dh, dc;

  Units(int64_t rows, int64_t n, bool begins, bool sums)
      : rows(rows),
        n(n),
        wide(4 * n + 3),
        narrow(n + 2),
        begins(begins),
        gates(sums ? moderate<T>(rows * wide) : moderate<T>(rows * wide, 0, 1)),
        g_gates(begins ? Data<T>(rows * wide) : moderate<T>(rows * wide)),
        d(rows * wide),
        before(begins ? Data<T>(rows * narrow) : moderate<T>(rows * narrow)),
        state(moderate<T>(rows * narrow, -1, 1)),
        g(begins ? Data<T>(rows * narrow) : moderate<T>(rows * narrow)),
        cell(moderate<T>(rows * n)),
        dh(moderate<T>(rows * n)),
        dc(moderate<T>(rows * n)) {}

  CellRows<T> view() const {
    const int64_t w = begins ? 0 : wide, s = begins ? 0 : narrow;
    return {rows,    n, gates.get(),   wide, before.get(), s,        state.get(), narrow, cell.get(),
            g.get(), s, g_gates.get(), w,    dh.get(),     dc.get(), d.get(),     wide};
  }
  // One unit by itself, its numbers in another type.
  template <class R>
  Units<R> unit(int64_t r, int64_t j) const {
    Units<R> one(1, 1, false, false);
    for (int64_t i = 0; i < 4; ++i) {
      one.gates[i] = R(gates[r * wide + i * n + j]), one.g_gates[i] = R(g_gates[r * wide + i * n + j]);
      one.d[i] = R(d[r * wide + i * n + j]);
    }
    one.before[0] = R(before[r * narrow + j]), one.state[0] = R(state[r * narrow + j]), one.g[0] = R(g[r * narrow + j]);
    one.cell[0] = R(cell[r * n + j]), one.dh[0] = R(dh[r * n + j]), one.dc[0] = R(dc[r * n + j]);
    return one;
  }
  // f(numbers, count) for all that may have been written.
  template <class F>
  void each(const F& f) const {
    f(gates, 4), f(d, 4), f(state, 1), f(cell, 1), f(dh, 1), f(dc, 1);
  }
};

// Rows of units, each unit by itself (the same bits), and the formula in double.
template <class T, class F, class G>
void check_cell(const std::string& name, bool forward, const F& kernel, const G& formula) {
  Hash hash;
  const int64_t sizes[][2] = {{1, 1}, {3, 5}, {2, 16}, {5, 33}, {4, 67}, {1, 131}};
  for (const auto& [rows, n] : sizes) {
    const Units<T> all(rows, n, rows == 4, forward), start = all;
    kernel(all.view());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < n; ++j) {
        const Units<T> alone = start.template unit<T>(r, j), got = all.template unit<T>(r, j);
        const Units<double> wanted = start.template unit<double>(r, j);
        kernel(alone.view());
        formula(wanted);
        std::vector<T> one, among;
        std::vector<double> exact;
        alone.each([&](const Data<T>& x, int64_t count) { one.insert(one.end(), x.get(), x.get() + count); });
        got.each([&](const Data<T>& x, int64_t count) { among.insert(among.end(), x.get(), x.get() + count); });
        wanted.each([&](const Data<double>& x, int64_t count) { exact.insert(exact.end(), x.get(), x.get() + count); });
        expect(name, kType<T>, among.data(), one.data(), static_cast<int64_t>(one.size()));
        for (size_t i = 0; i < one.size(); ++i) expect_near(name, one[i], exact[i], 4, static_cast<int64_t>(i));
      }
    all.each([&](const Data<T>& x, int64_t) { hash.add(x.get(), x.size()); });
  }
  hash.print(name, kType<T>);
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }
double slope(double y) { return y * (1 - y); }  // of the logistic function, from its value

template <class T>
void recurrent(const RecurrentKernels<T>& k) {
  using Unit = Units<double>;
  check_cell<T>("lstm", true, k.lstm, [](const Unit& u) {
    for (int i : {0, 1, 3}) u.gates[i] = logistic(u.gates[i]);
    u.gates[2] = std::tanh(u.gates[2]);
    u.cell[0] = u.gates[1] * u.before[0] + u.gates[0] * u.gates[2];
    u.state[0] = u.gates[3] * std::tanh(u.cell[0]);
  });
  check_cell<T>("lstm backward", false, k.lstm_backward, [](const Unit& u) {
    const double i = u.gates[0], f = u.gates[1], g = u.gates[2], o = u.gates[3], t = std::tanh(u.cell[0]);
    const double c = u.dc[0] + u.g[0] + u.dh[0] * o * (1 - t * t);
    u.d[0] = (c * g + u.g_gates[0]) * slope(i), u.d[1] = (c * u.before[0] + u.g_gates[1]) * slope(f);
    u.d[2] = (c * i + u.g_gates[2]) * (1 - g * g), u.d[3] = (u.dh[0] * t + u.g_gates[3]) * slope(o);
    u.dc[0] = c * f;
  });
  check_cell<T>("gru", true, k.gru, [](const Unit& u) {
    for (int i : {0, 1}) u.gates[i] = logistic(u.gates[i]);
    u.gates[2] = std::tanh(u.gates[2] + u.gates[0] * u.gates[3]);
    u.state[0] = u.gates[2] + u.gates[1] * (u.before[0] - u.gates[2]);
  });
  check_cell<T>("gru backward", false, k.gru_backward, [](const Unit& u) {
    const double r = u.gates[0], z = u.gates[1], n = u.gates[2], q = u.gates[3], h = u.dh[0] + u.g[0];
    u.d[2] = (h * (1 - z) + u.g_gates[2]) * (1 - n * n);
    u.d[0] = (u.d[2] * q + u.g_gates[0]) * slope(r), u.d[1] = (h * (u.before[0] - n) + u.g_gates[1]) * slope(z);
    u.d[3] = u.d[2] * r + u.g_gates[3];
    u.dh[0] = h * z;
  });
  for (const bool relu : {false, true})
    check_cell<T>(
        relu ? "rnn backward relu" : "rnn backward tanh", false, [&](const CellRows<T>& c) { k.rnn_backward(c, relu); },
        [&](const Unit& u) {
          const double y = u.state[0];
          u.d[0] = (u.dh[0] + u.g[0]) * (relu ? double(y > 0) : 1 - y * y);
          u.dh[0] = 0;
        });
}

}  // namespace

template <class T>
void elements(const FloatKernels<T>& k) {
  elementwise(k.elementwise);
  optimisers(k.optim);
  random_numbers(k.random);
  recurrent(k.recurrent);
}
template void elements<float>(const FloatKernels<float>&);
template void elements<double>(const FloatKernels<double>&);
