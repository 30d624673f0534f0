// What a program does, in words and numbers.
#include <algorithm>
#include <string>

#include "program/program.h"
#include "program/step.h"

namespace pn {
namespace {

// A multiply-add counts as two operations, anything done to an element as one.
double operations(const Instruction& i) {
  if (i.op->operations) return i.op->operations(Windows(i).call);
  double most = 0;
  for (const Operand& o : i.out) most = std::max(most, static_cast<double>(o.window.size()));
  for (const Operand& o : i.in)
    if (o.slot >= 0) most = std::max(most, static_cast<double>(o.window.size()));
  return most;
}

}  // namespace

std::vector<StepText> Program::listing() const {
  std::vector<StepText> all;
  for (const auto& step : steps_) {
    StepText text;
    text.what = step->what;
    for (size_t n = step->first; n < step->last; ++n) {
      const Instruction& i = instructions_[n];
      CallText call{i.op->name, {}, {}, operations(i), 0};
      const auto describe = [&](const Operand& o, unsigned bit = 0) -> std::string {
        if (o.slot < 0) return "none";
        const Slot& s = slots_[static_cast<size_t>(o.slot)];
        std::string where;
        if (s.kind == Slot::kArgument) where = "argument " + std::to_string(s.argument);
        if (s.kind == Slot::kOutside) where = (s.made_inside ? "constant " : "outside ") + std::to_string(o.slot);
        if (s.kind == Slot::kTemporary) where = "t" + std::to_string(o.slot);
        if (s.kind == Slot::kTemporary && s.arena < 0)
          where += " in cache";
        else
          call.bytes += o.window.size() * static_cast<int64_t>(item_size(o.window.dtype));
        if (i.blocked & bit) where += " in blocks";
        return std::string(dtype_name(o.window.dtype)) + shape_text(o.window) + " " + where;
      };
      for (size_t k = 0; k < i.in.size(); ++k) {
        if (i.in[k].slot >= 0 && i.op->writes >> k & 1)
          call.outputs.push_back(describe(i.in[k]));
        else
          call.inputs.push_back(describe(i.in[k], 1u << k));
      }
      for (size_t k = 0; k < i.out.size(); ++k) call.outputs.push_back(describe(i.out[k], kOutputBit << k));
      text.calls.push_back(std::move(call));
    }
    all.push_back(std::move(text));
  }
  return all;
}

}  // namespace pn
