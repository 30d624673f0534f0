// Sequential minimal optimisation with second-order choice of the pair (Fan, Chen and Lin, JMLR 6, 2005) and shrinking
// (as in libsvm), in signed multipliers: F is the gradient, and a step moves b_i up and b_j down by the same amount.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "learn/svm_cache.h"

namespace pn::learn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kFlat = 1e-12;           // curvature of a pair whose kernel rows are the same
constexpr double kSmallestMargin = 1e-5;  // of the largest length: below, classes count as not separable
// Problems that cost nothing are solved until rounding stops it, so that hand-sized results can be compared exactly and
// a weight of 2 is the same as a row that stands there twice.
constexpr int64_t kSmall = 200, kExtraIterations = 20000;
constexpr double kFine = 1e-12;
constexpr int64_t kShrinkEvery = 1000, kCheckEvery = 64, kCertificateEvery = 1000;

template <class T>
class Smo {
 public:
  Smo(SvmSource<T>& source, SvmProblem& problem, const SvmOptions& options, SvmStorage<T>& storage, int64_t data_rows,
      int64_t cache_bytes, SvmMonitor& monitor)
      : source_(source),
        p_(problem),
        options_(options),
        monitor_(monitor),
        count_(static_cast<int64_t>(problem.row.size())),
        active_(count_),
        variable_(count_),
        row_(problem.row),
        f_(problem.linear),
        beta_(count_, 0.0),
        low_(problem.low),
        high_(problem.high),
        diagonal_(count_),
        cache_(source, storage, data_rows, count_, distinct(problem.row, data_rows), cache_bytes) {
    for (int64_t k = 0; k < count_; ++k) {
      variable_[k] = k;
      diagonal_[k] = source.diagonal(row_[k]);
      if (!std::isfinite(diagonal_[k]))
        fail<ValueError>("svm: the kernel of row ", row_[k], " with itself is ", diagonal_[k],
                         "; scale the features, or lower gamma or degree");
      largest_ = std::max(largest_, diagonal_[k]);
      if (high_[k] == kInfinity || low_[k] == -kInfinity) hard_ = true;
    }
    source_.set_columns(row_);
  }

  void solve() {
    const int64_t most =
        options_.max_iterations >= 0 ? options_.max_iterations : std::max<int64_t>(10'000'000, 100 * count_);
    int64_t until_shrink = std::min(count_, kShrinkEvery), reported = 0,
            extra = count_ <= kSmall ? kExtraIterations : 0;
    p_.status = SvmProblem::converged;
    scan();
    while (true) {
      if (gap() < options_.tolerance) {
        if (active_ < count_) {
          restore();
          until_shrink = 1;  // what was left out wrongly is in again; leave out the others at once
        }
        if (gap() < options_.tolerance && (gap() <= kFine || extra-- <= 0)) break;
      }
      if (p_.iterations >= most) {
        if (!(gap() < options_.tolerance)) p_.status = SvmProblem::iterations_used;
        break;
      }
      if (--until_shrink <= 0) {
        until_shrink = std::min(count_, kShrinkEvery);
        if (options_.shrinking && count_ > kSmall) shrink();
      }
      if (p_.iterations % kCheckEvery == 0) {
        if (!monitor_.go_on(p_.iterations - reported, gap())) {
          p_.status = monitor_.out_of_time() ? SvmProblem::time_used : SvmProblem::stopped;
          break;
        }
        reported = p_.iterations;
      }
      step();
      ++p_.iterations;
      if (hard_ && p_.iterations % kCertificateEvery == 0 && separated_by_nothing()) {
        p_.status = SvmProblem::unbounded;
        break;
      }
    }
    if (active_ < count_) restore();
    if (hard_ && p_.status == SvmProblem::converged && separated_by_nothing()) p_.status = SvmProblem::unbounded;
    finish();
  }

 private:
  static int64_t distinct(const std::vector<int64_t>& rows, int64_t data_rows) {
    std::vector<bool> seen(data_rows);
    int64_t n = 0;
    for (const int64_t r : rows)
      if (!seen[r]) seen[r] = true, ++n;
    return n;
  }

  bool may_rise(int64_t k) const { return beta_[k] < high_[k]; }
  bool may_fall(int64_t k) const { return beta_[k] > low_[k]; }
  double gap() const { return rising_ < 0 || falling_ < 0 ? 0.0 : most_ - least_; }

