#include "learn/kmeans.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <type_traits>
#include <vector>

#include "core/aligned.h"
#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "learn/kmeans_bounds.h"

namespace pn::learn {

namespace {

constexpr int64_t kGroups = 16;         // partial sums that are kept apart, hence threads that can work
constexpr int64_t kGroupWork = 200000;  // multiply-adds that a group should have
constexpr int64_t kGroupRows = 8;       // rows per centre that a group should have: its sums are read and written too
constexpr int64_t kBlockBytes = 256 * 1024;       // rows that stay in the cache between their scores and their sums
constexpr int64_t kLongBlockBytes = 1024 * 1024;  // the same for matrix products, which read all centres per block
// What a block costs by bounds, in products that are made one by one: kOpenRow for each row whose label is open, which
// is fetched out of order. All products together cost kTogether of that each, and no less than those of kFetched
// centres, which the rows are fetched for. Estimated from runs on MNIST's 784 features with 10 and with 100 centres.
constexpr double kOpenRow = 11, kTogether = 0.4, kFetched = 17;
constexpr double kLostDigits = 1e4;  // a distance this near its possible error is computed from differences

struct Free {
  void operator()(void* p) const { aligned_give(p); }
};
template <class T>
using Buffer = std::unique_ptr<T[], Free>;

template <class T>
Buffer<T> buffer(int64_t n) {
  void* p = aligned_take(std::max<int64_t>(n, 1) * sizeof(T));
  if (!p) throw std::bad_alloc();
  return Buffer<T>(static_cast<T*>(p));
}

double dot(const double* a, const double* b, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; ++i) s += a[i] * b[i];
  return s;
}

// T: the type of scores. S: of the rows.
template <class T, class S>
class Rows final : public KMeans {
 public:
  Rows(const S* x, int64_t n, int64_t d, const double* weights, const double* mean)
      : x_(x), n_(n), d_(d), weights_(weights), mean_(d), norms_(n) {
    plan(1);
    if (mean)
      std::copy(mean, mean + d, mean_.begin());
    else
      find_mean();
    std::vector<DigitRange<T>> digits(groups_);
    each_block([&](int64_t g, int64_t first, int64_t rows) {
      const T* block = wide(g, first, rows);
      for (int64_t i = 0; i < rows; ++i)
        norms_[first + i] = kernels_.squared_distance(block + i * d_, mean_.data(), d_);
      if (kSame && !weights_) kernels_.digits(block, rows * d_, &digits[g]);
    });
    exact_ = !weights_ && fits(digits);
    for (int64_t i = 0; i < n_; ++i) spread_ += weights_ ? weights_[i] * norms_[i] : norms_[i];
    mean_norm_ = std::sqrt(dot(mean_.data(), mean_.data(), d_));
  }

  Step step(const double* centers, int64_t k, int32_t* labels, double* sums, double* mass) override {
    prepare(centers, k);
    std::vector<int64_t> moved(groups_);
    const int64_t size = k * (d_ + 1);
    const bool update = exact_ && summed_ == k;
    summed_ = 0;
    if (partial_size_ < groups_ * size) partial_ = buffer<double>(partial_size_ = groups_ * size);
    if (static_cast<int64_t>(places_.size()) < groups_ * (k + 1 + block_)) places_.resize(groups_ * (k + 1 + block_));
    if (exact_ && labels_.empty()) labels_.resize(n_);
    if (!update) each_group([&](int64_t g) { std::fill_n(partial_.get() + g * size, size, 0.0); });
    label_blocks([&](int64_t g, int64_t first, int64_t rows, const int32_t* found) {
      double* partial = partial_.get() + g * size;
      for (int64_t i = 0; i < rows; ++i) moved[g] += found[i] != labels[first + i];
      std::copy_n(found, rows, labels + first);
      if (update)
        move_rows(g, first, rows, found, partial);
      else
        add_rows(g, first, rows, found, partial);
    });
    if (exact_) {
      if (!update) std::copy_n(labels, n_, labels_.begin());
      summed_ = k;
    }
    const auto gather = [&](int64_t j) {
      double* to = sums + j * d_;
      std::fill_n(to, d_, 0.0);
      mass[j] = 0;
      for (int64_t g = 0; g < groups_; ++g) {
        const double* from = partial_.get() + g * size;
        for (int64_t p = 0; p < d_; ++p) to[p] += from[j * d_ + p];
        mass[j] += from[k * d_ + j];
      }
    };
    run_over(k, groups_ * size, gather);
    // sum w |x - m - c'|^2 = sum w |x - m|^2 - 2 c' . sum w (x - m) + w |c'|^2, where c' = c - m.
    Step result{0, spread_};
    for (int64_t j = 0; j < k; ++j) {
      double lean = 0, square = 0;
      for (int64_t p = 0; p < d_; ++p) {
        const double c = centers[j * d_ + p] - mean_[p];
        lean += c * (sums[j * d_ + p] - mass[j] * mean_[p]);
        square += c * c;
      }
      result.inertia += mass[j] * square - 2 * lean;
    }
    result.inertia = std::max(result.inertia, 0.0);
    for (const int64_t m : moved) result.moved += m;
    return result;
  }

