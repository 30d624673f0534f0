// Support vector machines on NumPy arrays. Conversion, checks and one call each; the work runs without the GIL, and a
// report to Python takes it back for a moment.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "learn.h"
#include "learn/svm.h"

namespace py = pybind11;
using namespace pn::learn;

namespace {

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Indices = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
using ProblemArrays = std::tuple<Indices, Doubles, Doubles, Doubles>;

const char* const kStatus[] = {"converged", "iterations", "time", "stopped", "unbounded"};

// A matrix whose rows may lie at any distance.
template <class T>
struct Matrix {
  py::array_t<T, py::array::forcecast> array;
  int64_t rows, columns, row_stride;
  const T* data;
  Matrix(const char* name, const py::array& any) : array(any) {
    if (array.ndim() != 2) pn::fail<pn::ValueError>("svm: ", name, " must be 2-d, got ", array.ndim(), " dimensions");
    if (array.shape(1) > 1 && array.strides(1) != static_cast<py::ssize_t>(sizeof(T)))
      array = py::array_t<T, py::array::c_style | py::array::forcecast>(array);
    rows = array.shape(0), columns = array.shape(1);
    row_stride = array.strides(0) / static_cast<int64_t>(sizeof(T));
    data = array.data();
  }
};

bool is_float(const py::array& a) { return py::isinstance<py::array_t<float>>(a); }

std::optional<SvmKernel> kernel_of(const py::tuple& k) {
  const auto name = k[0].cast<std::string>();
  static const char* const names[] = {"linear", "poly", "rbf", "sigmoid"};
  for (int i = 0; i < 4; ++i)
    if (name == names[i])
      return SvmKernel{static_cast<SvmKernel::Kind>(i), k[1].cast<int>(), k[2].cast<double>(), k[3].cast<double>()};
  if (name == "precomputed") return std::nullopt;
  pn::fail<pn::ValueError>("svm: kernel is \"", name, "\" but must be linear, poly, rbf, sigmoid or precomputed");
}

const double* centre_of(const std::optional<Doubles>& centre, int64_t columns) {
  if (!centre) return nullptr;
  if (centre->size() != columns)
    pn::fail<pn::ValueError>("svm: centre has ", centre->size(), " elements but x has ", columns, " columns");
  return centre->data();
}

std::vector<SvmProblem> problems_of(const std::vector<ProblemArrays>& given, int64_t rows) {
  std::vector<SvmProblem> problems;
  for (const auto& [row, linear, low, high] : given) {
    if (linear.size() != row.size() || low.size() != row.size() || high.size() != row.size())
      pn::fail<pn::ValueError>("svm: the arrays of a problem must have one length, got ", row.size(), ", ",
                               linear.size(), ", ", low.size(), " and ", high.size());
    SvmProblem p;
    p.row.assign(row.data(), row.data() + row.size());
    for (const int64_t r : p.row)
      if (r < 0 || r >= rows) pn::fail<pn::IndexError>("svm: row ", r, " of a problem; the data has ", rows, " rows");
    p.linear.assign(linear.data(), linear.data() + row.size());
    p.low.assign(low.data(), low.data() + row.size());
    p.high.assign(high.data(), high.data() + row.size());
    problems.push_back(std::move(p));
  }
  return problems;
}

template <class T>
void fit_on(const py::array& data, const std::optional<SvmKernel>& kernel, const double* centre,
            std::vector<SvmProblem>& problems, const SvmOptions& options, const SvmMonitor::Report& report) {
  const Matrix<T> x("x", data);
  if (!kernel && x.rows != x.columns)
    pn::fail<pn::ValueError>("svm: a kernel matrix must be square, got (", x.rows, ", ", x.columns, ")");
  py::gil_scoped_release released;
  if (kernel)
    svm_fit(SvmRows<T>(x.data, x.rows, x.columns, x.row_stride, centre), *kernel, problems, options, report);
  else
    svm_fit(x.data, x.rows, x.row_stride, problems, options, report);
}

py::list svm_fit_arrays(const py::array& x, const py::tuple& kernel, const std::optional<Doubles>& centre,
                        const std::vector<ProblemArrays>& given, double tolerance, bool shrinking, int64_t cache_bytes,
                        int64_t max_iterations, double max_seconds, const py::object& report) {
  if (x.ndim() != 2) pn::fail<pn::ValueError>("svm: x must be 2-d, got ", x.ndim(), " dimensions");
  std::vector<SvmProblem> problems = problems_of(given, x.shape(0));
  const SvmOptions options{tolerance, shrinking, cache_bytes, max_iterations, max_seconds};
  std::exception_ptr raised;
  const SvmMonitor::Report tell = [&](const SvmProgress& p) {
    py::gil_scoped_acquire acquired;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (report.is_none()) return true;
      const py::object answer = report(p.problems_done, p.problems, p.iterations, p.gap, p.seconds);
      return !answer.is(py::bool_(false));
    } catch (...) {
      raised = std::current_exception();
      return false;
    }
  };
  const double* middle = centre_of(centre, x.shape(1));
  if (is_float(x))
    fit_on<float>(x, kernel_of(kernel), middle, problems, options, tell);
  else
    fit_on<double>(x, kernel_of(kernel), middle, problems, options, tell);
  if (raised) std::rethrow_exception(raised);
  py::list results;
  for (const SvmProblem& p : problems)
    results.append(py::make_tuple(py::array_t<double>(static_cast<py::ssize_t>(p.beta.size()), p.beta.data()), p.rho,
                                  p.gap, p.objective, p.iterations, kStatus[p.status]));
  return results;
}