  // The variable that gains most by rising (least F) and the one that gains most by falling.
  void see(int64_t k) {
    if (f_[k] < least_ && may_rise(k)) least_ = f_[k], rising_ = k;
    if (f_[k] > most_ && may_fall(k)) most_ = f_[k], falling_ = k;
  }
  void forget() { least_ = kInfinity, most_ = -kInfinity, rising_ = falling_ = -1; }
  void scan() {
    forget();
    for (int64_t k = 0; k < active_; ++k) see(k);
  }

  const T* kernel_row(int64_t k) {
    return cache_.get(row_[k], [&](std::vector<int64_t>& wanted) { add_violators(wanted); });
  }

  // Appends the rows that violate the conditions most and are not at hand, worst first.
  void add_violators(std::vector<int64_t>& wanted) {
    const double middle = (least_ + most_) / 2, enough = options_.tolerance / 2;
    const int64_t room = cache_.batch() - 1;
    worst_.clear();
    const auto less_bad = [](const auto& a, const auto& b) {
      return a.first > b.first || (a.first == b.first && a.second < b.second);
    };
    for (int64_t k = 0; k < active_; ++k) {
      const double off = f_[k] - middle;
      const double bad = off < 0 ? (may_rise(k) ? -off : 0) : (may_fall(k) ? off : 0);
      if (bad <= enough || (static_cast<int64_t>(worst_.size()) == room && bad <= worst_.front().first)) continue;
      if (row_[k] == wanted[0] || cache_.has(row_[k])) continue;
      if (std::any_of(worst_.begin(), worst_.end(), [&](const auto& w) { return w.second == row_[k]; })) continue;
      if (static_cast<int64_t>(worst_.size()) == room) {
        std::pop_heap(worst_.begin(), worst_.end(), less_bad);
        worst_.pop_back();
      }
      worst_.emplace_back(bad, row_[k]);
      std::push_heap(worst_.begin(), worst_.end(), less_bad);
    }
    std::sort(worst_.begin(), worst_.end(), less_bad);
    for (const auto& [bad, row] : worst_) wanted.push_back(row);
  }

  void step() {
    const int64_t i = rising_;
    const T* ki = kernel_row(i);
    // The partner with which the objective falls most, to second order.
    const double fi = least_, own = diagonal_[i];
    int64_t j = -1;
    double best = 0;
    for (int64_t k = 0; k < active_; ++k) {
      const double b = f_[k] - fi;
      if (!(b > 0) || !may_fall(k)) continue;
      const double a = own + diagonal_[k] - 2.0 * static_cast<double>(ki[k]);
      const double gain = b * b / (a > 0 ? a : kFlat);
      if (gain > best) best = gain, j = k;
    }
    if (j < 0) fail<ValueError>("svm: kernel values are not finite; scale the features, or lower gamma or degree");
    const T* kj = kernel_row(j);
    const double a = own + diagonal_[j] - 2.0 * static_cast<double>(ki[j]);
    double by = (f_[j] - fi) / (a > 0 ? a : kFlat);
    const double up = high_[i] - beta_[i], down = beta_[j] - low_[j];
    if (by >= up || by >= down) {  // to a bound, exactly
      by = std::min(up, down);
      beta_[i] = up <= down ? high_[i] : beta_[i] + by;
      beta_[j] = down <= up ? low_[j] : beta_[j] - by;
    } else {
      beta_[i] += by;
      beta_[j] -= by;
    }
    forget();
    for (int64_t k = 0; k < active_; ++k) {
      f_[k] += by * (static_cast<double>(ki[k]) - static_cast<double>(kj[k]));
      see(k);
    }
  }

  // Leaves out variables at a bound that the conditions push against it.
  void shrink() {
    std::vector<int64_t> kept, left;
    for (int64_t k = 0; k < active_; ++k) {
      const bool out = !may_rise(k) ? f_[k] < least_ && may_fall(k) : !may_fall(k) && f_[k] > most_;
      (out ? left : kept).push_back(k);
    }
    if (left.empty()) return;
    const int64_t now = static_cast<int64_t>(kept.size());
    std::vector<int64_t> order = kept;
    order.insert(order.end(), left.begin(), left.end());
    for (int64_t k = active_; k < count_; ++k) order.push_back(k);
    permute(order);
    cache_.keep_columns(kept);
    active_ = now;
    set_columns(0, active_);
    scan();
  }