  void assign(const double* centers, int64_t k, int32_t* labels, double* distances) override {
    prepare(centers, k);
    label_blocks([&](int64_t g, int64_t first, int64_t rows, const int32_t* found) {
      std::copy_n(found, rows, labels + first);
      if (!distances) return;
      const T* block = wide(g, first, rows);
      for (int64_t i = 0; i < rows; ++i)
        distances[first + i] = kernels_.squared_distance(block + i * d_, centers + found[i] * d_, d_);
    });
  }

  void distances(const double* centers, int64_t k, const double* closest, double* out) override {
    prepare(centers, k);
    each_block([&](int64_t g, int64_t first, int64_t rows) {
      const T* block = wide(g, first, rows);
      const T* scores = scores_of(g, block, rows);
      for (int64_t i = 0; i < rows; ++i) {
        const double norm = norms_[first + i], most = closest ? closest[first + i] : INFINITY;
        const double close = kLostDigits * error(norm);
        double* to = out + (first + i) * k;
        for (int64_t j = 0; j < k; ++j) {
          double value = norm + static_cast<double>(scores[i * k + j]);
          if (!(value > close)) value = kernels_.squared_distance(block + i * d_, centers + j * d_, d_);
          to[j] = value < most ? value : most;
        }
      }
    });
  }

  const double* mean() const override { return mean_.data(); }
  double spread() const override { return spread_; }
  int64_t full_rows() const override { return full_rows_; }

 private:
  static constexpr bool kSame = std::is_same_v<T, S>;

  // Groups and blocks, which depend on the shapes alone.
  void plan(int64_t k) {
    k_ = k;
    groups_ = std::clamp<int64_t>(std::min(n_ / (kGroupRows * k), n_ * d_ * k / kGroupWork), 1, kGroups);
    turned_ = k > 10 && (k < 17 || k > 20);  // elsewhere whole vectors of centres would run half empty
    block_ = std::clamp<int64_t>(
        (turned_ ? kLongBlockBytes : kBlockBytes) / (d_ * static_cast<int64_t>(sizeof(T))) / 8 * 8, 16, 512);
    if (!kSame && wide_size_ < groups_ * block_ * d_) wide_ = buffer<T>(wide_size_ = groups_ * block_ * d_);
  }

  template <class F>
  static void run_over(int64_t tasks, int64_t work, const F& f) {
    if (work > kGroupWork) return parallel_for(tasks, f);
    for (int64_t t = 0; t < tasks; ++t) f(t);
  }

  template <class F>
  void each_group(const F& f) {
    parallel_for(groups_, f);
  }

  // f(group, first row, rows) for every block; the blocks of a group come in order, on one thread.
  template <class F>
  void each_block(const F& f) {
    each_group([&](int64_t g) {
      const int64_t end = n_ * (g + 1) / groups_;
      for (int64_t first = n_ * g / groups_; first < end; first += block_) f(g, first, std::min(block_, end - first));
    });
  }

