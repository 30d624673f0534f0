// Names of the elementwise ops as enumerations, made from elementwise.def; kernels lie in arrays in this order.
#pragma once

namespace pn {

// Each enumeration takes the rows of its kind; elementwise_rows.h leaves the others out.
enum class Unary {
#define PN_UNARY_ANY(name, ...) name,
#define PN_UNARY_FLOAT(name, ...) name,
#include "kernels/elementwise_rows.h"
  count
};
enum class Binary {
#define PN_BINARY_ANY(name, ...) name,
#define PN_BINARY_FLOAT(name, ...) name,
#include "kernels/elementwise_rows.h"
  count
};
enum class Ternary {
#define PN_TERNARY_FLOAT(name, ...) name,
#include "kernels/elementwise_rows.h"
  count
};
enum class Test {
#define PN_TEST_ANY(name, ...) name,
#define PN_TEST_FLOAT(name, ...) name,
#include "kernels/elementwise_rows.h"
  count
};
enum class Compare {
#define PN_COMPARE_ANY(name, ...) name,
#include "kernels/elementwise_rows.h"
  count
};

}  // namespace pn
