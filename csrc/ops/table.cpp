#include <string>
#include <unordered_map>

#include "kernels/kernels.h"
#include "ops/op.h"

namespace pn {

void prepare(OpCall& call) {
  call.op->infer(call);
  if (call.op->flags & kView) return;
  for (int i = 0; i < call.op->outputs; ++i) call.out[i].allocate();
  if (call.op->writes) {
    for (int i = 0; i < call.inputs; ++i) {
      if (!call.in[i] || !(call.op->writes >> i & 1)) continue;
      if (!call.in[i]->storage->writable)
        fail<ValueError>(call.op->name, ": argument ", i, " of shape ", shape_text(*call.in[i]),
                         " lies on read-only memory; use a copy of it");
      // What is empty stands for an absent state and is shared by threads, which only look at it.
      if (call.in[i]->storage->bytes) ++call.in[i]->storage->version;
    }
  }
}

void execute(OpCall& call) {
  prepare(call);
  if (!(call.op->flags & kView)) call.op->run(call);
}

const std::vector<const Op*>& all_ops() {
  static const std::vector<const Op*> ops = [] {
    std::vector<const Op*> all;
    for (const OpList* family :
         {&elementwise_ops(), &reduce_ops(), &loss_ops(), &normalize_ops(), &matmul_ops(), &attention_ops(),
          &conv_ops(), &pool_ops(), &max_pool_ops(), &recurrent_ops(), &resample_ops(), &grid_sample_ops(),
          &extend_ops(), &shape_ops(), &index_ops(), &segment_ops(), &random_ops(), &optim_ops()})
      for (const Op& op : *family) all.push_back(&op);
    return all;
  }();
  return ops;
}

const Op* find_op(const std::string& name) {
  static const std::unordered_map<std::string, const Op*> by_name = [] {
    std::unordered_map<std::string, const Op*> map;
    for (const Op* op : all_ops())
      if (!map.emplace(op->name, op).second) fail<std::logic_error>("op ", op->name, " is in the table twice");
    return map;
  }();
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : found->second;
}

int64_t checked_axis(const OpCall& call, int64_t axis, int ndim) {
  if (axis < -ndim || axis >= ndim)
    fail<IndexError>(call.op->name, ": dim ", axis, " is out of range for shape ", shape_text(*call.in[0]), " with ",
                     ndim, " dimensions (use ", -ndim, " to ", ndim - 1, ")");
  return axis < 0 ? axis + ndim : axis;
}

int spatial_dims(const OpCall& call) {
  const Array& x = *call.in[0];
  if (x.ndim < 3 || x.ndim > 5)
    fail<ValueError>(call.op->name, ": x ", shape_text(x),
                     " must have a batch and a channel dimension and then 1, 2 or 3 spatial ones");
  return x.ndim - 2;
}

void require_float(const OpCall& call, int input, const char* argument) {
  if (!is_float(call.in[input]->dtype))
    fail<TypeError>(call.op->name, ": ", argument, " is ", dtype_name(call.in[input]->dtype),
                    " but must be float32 or float64; convert it with .to(np.float32)");
}

void made(const OpCall& call, int64_t low, int64_t high) {
  if (!call.epilogue) return;
  const int64_t width = call.out[0].shape[call.out[0].ndim - 1];
  const int64_t rows = (high - low) / width;
  if (rows == 0) return call.epilogue->apply(call.epilogue->context, low / width, low % width, 1, high - low);
  call.epilogue->apply(call.epilogue->context, low / width, 0, rows, width);
}

}  // namespace pn
