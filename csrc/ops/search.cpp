// Index ops that find places rather than use them: nonzero, argsort; and one_hot, which marks them.
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/loop.h"
#include "core/threads.h"
#include "ops/index.h"
#include "ops/op.h"

namespace pn {

// Is low <= p[i * stride] < size for all i below n? In vectors: what is too low, or too high, makes one of two
// differences negative; no wrap-around hides it, for low is at most 0.
static bool all_within(int64_t n, const int64_t* p, int64_t stride, int64_t low, int64_t size) {
  typedef uint64_t Two __attribute__((vector_size(16)));
  const uint64_t base = static_cast<uint64_t>(low), last = static_cast<uint64_t>(size - 1 - low);
  Two signs[2] = {};
  int64_t i = 0;
  for (; stride == 1 && i + 4 <= n; i += 4)
    for (int64_t j = 0; j < 2; ++j) {
      Two v;
      std::memcpy(&v, p + i + 2 * j, sizeof v);
      v -= base;
      signs[j] |= v | (last - v);
    }
  signs[0] |= signs[1];
  bool right = (signs[0][0] | signs[0][1]) >> 63 == 0;
  for (; i < n; ++i) right &= (p[i * stride] >= low) & (p[i * stride] < size);
  return right;
}

void check_range(const OpCall& call, const Array& index, int64_t low, int64_t size, const char* what, int64_t axis) {
  const Array* operands[1] = {&index};
  const Loop<1> loop(index.ndim, index.shape, operands);
  loop.rows([&](int64_t n, char* const* at, const int64_t* stride) {
    const int64_t* p = reinterpret_cast<const int64_t*>(at[0]);
    if (all_within(n, p, stride[0], low, size)) return;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t value = p[i * stride[0]];
      if (value < low || value >= size)
        fail<IndexError>(call.op->name, ": index ", value, " is out of range for ", what, axis, " of size ", size,
                         " (valid: ", low, " to ", size - 1, ")");
    }
  });
}

