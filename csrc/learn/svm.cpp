// Fits of several problems over the threads, and decision values of what came out.
#include "learn/svm.h"

#include <algorithm>
#include <exception>
#include <numeric>

#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "learn/svm_cache.h"

namespace pn::learn {
namespace {

constexpr std::chrono::milliseconds kReportEvery{50};

// Kernel values computed from rows of data: a product of the wanted rows with the columns in use, which lie together.
template <class T>
class ComputedSource : public SvmSource<T> {
 public:
  ComputedSource(const SvmRows<T>& x, const SvmKernel& kernel) : x_(x), kernel_(kernel), place_(x.rows, -1) {}

  double diagonal(int64_t row) const override {
    T value;
    const T* a = x_.values.data() + row * x_.columns;
    svm_kernel_block(kernel_, x_.columns, 1, a, &x_.squares[row], 1, a, &x_.squares[row], &value, 1);
    return static_cast<double>(value);
  }

  void set_columns(const std::vector<int64_t>& rows) override {
    for (const int64_t r : used_) place_[r] = -1;
    used_.clear();
    column_.resize(rows.size());
    for (size_t k = 0; k < rows.size(); ++k) {
      if (place_[rows[k]] < 0) {
        place_[rows[k]] = static_cast<int64_t>(used_.size());
        used_.push_back(rows[k]);
      }
      column_[k] = place_[rows[k]];
    }
    gather(used_.data(), static_cast<int64_t>(used_.size()), values_, squares_);
  }

  void fill(const int64_t* wanted, int64_t count, T* out, int64_t out_row) override {
    gather(wanted, count, wanted_values_, wanted_squares_);
    const int64_t n = static_cast<int64_t>(used_.size()), columns = static_cast<int64_t>(column_.size());
    T* to = out;
    int64_t to_row = out_row;
    if (n < columns) {  // some columns are the same row of data: compute it once
      block_.resize(count * n);
      to = block_.data(), to_row = n;
    }
    svm_kernel_block(kernel_, x_.columns, count, wanted_values_.data(), wanted_squares_.data(), n, values_.data(),
                     squares_.data(), to, to_row);
    if (n < columns)
      for (int64_t r = 0; r < count; ++r)
        for (int64_t k = 0; k < columns; ++k) out[r * out_row + k] = block_[r * n + column_[k]];
  }

  int64_t batch() const override { return 16; }

 private:
  void gather(const int64_t* rows, int64_t count, std::vector<T>& values, std::vector<T>& squares) {
    const int64_t d = x_.columns;
    values.resize(count * d), squares.resize(count);
    for (int64_t r = 0; r < count; ++r) {
      const T* from = x_.values.data() + rows[r] * d;
      std::copy(from, from + d, values.data() + r * d);
      squares[r] = x_.squares[rows[r]];
    }
  }

  const SvmRows<T>& x_;
  const SvmKernel& kernel_;
  std::vector<int64_t> place_, used_, column_;  // place_: of a row of data among the used ones
  std::vector<T> values_, squares_, wanted_values_, wanted_squares_, block_;
};

// Kernel values that were given as a matrix.
template <class T>
class GivenSource : public SvmSource<T> {
 public:
  GivenSource(const T* gram, int64_t row_stride) : gram_(gram), row_stride_(row_stride) {}
  double diagonal(int64_t row) const override { return static_cast<double>(gram_[row * row_stride_ + row]); }
  void set_columns(const std::vector<int64_t>& rows) override { columns_ = rows; }
  void fill(const int64_t* wanted, int64_t count, T* out, int64_t out_row) override {
    for (int64_t r = 0; r < count; ++r)
      for (size_t k = 0; k < columns_.size(); ++k)
        out[r * out_row + static_cast<int64_t>(k)] = gram_[wanted[r] * row_stride_ + columns_[k]];
  }
  int64_t batch() const override { return 1; }

 private:
  const T* gram_;
  int64_t row_stride_;
  std::vector<int64_t> columns_;
};

// Each thread takes the largest problem that is left.
template <class T, class MakeSource>
void fit_all(const MakeSource& make_source, int64_t data_rows, std::vector<SvmProblem>& problems,
             const SvmOptions& options, const SvmMonitor::Report& report) {
  const int64_t count = static_cast<int64_t>(problems.size());
  const int64_t workers = std::max<int64_t>(1, std::min<int64_t>(num_threads(), count));
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return problems[a].row.size() > problems[b].row.size(); });
  SvmMonitor monitor(count, options.max_seconds, report);
  std::atomic<int64_t> next{0};
  std::vector<std::exception_ptr> errors(workers);
  parallel_for(workers, [&](int64_t worker) {
    try {
      SvmStorage<T> storage;
      auto source = make_source();
      for (int64_t t; (t = next.fetch_add(1)) < count;) {
        svm_solve<T>(source, problems[order[t]], options, storage, data_rows, options.cache_bytes / workers, monitor);
        monitor.problem_done();
      }
    } catch (...) {
      errors[worker] = std::current_exception();
      monitor.stop();
    }
  });
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
}

constexpr int64_t kTestRows = 256, kVectors = 256;  // of one block: its values as float64 fit the second-level cache

