#include "core/array.h"

#include <cstring>
#include <limits>
#include <type_traits>

#include "core/error.h"
#include "core/loop.h"

namespace pn {

void Array::describe(DType type, int dims, const int64_t* sizes) {
  if (dims > kMaxDims) fail<ValueError>("a tensor has at most ", kMaxDims, " dimensions, not ", dims);
  dtype = type;
  ndim = dims;
  int64_t stride = 1;
  for (int d = dims - 1; d >= 0; --d) {
    shape[d] = sizes[d];
    strides[d] = stride;
    stride *= sizes[d];
  }
}

void Array::allocate() {
  int64_t bytes = static_cast<int64_t>(item_size(dtype));
  for (int d = 0; d < ndim; ++d)
    if (__builtin_mul_overflow(bytes, shape[d], &bytes))
      fail<ValueError>("a tensor of shape ", shape_text(*this), " is larger than any memory");
  if (storage) storage->drop();
  storage = nullptr;
  storage = Storage::allocate(static_cast<size_t>(bytes));
  data = storage->data;
}

bool Array::contiguous() const {
  if (size() == 0) return true;
  int64_t stride = 1;
  for (int d = ndim - 1; d >= 0; --d) {
    if (shape[d] != 1 && strides[d] != stride) return false;
    stride *= shape[d];
  }
  return true;
}

bool Array::same_shape(const Array& other) const {
  if (ndim != other.ndim) return false;
  for (int d = 0; d < ndim; ++d)
    if (shape[d] != other.shape[d]) return false;
  return true;
}

std::string shape_text(int ndim, const int64_t* shape) {
  std::string text = "(";
  for (int d = 0; d < ndim; ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + (ndim == 1 ? ",)" : ")");
}

std::string shape_text(const Array& a) { return shape_text(a.ndim, a.shape); }

bool broadcast_shapes(int a_dims, const int64_t* a, int b_dims, const int64_t* b, int* out_dims, int64_t* out) {
  const int dims = a_dims > b_dims ? a_dims : b_dims;
  for (int d = 1; d <= dims; ++d) {
    const int64_t p = d <= a_dims ? a[a_dims - d] : 1;
    const int64_t q = d <= b_dims ? b[b_dims - d] : 1;
    if (p != q && p != 1 && q != 1) return false;
    out[dims - d] = p == 1 ? q : p;
  }
  *out_dims = dims;
  return true;
}

Array expanded(const Array& a, int ndim, const int64_t* shape) {
  Array e = a;
  e.ndim = ndim;
  for (int d = 1; d <= ndim; ++d) {
    e.shape[ndim - d] = shape[ndim - d];
    const bool kept = d <= a.ndim && a.shape[a.ndim - d] == shape[ndim - d];
    e.strides[ndim - d] = kept ? a.strides[a.ndim - d] : 0;
  }
  return e;
}

bool may_overlap(const Array& a, const Array& b) {
  // Two blocks of our own are apart; borrowed memory may be anywhere, and so may an argument of a captured program,
  // whose window has no storage.
  if (a.storage && b.storage && a.storage != b.storage && !(a.storage->release || b.storage->release)) return false;
  const char *low[2], *high[2];
  const Array* both[2] = {&a, &b};
  for (int i = 0; i < 2; ++i) {
    const Array& x = *both[i];
    const int64_t item = static_cast<int64_t>(item_size(x.dtype));
    low[i] = x.data;
    high[i] = x.data + item;
    for (int d = 0; d < x.ndim; ++d) {
      if (x.shape[d] == 0) return false;
      const int64_t reach = (x.shape[d] - 1) * x.strides[d] * item;
      (reach < 0 ? low[i] : high[i]) += reach;
    }
  }
  return low[0] < high[1] && low[1] < high[0];
}

namespace {

template <class From, class To>
void convert_row(int64_t n, const char* from, int64_t from_stride, char* to, int64_t to_stride) {
  const From* x = reinterpret_cast<const From*>(from);
  To* y = reinterpret_cast<To*>(to);
  if constexpr (std::is_same_v<From, To>) {
    if (from_stride == 1 && to_stride == 1) {
      std::memcpy(y, x, static_cast<size_t>(n) * sizeof(To));
      return;
    }
  }
  if (from_stride == 1 && to_stride == 1)
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<To>(x[i]);
  else
    for (int64_t i = 0; i < n; ++i) y[i * to_stride] = static_cast<To>(x[i * from_stride]);
}

// Float to integer is undefined in C++ outside the integer's range; NaN and overflow become 0 or the nearest end here,
// the same on every machine.
template <class To>
To saturate(double x) {
  constexpr double low = static_cast<double>(std::numeric_limits<To>::min());
  constexpr double high = static_cast<double>(std::numeric_limits<To>::max());
  if (!(x > low)) return x != x ? To{0} : std::numeric_limits<To>::min();
  return x >= high ? std::numeric_limits<To>::max() : static_cast<To>(x);
}

template <class From, class To>
void saturate_row(int64_t n, const char* from, int64_t from_stride, char* to, int64_t to_stride) {
  const From* x = reinterpret_cast<const From*>(from);
  To* y = reinterpret_cast<To*>(to);
  for (int64_t i = 0; i < n; ++i) y[i * to_stride] = saturate<To>(static_cast<double>(x[i * from_stride]));
}

using Row = void (*)(int64_t, const char*, int64_t, char*, int64_t);

Row row_converter(DType from, DType to) {
  return visit_dtype(from, [&](auto f) {
    return visit_dtype(to, [&](auto t) -> Row {
      using F = decltype(f);
      using T = decltype(t);
      if constexpr (std::is_floating_point_v<F> && std::is_integral_v<T> && !std::is_same_v<T, bool>)
        return &saturate_row<F, T>;
      else
        return &convert_row<F, T>;
    });
  });
}

}  // namespace

void copy_into(const Array& dst, const Array& src) {
  if (src.size() == 0) return;
  if (dst.data == src.data && dst.dtype == src.dtype && dst.same_shape(src)) {
    bool same = true;
    for (int d = 0; d < dst.ndim; ++d) same &= dst.strides[d] == src.strides[d];
    if (same) return;
  }
  if (may_overlap(dst, src)) {
    Array apart = Array::empty(src.dtype, src.ndim, src.shape);
    copy_into(apart, src);
    copy_into(dst, apart);
    return;
  }
  const Row row = row_converter(src.dtype, dst.dtype);
  const Array* operands[2] = {&dst, &src};
  Loop<2> loop(dst.ndim, dst.shape, operands);
  loop.order_by(0);
  loop.rows([&](int64_t n, char* const* at, const int64_t* stride) { row(n, at[1], stride[1], at[0], stride[0]); });
}

void convert(int64_t n, const char* from, DType from_type, char* to, DType to_type) {
  row_converter(from_type, to_type)(n, from, 1, to, 1);
}

Array contiguous_copy(const Array& a) {
  Array c = Array::empty(a.dtype, a.ndim, a.shape);
  copy_into(c, a);
  return c;
}

}  // namespace pn
