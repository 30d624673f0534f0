// Batches: rows of a data set, chosen by index, laid into a step's argument.
#pragma once
#include <cstdint>

#include "core/array.h"

namespace pn {

// to[i] = from[rows[i]] for i < n. `from` (N, ...) and `to` (n, ...) are contiguous; the type is converted where it
// differs. Bytes may go through a table of 256 values of to's type instead, which holds whatever scaling is wanted, to
// the bit. The indices must be in range.
void take_rows(const Array& from, const int64_t* rows, int64_t n, const void* table, const Array& to);

}  // namespace pn