  // At most block_ rows as T.
  const T* wide(int64_t g, int64_t first, int64_t rows) {
    if constexpr (kSame) {
      return x_ + first * d_;
    } else {
      T* to = wide_.get() + g * block_ * d_;
      kernels_.widen(x_ + first * d_, rows * d_, to);
      return to;
    }
  }

  // f(group, first row, rows, their labels) for every block.
  template <class F>
  void label_blocks(const F& f) {
    const bool bounded = bounds_.keep(n_, d_, k_, d_ * static_cast<int64_t>(sizeof(S)), centers_);
    const bool known = bounded && bounds_.kept();
    if (known && turned_) make_table(center_rows_, false);
    std::vector<int64_t> dense(groups_);
    found_.resize(groups_ * 3 * block_), few_.resize(groups_ * (k_ + 2));
    each_block([&](int64_t g, int64_t first, int64_t rows) {
      int32_t* found = found_.data() + g * 3 * block_;
      if (!(known && label_by_bounds(g, first, rows, found + block_))) {
        const T* block = wide(g, first, rows);
        const T* scores = scores_of(g, block, rows);
        for (int64_t i = 0; i < rows; ++i) found[i] = pick(scores + i * k_, block + i * d_, norms_[first + i]);
        if (bounded) bound_all(first, rows, scores, found);
        dense[g] += rows;
      } else {
        for (int64_t i = 0; i < rows; ++i) found[i] = bounds_.label(first + i);
      }
      f(g, first, rows, found);
    });
    full_rows_ = 0;
    for (const int64_t m : dense) full_rows_ += m;
    if (bounded) bounds_.done(full_rows_, n_);
  }

  // Bounds of rows whose scores are known.
  void bound_all(int64_t first, int64_t rows, const T* scores, const int32_t* found) {
    for (int64_t i = 0; i < rows; ++i) {
      const double norm = norms_[first + i], off = full_error(norm);
      kernels_.bounds(scores + i * k_, k_, static_cast<T>(norm), static_cast<T>(off), bounds_.lower(first + i));
      const double square = norm + static_cast<double>(scores[i * k_ + found[i]]) + off;
      bounds_.upper(first + i) = square >= 0 ? above(std::sqrt(square)) : std::numeric_limits<float>::infinity();
      bounds_.label(first + i) = found[i];
    }
  }

  // Labels of a block after the centres have moved, or false if so many products are to be made that all are cheaper.
  // `work`: 2 block_ numbers.
  bool label_by_bounds(int64_t g, int64_t first, int64_t rows, int32_t* work) {
    int32_t open = 0;
    int64_t products = 0;
    for (int64_t i = 0; i < rows; ++i) {
      float& upper = bounds_.upper(first + i);
      upper = upper * (1 + 0x1p-21f) + bounds_.moves()[bounds_.label(first + i)];
      const int64_t close = kernels_.lower_bounds(bounds_.lower(first + i), bounds_.moves(), k_, upper);
      if (close < 2) continue;  // the row's own centre is always close
      work[open++] = static_cast<int32_t>(i);
      products += close;
    }
    const double together = kTogether * std::max(static_cast<double>(k_), kFetched) * static_cast<double>(rows);
    if (static_cast<double>(products) + kOpenRow * open > together) return false;
    for (int32_t i = 0; i < open; ++i) {
      if (i + 3 < open) fetch(first + work[i + 3]);
      label_row(g, first + work[i]);
    }
    return true;
  }

  void fetch(int64_t row) const {
    const char* at = reinterpret_cast<const char*>(x_ + row * d_);
    for (int64_t b = 0; b < d_ * static_cast<int64_t>(sizeof(S)); b += 64) __builtin_prefetch(at + b, 0, 2);
  }

