// Support vector machines: kernels in blocks, sequential minimal optimisation (SMO), decision values.
//
// A problem is solved in its signed multipliers b_k = y_k alpha_k:
//
//     minimise  1/2 sum_kl K_kl b_k b_l + sum_k linear_k b_k   subject to  sum_k b_k = 0,  low_k <= b_k <= high_k
//
// so that classification (linear = -y) and regression (two variables for each row) are one form, and the labels never
// enter the inner loops. Each problem is solved by one thread, several problems by several threads; the bits of the
// result depend on neither the number of threads nor the size of the cache.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pn::learn {

struct SvmKernel {
  enum Kind { linear, polynomial, rbf, sigmoid } kind;
  int degree;
  double gamma, coef0;
};

// The rows of a data set as the kernels want them: dense, less a common centre where the kernel allows it (distances
// and centred products lose fewer digits), with their squared lengths.
template <class T>
struct SvmRows {
  int64_t rows = 0, columns = 0;
  std::vector<T> values, squares;

  // x (rows, columns) with any row stride; centre (columns) or null.
  SvmRows(const T* x, int64_t rows, int64_t columns, int64_t row_stride, const double* centre);
  SvmRows() = default;
};

// out[i * out_row + j] = K(a_i, b_j), for a (m, d) and b (n, d) dense; each value has the same bits in every block.
template <class T>
void svm_kernel_block(const SvmKernel& kernel, int64_t d, int64_t m, const T* a, const T* a_squares, int64_t n,
                      const T* b, const T* b_squares, T* out, int64_t out_row);

// Where the values of a kernel matrix come from. fill() serves the columns that were last set.
template <class T>
class SvmSource {
 public:
  virtual ~SvmSource() = default;
  virtual double diagonal(int64_t row) const = 0;
  virtual void set_columns(const std::vector<int64_t>& rows) = 0;
  // out (count, columns) = K(wanted, columns), rows out_row apart.
  virtual void fill(const int64_t* wanted, int64_t count, T* out, int64_t out_row) = 0;
  // Rows that one call of fill() computes at little more than the cost of a single one.
  virtual int64_t batch() const = 0;
};

struct SvmProblem {
  enum Status { converged, iterations_used, time_used, stopped, unbounded };
  std::vector<int64_t> row;  // of the data, for each variable
  std::vector<double> linear, low, high;
  // Results: multipliers, threshold (the decision is sum b K - rho), largest violation of the optimality conditions,
  // value of the minimised form.
  std::vector<double> beta;
  double rho = 0, gap = 0, objective = 0;
  int64_t iterations = 0;
  Status status = stopped;
};

struct SvmOptions {
  double tolerance = 1e-3;
  bool shrinking = true;
  int64_t cache_bytes = int64_t{200} << 20;
  int64_t max_iterations = -1;  // of each problem; -1: no limit
  double max_seconds = 0;       // of all problems together; 0: no limit
};

struct SvmProgress {
  int64_t problems_done, problems, iterations;
  double gap, seconds;  // gap: of the problem that was looked at last
};

// What the threads of one fit share: the clock, the wish to stop, and what the caller is told.
class SvmMonitor {
 public:
  using Report = std::function<bool(const SvmProgress&)>;  // false: stop
  SvmMonitor(int64_t problems, double max_seconds, Report report);

  // Called by a solver now and then; returns whether to go on. Only the caller's own thread reports, at most every
  // 50 ms: Python runs signal handlers nowhere else.
  bool go_on(int64_t new_iterations, double gap);
  void problem_done() { done_.fetch_add(1); }
  void stop() { stop_.store(true); }
  bool out_of_time() const { return out_of_time_.load(); }

 private:
  using Clock = std::chrono::steady_clock;
  const int64_t problems_;
  const double max_seconds_;
  const Report report_;
  const std::thread::id caller_;
  const Clock::time_point start_;
  Clock::time_point next_;
  std::atomic<int64_t> done_{0}, iterations_{0};
  std::atomic<bool> stop_{false}, out_of_time_{false};
};

// Solves the problems over the rows of x, or over a kernel matrix (n, n) that is given whole.
template <class T>
void svm_fit(const SvmRows<T>& x, const SvmKernel& kernel, std::vector<SvmProblem>& problems, const SvmOptions& options,
             const SvmMonitor::Report& report);
template <class T>
void svm_fit(const T* gram, int64_t n, int64_t row_stride, std::vector<SvmProblem>& problems, const SvmOptions& options,
             const SvmMonitor::Report& report);

// The support vectors of one-vs-one classifiers, or of one regression (classes = 1): coefficients (max(classes - 1, 1),
// vectors) in libsvm's layout (for the pair i < j, row j - 1 at the vectors of class i and row i at those of class j),
// the vectors sorted by class; first (classes + 1) tells where each class begins. rho for each pair.
struct SvmMachines {
  int64_t classes;
  std::vector<int64_t> first;
  const double* coefficients;
  const double* rho;
  int64_t pairs() const { return classes < 2 ? 1 : classes * (classes - 1) / 2; }
};

// out (rows, pairs) = decision values; sums in float64, in an order that the shapes decide.
template <class T>
void svm_decide(const T* x, int64_t rows, int64_t row_stride, const double* centre, const SvmRows<T>& vectors,
                const SvmKernel& kernel, const SvmMachines& machines, double* out);
// The same from kernel values (rows, vectors).
template <class T>
void svm_decide(const T* values, int64_t rows, int64_t row_stride, const SvmMachines& machines, double* out);

}  // namespace pn::learn