// Adds to out (rows, pairs) what the vectors first .. first + count contribute, by class; values (rows, count) float64.
void add_votes(const SvmMachines& m, int64_t first, int64_t count, int64_t rows, const double* values, int64_t row,
               double* part, double* out) {
  const int64_t total = m.first.back(), others = std::max<int64_t>(1, m.classes - 1), pairs = m.pairs();
  for (int64_t c = 0; c < std::max<int64_t>(1, m.classes); ++c) {
    const int64_t from = std::max(first, m.first[c]), to = std::min(first + count, m.first[c + 1]);
    if (from >= to) continue;
    kernels().f64.gemm({rows, others, to - from, values + (from - first), row, 1, m.coefficients + from, 1, total, part,
                        others, false, nullptr});
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t other = 0; other < others; ++other) {
        // Row `other` of the coefficients is for the pair with class `other`, or with the next one from c on.
        const int64_t a = std::min(c, other), b = other >= c ? other + 1 : c;
        const int64_t pair = m.classes < 2 ? 0 : a * (2 * m.classes - a - 1) / 2 + (b - a - 1);
        out[i * pairs + pair] += part[i * others + other];
      }
  }
}

void start_from_rho(const SvmMachines& m, int64_t rows, double* out) {
  const int64_t pairs = m.pairs();
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t p = 0; p < pairs; ++p) out[i * pairs + p] = -m.rho[p];
}

// Runs values(first, count, to) for blocks of rows and vectors, which writes float64 kernel values.
template <class Values>
void decide(int64_t rows, const SvmMachines& m, double* out, const Values& values) {
  const int64_t total = m.first.back(), others = std::max<int64_t>(1, m.classes - 1);
  parallel_for((rows + kTestRows - 1) / kTestRows, [&](int64_t task) {
    const int64_t start = task * kTestRows, here = std::min(kTestRows, rows - start);
    std::vector<double> block(here * std::min(kVectors, total)), part(here * others);
    double* to = out + start * m.pairs();
    start_from_rho(m, here, to);
    values(start, here, [&](int64_t first, int64_t count, const auto* from, int64_t from_row) {
      for (int64_t i = 0; i < here; ++i)
        for (int64_t j = 0; j < count; ++j) block[i * count + j] = static_cast<double>(from[i * from_row + j]);
      add_votes(m, first, count, here, block.data(), count, part.data(), to);
    });
  });
}

}  // namespace

SvmMonitor::SvmMonitor(int64_t problems, double max_seconds, Report report)
    : problems_(problems),
      max_seconds_(max_seconds),
      report_(std::move(report)),
      caller_(std::this_thread::get_id()),
      start_(Clock::now()),
      next_(start_ + kReportEvery) {}

bool SvmMonitor::go_on(int64_t new_iterations, double gap) {
  iterations_.fetch_add(new_iterations, std::memory_order_relaxed);
  if (stop_.load(std::memory_order_relaxed)) return false;
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - start_).count();
  if (max_seconds_ > 0 && seconds >= max_seconds_) {
    out_of_time_.store(true);
    stop_.store(true);
    return false;
  }
  // next_ is the caller's alone.
  if (report_ && std::this_thread::get_id() == caller_ && now >= next_) {
    next_ = now + kReportEvery;
    if (!report_({done_.load(), problems_, iterations_.load(), gap, seconds})) stop_.store(true);
  }
  return !stop_.load();
}

template <class T>
void svm_fit(const SvmRows<T>& x, const SvmKernel& kernel, std::vector<SvmProblem>& problems, const SvmOptions& options,
             const SvmMonitor::Report& report) {
  fit_all<T>([&] { return ComputedSource<T>(x, kernel); }, x.rows, problems, options, report);
}

template <class T>
void svm_fit(const T* gram, int64_t n, int64_t row_stride, std::vector<SvmProblem>& problems, const SvmOptions& options,
             const SvmMonitor::Report& report) {
  fit_all<T>([&] { return GivenSource<T>(gram, row_stride); }, n, problems, options, report);
}

template <class T>
void svm_decide(const T* x, int64_t rows, int64_t row_stride, const double* centre, const SvmRows<T>& vectors,
                const SvmKernel& kernel, const SvmMachines& machines, double* out) {
  const int64_t d = vectors.columns;
  decide(rows, machines, out, [&](int64_t start, int64_t here, const auto& add) {
    const SvmRows<T> block(x + start * row_stride, here, d, row_stride, centre);
    std::vector<T> values(here * kVectors);
    for (int64_t first = 0; first < vectors.rows; first += kVectors) {
      const int64_t count = std::min(kVectors, vectors.rows - first);
      svm_kernel_block(kernel, d, here, block.values.data(), block.squares.data(), count,
                       vectors.values.data() + first * d, vectors.squares.data() + first, values.data(), count);
      add(first, count, values.data(), count);
    }
  });
}

template <class T>
void svm_decide(const T* values, int64_t rows, int64_t row_stride, const SvmMachines& machines, double* out) {
  const int64_t total = machines.first.back();
  decide(rows, machines, out, [&](int64_t start, int64_t, const auto& add) {
    for (int64_t first = 0; first < total; first += kVectors)
      add(first, std::min(kVectors, total - first), values + start * row_stride + first, row_stride);
  });
}

#define PN_SVM(T)                                                                                          \
  template void svm_fit(const SvmRows<T>&, const SvmKernel&, std::vector<SvmProblem>&, const SvmOptions&,  \
                        const SvmMonitor::Report&);                                                        \
  template void svm_fit(const T*, int64_t, int64_t, std::vector<SvmProblem>&, const SvmOptions&,           \
                        const SvmMonitor::Report&);                                                        \
  template void svm_decide(const T*, int64_t, int64_t, const double*, const SvmRows<T>&, const SvmKernel&, \
                           const SvmMachines&, double*);                                                   \
  template void svm_decide(const T*, int64_t, int64_t, const SvmMachines&, double*);
PN_SVM(float)
PN_SVM(double)

}  // namespace pn::learn
