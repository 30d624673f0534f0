// Which temporaries lie in blocks of the batch (ops/op.h): those that only pass between ops which let them, such as
// convolutions and pooling with vectors along the batch. Their layout is then changed where such a stretch begins and
// ends, and not in every call.
#include <vector>

#include "program/program.h"

namespace pn {
namespace {

unsigned bit_of(size_t operand, size_t inputs) {
  return operand < inputs ? 1u << operand : kOutputBit << (operand - inputs);
}

const Operand& operand_of(const Instruction& i, size_t k) { return k < i.in.size() ? i.in[k] : i.out[k - i.in.size()]; }

// Whether a tensor's blocks would be full and hold all of it.
bool fits(const Array& a) { return a.ndim >= 3 && a.size() > 0 && a.shape[0] % kBatchLanes == 0 && a.contiguous(); }

}  // namespace

void Program::lay_in_blocks() {
  // A chain's calls work place by place: their operands lie in one order, but for single values.
  const auto one_order = [](const Instruction& i) { return i.op->bind != nullptr; };
  std::vector<bool> may(slots_.size(), false);
  std::vector<const Array*> seen(slots_.size(), nullptr);
  for (size_t s = 0; s < slots_.size(); ++s) may[s] = slots_[s].kind == Slot::kTemporary;
  for (const Operand& r : result_operands_) may[static_cast<size_t>(r.slot)] = false;
  bool any = false;
  for (const Instruction& i : instructions_) {
    const unsigned allowed = i.op->blocks ? i.op->blocks(Windows(i).call) : one_order(i) ? ~0u : 0u;
    any = any || i.op->blocks;
    for (size_t k = 0; k < i.in.size() + i.out.size(); ++k) {
      const Operand& o = operand_of(i, k);
      if (o.slot < 0) continue;
      const size_t s = static_cast<size_t>(o.slot);
      if (!seen[s]) seen[s] = &o.window;
      may[s] = may[s] && allowed & bit_of(k, i.in.size()) && fits(o.window) && o.window.same_shape(*seen[s]);
    }
  }
  if (!any) return;
  // One that may not keeps those beside it in a chain from it, and so on. Indices alone are not worth it.
  for (bool changed = true; changed;) {
    changed = false;
    for (const Instruction& i : instructions_) {
      bool all = true, some = false, numbers = false;
      for (size_t k = 0; k < i.in.size() + i.out.size(); ++k) {
        const Operand& o = operand_of(i, k);
        if (o.slot < 0 || o.window.size() == 1) continue;
        const bool it = may[static_cast<size_t>(o.slot)];
        all = all && it && o.window.same_shape(i.out[0].window);
        some = some || it;
        numbers = numbers || (it && is_float(o.window.dtype));
      }
      if (!some || (one_order(i) ? all : numbers)) continue;
      for (size_t k = 0; k < i.in.size() + i.out.size(); ++k)
        if (const Operand& o = operand_of(i, k); o.slot >= 0) may[static_cast<size_t>(o.slot)] = false;
      changed = true;
    }
  }
  for (Instruction& i : instructions_)
    for (size_t k = 0; k < i.in.size() + i.out.size(); ++k)
      if (const Operand& o = operand_of(i, k); o.slot >= 0 && may[static_cast<size_t>(o.slot)])
        i.blocked |= bit_of(k, i.in.size());
}

}  // namespace pn
