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

void take_rows(const Array& from, const int64_t* rows, int64_t n, const void* table, const Array& to) {
  if (n == 0) return;
  const int64_t width = to.size() / n;
  const int64_t from_row = width * static_cast<int64_t>(item_size(from.dtype));
  const int64_t to_row = width * static_cast<int64_t>(item_size(to.dtype));
  const auto one = [&](int64_t i) {
    const char* source = from.data + rows[i] * from_row;
    char* target = to.data + i * to_row;
    if (table && to.dtype == DType::Float32)
      look_up(width, reinterpret_cast<const uint8_t*>(source), static_cast<const float*>(table),
              reinterpret_cast<float*>(target));
    else if (table)
      look_up(width, reinterpret_cast<const uint8_t*>(source), static_cast<const double*>(table),
              reinterpret_cast<double*>(target));
    else if (from.dtype == to.dtype)
      std::memcpy(target, source, static_cast<size_t>(to_row));
    else
      convert(width, source, from.dtype, target, to.dtype);
  };
  const int64_t together = 1 + kTaskBytes / (to_row + 1);
  const int64_t tasks = (n + together - 1) / together;
  if (tasks < 2) {
    for (int64_t i = 0; i < n; ++i) one(i);
    return;
  }
  parallel_for(tasks, [&](int64_t t) {
    for (int64_t i = t * together; i < n && i < (t + 1) * together; ++i) one(i);
  });
}

}  // namespace pn