  // The nearest centre of a row among those whose bounds leave it open: the one that pick() finds among all.
  void label_row(int64_t g, int64_t i) {
    const T* row = wide(g, i, 1);
    const T* centers = turned_ ? center_rows_.get() : table_.get();
    T* scores = scores_.get() + g * block_ * k_;
    int32_t* which = few_.data() + g * (k_ + 2);
    const double norm = norms_[i], off = full_error(norm);
    float* lower = bounds_.lower(i);
    int32_t& label = bounds_.label(i);
    which[0] = label;
    kernels_.scores_at(row, centers, d_, which, 1, d_, bias_.data(), scores);
    const double own = norm + static_cast<double>(scores[0]) + off;
    float& upper = bounds_.upper(i);
    upper = own >= 0 ? std::min(upper, above(std::sqrt(own))) : upper;
    lower[label] = std::numeric_limits<float>::infinity();
    const int64_t close = 1 + kernels_.not_above(lower, k_, upper, which + 1);
    kernels_.scores_at(row, centers, d_, which + 1, close - 1, d_, bias_.data(), scores + 1);
    int32_t left = 0;  // centres that rounding could make the nearest
    for (int64_t c = 0; c < close; ++c) {
      const int32_t j = which[c];
      const double least = norm + static_cast<double>(scores[c]) - off;
      const bool known = least < INFINITY;
      lower[j] = known && least > 0 ? below(std::sqrt(least)) : 0.0f;
      if (c == 0 || !known || !(least > own)) which[left++] = j;
    }
    if (left == 1) return;
    double best = INFINITY;
    for (int32_t c = 0; c < left; ++c) {
      const int32_t j = which[c];
      const double square = kernels_.squared_distance(row, centers_ + j * d_, d_);
      lower[j] = below(std::sqrt(square));
      if (square < best || (square == best && j < label)) best = square, label = j;
    }
    upper = above(std::sqrt(best));
  }

  // Adds the rows of a block and their weights to the sums of their labels, in order.
  void add_rows(int64_t g, int64_t first, int64_t rows, const int32_t* labels, double* partial) {
    const T* block = wide(g, first, rows);
    int32_t* ends = places_.data() + g * (k_ + 1 + block_);
    int32_t* order = ends + k_ + 1;
    std::fill_n(ends, k_ + 1, 0);
    for (int64_t i = 0; i < rows; ++i) {
      ++ends[labels[i] + 1];
      partial[k_ * d_ + labels[i]] += weights_ ? weights_[first + i] : 1.0;
    }
    // The rows of each label, in their order.
    for (int64_t j = 0; j < k_; ++j) ends[j + 1] += ends[j];
    for (int64_t i = 0; i < rows; ++i) order[ends[labels[i]]++] = static_cast<int32_t>(i);
    for (int64_t j = 0, begin = 0; j < k_; begin = ends[j++])
      if (ends[j] > begin)
        kernels_.add_rows(block, d_, order + begin, ends[j] - begin, weights_ ? weights_ + first : nullptr, d_,
                          partial + j * d_);
  }

  // Takes the rows of a block that have another label than in the last step from one sum to the other, without
  // rounding.
  void move_rows(int64_t g, int64_t first, int64_t rows, const int32_t* labels, double* partial) {
    constexpr int32_t kRow = 0;
    constexpr double kMinus = -1;
    for (int64_t i = 0; i < rows; ++i) {
      const int32_t from = labels_[first + i], to = labels[i];
      if (from == to) continue;
      const T* row = wide(g, first + i, 1);
      kernels_.add_rows(row, d_, &kRow, 1, nullptr, d_, partial + to * d_);
      kernels_.add_rows(row, d_, &kRow, 1, &kMinus, d_, partial + from * d_);
      partial[k_ * d_ + to] += 1;
      partial[k_ * d_ + from] -= 1;
      labels_[first + i] = to;
    }
  }