  // Takes all variables in again, and computes the gradient of those that were out.
  void restore() {
    set_columns(active_, count_);
    const int64_t out = count_ - active_;
    constexpr int64_t kRows = 64;
    std::vector<int64_t> rows;
    std::vector<double> weights;
    std::vector<T> values(kRows * out);
    for (int64_t k = active_; k < count_; ++k) f_[k] = p_.linear[variable_[k]];
    for (int64_t k = 0; k <= count_; ++k) {
      if (k < count_ && beta_[k] != 0) rows.push_back(row_[k]), weights.push_back(beta_[k]);
      if (rows.empty() || (k < count_ && static_cast<int64_t>(rows.size()) < kRows)) continue;
      source_.fill(rows.data(), static_cast<int64_t>(rows.size()), values.data(), out);
      for (size_t r = 0; r < rows.size(); ++r)
        for (int64_t c = 0; c < out; ++c)
          f_[active_ + c] += weights[r] * static_cast<double>(values[static_cast<int64_t>(r) * out + c]);
      rows.clear(), weights.clear();
    }
    active_ = count_;
    set_columns(0, count_);
    cache_.restart(count_);
    scan();
  }

  void set_columns(int64_t from, int64_t to) {
    source_.set_columns(std::vector<int64_t>(row_.begin() + from, row_.begin() + to));
  }

  template <class V>
  void permute(std::vector<V>& values, const std::vector<int64_t>& order) {
    std::vector<V> old = values;
    for (size_t k = 0; k < order.size(); ++k) values[k] = old[order[k]];
  }
  void permute(const std::vector<int64_t>& order) {
    permute(variable_, order), permute(row_, order);
    for (auto* values : {&f_, &beta_, &low_, &high_, &diagonal_}) permute(*values, order);
  }

  // Whether the multipliers prove that the margin is next to nothing: the hulls of the two classes come as close as
  // 2 sqrt(b K b) / sum |b| in the space of the kernel, and twice the margin is not more than that.
  bool separated_by_nothing() const {
    double sum = 0, square = 0;
    for (int64_t k = 0; k < count_; ++k) {
      if (beta_[k] == 0) continue;
      sum += std::abs(beta_[k]);
      square += beta_[k] * (f_[k] - p_.linear[variable_[k]]);
    }
    return sum > 0 && std::sqrt(std::max(square, 0.0)) < kSmallestMargin * std::sqrt(largest_) * sum;
  }

  void finish() {
    p_.gap = gap();
    p_.beta.assign(count_, 0.0);
    double sum = 0, objective = 0;
    int64_t free = 0;
    for (int64_t k = 0; k < count_; ++k) {
      if (!std::isfinite(f_[k]))
        fail<ValueError>("svm: kernel values are not finite; scale the features, or lower gamma or degree");
      p_.beta[variable_[k]] = beta_[k];
      objective += beta_[k] * (f_[k] + p_.linear[variable_[k]]);
      if (may_rise(k) && may_fall(k)) sum += f_[k], ++free;
    }
    p_.objective = objective / 2;
    // Where nothing is free, any threshold between the two sides is optimal: take the middle.
    if (free > 0)
      p_.rho = sum / static_cast<double>(free);
    else
      p_.rho = rising_ < 0 ? most_ : falling_ < 0 ? least_ : (least_ + most_) / 2;
  }

  SvmSource<T>& source_;
  SvmProblem& p_;
  const SvmOptions& options_;
  SvmMonitor& monitor_;
  const int64_t count_;
  int64_t active_;
  std::vector<int64_t> variable_, row_;  // in the present order, active ones first
  std::vector<double> f_, beta_, low_, high_, diagonal_;
  SvmRowCache<T> cache_;
  std::vector<std::pair<double, int64_t>> worst_;
  double least_ = kInfinity, most_ = -kInfinity, largest_ = 0;
  int64_t rising_ = -1, falling_ = -1;
  bool hard_ = false;
};

}  // namespace

template <class T>
void svm_solve(SvmSource<T>& source, SvmProblem& problem, const SvmOptions& options, SvmStorage<T>& storage,
               int64_t data_rows, int64_t cache_bytes, SvmMonitor& monitor) {
  Smo<T>(source, problem, options, storage, data_rows, cache_bytes, monitor).solve();
}

template void svm_solve(SvmSource<float>&, SvmProblem&, const SvmOptions&, SvmStorage<float>&, int64_t, int64_t,
                        SvmMonitor&);
template void svm_solve(SvmSource<double>&, SvmProblem&, const SvmOptions&, SvmStorage<double>&, int64_t, int64_t,
                        SvmMonitor&);

}  // namespace pn::learn
