#include "program/rows.h"

#include <cstring>

#include "core/threads.h"

namespace pn {
namespace {

constexpr int64_t kTaskBytes = int64_t{1} << 16;

template <class T>
void look_up(int64_t n, const uint8_t* from, const T* table, T* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = table[from[i]];
}

}  // namespace

RowTaker::RowTaker(const Array& from, const void* table, const Array& to)
    : from_(from.data), to_(to.data), table_(table), from_type_(from.dtype), to_type_(to.dtype) {
  n_ = to.shape[0];
  width_ = n_ > 0 ? to.size() / n_ : 0;
  from_row_ = width_ * static_cast<int64_t>(item_size(from.dtype));
  to_row_ = width_ * static_cast<int64_t>(item_size(to.dtype));
}

void RowTaker::one(const char* source, char* target) const {
  if (table_ && to_type_ == DType::Float32)
    look_up(width_, reinterpret_cast<const uint8_t*>(source), static_cast<const float*>(table_),
            reinterpret_cast<float*>(target));
  else if (table_)
    look_up(width_, reinterpret_cast<const uint8_t*>(source), static_cast<const double*>(table_),
            reinterpret_cast<double*>(target));
  else if (from_type_ == to_type_)
    std::memcpy(target, source, static_cast<size_t>(to_row_));
  else
    convert(width_, source, from_type_, target, to_type_);
}

void RowTaker::take(const int64_t* rows) const {
  const auto some = [&](int64_t low, int64_t high) {
    for (int64_t i = low; i < high; ++i) one(from_ + rows[i] * from_row_, to_ + i * to_row_);
  };
  if (n_ * to_row_ <= kTaskBytes) return some(0, n_);
  const int64_t together = 1 + kTaskBytes / (to_row_ + 1);
  parallel_for((n_ + together - 1) / together, [&](int64_t t) {
    const int64_t low = t * together;
    some(low, low + together < n_ ? low + together : n_);
  });
}

}  // namespace pn