namespace {

template <class T>
struct Sixteen {
  typedef T type __attribute__((vector_size(16)));
};
template <>
struct Sixteen<bool> : Sixteen<uint8_t> {};

// How many of n elements, `stride` apart, are not 0.
template <class T>
int64_t count_nonzero(int64_t n, const T* p, int64_t stride) {
  using V = typename Sixteen<T>::type;
  constexpr int64_t L = 16 / sizeof(T), kMost = 127;  // additions that a lane of a byte holds
  int64_t count = 0, i = 0;
  while (stride == 1 && i + L <= n) {
    decltype(V{} != V{}) sums{};
    for (const int64_t end = std::min(i + kMost * L, n - n % L); i < end; i += L) {
      V v;
      std::memcpy(&v, p + i, sizeof v);
      sums -= v != V{};
    }
    for (int64_t l = 0; l < L; ++l) count += sums[l];
  }
  for (; i < n; ++i) count += p[i * stride] != T{0};
  return count;
}

// Attribute: flat (indices into x seen as one axis; else one column per axis).
void infer_nonzero(OpCall& call) {
  const Array& x = *call.in[0];
  int64_t count = 0;
  visit_dtype(x.dtype, [&](auto v) {
    using T = decltype(v);
    const Array* operands[1] = {&x};
    const Loop<1> loop(x.ndim, x.shape, operands);
    loop.rows([&](int64_t n, char* const* at, const int64_t* stride) {
      count += count_nonzero(n, reinterpret_cast<const T*>(at[0]), stride[0]);
    });
  });
  const int64_t shape[2] = {count, x.ndim};
  call.out[0].describe(DType::Int64, call.attributes.ints[0] ? 1 : 2, shape);
}

// The places of n positions that ascend, along each axis of x.
void write_places(const Array& x, int64_t n, const int64_t* positions, int64_t* place, int64_t& last, int64_t*& out) {
  const int inner = x.ndim - 1;
  for (int64_t i = 0; inner >= 0 && i < n; ++i) {
    place[inner] += positions[i] - last;
    last = positions[i];
    if (place[inner] >= x.shape[inner]) {
      int64_t rest = last;
      for (int d = inner; d >= 0; --d) {
        place[d] = rest % x.shape[d];
        rest /= x.shape[d];
      }
    }
    for (int d = 0; d <= inner; ++d) *out++ = place[d];
  }
}

void run_nonzero(const OpCall& call) {
  const Array& x = *call.in[0];
  const bool flat = call.attributes.ints[0] != 0;
  int64_t* out = call.out[0].ptr<int64_t>();
  int64_t left = call.out[0].shape[0], position = 0, last = 0, place[kMaxDims] = {};
  visit_dtype(x.dtype, [&](auto v) {
    using T = decltype(v);
    const Array* operands[1] = {&x};
    const Loop<1> loop(x.ndim, x.shape, operands);
    loop.rows([&](int64_t n, char* const* at, const int64_t* stride) {
      const T* p = reinterpret_cast<const T*>(at[0]);
      constexpr int64_t kBlock = 256;
      for (int64_t start = 0; start < n; start += kBlock) {
        // Every position is written, and kept by going on: no branch depends on the values.
        int64_t room[kBlock], count = 0;
        const int64_t length = std::min(kBlock, n - start);
        const bool direct = flat && left >= length;
        int64_t* found = direct ? out : room;
#pragma GCC unroll 8
        for (int64_t i = 0; i < length; ++i, p += stride[0]) {
          found[count] = position + i;
          count += *p != T{0};
        }
        position += length;
        count = std::min(count, left);
        left -= count;
        if (direct)
          out += count;
        else if (flat)
          out = std::copy(found, found + count, out);
        else
          write_places(x, count, found, place, last, out);
      }
    });
  });
}

void infer_one_hot(OpCall& call) {
  const Array& x = *call.in[0];
  const int64_t classes = call.attributes.ints[0];
  if (x.dtype != DType::Int64) fail<TypeError>("one_hot: labels are ", dtype_name(x.dtype), " but must be int64");
  if (classes < 1) fail<ValueError>("one_hot: num_classes is ", classes, " but must be at least 1");
  if (x.ndim == kMaxDims)
    fail<ValueError>("one_hot: labels have ", x.ndim, " dimensions already, the most a tensor can have");
  check_range(call, x, 0, classes, "num_classes, dim ", x.ndim);
  int64_t shape[kMaxDims];
  std::copy(x.shape, x.shape + x.ndim, shape);
  shape[x.ndim] = classes;
  call.out[0].describe(DType::Int64, x.ndim + 1, shape);
}

void run_one_hot(const OpCall& call) {
  const Array labels = as_contiguous(*call.in[0]);
  const int64_t classes = call.attributes.ints[0];
  int64_t* out = call.out[0].ptr<int64_t>();
  std::memset(out, 0, static_cast<size_t>(call.out[0].size()) * sizeof(int64_t));
  for (int64_t i = 0; i < labels.size(); ++i, out += classes) {
    const int64_t label = labels.ptr<int64_t>()[i];
    if (label >= 0 && label < classes) out[label] = 1;
  }
}

// Attributes: dim, descending, and how many places are wanted, the first ones (kNone: all). Stable; NaN counts as
// larger than any number.
void infer_argsort(OpCall& call) {
  const Array& x = *call.in[0];
  int64_t shape[kMaxDims];
  std::copy(x.shape, x.shape + x.ndim, shape);
  if (x.ndim > 0) {
    const int64_t dim = checked_axis(call, call.attributes.ints[0], x.ndim), first = call.attributes.ints[2];
    if (first != kNone) {
      if (first < 0 || first > shape[dim])
        fail<ValueError>("argsort: the first ", first, " places of dim ", dim, " of ", shape_text(x), " do not exist");
      shape[dim] = first;
    }
  }
  call.out[0].describe(DType::Int64, x.ndim, shape);
}

// A value's place among all of its type, the same for equal ones.
template <class T>
uint64_t rank_of(T value) {
  constexpr uint64_t kSign = uint64_t{1} << 63;
  if constexpr (std::is_unsigned_v<T>) {
    return value;
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<uint64_t>(int64_t{value}) ^ kSign;
  } else {
    if (value != value) return UINT64_MAX;
    const double exact = double{value} + 0;  // 0 for -0
    uint64_t bits;
    std::memcpy(&bits, &exact, sizeof bits);
    return bits & kSign ? ~bits : bits | kSign;
  }
}

struct Ranked {
  uint64_t rank;
  int64_t place;
};

constexpr int64_t kFewPlaces = 64;  // that are kept in order while a line is read once

// The first `wanted` of n ranks, in order, equal ones by place: to the front of `all`, which has room for n.
template <class F>
void first_places(int64_t n, int64_t wanted, const F& rank, Ranked* all) {
  const auto by_rank = [](const Ranked& a, const Ranked& b) { return a.rank < b.rank; };
  const auto by_both = [](const Ranked& a, const Ranked& b) {
    return a.rank < b.rank || (a.rank == b.rank && a.place < b.place);
  };
  if (wanted <= kFewPlaces && wanted < n) {
    int64_t held = 0;
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t own = rank(i);
      if (held == wanted && own >= all[held - 1].rank) continue;
      held += held < wanted;
      int64_t j = held - 1;
      for (; j > 0 && all[j - 1].rank > own; --j) all[j] = all[j - 1];
      all[j] = {own, i};
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) all[i] = {rank(i), i};
  if (wanted == n) return std::stable_sort(all, all + n, by_rank);
  std::nth_element(all, all + wanted, all + n, by_both);
  std::sort(all, all + wanted, by_both);
}

void run_argsort(const OpCall& call) {
  const Array x = at_least_1d(*call.in[0]), y = at_least_1d(call.out[0]);
  if (y.size() == 0) return;
  const int64_t wanted = call.attributes.ints[0];
  const int dim = static_cast<int>(wanted < 0 ? wanted + x.ndim : wanted);
  const uint64_t flip = call.attributes.ints[1] != 0 ? UINT64_MAX : 0;  // descending
  const int64_t n = x.shape[dim], first = y.shape[dim], lines = x.size() / n;
  const int64_t per_task = std::max<int64_t>(1, 4096 / n);
  const int64_t step = x.strides[dim];
  parallel_for((lines + per_task - 1) / per_task, [&](int64_t t) {
    std::vector<Ranked> all(static_cast<size_t>(n));
    for (int64_t k = t * per_task; k < std::min(lines, (t + 1) * per_task); ++k) {
      int64_t from = 0, to = 0, rest = k;
      for (int d = x.ndim - 1; d >= 0; --d) {
        if (d == dim) continue;
        from += rest % x.shape[d] * x.strides[d];
        to += rest % x.shape[d] * y.strides[d];
        rest /= x.shape[d];
      }
      visit_dtype(x.dtype, [&](auto zero) {
        const auto* values = x.ptr<decltype(zero)>() + from;
        first_places(n, first, [&](int64_t i) { return rank_of(values[i * step]) ^ flip; }, all.data());
      });
      for (int64_t i = 0; i < first; ++i) y.ptr<int64_t>()[to + i * y.strides[dim]] = all[static_cast<size_t>(i)].place;
    }
  });
}

}  // namespace

OpList search_ops() {
  return {
      {"nonzero", 1, 1, kAnyTypes | kDataShaped, infer_nonzero, run_nonzero},
      {"one_hot", 1, 1, kAnyTypes | kChecksValues, infer_one_hot, run_one_hot},
      {"argsort", 1, 1, kAnyTypes, infer_argsort, run_argsort},
  };
}

}  // namespace pn
