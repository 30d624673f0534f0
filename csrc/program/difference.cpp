// Are two recordings of a step the same program?
#include <algorithm>
#include <cstring>
#include <string>

#include "program/program.h"

namespace pn {
namespace {

std::string text(const Array& a) { return std::string(dtype_name(a.dtype)) + shape_text(a); }

bool same_window(const Array& a, const Array& b) {
  if (a.dtype != b.dtype || !a.same_shape(b)) return false;
  for (int d = 0; d < a.ndim; ++d)
    if (a.shape[d] > 1 && a.strides[d] != b.strides[d]) return false;
  return true;
}

}  // namespace

const char* Program::base(const Slot& s) const {
  return s.kind == Slot::kArgument ? argument_data_[static_cast<size_t>(s.argument)].first : s.storage->data;
}

std::string Program::difference(const Operand& a, const Program& other, const Operand& b) const {
  if (!same_window(a.window, b.window))
    return "is " + text(a.window) + " in one run, " + text(b.window) + " in the other";
  const Slot &s = slots_[static_cast<size_t>(a.slot)], &t = other.slots_[static_cast<size_t>(b.slot)];
  // Slots are numbered in the order in which they turn up, so equal programs have equal numbers.
  if (a.slot != b.slot || s.kind != t.kind || s.argument != t.argument) return "comes from elsewhere in the other run";
  if (a.window.data - base(s) != b.window.data - other.base(t)) return "is another part of its tensor in the other run";
  if (s.kind != Slot::kOutside || s.storage == t.storage) return "";
  // NumPy memory that is wrapped anew in each run is the same if it lies at the same place: both recordings hold it.
  if (s.storage->bytes == t.storage->bytes && s.storage->data == t.storage->data) return "";
  if (!s.made_inside || !t.made_inside)
    return text(a.window) +
           " is a tensor from outside of the step, and another one in each run (a tensor that the last run "
           "has left somewhere?); change it in place with copy_()";
  if (s.written || t.written)
    return text(a.window) +
           " is made in the step by NumPy or as a generator and then changed in place, so that a replay would go "
           "on with what the last one has left; make it outside, or with pn.zeros() and the like";
  if (s.storage->bytes != t.storage->bytes || std::memcmp(s.storage->data, t.storage->data, s.storage->bytes))
    return text(a.window) + " is made of Python numbers or by NumPy, and has another value in each run";
  return "";
}

std::string Program::difference(const Program& other) const {
  const size_t n = std::min(instructions_.size(), other.instructions_.size());
  for (size_t i = 0; i < n; ++i) {
    const Instruction &a = instructions_[i], &b = other.instructions_[i];
    const std::string where = "call " + std::to_string(i) + " (" + a.op->name + ")";
    if (a.op != b.op) return where + " is " + b.op->name + " in the other run: the step branched on something";
    if (a.in.size() != b.in.size()) return where + " has another number of inputs in the other run";
    const Attributes &x = a.attributes, &y = b.attributes;
    if (x.int_count != y.int_count || std::memcmp(x.ints, y.ints, sizeof(int64_t) * static_cast<size_t>(x.int_count)) ||
        x.real_count != y.real_count ||
        std::memcmp(x.reals, y.reals, sizeof(double) * static_cast<size_t>(x.real_count)))
      return where + " has other attributes in the other run: a Python number in the step changes from call to call";
    for (size_t k = 0; k < a.in.size(); ++k) {
      const Operand &p = a.in[k], &q = b.in[k];
      if (p.slot < 0 || q.slot < 0) {
        if (p.slot != q.slot) return where + " has an optional input in one run only";
        continue;
      }
      const std::string what = difference(p, other, q);
      if (!what.empty()) return where + ": input " + std::to_string(k) + ' ' + what;
    }
  }
  if (instructions_.size() != other.instructions_.size())
    return "one run has " + std::to_string(instructions_.size()) + " calls, the other " +
           std::to_string(other.instructions_.size());
  return "";
}

std::string Program::difference(const Array& a, const Program& other, const Array& b) const {
  const auto known = slot_by_storage_.find(a.storage), theirs = other.slot_by_storage_.find(b.storage);
  if (known == slot_by_storage_.end() || theirs == other.slot_by_storage_.end()) {
    if (a.storage == b.storage && a.data == b.data && same_window(a, b)) return "";
    return text(a) + " has nothing to do with the step's computation, and is another tensor in each run";
  }
  Operand p, q;
  p.slot = known->second, q.slot = theirs->second;
  p.window = a, q.window = b;
  return difference(p, other, q);
}

}  // namespace pn