  // Whether sums of any rows, in any order, are exact in float64. Then rows can be moved from sum to sum, and the
  // result has the bits that adding them up afresh has.
  bool fits(const std::vector<DigitRange<T>>& digits) const {
    if (!kSame) return n_ < (int64_t{1} << 45);  // bytes
    double most = 0, least = INFINITY;
    for (const DigitRange<T>& g : digits) {
      most = std::max(most, static_cast<double>(g.most));
      least = std::min(least, static_cast<double>(g.least));
    }
    return most == 0 || static_cast<double>(n_) * (most / least) <= 0x1p52;
  }

  void find_mean() {
    partial_ = buffer<double>(partial_size_ = groups_ * d_);
    places_.resize(groups_ * (2 + block_));
    each_group([&](int64_t g) {
      std::fill_n(partial_.get() + g * d_, d_, 0.0);
      for (int64_t i = 0; i < block_; ++i) places_[g * (2 + block_) + i] = static_cast<int32_t>(i);
    });
    each_block([&](int64_t g, int64_t first, int64_t rows) {
      kernels_.add_rows(wide(g, first, rows), d_, places_.data() + g * (2 + block_), rows,
                        weights_ ? weights_ + first : nullptr, d_, partial_.get() + g * d_);
    });
    double total = weights_ ? 0 : static_cast<double>(n_);
    if (weights_)
      for (int64_t i = 0; i < n_; ++i) total += weights_[i];
    for (int64_t p = 0; p < d_; ++p) {
      double s = 0;
      for (int64_t g = 0; g < groups_; ++g) s += partial_[g * d_ + p];
      mean_[p] = s / total;
    }
  }

  // The centres as scores need them: -2 (c - m), as rows for few or as columns for a matrix product, and
  // |c - m|^2 + 2 m . (c - m), which the score of a row starts from.
  void prepare(const double* centers, int64_t k) {
    plan(k);
    centers_ = centers;
    if (table_size_ < k * d_) {
      table_size_ = k * d_;
      table_ = buffer<T>(table_size_), center_rows_ = buffer<T>(table_size_);
    }
    make_table(table_, turned_);
    if (scores_size_ < groups_ * block_ * k) scores_ = buffer<T>(scores_size_ = groups_ * block_ * k);
    bias_.resize(k);
    double longest = 0, highest = 0;
    for (int64_t j = 0; j < k; ++j) {
      double square = 0, lean = 0;
      for (int64_t p = 0; p < d_; ++p) {
        const double c = centers[j * d_ + p] - mean_[p];
        square += c * c;
        lean += c * mean_[p];
      }
      bias_[j] = static_cast<T>(square + 2 * lean);
      longest = std::max(longest, std::sqrt(square));
      highest = std::max(highest, std::abs(square + 2 * lean));
    }
    // A chain of L products is off by at most L + 1 roundings of the sum of their sizes, which |x| |c| bounds; a few
    // more for the rounded centres, the partial sums and the start value.
    const double unit = std::numeric_limits<T>::epsilon() / 2;
    const double chain = static_cast<double>(turned_ ? d_ : d_ / kernels_.lanes) + 8;
    error_slope_ = 2 * unit * chain * longest;
    error_start_ = 4 * unit * highest + 4 * chain * std::numeric_limits<T>::denorm_min();
  }

  // -2 (c - m) as rows, or as columns.
  void make_table(Buffer<T>& to, bool turned) const {
    for (int64_t j = 0; j < k_; ++j)
      for (int64_t p = 0; p < d_; ++p)
        to[turned ? p * k_ + j : j * d_ + p] = static_cast<T>(-2 * (centers_[j * d_ + p] - mean_[p]));
  }

  // Bound of the rounding error of the scores of a row at squared distance `norm` from the mean.
  double error(double norm) const { return error_start_ + error_slope_ * (std::sqrt(norm) + mean_norm_); }

  // The same of norm + score, of `norm` as a T, and of sums of squares in float64.
  double full_error(double norm) const {
    constexpr double kUnit = std::numeric_limits<T>::epsilon() / 2;
    return 2 * error(norm) + (4 * kUnit + (static_cast<double>(d_) + 64) * 0x1p-52) * norm;
  }

