// Elementwise ops: broadcasting, strided operands, threads and the integer types around the kernels of
// kernels/cpu/elementwise.inl. Operands of one call have one dtype (the engine converts them first), but for the
// condition of `where`.
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/cpu.h"
#include "core/loop.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace pn {

namespace {
template <class T>
void gather_as(int64_t n, const char* from, int64_t stride, char* to) {
  constexpr int64_t kItem = sizeof(T);
  T value;
  std::memcpy(&value, from, kItem);
  if (stride == 0)  // a loop that the compiler turns into vectors
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * kItem, &value, kItem);
  else
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * kItem, from + i * stride * kItem, kItem);
}
}  // namespace

void gather(int64_t n, const char* from, int64_t stride, size_t item, char* to) {
  if (n == 0) return;
  switch (item) {
    case 1: return gather_as<uint8_t>(n, from, stride, to);
    case 2: return gather_as<uint16_t>(n, from, stride, to);
    case 4: return gather_as<uint32_t>(n, from, stride, to);
    default: return gather_as<uint64_t>(n, from, stride, to);
  }
}

namespace {

// ---- integer kernels: the _ANY rows, for the types that need no vector code of their own ----

template <class T>
T abs_(T x) {
  return x < 0 ? static_cast<T>(-x) : x;
}
template <class T>
T sign_(T x) {
  return static_cast<T>((x > 0) - (x < 0));
}
// Division by zero gives 0, as in NumPy; the quotient is rounded down and the remainder has b's sign, as in Python.
template <class T>
T floor_divide_(T a, T b) {
  if (b == 0) return 0;
  if (b == static_cast<T>(-1)) return static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(a));
  const T q = static_cast<T>(a / b);
  return static_cast<T>(q - ((a % b != 0) && ((a < 0) != (b < 0))));
}
template <class T>
T remainder_(T a, T b) {
  if (b == 0 || b == static_cast<T>(-1)) return 0;
  const T r = static_cast<T>(a % b);
  return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
}
// Wraps on overflow; a negative power of anything but 1 and -1 is 0.
template <class T>
T pow(T a, T b) {
  if (b < 0) return a == 1 ? 1 : (a == static_cast<T>(-1) ? (b % 2 ? a : 1) : 0);
  using U = std::make_unsigned_t<T>;
  uint64_t result = 1, base = static_cast<U>(a);
  for (uint64_t e = static_cast<U>(b); e; e >>= 1, base *= base)
    if (e & 1) result *= base;
  return static_cast<T>(result);
}

template <class T>
struct IntegerKernels {
#define PN_UNARY_ANY(name, ...)                                                       \
  static void unary_##name(int64_t n, const T* xs, T* ys, const double* parameters) { \
    [[maybe_unused]] const double p0 = parameters[0], p1 = parameters[1];             \
    for (int64_t i = 0; i < n; ++i) {                                                 \
      const T x = xs[i];                                                              \
      ys[i] = static_cast<T>(__VA_ARGS__);                                            \
    }                                                                                 \
  }
#define PN_BINARY_ANY(name, ...)                                          \
  static void binary_##name(int64_t n, const T* as, const T* bs, T* ys) { \
    for (int64_t i = 0; i < n; ++i) {                                     \
      const T a = as[i], b = bs[i];                                       \
      ys[i] = static_cast<T>(__VA_ARGS__);                                \
    }                                                                     \
  }
#define PN_COMPARE_ANY(name, ...)                                             \
  static void compare_##name(int64_t n, const T* as, const T* bs, bool* ys) { \
    for (int64_t i = 0; i < n; ++i) {                                         \
      const T a = as[i], b = bs[i];                                           \
      ys[i] = __VA_ARGS__;                                                    \
    }                                                                         \
  }
#define PN_TEST_ANY(name, ...)                                \
  static void test_##name(int64_t n, const T* xs, bool* ys) { \
    for (int64_t i = 0; i < n; ++i) {                         \
      const T x = xs[i];                                      \
      ys[i] = __VA_ARGS__;                                    \
    }                                                         \
  }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtype-limits"
