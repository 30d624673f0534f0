// The learners' parts of the module _kernels: one function for each file learn_*.cpp.
#pragma once
#include <pybind11/pybind11.h>

void bind_kmeans(pybind11::module_& m);
void bind_svm(pybind11::module_& m);
