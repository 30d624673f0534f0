// Axes gone on beyond their ends by their own elements (mirrored, the last one repeated, or the other end), and the
// adjoint, which adds up what each element was copied to.
#include <algorithm>
#include <vector>

#include "ops/axis_map.h"
#include "ops/op.h"

namespace pn {
namespace {

enum Mode { kReflect, kReplicate, kCircular };

// Attributes of both ops: mode, and for each axis of x how many elements come before and after it.
struct Extension {
  Mode mode;
  AttributeReader::List before, after;
  int first;  // the first axis with any
};

Extension read(const OpCall& call) {
  const int ndim = call.in[0]->ndim;
  AttributeReader attributes(call.attributes);
  Extension e{static_cast<Mode>(attributes.integer()), attributes.list(), attributes.list(), 0};
  if (e.before.count != ndim || e.after.count != ndim)
    fail<ValueError>(call.op->name, ": before and after need an entry for each dimension of x ",
                     shape_text(*call.in[0]));
  while (e.first < ndim - 1 && e.before.values[e.first] == 0 && e.after.values[e.first] == 0) ++e.first;
  return e;
}

void describe(OpCall& call, bool backward) {
  const Array& x = *call.in[0];
  const Extension e = read(call);
  int64_t shape[kMaxDims];
  for (int d = 0; d < x.ndim; ++d) {
    const int64_t before = e.before.values[d], after = e.after.values[d];
    const int64_t n = backward ? x.shape[d] - before - after : x.shape[d];  // without them
    const int64_t most = e.mode == kReflect ? n - 1 : e.mode == kCircular ? n : n > 0 ? INT64_MAX : 0;
    if ((before || after) && (before < 0 || after < 0 || std::max(before, after) > most))
      fail<ValueError>(call.op->name, ": dim ", d, " of size ", n, " cannot be gone on by ", before, " and ", after,
                       " elements (at most ", most, ")");
    shape[d] = backward ? n : n + before + after;
  }
  call.out[0].describe(x.dtype, x.ndim, shape);
}

template <bool Backward>
void infer(OpCall& call) {
  describe(call, Backward);
}

template <class T>
void extend(const OpCall& call, bool backward) {
  const Array x = as_contiguous(*call.in[0]);
  const Extension e = read(call);
  int64_t planes = 1;
  for (int d = 0; d < e.first; ++d) planes *= x.shape[d];
  std::vector<AxisMap<T>> maps;
  for (int d = e.first; d < x.ndim; ++d) {
    AxisMap<T> map;
    map.from = (backward ? call.out[0] : x).shape[d];
    map.to = (backward ? x : call.out[0]).shape[d];
    const int64_t last = map.from - 1;
    for (int64_t j = 0; j < map.to; ++j) {
      int64_t i = j - e.before.values[d];
      if (e.mode == kReflect) i = i < 0 ? -i : i > last ? 2 * last - i : i;
      if (e.mode == kReplicate) i = std::clamp<int64_t>(i, 0, last);
      if (e.mode == kCircular) i = i < 0 ? i + map.from : i > last ? i - map.from : i;
      map.tap(i, 1);
      map.end_output();
    }
    maps.push_back(backward ? transposed(map) : map);
  }
  apply_maps(call, maps, planes, x.ptr<T>());
}

template <bool Backward>
void run(const OpCall& call) {
  if (call.out[0].size() == 0) return;
  call.out[0].dtype == DType::Float32 ? extend<float>(call, Backward) : extend<double>(call, Backward);
}

unsigned blocks(const OpCall& call) { return read(call).first == 2 ? map_blocks(call) : 0; }

}  // namespace

const OpList& extend_ops() {
  static const OpList ops = {
      {"extend", 1, 1, kPlain, infer<false>, run<false>, 0, nullptr, nullptr, nullptr, nullptr, blocks},
      {"extend_backward", 1, 1, kPlain, infer<true>, run<true>, 0, nullptr, nullptr, nullptr, nullptr, blocks},
  };
  return ops;
}

}  // namespace pn