#pragma GCC diagnostic ignored "-Wtautological-compare"
#include "kernels/elementwise_rows.h"
#pragma GCC diagnostic pop

  static void where(int64_t n, const bool* c, const T* a, const T* b, T* y) {
    // Bits are chosen, as a choice of elements would be a branch for each.
    for (int64_t i = 0; i < n; ++i) y[i] = b[i] ^ ((a[i] ^ b[i]) & static_cast<T>(-static_cast<T>(c[i])));
  }

  static const ElementwiseKernels<T>& table() {
    static const ElementwiseKernels<T> kernels = {{
#define PN_UNARY_ANY(name, ...) &unary_##name,
#define PN_UNARY_FLOAT(name, ...) nullptr,
#include "kernels/elementwise_rows.h"
                                                  },
                                                  {
#define PN_BINARY_ANY(name, ...) &binary_##name,
#define PN_BINARY_FLOAT(name, ...) nullptr,
#include "kernels/elementwise_rows.h"
                                                  },
                                                  {nullptr},
                                                  {
#define PN_TEST_ANY(name, ...) &test_##name,
#define PN_TEST_FLOAT(name, ...) nullptr,
#include "kernels/elementwise_rows.h"
                                                  },
                                                  {
#define PN_COMPARE_ANY(name, ...) &compare_##name,
#include "kernels/elementwise_rows.h"
                                                  },
                                                  &where};
    return kernels;
  }
};

template <class T>
const ElementwiseKernels<T>& table_of() {
  if constexpr (std::is_same_v<T, bool>)
    static_assert(!sizeof(T), "bool operands are handled as uint8");
  else if constexpr (std::is_floating_point_v<T>)
    return kernels().of<T>().elementwise;
  else
    return IntegerKernels<T>::table();
}

// A bool is a byte that is 0 or 1, so uint8 kernels serve it where the result is a bool again.
template <class F>
decltype(auto) visit_number(DType t, F&& f) {
  return visit_dtype(t == DType::Bool ? DType::UInt8 : t, [&](auto v) {
    if constexpr (std::is_same_v<decltype(v), bool>)
      return f(uint8_t{});
    else
      return f(v);
  });
}

// ---- the driver: any strides to dense pieces ----

constexpr int64_t kPiece = 512;    // elements gathered at a time: operands stay in L1
constexpr int64_t kShortRow = 24;  // shorter rows are gathered across row ends rather than run one by one

// Runs kernel(n, pointers) over the output in dense pieces: pointers[0] is the output, the others the inputs. An
// operand that is not dense there (strided, or one value for many) is laid out in a buffer of kPiece elements first,
// which stays in L1: the kernels need one loop each, and a strided operand gives the same bits as a dense one. The
// kernel comes as a plain function with a context, so that the walk exists once per number of operands, not once per
// op.

template <int N>
void run_pieces(const Array& out, const Array* const* inputs, Piece piece, const void* context) {
  const auto kernel = [&](int64_t n, char* const* p) { piece(context, 0, n, p); };
  const Array* operands[N];
  Array stretched[N];
  operands[0] = &out;
  for (int k = 1; k < N; ++k) {
    if (inputs[k - 1]->same_shape(out)) {
      operands[k] = inputs[k - 1];
    } else {
      stretched[k] = expanded(*inputs[k - 1], out.ndim, out.shape);
      operands[k] = &stretched[k];
    }
  }
  const Loop<N> loop(out.ndim, out.shape, operands);
  if (loop.total == 0) return;

  const auto row = [&](int64_t n, char* const* at, const int64_t* stride) {
    char* p[N];
    bool dense = true;
    for (int k = 0; k < N; ++k) {
      p[k] = at[k];
      dense &= stride[k] == 1;
    }
    if (dense || n == 1) return kernel(n, p);
    alignas(64) char buffer[N][kPiece * 8];
    for (int64_t done = 0; done < n; done += kPiece) {
      const int64_t m = n - done < kPiece ? n - done : kPiece;
      for (int k = 0; k < N; ++k) {
        if (stride[k] == 1) {
          p[k] = at[k] + done * loop.item[k];
        } else if (stride[k] != 0 || done == 0) {
          gather(m, at[k] + done * stride[k] * loop.item[k], stride[k], static_cast<size_t>(loop.item[k]), buffer[k]);
          p[k] = buffer[k];
        }
      }
      kernel(m, p);
    }
  };

  // Rows of a few elements: lay out several of them in one dense piece.
  const auto short_rows = [&](int64_t low, int64_t high) {
    alignas(64) char buffer[N][kPiece * 8];
    for (int64_t start = low; start < high; start += kPiece) {
      const int64_t end = start + kPiece < high ? start + kPiece : high;
      char* p[N];
      for (int k = 0; k < N; ++k) p[k] = buffer[k];
      p[0] = loop.base[0] + start * loop.item[0];
      int64_t filled = 0;
      loop.range(start, end, [&](int64_t n, char* const* at, const int64_t* stride) {
        for (int k = 1; k < N; ++k)
          gather(n, at[k], stride[k], static_cast<size_t>(loop.item[k]), buffer[k] + filled * loop.item[k]);
        filled += n;
      });
      kernel(end - start, p);
    }
  };

  const bool few = loop.ndim > 1 && loop.inner() < kShortRow;
  parallel_ranges(loop.total, 1, [&](int64_t low, int64_t high) {
    if (few)
      short_rows(low, high);
    else
      loop.range(low, high, row);
  });
}

