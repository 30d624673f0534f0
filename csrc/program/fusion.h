// Which calls of a program become one step.
#pragma once
#include <vector>

#include "program/program.h"

namespace pn {

// Groups of instructions that become one step: [first, last) in order.
struct Group {
  enum Kind { kCall, kChain, kUpdate, kUpdates, kProduct } kind;  // kProduct: a product, then a chain on its result
  size_t first, last;
};

std::vector<Group> group(const std::vector<Instruction>& instructions, const std::vector<Slot>& slots, bool fuse);

// Dense, and of this shape.
bool dense_full(const Array& a, const Array& shape);

// Is input k of a call in a chain handed over as a whole (kSecondIsWhole)?
bool takes_whole(const Instruction& i, size_t k);

}  // namespace pn
