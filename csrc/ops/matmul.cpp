// Matrix products: batched `matmul`, and `linear` (x w^T + bias), on the kernel of kernels/cpu/matmul.inl.
#include "core/cpu.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace pn {
namespace {

// c = a b [+ bias] for one matrix of each, in the order that the shape of the whole product asks for. With `narrow` the
// operands are rounded to bfloat16, which has one order for all shapes.
template <class T, bool narrow>
void product(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t b_row,
             int64_t b_col, T* c, const T* bias, const Epilogue* epilogue = nullptr) {
  const Gemm<T> g{m, n, k, a, a_row, a_col, b, b_row, b_col, c, n, false, bias, epilogue};
  if constexpr (narrow)
    kernels().gemm_bf16(g);
  else
    kernels().of<T>().product(g);
}

void infer_matmul(OpCall& call) {
  const Array &a = *call.in[0], &b = *call.in[1];
  if (a.ndim < 2 || b.ndim < 2)
    fail<ValueError>(call.op->name, ": both arguments need at least 2 dimensions, but the shapes are ", shape_text(a),
                     " and ", shape_text(b));
  const int64_t k = a.shape[a.ndim - 1];
  if (b.shape[b.ndim - 2] != k)
    fail<ValueError>(call.op->name, ": ", shape_text(a), " @ ", shape_text(b), ": the first has ", k,
                     " columns but the second has ", b.shape[b.ndim - 2],
                     " rows; they must be equal (is a transpose missing?)");
  int dims;
  int64_t shape[kMaxDims];
  if (!broadcast_shapes(a.ndim - 2, a.shape, b.ndim - 2, b.shape, &dims, shape))
    fail<ValueError>(call.op->name, ": the batch dimensions of ", shape_text(a), " and ", shape_text(b),
                     " do not broadcast");
  shape[dims] = a.shape[a.ndim - 2];
  shape[dims + 1] = b.shape[b.ndim - 1];
  call.out[0].describe(promote(a.dtype, b.dtype), dims + 2, shape);
}

// A batch whose rows lie evenly one after the other is one tall matrix. Its stride, or false.
bool as_rows(const Array& a, int64_t* row_stride) {
  int64_t expected = 0;
  bool any = false;
  for (int d = a.ndim - 2; d >= 0; --d) {
    if (a.shape[d] == 1) continue;
    if (any && a.strides[d] != expected) return false;
    if (!any) *row_stride = a.strides[d];
    any = true;
    expected = a.strides[d] * a.shape[d];
  }
  if (!any) *row_stride = a.shape[a.ndim - 1];
  return true;
}

// One product of matrices whose operands may lie elsewhere next time.
template <class T, bool narrow>
void go_product(const Ready& r) {
  const T* bias = r.at[3] ? reinterpret_cast<const T*>(*r.at[3]) : nullptr;
  product<T, narrow>(r.n[0], r.n[1], r.n[2], reinterpret_cast<const T*>(*r.at[0]), r.n[3], r.n[4],
                     reinterpret_cast<const T*>(*r.at[1]), r.n[5], r.n[6], reinterpret_cast<T*>(*r.at[2]), bias,
                     r.epilogue);
}

// Fills in r for call.out[0] = a b [+ bias], where a is a stack of rows and b_row, b_col the strides of b.
template <bool narrow>
bool prepare_product(const OpCall& call, Ready& r, int64_t n, int64_t k, int64_t b_row, int64_t b_col) {
  const Array &a = *call.in[0], &c = call.out[0];
  int64_t a_row = 0;
  if (!as_rows(a, &a_row)) return false;
  r.n[0] = n > 0 ? c.size() / n : 0, r.n[1] = n, r.n[2] = k;
  r.n[3] = a_row, r.n[4] = a.strides[a.ndim - 1], r.n[5] = b_row, r.n[6] = b_col;
  r.at[0] = &a.data, r.at[1] = &call.in[1]->data, r.at[2] = &c.data, r.at[3] = nullptr;
  if (call.inputs > 2 && call.in[2]) {
    if (!call.in[2]->contiguous()) return false;
    r.at[3] = &call.in[2]->data;
  }
  r.go = c.dtype == DType::Float32 ? go_product<float, narrow> : go_product<double, false>;
  return true;
}

template <bool narrow>
bool prepare_matmul(const OpCall& call, Ready& r) {
  const Array& b = *call.in[1];
  return b.ndim == 2 && prepare_product<narrow>(call, r, b.shape[1], b.shape[0], b.strides[0], b.strides[1]);
}

template <bool narrow>
bool prepare_linear(const OpCall& call, Ready& r) {
  const Array& w = *call.in[1];
  return prepare_product<narrow>(call, r, w.shape[0], w.shape[1], w.strides[1], w.strides[0]);
}

template <class T, bool narrow>
void matmul_of(const OpCall& call) {
  const Array &a = *call.in[0], &b = *call.in[1], &c = call.out[0];
  const int64_t m = a.shape[a.ndim - 2], k = a.shape[a.ndim - 1], n = b.shape[b.ndim - 1];
  const int64_t b_row = b.strides[b.ndim - 2], b_col = b.strides[b.ndim - 1];
  const int64_t a_col = a.strides[a.ndim - 1];
  int64_t a_row = 0, rows = 1;
  for (int d = 0; d < a.ndim - 1; ++d) rows *= a.shape[d];
  if (b.ndim == 2 && as_rows(a, &a_row)) {
    return product<T, narrow>(rows, n, k, a.ptr<T>(), a_row, a_col, b.ptr<T>(), b_row, b_col, c.ptr<T>(), nullptr);
  }
  a_row = a.strides[a.ndim - 2];
  int64_t batch_shape[kMaxDims], a_step[kMaxDims], b_step[kMaxDims];
  const int dims = c.ndim - 2;
  int64_t batches = 1;
  for (int d = 0; d < dims; ++d) {
    batch_shape[d] = c.shape[d];
    batches *= c.shape[d];
    const int i = d - (c.ndim - a.ndim), j = d - (c.ndim - b.ndim);
    a_step[d] = i >= 0 && a.shape[i] != 1 ? a.strides[i] : 0;
    b_step[d] = j >= 0 && b.shape[j] != 1 ? b.strides[j] : 0;
  }
  const auto one = [&](int64_t t) {
    const T *pa = a.ptr<T>(), *pb = b.ptr<T>();
    int64_t rest = t;
    for (int d = dims - 1; d >= 0; --d) {
      const int64_t index = rest % batch_shape[d];
      rest /= batch_shape[d];
      pa += index * a_step[d];
      pb += index * b_step[d];
    }
    T* to = c.ptr<T>() + t * m * n;
    if (b.ndim == 2 && !narrow)  // some rows of one tall product
      kernels().of<T>().gemm({m, n, k, pa, a_row, a_col, pb, b_row, b_col, to, n, false, nullptr});
    else
      product<T, narrow>(m, n, k, pa, a_row, a_col, pb, b_row, b_col, to, nullptr);
  };
  // Many small products: whole ones per thread. Few large ones: the threads work inside each.
  constexpr double kWorthAThread = 5e5;
  const double each = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  if (each * static_cast<double>(batches) > 2 * kWorthAThread && each < 4 * kWorthAThread && batches > 1) {
    const int64_t chunk = 1 + static_cast<int64_t>(kWorthAThread / (each + 1));
    parallel_for((batches + chunk - 1) / chunk, [&](int64_t p) {
      for (int64_t t = p * chunk; t < batches && t < (p + 1) * chunk; ++t) one(t);
    });
  } else {
    for (int64_t t = 0; t < batches; ++t) one(t);
  }
}

template <bool narrow>
void run_matmul(const OpCall& call) {
  call.out[0].dtype == DType::Float32 ? matmul_of<float, narrow>(call) : matmul_of<double, false>(call);
}

void infer_linear(OpCall& call) {
  const Array &x = *call.in[0], &w = *call.in[1];
  if (w.ndim != 2)
    fail<ValueError>(call.op->name, ": weight must have 2 dimensions (out_features, in_features), but its shape is ",
                     shape_text(w));
  if (x.ndim < 1) fail<ValueError>(call.op->name, ": x needs at least 1 dimension; its shape is ()");
  if (x.shape[x.ndim - 1] != w.shape[1])
    fail<ValueError>(call.op->name, ": x has ", x.shape[x.ndim - 1], " columns but weight expects ", w.shape[1],
                     " (x is ", shape_text(x), ", weight is ", shape_text(w), ")");
  if (call.in[2] && (call.in[2]->ndim != 1 || call.in[2]->shape[0] != w.shape[0]))
    fail<ValueError>(call.op->name, ": bias has shape ", shape_text(*call.in[2]), " but weight ", shape_text(w),
                     " needs (", w.shape[0], ",)");
  int64_t shape[kMaxDims];
  for (int d = 0; d < x.ndim - 1; ++d) shape[d] = x.shape[d];
  shape[x.ndim - 1] = w.shape[0];
  call.out[0].describe(x.dtype, x.ndim, shape);
}

template <class T, bool narrow>
void linear_of(const OpCall& call) {
  const Array& w = *call.in[1];
  int64_t row = 0, rows = 1;
  const bool even = as_rows(*call.in[0], &row);
  const Array x = even ? *call.in[0] : contiguous_copy(*call.in[0]);
  if (!even) row = x.shape[x.ndim - 1];
  for (int d = 0; d < x.ndim - 1; ++d) rows *= x.shape[d];
  const Array bias = call.in[2] ? as_contiguous(*call.in[2]) : Array();
  product<T, narrow>(rows, w.shape[0], w.shape[1], x.ptr<T>(), row, x.strides[x.ndim - 1], w.ptr<T>(), w.strides[1],
                     w.strides[0], call.out[0].ptr<T>(), bias.ptr<T>());
}

template <bool narrow>
void run_linear(const OpCall& call) {
  call.out[0].dtype == DType::Float32 ? linear_of<float, narrow>(call) : linear_of<double, false>(call);
}

double operations(const OpCall& call) {
  const Array& a = *call.in[0];
  return 2.0 * static_cast<double>(call.out[0].size()) * static_cast<double>(a.shape[a.ndim - 1]);
}

// The ops on bfloat16 operands take float32.
template <void (*infer)(OpCall&)>
void infer_narrow(OpCall& call) {
  for (int i = 0; i < call.inputs; ++i)
    if (call.in[i] && call.in[i]->dtype != DType::Float32)
      fail<TypeError>(call.op->name, ": the operands are ", dtype_name(call.in[i]->dtype),
                      " but only float32 is rounded to bfloat16; convert them, or use ",
                      std::string(call.op->name).substr(0, 6));
  infer(call);
}

}  // namespace

const OpList& matmul_ops() {
  constexpr unsigned flags = kTakesEpilogue;
  static const OpList ops = {
      {"matmul", 2, 1, flags | kBroadcasts, infer_matmul, run_matmul<false>, 0, nullptr, prepare_matmul<false>, nullptr,
       operations},
      {"linear", 3, 1, flags, infer_linear, run_linear<false>, 0, nullptr, prepare_linear<false>, nullptr, operations},
      {"matmul_bf16", 2, 1, flags | kBroadcasts, infer_narrow<infer_matmul>, run_matmul<true>, 0, nullptr,
       prepare_matmul<true>, nullptr, operations},
      {"linear_bf16", 3, 1, flags, infer_narrow<infer_linear>, run_linear<true>, 0, nullptr, prepare_linear<true>,
       nullptr, operations},
  };
  return ops;
}

}  // namespace pn
