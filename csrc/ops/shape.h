// What other op families need of the shape ops.
#pragma once
#include <cstdint>

#include "core/array.h"

namespace pn {

// Strides with which x's memory can be seen in another shape of the same size, or false if only a copy can be.
bool view_strides(const Array& x, int ndim, const int64_t* shape, int64_t* strides);

// copy_into() with threads.
void copy_in_tasks(const Array& dst, const Array& src);

}  // namespace pn
