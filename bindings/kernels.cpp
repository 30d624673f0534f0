// Kernels on NumPy arrays and facts about the machine, for tests, benchmarks and estimators. Conversion, checks and one
// call each; no arithmetic.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "core/cpu.h"
#include "core/error.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "learn.h"

namespace py = pybind11;

namespace {

template <class T>
py::array gemm_of(const py::array& a_any, const py::array& b_any, const py::object& bias, const py::object& c,
                  bool row_order) {
  // Strided operands are taken as they are: forcecast without c_style never copies an array of the right dtype.
  const auto a = py::array_t<T, 0>(a_any), b = py::array_t<T, 0>(b_any);
  if (a.ndim() != 2 || b.ndim() != 2 || a.shape(1) != b.shape(0))
    pn::fail<pn::ValueError>("gemm: needs two matrices whose inner sizes agree, got ", a.ndim(), "-d and ", b.ndim(),
                             "-d arrays", a.ndim() == 2 && b.ndim() == 2 ? " with different inner sizes" : "");
  const py::ssize_t m = a.shape(0), n = b.shape(1), item = sizeof(T);
  if (row_order && (m != 1 || !c.is_none()))
    pn::fail<pn::ValueError>("gemm: row_order is for one row in a, and without c; a has ", m, " rows");
  py::array_t<T> out({m, n});
  T* to = out.mutable_data();
  if (!c.is_none()) {
    const auto start = py::array_t<T, py::array::c_style | py::array::forcecast>(c);
    if (start.ndim() != 2 || start.shape(0) != m || start.shape(1) != n)
      pn::fail<pn::ValueError>("gemm: c must have the shape of the result, (", m, ", ", n, ")");
    for (py::ssize_t i = 0; i < m * n; ++i) to[i] = start.data()[i];
  }
  py::array_t<T, py::array::c_style | py::array::forcecast> added;
  if (!bias.is_none()) {
    added = py::array_t<T, py::array::c_style | py::array::forcecast>(bias);
    if (added.ndim() != 1 || added.shape(0) != n) pn::fail<pn::ValueError>("gemm: bias must have shape (", n, ",)");
  }
  const pn::Gemm<T> call{m,
                         n,
                         a.shape(1),
                         a.data(),
                         a.strides(0) / item,
                         a.strides(1) / item,
                         b.data(),
                         b.strides(0) / item,
                         b.strides(1) / item,
                         to,
                         n,
                         !c.is_none(),
                         bias.is_none() ? nullptr : added.data()};
  {
    py::gil_scoped_release released;
    (row_order ? pn::kernels().of<T>().row_product : pn::kernels().of<T>().gemm)(call);
  }
  return out;
}

py::array gemm(const py::array& a, const py::array& b, const py::object& bias, const py::object& c, bool row_order) {
  const bool single = py::isinstance<py::array_t<float>>(a) && py::isinstance<py::array_t<float>>(b);
  const bool twice = py::isinstance<py::array_t<double>>(a) && py::isinstance<py::array_t<double>>(b);
  if (!single && !twice) pn::fail<pn::TypeError>("gemm: a and b must both be float32 or both float64");
  return single ? gemm_of<float>(a, b, bias, c, row_order) : gemm_of<double>(a, b, bias, c, row_order);
}

// The limits of the machine. Each call does a known amount of work on all threads; who calls it holds the clock.

template <class T>
int64_t multiply_adds_of(int64_t rounds) {
  const int threads = pn::num_threads();
  std::vector<int64_t> done(threads);
  pn::parallel_for(threads, [&](int64_t t) {
    T sink = 1;
    done[t] = pn::kernels().of<T>().roofs.multiply_adds(rounds, &sink);
  });
  return std::accumulate(done.begin(), done.end(), int64_t{0});
}

int64_t multiply_adds(const std::string& dtype, int64_t rounds) {
  if (dtype != "float32" && dtype != "float64")
    pn::fail<pn::ValueError>("multiply_adds: dtype must be float32 or float64, got ", dtype);
  py::gil_scoped_release released;
  return dtype == "float32" ? multiply_adds_of<float>(rounds) : multiply_adds_of<double>(rounds);
}

// Calls part(begin, end) on each thread's share of n elements, whole cache lines each.
template <class F>
void share(int64_t n, const F& part) {
  const int64_t threads = pn::num_threads(), each = (n / threads + 15) / 16 * 16;
  py::gil_scoped_release released;
  pn::parallel_for(threads,
                   [&](int64_t t) { part(std::min(n, t * each), t + 1 == threads ? n : std::min(n, (t + 1) * each)); });
}

void read_memory(const py::array_t<float, py::array::c_style>& x) {
  const float* from = x.data();
  share(x.size(), [&](int64_t begin, int64_t end) {
    float sink;
    pn::kernels().f32.roofs.read(end - begin, from + begin, &sink);
  });
}

void copy_memory(const py::array_t<float, py::array::c_style>& x, py::array_t<float, py::array::c_style> y) {
  if (x.size() != y.size()) pn::fail<pn::ValueError>("copy_memory: x has ", x.size(), " elements but y ", y.size());
  const float* from = x.data();
  float* to = y.mutable_data();
  share(x.size(),
        [&](int64_t begin, int64_t end) { pn::kernels().f32.roofs.copy(end - begin, from + begin, to + begin); });
}

}  // namespace

