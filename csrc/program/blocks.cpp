// Which temporaries lie in blocks of the batch (ops/op.h): those that only pass between ops which let them, such as
// convolutions, pooling, norms and elementwise calls. Their layout is then changed where such a stretch begins and
// ends, and not in every call. A mask of bits that such a call takes as a whole goes along.
#include <vector>

#include "program/fusion.h"
#include "program/program.h"

namespace pn {
namespace {

unsigned bit_of(size_t operand, size_t inputs) {
  return operand < inputs ? 1u << operand : kOutputBit << (operand - inputs);
}

const Operand& operand_of(const Instruction& i, size_t k) { return k < i.in.size() ? i.in[k] : i.out[k - i.in.size()]; }

// Whether a tensor's blocks would be full and hold all of it.
bool fits(const Array& a) { return a.ndim >= 3 && a.size() > 0 && a.shape[0] % kBatchLanes == 0 && a.contiguous(); }

bool draws(const Instruction& i) { return (i.op->flags & kDraws) != 0; }

}  // namespace

void Program::lay_in_blocks() {
  std::vector<unsigned> allowed;
  std::vector<bool> may(slots_.size(), false);
  std::vector<const Array*> seen(slots_.size(), nullptr);
  std::vector<int64_t> images(slots_.size(), 0);  // of what a mask belongs to
  for (size_t s = 0; s < slots_.size(); ++s) may[s] = slots_[s].kind == Slot::kTemporary;
  for (const Operand& r : result_operands_) may[static_cast<size_t>(r.slot)] = false;
  bool any = false;
  for (const Instruction& i : instructions_) {
    // A chain's calls work place by place: their operands lie in one order, but for single values.
    unsigned all = i.op->blocks ? i.op->blocks(Windows(i).call) : i.op->bind ? ~0u : 0u;
    if (all && i.op->bind) all |= kOneOrder;
    allowed.push_back(all);
    any = any || (all && !(all & kOneOrder) && !draws(i));
    for (size_t k = 0; k < i.in.size() + i.out.size(); ++k) {
      const Operand& o = operand_of(i, k);
      if (o.slot < 0) continue;
      const size_t s = static_cast<size_t>(o.slot);
      bool it = all & bit_of(k, i.in.size());
      if (takes_whole(i, k)) {
        const int64_t n = i.in[0].window.shape[0];
        it = it && fits(i.in[0].window) && o.window.contiguous() && (images[s] == 0 || images[s] == n);
        images[s] = n;
      } else if (!draws(i)) {
        if (!seen[s]) seen[s] = &o.window;
        it = it && fits(o.window) && o.window.same_shape(*seen[s]);
      }
      may[s] = may[s] && it;
    }
  }
  if (!any) return;
  // One that may not keeps those beside it from it, and so on. Places of maxima alone are not worth it.
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t n = 0; n < instructions_.size(); ++n) {
      const Instruction& i = instructions_[n];
      bool all = true, some = false, numbers = draws(i);
      for (size_t k = 0; k < i.in.size() + i.out.size(); ++k) {
        const Operand& o = operand_of(i, k);
        if (o.slot < 0 || o.window.size() == 1 || !(allowed[n] & bit_of(k, i.in.size()))) continue;
        const bool it = may[static_cast<size_t>(o.slot)];
        all = all && it && (takes_whole(i, k) || o.window.same_shape(i.out[0].window));
        some = some || it;
        numbers = numbers || (it && is_float(o.window.dtype));
      }
      if (!some || (allowed[n] & kOneOrder ? all : numbers)) continue;
      for (size_t k = 0; k < i.in.size() + i.out.size(); ++k)
        if (const Operand& o = operand_of(i, k); o.slot >= 0) may[static_cast<size_t>(o.slot)] = false;
      changed = true;
    }
  }
  for (Instruction& i : instructions_) {
    for (size_t k = 0; k < i.in.size() + i.out.size(); ++k)
      if (const Operand& o = operand_of(i, k); o.slot >= 0 && may[static_cast<size_t>(o.slot)])
        i.blocked |= bit_of(k, i.in.size());
    if (draws(i) && i.blocked) i.attributes.ints[i.attributes.int_count++] = images[static_cast<size_t>(i.out[0].slot)];
  }
}

}  // namespace pn
