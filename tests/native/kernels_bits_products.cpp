// Part of kernels_bits: matrix products and convolutions.
#include "kernels_bits.h"

namespace {

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

// One row times a matrix, whose columns or rows stand together.
template <class T>
void row_product(void (*run)(const Gemm<T>&)) {
  Hash hash;
  for (const int64_t k : {64, 65, 79, 130, 1031})
    for (const int64_t n : {1, 5, 67, 133})
      for (const bool turned : {false, true}) {
        const int64_t across = turned ? 1 : n + 1, along = turned ? k + 1 : 1;
        const Data<T> a = moderate<T>(k), b = moderate<T>((k + 1) * (n + 1)), bias = moderate<T>(n), c(n), wanted(n);
        for (int64_t j = 0; j < n; ++j) {
          const T sum = dot_in_lanes(k, a.get(), &b[j * along], across);
          wanted[j] = k % 2 ? sum + bias[j] : sum;
        }
        set_num_threads(turned ? 1 : 3);
        run({1, n, k, a.get(), k, 1, b.get(), across, along, c.get(), n, false, k % 2 ? bias.get() : nullptr});
        expect("row product", kType<T>, c.get(), wanted.get(), n);
        hash.add(c.get(), n);
      }
  hash.print("row product", kType<T>);
}

// ---- convolution ----

// F(2, 3) of one vector, the source's sums and the result's.
template <class T>
void winograd_in(const T* d, int64_t step, T* to, int64_t to_step) {
  const T a = d[0], b = d[step], c = d[2 * step], e = d[3 * step];
  to[0] = a - c, to[to_step] = b + c, to[2 * to_step] = c - b, to[3 * to_step] = b - e;
}
template <class T>
void winograd_out(const T* m, int64_t step, T* to, int64_t to_step) {
  const T a = m[0], b = m[step], c = m[2 * step], e = m[3 * step];
  to[0] = a + b + c, to[to_step] = b - c - e;
}

template <class T>
void winograd(const ConvKernels<T>& k) {
  Hash sums;
  for (int64_t n = kBatchLanes; n < 5 * kBatchLanes; n += kBatchLanes) {
    const int64_t row = 2 * n + 2 + n % 3, point = n + 5;
    const Data<T> x = moderate<T>(4 * row), m = moderate<T>(16 * point);
    Data<T> v(16 * point), y(2 * row), plain(2 * row);
    k.winograd_source(n, x.get(), row, v.get(), point);
    k.winograd_result(n, m.get(), point, T(0.75), true, y.get(), row);
    k.winograd_result(n, m.get(), point, T(0.75), false, plain.get(), row);
    for (int64_t t = 0; t < n; ++t) {
      T half[16], whole[16], of_columns[8], of_both[4];
      for (int i = 0; i < 4; ++i) winograd_in(x.get() + i * row + 2 * t, 1, half + 4 * i, 1);
      for (int j = 0; j < 4; ++j) winograd_in(half + j, 4, whole + j, 4);
      for (int p = 0; p < 16; ++p)
        if (!same(v[p * point + t], whole[p])) wrong("winograd source", kType<T>, t, p, 0);
      for (int j = 0; j < 4; ++j) winograd_out(m.get() + j * point + t, 4 * point, of_columns + j, 4);
      for (int i = 0; i < 2; ++i) {
        winograd_out(of_columns + 4 * i, 1, of_both + 2 * i, 1);
        for (int j = 0; j < 2; ++j) {
          if (!same(plain[i * row + 2 * t + j], of_both[2 * i + j])) wrong("winograd result", kType<T>, t, i, j);
          if (!same(y[i * row + 2 * t + j], of_both[2 * i + j] + T(0.75))) wrong("winograd result", kType<T>, t, i, j);
        }
      }
    }
    for (int p = 0; p < 16; ++p) sums.add(v.get() + p * point, n);
    for (int i = 0; i < 2; ++i) sums.add(y.get() + i * row, 2 * n);
  }
  for (int64_t n = 1; n < 40; ++n)
    for (int64_t at = 0; at < n; ++at) {
      Data<T> x = moderate<T>(n);
      for (int64_t i = 0; i < n; ++i) x[i] = i % 2 ? T(2) : T(-2);
      bool all = k.within(n, x.get(), T(2));
      for (const T value : {T(-2.5), T(2.5), std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
        x[at] = value;
        all = all && !k.within(n, x.get(), T(2));
      }
      if (!all) wrong("within", kType<T>, n, at, 0);
    }
  sums.print("winograd", kType<T>);
}

template <class T>
void convolution(const ConvKernels<T>& k) {
  Hash products, lanes, turns;
  for (int64_t rows = 1; rows < 33; rows += rows < 16 ? 1 : 5) {
    const int64_t columns = 16 * (rows == 1 ? 13 : 1 + rows % 6), taps = rows % 4 * 7, a_row = 1 + rows % 5,
                  c_row = 230;
    const int64_t repeats = 1 + rows % 3, b_step = 16 + rows % 2 * 23, c_step = 16 + rows % 3;
    const Data<T> a = moderate<T>(700), b = moderate<T>(1200), row = moderate<T>(rows);
    const Data<T> c = moderate<T>(rows * c_row), wanted = c;
    std::vector<Tap> tap;
    for (int64_t t = 0; t < taps; ++t)
      tap.push_back({static_cast<int64_t>(random_bits() % 300), static_cast<int64_t>(random_bits() % 500)});
    const bool add = rows & 1, by_row = rows % 3 == 0;
    k.product({rows, columns, taps, tap.data(), a.get(), a_row, b.get(), c.get(), c_row, add,
               by_row ? row.get() : nullptr, repeats, 31, 57, b_step, c_step});
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < columns; ++j) {
        T sum = 0;
        const int64_t from = j / 16 * b_step + j % 16, to = r * c_row + j / 16 * c_step + j % 16;
        for (int64_t i = 0; i < repeats; ++i)
          for (const Tap& t : tap) sum = fused(a[i * 31 + r * a_row + t.a], b[i * 57 + t.b + from], sum);
        if (add) sum = wanted[to] + sum;
        if (by_row) sum += row[r];
        wanted[to] = sum;
      }
    expect("conv product", kType<T>, c.get(), wanted.get(), c.size());
    products.add(c.get(), c.size());
  }
  for (int64_t rows = 0; rows < 11; ++rows) {
    const int64_t columns = 1 + rows * 7, taps = rows * 5 % 12, width = 1 + rows * 13 % 40, z_row = 9,
                  y_row = columns + 2;
    const Data<T> z = moderate<T>(700), y = moderate<T>(1 + rows * y_row), wanted = y;
    std::vector<Tap> tap;
    for (int64_t t = 0; t < taps; ++t)
      tap.push_back({static_cast<int64_t>(random_bits() % 60) - 30, static_cast<int64_t>(random_bits() % 500)});
    k.sum_taps({rows, columns, taps, width, tap.data(), z.get(), z_row, T(0.75), y.get(), y_row});
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < columns; ++j) {
        T sum = 0;
        for (const Tap& t : tap)
          if (t.a + j >= 0 && t.a + j < width) sum += z[r * z_row + t.b + j];
        wanted[r * y_row + j] = sum + T(0.75);
      }
    expect("conv sum of taps", kType<T>, y.get(), wanted.get(), y.size());
    products.add(y.get(), y.size());
  }
  for (int64_t rows = 1; rows < 12; ++rows) {
    const bool ones = rows % 2;
    const int64_t given = 1 + rows * 5 % 11, columns = given + ones, n = rows * columns;
    const int64_t steps = rows % 4, images = rows % 3;
    const int64_t b_step = kBatchLanes + rows % 2 * 9;
    const Data<T> a = moderate<T>(900), b = moderate<T>(900), sums = moderate<T>(n * kBatchLanes), wanted = sums;
    std::vector<int64_t> place;
    for (int64_t j = 0; j < given; ++j) place.push_back(static_cast<int64_t>(random_bits() % 500));
    k.lane_product(
        {rows, given, steps, images, a.get(), 17, 211, b.get(), 143, place.data(), sums.get(), b_step, false, ones});
    for (int64_t i = 0; i < n * kBatchLanes; ++i) {
      const int64_t l = i % kBatchLanes, j = i / kBatchLanes % columns, r = i / kBatchLanes / columns;
      for (int64_t m = 0; m < images; ++m)
        for (int64_t t = 0; t < steps; ++t)
          wanted[i] = fused(a[m * 211 + r * 17 + t * kBatchLanes + l],
                            j == given ? T(1) : b[m * 143 + place[static_cast<size_t>(j)] + t * b_step + l], wanted[i]);
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

}  // namespace

template <class T>
void products(const FloatKernels<T>& k) {
  gemm(k.gemm);
  row_product(k.row_product);
  convolution(k.conv);
  winograd(k.conv);
}
template void products<float>(const FloatKernels<float>&);
template void products<double>(const FloatKernels<double>&);