PYBIND11_MODULE(_kernels, m) {
  m.doc() = "Kernels on NumPy arrays, the instruction set and the threads in use.";
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const pn::TypeError& e) {
      PyErr_SetString(PyExc_TypeError, e.what());
    }
  });
  m.def("available_isas", &pn::available_isas, "Instruction sets that this CPU can run, weakest first.");
  m.def("current_isa", &pn::current_isa, "The instruction set that the kernels use.");
  m.def("set_isa", &pn::set_isa, py::arg("name"),
        "Switches all kernels to an instruction set; ValueError if the CPU lacks it.");
  m.def("num_threads", &pn::num_threads, "Threads that a parallel loop uses now.");
  m.def(
      "set_num_threads",
      [](int threads) {
        if (threads < 1) {
          throw py::value_error("set_num_threads: threads is " + std::to_string(threads) + " but must be at least 1");
        }
        pn::set_num_threads(threads);
      },
      py::arg("threads"), "Sets the number of threads for later loops (at least 1).");
  m.attr("compiler") = PN_COMPILER;
  m.def("multiply_adds", &multiply_adds, py::arg("dtype"), py::arg("rounds"),
        "Does multiply-adds in registers on all threads and returns how many: with a clock, the peak of the machine.");
  m.def("read_memory", &read_memory, py::arg("x").noconvert(), "Reads a float32 array on all threads.");
  m.def("copy_memory", &copy_memory, py::arg("x").noconvert(), py::arg("y").noconvert(),
        "y[:] = x on all threads, float32.");
  m.def(
      "bf16_instruction", [] { return pn::kernels().bf16_instruction; },
      "Whether products in bfloat16 are done by an instruction of this CPU, with the current instruction set.");
  m.def("gemm", &gemm, py::arg("a"), py::arg("b"), py::arg("bias") = py::none(), py::arg("c") = py::none(),
        py::arg("row_order") = false,
        "a @ b [+ bias] [+ c]: the matrix product on NumPy arrays of any strides.\n\n"
        "Args: a (m, k) and b (k, n), float32 or float64; bias (n,); c (m, n), which the sums start from; row_order: "
        "the\n"
        "order in which products of one row are summed (m = 1, no c).\n"
        "Returns: a new (m, n) array. Raises: TypeError for other dtypes, ValueError for shapes that do not fit.");
  bind_kmeans(m);
  bind_svm(m);
}
