#include "program/rows.h"

#include <algorithm>
#include <cstring>

#include "core/scratch.h"
#include "core/threads.h"

namespace pn {
namespace {

constexpr int64_t kSerialBytes = int64_t{1} << 16;  // that one thread takes alone
constexpr int64_t kTasks = 8;                       // for every kTasksBytes: equal shares for some threads
constexpr int64_t kTasksBytes = int64_t{1} << 19;
constexpr int64_t kAheadBytes = int64_t{1} << 13;  // that are asked for before they are read
constexpr int64_t kLine = 64;

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
  ahead_ = kAheadBytes / std::max<int64_t>(1, from_row_);
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
  if (n_ == 1) return one(from_ + rows[0] * from_row_, to_);
  // Rows lie anywhere, where no hardware looks ahead of itself; long ones (ahead_ is 0) it reads well on its own.
  const auto ask = [&](int64_t i) {
    const char* const row = from_ + rows[i] * from_row_;
    for (int64_t at = 0; at < from_row_; at += kLine) __builtin_prefetch(row + at);
    __builtin_prefetch(row + from_row_ - 1);
  };
  const auto some = [&](int64_t low, int64_t high) {
    for (int64_t i = low + 1; i < std::min(low + ahead_, high); ++i) ask(i);
    for (int64_t i = low; i < high; ++i) {
      if (ahead_ > 0 && i + ahead_ < high) ask(i + ahead_);
      one(from_ + rows[i] * from_row_, to_ + i * to_row_);
    }
  };
  const int64_t bytes = n_ * to_row_;
  if (bytes <= kSerialBytes) return some(0, n_);
  const int64_t tasks = std::min(n_, kTasks * pieces_of(bytes, kTasksBytes));
  parallel_for(tasks, [&](int64_t t) { some(n_ * t / tasks, n_ * (t + 1) / tasks); });
}

}  // namespace pn