// ---- shape rules ----

void broadcast_output(OpCall& call, DType type) {
  int dims = 0;
  int64_t shape[kMaxDims];
  for (int i = 0; i < call.inputs; ++i) {
    int merged;
    int64_t out[kMaxDims];
    if (!broadcast_shapes(dims, shape, call.in[i]->ndim, call.in[i]->shape, &merged, out)) {
      std::string shapes;
      for (int k = 0; k < call.inputs; ++k)
        shapes += (k ? (k + 1 < call.inputs ? ", " : " and ") : "") + shape_text(*call.in[k]);
      fail<ValueError>(call.op->name, ": shapes ", shapes,
                       " do not broadcast; aligned from the right, each pair of sizes must be equal or contain a 1");
    }
    dims = merged;
    for (int d = 0; d < dims; ++d) shape[d] = out[d];
  }
  call.out[0].describe(type, dims, shape);
}

void infer_same(OpCall& call) { broadcast_output(call, call.in[0]->dtype); }
void infer_signed(OpCall& call) {
  if (call.in[0]->dtype == DType::Bool)
    fail<TypeError>(call.op->name, ": bool tensors have no ", call.op->name,
                    "; use logical_not or logical_xor, or convert them");
  infer_same(call);
}
void infer_bool(OpCall& call) { broadcast_output(call, DType::Bool); }
void infer_where(OpCall& call) { broadcast_output(call, call.in[1]->dtype); }

// ---- run: one function per kind, the row as template argument ----

template <class T>
const T* in(const char* p) {
  return reinterpret_cast<const T*>(p);
}
template <class T>
T* to(char* p) {
  return reinterpret_cast<T*>(p);
}

// ---- binding: the kernel and the function that unpacks pointers for it ----

// Puts context (a kernel, or a kernel and its parameters) and piece into k.
template <class Context>
void bind(BoundKernel& k, const Context& context, Piece piece) {
  static_assert(sizeof(Context) <= sizeof k.context);
  std::memcpy(k.context, &context, sizeof context);
  k.piece = piece;
}

template <class T>
struct UnaryContext {
  void (*kernel)(int64_t, const T*, T*, const double*);
  double parameters[2];
};

void bind_unary_kind(const OpCall& call, Unary kind, BoundKernel& k) {
  visit_number(call.in[0]->dtype, [&](auto v) {
    using T = decltype(v);
    UnaryContext<T> context{table_of<T>().unary[static_cast<int>(kind)], {0, 0}};
    for (int i = 0; i < call.attributes.real_count && i < 2; ++i) context.parameters[i] = call.attributes.reals[i];
    bind(k, context, [](const void* c, int64_t, int64_t n, char* const* p) {
      const auto& with = *static_cast<const UnaryContext<T>*>(c);
      with.kernel(n, in<T>(p[1]), to<T>(p[0]), with.parameters);
    });
  });
}

void bind_test_kind(const OpCall& call, Test kind, BoundKernel& k) {
  visit_number(call.in[0]->dtype, [&](auto v) {
    using T = decltype(v);
    const auto kernel = table_of<T>().test[static_cast<int>(kind)];
    bind(k, kernel, [](const void* c, int64_t, int64_t n, char* const* p) {
      (*static_cast<const decltype(kernel)*>(c))(n, in<T>(p[1]), to<bool>(p[0]));
    });
  });
}

void bind_binary_kind(const OpCall& call, Binary kind, BoundKernel& k) {
  const bool boolean = call.in[0]->dtype == DType::Bool;
  visit_number(call.in[0]->dtype, [&](auto v) {
    using T = decltype(v);
    const auto kernel = table_of<T>().binary[static_cast<int>(kind)];
    const Piece number = [](const void* c, int64_t, int64_t n, char* const* p) {
      (*static_cast<const decltype(kernel)*>(c))(n, in<T>(p[1]), in<T>(p[2]), to<T>(p[0]));
    };
    const Piece truth = [](const void* c, int64_t, int64_t n, char* const* p) {  // 1 + 1 is 1: or; and for a product
      (*static_cast<const decltype(kernel)*>(c))(n, in<T>(p[1]), in<T>(p[2]), to<T>(p[0]));
      for (int64_t i = 0; i < n; ++i) p[0][i] = p[0][i] != 0;
    };
    bind(k, kernel, boolean ? truth : number);
  });
}

