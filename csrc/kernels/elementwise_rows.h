// Includes elementwise.def with every kind of row that the includer has not defined left out, then forgets all of them.
// No include guard: it is meant to be included once per use.
#ifndef PN_UNARY_ANY
#define PN_UNARY_ANY(...)
#endif
#ifndef PN_UNARY_FLOAT
#define PN_UNARY_FLOAT(...)
#endif
#ifndef PN_BINARY_ANY
#define PN_BINARY_ANY(...)
#endif
#ifndef PN_BINARY_FLOAT
#define PN_BINARY_FLOAT(...)
#endif
#ifndef PN_TERNARY_FLOAT
#define PN_TERNARY_FLOAT(...)
#endif
#ifndef PN_TEST_ANY
#define PN_TEST_ANY(...)
#endif
#ifndef PN_TEST_FLOAT
#define PN_TEST_FLOAT(...)
#endif
#ifndef PN_COMPARE_ANY
#define PN_COMPARE_ANY(...)
#endif
#include "kernels/cpu/elementwise.def"
#undef PN_UNARY_ANY
#undef PN_UNARY_FLOAT
#undef PN_BINARY_ANY
#undef PN_BINARY_FLOAT
#undef PN_TERNARY_FLOAT
#undef PN_TEST_ANY
#undef PN_TEST_FLOAT
#undef PN_COMPARE_ANY