template <class T>
void decide_on(const py::array& data, const py::object& vectors, const std::optional<SvmKernel>& kernel,
               const double* centre, const SvmMachines& machines, double* out) {
  const Matrix<T> x("x", data);
  if (!kernel) {
    if (x.columns != machines.first.back())
      pn::fail<pn::ValueError>("svm: x has ", x.columns, " kernel values a row but there are ", machines.first.back(),
                               " support vectors");
    py::gil_scoped_release released;
    return svm_decide(x.data, x.rows, x.row_stride, machines, out);
  }
  const Matrix<T> v("vectors", vectors.cast<py::array>());
  if (v.columns != x.columns || v.rows != machines.first.back())
    pn::fail<pn::ValueError>("svm: x has ", x.columns, " columns and the support vectors are (", v.rows, ", ",
                             v.columns, "), expected (", machines.first.back(), ", ", x.columns, ")");
  py::gil_scoped_release released;
  svm_decide(x.data, x.rows, x.row_stride, centre, SvmRows<T>(v.data, v.rows, v.columns, v.row_stride, centre), *kernel,
             machines, out);
}

py::array_t<double> svm_decide_arrays(const py::array& x, const py::object& vectors, const py::tuple& kernel,
                                      const std::optional<Doubles>& centre, const std::vector<int64_t>& first,
                                      const Doubles& coefficients, const Doubles& rho) {
  if (first.size() < 2 || coefficients.ndim() != 2)
    pn::fail<pn::ValueError>("svm: first needs the start of each class and the end, coefficients two dimensions");
  const int64_t classes = first.size() == 2 ? 1 : static_cast<int64_t>(first.size()) - 1;
  const SvmMachines machines{classes, first, coefficients.data(), rho.data()};
  const bool sorted = std::is_sorted(first.begin(), first.end()) && first.front() == 0;
  if (!sorted || coefficients.shape(0) != std::max<int64_t>(1, classes - 1) || coefficients.shape(1) != first.back() ||
      rho.size() != machines.pairs())
    pn::fail<pn::ValueError>("svm: coefficients (", coefficients.shape(0), ", ", coefficients.shape(1), ") and rho (",
                             rho.size(), ",) do not fit ", classes, " classes with ", first.back(), " vectors");
  py::array_t<double> out({static_cast<py::ssize_t>(x.shape(0)), static_cast<py::ssize_t>(machines.pairs())});
  const double* middle = centre_of(centre, x.shape(1));
  if (is_float(x))
    decide_on<float>(x, vectors, kernel_of(kernel), middle, machines, out.mutable_data());
  else
    decide_on<double>(x, vectors, kernel_of(kernel), middle, machines, out.mutable_data());
  return out;
}

template <class T>
py::array kernel_values(const py::array& a_any, const py::array& b_any, const SvmKernel& kernel,
                        const std::optional<Doubles>& centre) {
  const Matrix<T> a("a", a_any), b("b", b_any);
  if (a.columns != b.columns)
    pn::fail<pn::ValueError>("svm_kernel: a has ", a.columns, " columns but b has ", b.columns);
  const double* middle = centre_of(centre, a.columns);
  py::array_t<T> out({static_cast<py::ssize_t>(a.rows), static_cast<py::ssize_t>(b.rows)});
  T* to = out.mutable_data();
  py::gil_scoped_release released;
  const SvmRows<T> left(a.data, a.rows, a.columns, a.row_stride, middle),
      right(b.data, b.rows, b.columns, b.row_stride, middle);
  svm_kernel_block(kernel, a.columns, a.rows, left.values.data(), left.squares.data(), b.rows, right.values.data(),
                   right.squares.data(), to, b.rows);
  return out;
}

py::array svm_kernel_arrays(const py::array& a, const py::array& b, const py::tuple& kernel,
                            const std::optional<Doubles>& centre) {
  const auto k = kernel_of(kernel);
  if (!k) pn::fail<pn::ValueError>("svm_kernel: a precomputed kernel has no values to compute");
  return is_float(a) && is_float(b) ? kernel_values<float>(a, b, *k, centre) : kernel_values<double>(a, b, *k, centre);
}

}  // namespace

void bind_svm(py::module_& m) {
  m.def("svm_fit", &svm_fit_arrays, py::arg("x"), py::arg("kernel"), py::arg("centre"), py::arg("problems"),
        py::arg("tolerance"), py::arg("shrinking"), py::arg("cache_bytes"), py::arg("max_iterations"),
        py::arg("max_seconds"), py::arg("report"),
        "Solves problems (row, linear, low, high) over the rows of x, or over a kernel matrix.\n\n"
        "Args: x (n, d) or (n, n), float32 or float64; kernel (name, degree, gamma, coef0); centre (d,) that is taken\n"
        "off each row, or None; report(done, problems, iterations, gap, seconds) or None, False stops.\n"
        "Returns: for each problem (beta, rho, gap, objective, iterations, status).");
  m.def("svm_decide", &svm_decide_arrays, py::arg("x"), py::arg("vectors"), py::arg("kernel"), py::arg("centre"),
        py::arg("first"), py::arg("coefficients"), py::arg("rho"),
        "Decision values (rows, pairs), float64, of one-vs-one machines or of one regression.");
  m.def("svm_kernel", &svm_kernel_arrays, py::arg("a"), py::arg("b"), py::arg("kernel"), py::arg("centre") = py::none(),
        "Kernel values (rows of a, rows of b), in float32 if both are.");
}