void bind_compare_kind(const OpCall& call, Compare kind, BoundKernel& k) {
  visit_number(call.in[0]->dtype, [&](auto v) {
    using T = decltype(v);
    const auto kernel = table_of<T>().compare[static_cast<int>(kind)];
    bind(k, kernel, [](const void* c, int64_t, int64_t n, char* const* p) {
      (*static_cast<const decltype(kernel)*>(c))(n, in<T>(p[1]), in<T>(p[2]), to<bool>(p[0]));
    });
  });
}

template <class T>
void bind_ternary_type(Ternary kind, BoundKernel& k) {
  const auto kernel = table_of<T>().ternary[static_cast<int>(kind)];
  bind(k, kernel, [](const void* c, int64_t, int64_t n, char* const* p) {
    (*static_cast<const decltype(kernel)*>(c))(n, in<T>(p[1]), in<T>(p[2]), in<T>(p[3]), to<T>(p[0]));
  });
}

void bind_where(const OpCall& call, BoundKernel& k) {
  visit_number(call.in[1]->dtype, [&](auto v) {
    using T = decltype(v);
    const auto kernel = table_of<T>().where;
    bind(k, kernel, [](const void* c, int64_t, int64_t n, char* const* p) {
      (*static_cast<const decltype(kernel)*>(c))(n, in<bool>(p[1]), in<T>(p[2]), in<T>(p[3]), to<T>(p[0]));
    });
  });
}

template <Unary kind>
void bind_unary(const OpCall& call, BoundKernel& k) {
  bind_unary_kind(call, kind, k);
}
template <Test kind>
void bind_test(const OpCall& call, BoundKernel& k) {
  bind_test_kind(call, kind, k);
}
template <Binary kind>
void bind_binary(const OpCall& call, BoundKernel& k) {
  bind_binary_kind(call, kind, k);
}
template <Compare kind>
void bind_compare(const OpCall& call, BoundKernel& k) {
  bind_compare_kind(call, kind, k);
}
template <Ternary kind>
void bind_ternary(const OpCall& call, BoundKernel& k) {
  call.in[0]->dtype == DType::Float64 ? bind_ternary_type<double>(kind, k) : bind_ternary_type<float>(kind, k);
}

// The op's own binding, then the walk.
template <int N>
void run_bound(const OpCall& call) {
  BoundKernel k;
  call.op->bind(call, k);
  run_pieces<N>(call.out[0], call.in, k.piece, k.context);
}

void infer_cast(OpCall& call) {
  const Array& x = *call.in[0];
  call.out[0].describe(static_cast<DType>(call.attributes.ints[0]), x.ndim, x.shape);
}
void run_cast(const OpCall& call) { copy_into(call.out[0], *call.in[0]); }

}  // namespace

// Rows for integers too are marked kTakesIntegers; the engine converts integers to float32 for the others.
const OpList& elementwise_ops() {
  constexpr unsigned any = kBroadcasts | kTakesIntegers, real = kBroadcasts;
  static const OpList ops = [] {
    OpList list = {
#define PN_UNARY_ANY(name, ...) {#name, 1, 1, any, infer_same, run_bound<2>, 0, bind_unary<Unary::name>},
#define PN_UNARY_FLOAT(name, ...) {#name, 1, 1, real, infer_same, run_bound<2>, 0, bind_unary<Unary::name>},
#define PN_BINARY_ANY(name, ...) {#name, 2, 1, any, infer_same, run_bound<3>, 0, bind_binary<Binary::name>},
#define PN_BINARY_FLOAT(name, ...) {#name, 2, 1, real, infer_same, run_bound<3>, 0, bind_binary<Binary::name>},
#define PN_TERNARY_FLOAT(name, ...) {#name, 3, 1, real, infer_same, run_bound<4>, 0, bind_ternary<Ternary::name>},
#define PN_TEST_ANY(name, ...) {#name, 1, 1, any, infer_bool, run_bound<2>, 0, bind_test<Test::name>},
#define PN_TEST_FLOAT(name, ...) {#name, 1, 1, real, infer_bool, run_bound<2>, 0, bind_test<Test::name>},
#define PN_COMPARE_ANY(name, ...) {#name, 2, 1, any, infer_bool, run_bound<3>, 0, bind_compare<Compare::name>},
#include "kernels/elementwise_rows.h"
        {"where", 3, 1, any | kFirstIsCondition, infer_where, run_bound<4>, 0, bind_where},
        {"cast", 1, 1, any, infer_cast, run_cast},
    };
    for (Op& op : list)
      if (std::string(op.name) == "neg" || std::string(op.name) == "sub") op.infer = infer_signed;
    return list;
  }();
  return ops;
}

}  // namespace pn
