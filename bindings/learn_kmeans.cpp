// k-means on NumPy arrays.
#include <pybind11/numpy.h>

#include <cstdint>
#include <memory>

#include "core/error.h"
#include "learn.h"
#include "learn/kmeans.h"

namespace py = pybind11;

namespace {

using Dense = py::array_t<double, py::array::c_style>;
using Labels = py::array_t<int32_t, py::array::c_style>;

// The learner together with the arrays that it reads.
class KMeansRows {
 public:
  KMeansRows(py::array x, py::object weights, py::object mean) : x_(std::move(x)), weights_(std::move(weights)) {
    if (x_.ndim() != 2 || x_.shape(0) < 1 || x_.shape(1) < 1 || !(x_.flags() & py::array::c_style))
      pn::fail<pn::ValueError>("KMeansRows: x must be a C-contiguous matrix with rows and columns");
    n_ = x_.shape(0), d_ = x_.shape(1);
    const double* w = weights_.is_none() ? nullptr : given(weights_, n_, "weights");
    const double* m = mean.is_none() ? nullptr : given(mean, d_, "mean");
    if (py::isinstance<py::array_t<float>>(x_))
      make<float>(w, m);
    else if (py::isinstance<py::array_t<double>>(x_))
      make<double>(w, m);
    else if (py::isinstance<py::array_t<uint8_t>>(x_))
      make<uint8_t>(w, m);
    else
      pn::fail<pn::TypeError>("KMeansRows: x must be float32, float64 or uint8");
  }

  py::tuple step(const Dense& centers, Labels labels, Dense sums, Dense weights) {
    const int64_t k = check(centers);
    require(labels.ndim() == 1 && labels.shape(0) == n_, "labels");
    require(sums.ndim() == 2 && sums.shape(0) == k && sums.shape(1) == d_, "sums");
    require(weights.ndim() == 1 && weights.shape(0) == k, "weights");
    int32_t* to = labels.mutable_data();
    double *sum = sums.mutable_data(), *weight = weights.mutable_data();
    pn::learn::KMeans::Step done;
    {
      py::gil_scoped_release released;
      done = rows_->step(centers.data(), k, to, sum, weight);
    }
    return py::make_tuple(done.moved, done.inertia);
  }

  py::object assign(const Dense& centers, Labels labels, bool distances) {
    const int64_t k = check(centers);
    require(labels.ndim() == 1 && labels.shape(0) == n_, "labels");
    py::object result = py::none();
    double* to = nullptr;
    if (distances) {
      Dense made(n_);
      to = made.mutable_data();
      result = made;
    }
    int32_t* label = labels.mutable_data();
    {
      py::gil_scoped_release released;
      rows_->assign(centers.data(), k, label, to);
    }
    return result;
  }

  Dense distances(const Dense& centers, const py::object& closest) {
    const int64_t k = check(centers);
    const double* most = closest.is_none() ? nullptr : given(closest, n_, "closest");
    Dense out({n_, k});
    double* to = out.mutable_data();
    {
      py::gil_scoped_release released;
      rows_->distances(centers.data(), k, most, to);
    }
    return out;
  }

  Dense mean() const { return Dense(d_, rows_->mean()); }
  double spread() const { return rows_->spread(); }
  int64_t full_rows() const { return rows_->full_rows(); }

 private:
  template <class S>
  void make(const double* weights, const double* mean) {
    const S* x = static_cast<const S*>(x_.data());
    py::gil_scoped_release released;
    rows_ = pn::learn::KMeans::over(x, n_, d_, weights, mean);
  }

  static void require(bool fits, const char* name) {
    if (!fits) pn::fail<pn::ValueError>("KMeansRows: ", name, " has a shape that does not fit the rows and centres");
  }

  static const double* given(const py::object& any, int64_t n, const char* name) {
    if (!py::isinstance<Dense>(any)) pn::fail<pn::TypeError>("KMeansRows: ", name, " must be contiguous float64");
    const auto array = py::reinterpret_borrow<Dense>(any);
    require(array.ndim() == 1 && array.shape(0) == n, name);
    return array.data();
  }

  int64_t check(const Dense& centers) const {
    require(centers.ndim() == 2 && centers.shape(0) >= 1 && centers.shape(1) == d_, "centers");
    return centers.shape(0);
  }

  py::array x_;
  py::object weights_;
  int64_t n_ = 0, d_ = 0;
  std::unique_ptr<pn::learn::KMeans> rows_;
};

}  // namespace

void bind_kmeans(py::module_& m) {
  py::class_<KMeansRows>(
      m, "KMeansRows",
      "Rows (n, d) of float32, float64 or uint8, C-contiguous, for k-means; float64 weights (n,).\n\n"
      "Arrays are read in place. mean is any point near the rows, their mean if None.")
      .def(py::init<py::array, py::object, py::object>(), py::arg("x"), py::arg("weights") = py::none(),
           py::arg("mean") = py::none())
      .def(
          "step", &KMeansRows::step, py::arg("centers").noconvert(), py::arg("labels").noconvert(),
          py::arg("sums").noconvert(), py::arg("weights").noconvert(),
          "One pass over the rows: writes the labels (n,) int32 of centers (k, d), and sums (k, d) and weights (k,) of "
          "the rows of each label. Returns how many labels changed, and the inertia for the given centers.")
      .def("assign", &KMeansRows::assign, py::arg("centers").noconvert(), py::arg("labels").noconvert(),
           py::arg("distances") = false,
           "Writes labels (n,); with distances returns the squared ones to the nearest centre (n,), else None.")
      .def("distances", &KMeansRows::distances, py::arg("centers").noconvert(), py::arg("closest") = py::none(),
           "Squared distances (n, k) to centers, none above closest (n,) if given.")
      .def_property_readonly("mean", &KMeansRows::mean, "The mean of the rows (d,), or the given point.")
      .def_property_readonly("full_rows", &KMeansRows::full_rows,
                             "Of how many rows the last pass made the products with all centres.")
      .def_property_readonly("spread", &KMeansRows::spread, "Weighted sum of squared distances from the mean.");
}