  T* scores_of(int64_t g, const T* block, int64_t rows) {
    T* out = scores_.get() + g * block_ * k_;
    if (turned_)
      table().gemm({rows, k_, d_, block, d_, 1, table_.get(), k_, 1, out, k_, false, bias_.data()});
    else
      kernels_.scores(block, d_, rows, table_.get(), d_, k_, d_, bias_.data(), out);
    return out;
  }

  // The label of a row: the lowest score, or the nearest of those that rounding could have put there.
  int32_t pick(const T* scores, const T* row, double norm) const {
    constexpr int kLanes = 8;
    int64_t j = 0;
    T least = std::numeric_limits<T>::infinity();
    if (k_ >= kLanes) {
      T lanes[kLanes];
      std::fill_n(lanes, kLanes, least);
      for (; j + kLanes <= k_; j += kLanes)
        for (int l = 0; l < kLanes; ++l) lanes[l] = scores[j + l] < lanes[l] ? scores[j + l] : lanes[l];
      for (const T v : lanes) least = v < least ? v : least;
    }
    for (; j < k_; ++j) least = scores[j] < least ? scores[j] : least;
    // Not below its exact value after rounding to T, and compared so that a NaN (of an overflow) counts as close.
    constexpr double kUnit = std::numeric_limits<T>::epsilon() / 2;
    const double highest = static_cast<double>(least) + 2 * error(norm);
    const T limit = static_cast<T>(highest + 4 * kUnit * std::abs(highest)) + std::numeric_limits<T>::denorm_min();
    int32_t label = -1, close = 0;
    for (int32_t c = static_cast<int32_t>(k_) - 1; c >= 0; --c) {  // without branches: which one is close is chance
      const bool near = !(scores[c] > limit);
      close += near;
      label = near ? c : label;
    }
    if (close == 1) return label;
    double best = INFINITY;
    int32_t nearest = label;
    for (int32_t c = label; c < k_; ++c)
      if (!(scores[c] > limit)) {
        const double distance = kernels_.squared_distance(row, centers_ + c * d_, d_);
        if (distance < best) best = distance, nearest = c;
      }
    return nearest;
  }

  static const FloatKernels<T>& table() { return kernels().of<T>(); }

  const S* x_;
  int64_t n_, d_, k_ = 1;
  const double* weights_;
  const KMeansKernels<T>& kernels_ = table().kmeans;
  std::vector<double> mean_, norms_;  // norms_: squared distances from the mean
  double spread_ = 0, mean_norm_ = 0;

  int64_t groups_ = 1, block_ = 16;
  Buffer<T> wide_, table_, center_rows_, scores_;
  Buffer<double> partial_;
  int64_t wide_size_ = 0, table_size_ = 0, scores_size_ = 0, partial_size_ = 0;
  std::vector<int32_t> places_, found_, few_;
  Bounds bounds_;
  int64_t full_rows_ = 0;
  std::vector<T> bias_;
  const double* centers_ = nullptr;
  bool turned_ = false;

  bool exact_ = false;           // sums of rows are exact in any order, so that a step may update those of the last
  int64_t summed_ = 0;           // centres of the last step, whose sums stand in partial_, or 0
  std::vector<int32_t> labels_;  // its labels
  double error_slope_ = 0, error_start_ = 0;
};

}  // namespace

std::unique_ptr<KMeans> KMeans::over(const float* x, int64_t n, int64_t d, const double* w, const double* mean) {
  return std::make_unique<Rows<float, float>>(x, n, d, w, mean);
}
std::unique_ptr<KMeans> KMeans::over(const double* x, int64_t n, int64_t d, const double* w, const double* mean) {
  return std::make_unique<Rows<double, double>>(x, n, d, w, mean);
}
std::unique_ptr<KMeans> KMeans::over(const uint8_t* x, int64_t n, int64_t d, const double* w, const double* mean) {
  return std::make_unique<Rows<float, uint8_t>>(x, n, d, w, mean);
}

}  // namespace pn::learn
