// Part of kernels_bits: reductions, softmax, losses, segments, pooling, resampling.
#include "kernels_bits.h"

namespace {

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

// ---- segments and edges ----
template <class T>
void segments(const SegmentKernels<T>& k) {
  Hash folds, takes, shares, sums, dots;
  const int64_t rows = 97, nodes = 23;
  std::vector<int64_t> start = {0}, order(rows), other(rows);
  while (start.back() < rows) start.push_back(std::min(rows, start.back() + static_cast<int64_t>(random_bits() % 9)));
  const int64_t count = static_cast<int64_t>(start.size()) - 1;
  for (int64_t i = 0; i < rows; ++i) order[i] = i * 31 % rows, other[i] = static_cast<int64_t>(random_bits() % nodes);
  const Segments s = {0, count, rows, start.data(), order.data()};
  for (const int64_t columns : {1, 3, 4, 16, 35}) {
    const Data<T> x = moderate<T>(rows * columns), top(count * columns), sum(count * columns), wanted(count * columns);
    Data<T> y(rows * columns), spread(rows * columns), work(rows * columns), two(2 * columns);
    for (const Fold f : {Fold::sum, Fold::max}) {
      const Data<T>& got = f == Fold::sum ? sum : top;
      k.fold[f != Fold::sum](s, columns, x.get(), got.get());
      for (int64_t i = 0; i < wanted.size(); ++i) {
        wanted[i] = 0;
        for (int64_t j = start[i / columns]; j < start[i / columns + 1]; ++j) {
          const T value = x[order[j] * columns + i % columns];
          wanted[i] = j == start[i / columns] ? value : fold_two(f, wanted[i], value);
        }
      }
      expect("segments fold", kType<T>, got.get(), wanted.get(), wanted.size());
    }
    k.take(s, columns, sum.get(), spread.get());
    k.softmax(s, columns, x.get(), y.get(), work.get(), two.get());
    for (int64_t v = 0; v < count; ++v)
      for (int64_t c = 0; c < columns; ++c) {
        double whole = 0;
        for (int64_t j = start[v]; j < start[v + 1]; ++j) whole += std::exp(double(x[order[j] * columns + c]));
        for (int64_t j = start[v]; j < start[v + 1]; ++j) {
          const int64_t at = order[j] * columns + c;
          if (!same(spread[at], sum[v * columns + c])) wrong("segments take", kType<T>, at, 0, 0);
          expect_near("segments softmax", y[at], std::exp(double(x[at])) / whole, 1, at);
        }
      }
    folds.add(sum.get(), sum.size()), folds.add(top.get(), top.size());
    takes.add(spread.get(), spread.size()), shares.add(y.get(), y.size());
  }
  const int64_t shapes[][2] = {{1, 1}, {3, 5}, {2, 16}, {4, 32}, {1, 37}};
  for (const auto& [heads, depth] : shapes) {
    const int64_t columns = heads * depth;
    const Data<T> weight = moderate<T>(rows * heads), x = moderate<T>(nodes * columns),
                  a = moderate<T>(count * columns);
    const Data<T> sum(count * columns), wanted(count * columns), dot(rows * heads), products(rows * heads);
    const EdgeWork<T> work = {s, other.data(), nodes, heads, depth};
    k.edge_sum(work, weight.get(), x.get(), sum.get());
    k.edge_dot(work, a.get(), x.get(), dot.get());
    for (int64_t v = 0; v < count; ++v)
      for (int64_t j = start[v]; j < start[v + 1]; ++j)
        for (int64_t h = 0, e = order[j]; h < heads; ++h) {
          const T* row = &x[other[e] * columns + h * depth];
          T* to = &wanted[v * columns + h * depth];
          for (int64_t i = 0; i < depth; ++i) to[i] = fused(weight[e * heads + h], row[i], to[i]);
          products[e * heads + h] = dot_in_lanes(depth, &a[v * columns + h * depth], row, 1);
        }
    expect("edge sum", kType<T>, sum.get(), wanted.get(), sum.size());
    expect("edge dot", kType<T>, dot.get(), products.get(), dot.size());
    sums.add(sum.get(), sum.size()), dots.add(dot.get(), dot.size());
  }
  folds.print("segments fold", kType<T>), takes.print("segments take", kType<T>);
  shares.print("segments softmax", kType<T>), sums.print("edge sum", kType<T>), dots.print("edge dot", kType<T>);
}

// ---- pooling and resampling ----
template <class T, class P>
void pooling(const PoolKernels<T>& k, int32_t far) {
  constexpr bool kWide = sizeof(P) > 1;
  const int64_t rows = 2;
  Hash hash;
  for (int64_t lanes = 1; lanes <= kBatchLanes; lanes += 3)
    for (int64_t n = 1, trial = 0; n < 300; n += n < 5 ? trial % 4 == 0 : 97, ++trial) {
      const int64_t stride = n % 3 + 1, x_row = (n * stride + 7) * lanes, made = rows * n * lanes;
      const int taps_each = trial & 1 ? 4 : 6;
      Data<T> x = mixed<T>(rows * x_row + 101 * lanes);
      // Without NaN, and with many equals, zeros of both signs among them.
      for (int64_t i = 0; i < x.size() && trial & 2; ++i) x[i] = T(static_cast<int64_t>(random_bits() % 5) - 2) * T(-1);
      const int64_t offset[] = {3 * lanes, 5 * lanes, 4 * lanes, 100 * lanes, 101 * lanes, 0};
      const int32_t number[] = {13, 15, 14, far, far - 1, 10};
      Data<T> y(made);
      Data<P> place(made), spread(made);
      const PoolTaps taps = {rows, n, x_row, stride * lanes, n * lanes, taps_each, offset, number, kWide};
      k.max_of_taps(taps, lanes, x.get(), y.get(), place.get());
      k.spread_places(kWide, rows * n, lanes, place.get(), spread.get(), rows * n);
      for (int64_t i = 0; i < made; ++i) {
        const int64_t j = i / lanes, l = i % lanes;
        int best = 0;
        const auto value = [&](int t) { return x[j / n * x_row + j % n * stride * lanes + offset[t] + l]; };
        for (int t = 1; t < taps_each; ++t)
          if (const T v = value(t); v > value(best) || v != v) best = t;
        if (static_cast<int32_t>(place[i]) != number[best] || !same(y[i], value(best)))
          wrong("max of taps", kType<T>, i, double(y[i]), double(value(best)));
        if (spread[l * rows * n + j] != place[i])
          wrong("spread places", kType<T>, i, spread[l * rows * n + j], place[i]);
      }
      hash.add(y.get(), y.size());
      hash.add(place.get(), place.size());
    }
  hash.print(kWide ? "max of taps, wide" : "max of taps", kType<T>);
  for (const int64_t stride : {4, 5}) {
    constexpr int64_t kPositions = 37, L = kBatchLanes;
    const int64_t taps = stride - 1, x_row = (kPositions * stride + 2) * L;
    const int64_t offset[] = {0, L, 3 * L, 2 * L};
    const int32_t number[] = {0, 1, far, 2};
    const Data<T> dy = mixed<T>(rows * kPositions * L);
    Data<P> place(dy.size());
    Data<T> dx(rows * x_row);
    for (int64_t i = 0; i < place.size(); ++i) place[i] = static_cast<P>(number[i % 7 % taps]);
    for (int64_t i = 0; i < dx.size(); ++i) dx[i] = T(7);
    k.choose_places({rows, kPositions, x_row, stride * L, kPositions * L, taps, offset, number, kWide}, dy.get(),
                    place.get(), dx.get());
    for (int64_t i = 0; i < dx.size(); ++i) {
      const int64_t at = i % x_row / L, j = at / stride, from = (i / x_row * kPositions + j) * L + i % L;
      int t = 0;
      while (t < taps && offset[t] != at % stride * L) ++t;
      const bool seen = j < kPositions && t < taps;
      const T wanted = !seen ? T(7) : static_cast<int32_t>(place[from]) == number[t] ? T(0) + dy[from] : T(0);
      if (!same(dx[i], wanted)) wrong("chosen places", kType<T>, i, double(dx[i]), double(wanted));
    }
  }
  for (const int64_t lanes : {int64_t{1}, kBatchLanes}) {
    constexpr int64_t kPlanes = 3, kRow = 29, n = 9;
    std::vector<int64_t> row(2), column(n), offset(static_cast<size_t>(far) + 1);
    row[1] = kRow * lanes;
    for (int64_t j = 0; j < n; ++j) column[j] = (j + j / 4) * lanes;
    for (size_t t = 0; t < offset.size(); ++t) offset[t] = static_cast<int64_t>(t % 5) * lanes;
    const Data<T> dy = moderate<T>(kPlanes * rows * n * lanes);
    Data<P> place(dy.size());
    Data<T> dx(kPlanes * rows * kRow * lanes), wanted(dx.size());
    for (int64_t i = 0; i < place.size(); ++i) place[i] = static_cast<P>(i % 3 ? far - i % 5 : i % 4);
    const PoolPlaces where = {
        rows, n, rows * kRow, static_cast<int64_t>(offset.size()), row.data(), column.data(), offset.data(), kWide};
    k.add_places(where, kPlanes, lanes, dy.get(), place.get(), dx.get());
    for (int64_t i = 0; i < dy.size(); ++i) {
      const int64_t j = i / lanes % (rows * n), plane = i / lanes / (rows * n);
      wanted[plane * rows * kRow * lanes + row[j / n] + column[j % n] + offset[place[i]] + i % lanes] += dy[i];
    }
    expect("added places", kType<T>, dx.get(), wanted.get(), dx.size());
  }
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

}  // namespace

template <class T>
void sums(const FloatKernels<T>& k) {
  reductions(k.reduce);
  losses(k.losses);
  segments(k.segments);
  pooling<T, uint8_t>(k.pool, 255);
  pooling<T, int32_t>(k.pool, 70000);
  resampling(k.resample);
}
template void sums<float>(const FloatKernels<float>&);
template void sums<double>(const FloatKernels<double>&);
