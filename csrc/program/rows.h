// Batches: rows of a data set, chosen by index, laid into a step's argument.
#pragma once
#include <cstdint>

#include "core/array.h"

namespace pn {

// Takes rows of `from` (N, ...) into `to` (n, ...), both contiguous; the type is converted where it differs. Bytes may
// go through a table of 256 values of to's type instead, which holds whatever scaling is wanted, to the bit.
class RowTaker {
 public:
  RowTaker(const Array& from, const void* table, const Array& to);
  RowTaker() = default;
  void take(const int64_t* rows) const;  // to[i] = from[rows[i]] for i < n; the indices must be in range

 private:
  void one(const char* source, char* target) const;
  const char* from_ = nullptr;
  char* to_ = nullptr;
  const void* table_ = nullptr;
  DType from_type_ = DType::Float32, to_type_ = DType::Float32;
  int64_t n_ = 0, width_ = 0, from_row_ = 0, to_row_ = 0;
  int64_t ahead_ = 0;  // rows that are asked for before they are read
};

}  // namespace pn
