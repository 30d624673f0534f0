#include "program/fusion.h"

#include <algorithm>

#include "program/step.h"

namespace pn {

bool dense_full(const Array& a, const Array& shape) { return a.same_shape(shape) && a.contiguous(); }

bool takes_whole(const Instruction& i, size_t k) { return k == 1 && (i.op->flags & kSecondIsWhole) != 0; }

namespace {

// Can input k of a call on elements of this shape be had element by element?
bool by_element(const Instruction& i, size_t k, const Array& shape) {
  return !takes_whole(i, k) && dense_full(i.in[k].window, shape);
}

bool chainable(const Instruction& i) {
  return i.op->bind && i.out.size() == 1 && i.out[0].window.size() > 0 &&
         (!(i.op->flags & kSecondIsWhole) || i.in[1].window.contiguous());
}

}  // namespace

// Is `update` a plain SGD step of a contiguous matrix with the gradient that `product` makes, which does not itself
// read it?
static bool is_update(const Instruction& product, const Instruction& update) {
  static const Op *const matmul = find_op("matmul"), *const sgd = find_op("sgd_");
  return product.op == matmul && update.op == sgd && update.in[1].slot == product.out[0].slot &&
         product.out[0].window.ndim == 2 && product.out[0].window.size() > 0 && update.in[0].window.contiguous() &&
         dense_full(update.in[1].window, product.out[0].window) && product.in[0].slot != update.in[0].slot &&
         product.in[1].slot != update.in[0].slot;
}

// Where the updates that start with instruction i end which can be one pass: dense ones, of which none touches
// another's parameter or state. `i` itself if there is none. (An argument may lie on another one's memory.)
static size_t end_of_updates(const std::vector<Instruction>& instructions, const std::vector<Slot>& slots, size_t i) {
  std::vector<int> touched;
  for (; i < instructions.size(); ++i) {
    const Update* update = instructions[i].op->update;
    if (!update || (i + 1 < instructions.size() && is_update(instructions[i], instructions[i + 1]))) break;
    bool fits = true;
    std::vector<int> own;
    for (size_t k = 0; k < static_cast<size_t>(update->operands); ++k) {
      const Operand& o = instructions[i].in[k];
      if (o.window.size() == 0) continue;  // a state that the variant does without
      fits = fits && o.window.contiguous() && slots[static_cast<size_t>(o.slot)].kind != Slot::kArgument &&
             std::find(touched.begin(), touched.end(), o.slot) == touched.end();
      own.push_back(o.slot);
    }
    if (!fits) break;
    touched.insert(touched.end(), own.begin(), own.end());
  }
  return i;
}

// Where the chain that starts with instruction i ends: elementwise neighbours of one shape, each of which reads what
// the chain makes element by element. `i` itself if there is none.
static size_t end_of_chain(const std::vector<Instruction>& instructions, size_t i, bool fuse) {
  if (!chainable(instructions[i])) return i;
  const Array& shape = instructions[i].out[0].window;
  std::vector<int> made;
  size_t end = i;
  int buffers = 0;
  while (end < instructions.size() && chainable(instructions[end]) &&
         instructions[end].out[0].window.same_shape(shape)) {
    const Instruction& next = instructions[end];
    bool fits = true;
    int more = 1;
    for (size_t k = 0; k < next.in.size(); ++k) {
      const bool own = std::find(made.begin(), made.end(), next.in[k].slot) != made.end();
      fits &= !own || by_element(next, k, shape);
      more += !own && !takes_whole(next, k) && !by_element(next, k, shape);
    }
    if (!fits || buffers + more > ChainStep::kMaxBuffers) break;
    buffers += more;
    made.push_back(next.out[0].slot);
    ++end;
    if (!fuse) break;
  }
  return end;
}

// Can the elementwise calls [i + 1, end) be done to each block of product i? Where they read its result, it must be
// element by element; a result of one tile is in cache anyway.
static bool takes_chain(const std::vector<Instruction>& instructions, size_t i, size_t end) {
  const Instruction& product = instructions[i];
  if (end == i + 1 || !(product.op->flags & kTakesEpilogue)) return false;
  const Array& result = product.out[0].window;
  if (result.size() <= ChainStep::kTile || !result.same_shape(instructions[i + 1].out[0].window)) return false;
  bool read = false;
  for (size_t t = i + 1; t < end; ++t)
    for (size_t k = 0; k < instructions[t].in.size(); ++k) {
      const int slot = instructions[t].in[k].slot;
      for (size_t other = 1; other < product.out.size(); ++other)
        if (slot == product.out[other].slot) return false;  // which may not all be there yet
      if (slot != product.out[0].slot) continue;
      if (!by_element(instructions[t], k, result)) return false;
      read = true;
    }
  Ready ready;
  return read && (!product.op->prepare || product.op->prepare(Windows(product).call, ready));
}

std::vector<Group> group(const std::vector<Instruction>& instructions, const std::vector<Slot>& slots, bool fuse) {
  std::vector<Group> groups;
  for (size_t i = 0; i < instructions.size();) {
    if (fuse && i + 1 < instructions.size() && is_update(instructions[i], instructions[i + 1])) {
      groups.push_back({Group::kUpdate, i, i + 2});
      i += 2;
      continue;
    }
    if (const size_t end = fuse ? end_of_updates(instructions, slots, i) : i; end > i) {
      groups.push_back({Group::kUpdates, i, end});
      i = end;
      continue;
    }
    if (fuse && i + 1 < instructions.size()) {
      const size_t end = end_of_chain(instructions, i + 1, true);
      if (takes_chain(instructions, i, end)) {
        groups.push_back({Group::kProduct, i, end});
        i = end;
        continue;
      }
    }
    const size_t end = end_of_chain(instructions, i, fuse);
    groups.push_back(end == i ? Group{Group::kCall, i, i + 1} : Group{Group::kChain, i, end});
    i = groups.back().last;
  }
  return groups;
}

// A call on numbers that stand in the step's text gives the same in every replay: what the capture got stands for it.
// Only for ops that every instruction set rounds alike.
void Program::fold_constants() {
  static const Op* const exact[] = {find_op("cast"), find_op("neg"), find_op("add"),  find_op("sub"),
                                    find_op("mul"),  find_op("div"), find_op("sqrt"), find_op("square")};
  std::vector<Instruction> kept;
  for (Instruction& i : instructions_) {
    bool known = std::find(std::begin(exact), std::end(exact), i.op) != std::end(exact);
    for (const Operand& o : i.in) known = known && o.slot >= 0 && slots_[static_cast<size_t>(o.slot)].constant();
    if (known) {
      Slot& s = slots_[static_cast<size_t>(i.out[0].slot)];
      known = !s.written && s.kind == Slot::kTemporary;
      if (known) s.kind = Slot::kOutside, s.made_inside = true;
    }
    if (!known) kept.push_back(std::move(i));
  }
  instructions_ = std::move(kept);
}

// ReLU's gradient behind that of pooling, relu_backward(max_pool_backward(g, places), y) with y pooled, becomes
// max_pool_backward(relu_backward(g, maxima), places): an element that gets anything is the maximum itself, and all
// others are 0 either way. The large y is then not read again, and the mask goes over few elements.
void Program::mask_before_unpooling() {
  static const Op *const pool = find_op("max_pool"), *const unpool = find_op("max_pool_backward"),
                         *const mask = find_op("relu_backward");
  const auto same = [](const Operand& a, const Operand& b) {
    return a.slot == b.slot && a.window.data == b.window.data && a.window.same_shape(b.window) &&
           a.window.contiguous() && b.window.contiguous();
  };
  const auto written = [&](const Operand& o) { return slots_[static_cast<size_t>(o.slot)].written; };
  for (size_t j = 0; j < instructions_.size(); ++j) {
    if (instructions_[j].op != mask) continue;
    const Operand gradient = instructions_[j].in[0], pooled = instructions_[j].in[1];
    size_t readers = 0, back = j, forward = j;
    for (size_t i = 0; i < instructions_.size(); ++i) {
      const Instruction& it = instructions_[i];
      for (const Operand& o : it.in) readers += o.slot == gradient.slot;
      if (it.op == unpool && i < j && same(it.out[0], gradient)) back = i;
      if (it.op == pool && i < j && same(it.in[0], pooled)) forward = i;
    }
    for (const Operand& r : result_operands_) readers += r.slot == gradient.slot;
    if (back == j || forward == j || readers != 1) continue;
    const Instruction& made = instructions_[forward];
    Instruction& wide = instructions_[back];
    const Operand maxima = made.out[0];
    const Array& g = wide.in[0].window;
    if (!same(wide.in[1], made.out[1]) || !g.same_shape(maxima.window) || written(pooled) || written(maxima) ||
        written(made.out[1]) || written(gradient))
      continue;
    Instruction small = instructions_[j];
    small.out[0] = operand(Array::empty(g.dtype, g.ndim, g.shape), Slot::kTemporary);
    small.in = {wide.in[0], maxima};
    wide.in[0] = small.out[0];
    wide.out[0] = instructions_[j].out[0];
    // Now the gradient of pooling may stand where it stood: nothing before j reads what it makes.
    instructions_[j] = wide;
    instructions_[back] = std::move(small);
  }
}

// Moves what reads nothing but a random stream up, to before the elementwise calls, or the product, that the numbers'
// reader can join then. Nobody but draws touches a stream's memory.
void Program::bring_draws_forward() {
  constexpr size_t kOver = 8;
  for (size_t j = 1; j < instructions_.size(); ++j) {
    const Instruction& moved = instructions_[j];
    if (!(moved.op->flags & kDraws) || moved.in.size() != 1) continue;
    const int stream = moved.in[0].slot;
    if (slots_[static_cast<size_t>(stream)].kind == Slot::kArgument) continue;
    const auto names = [&](const std::vector<Operand>& all) {
      return std::any_of(all.begin(), all.end(), [&](const Operand& o) { return o.slot == stream; });
    };
    size_t to = j;
    for (size_t i = j; i > 0 && j - i < kOver; --i) {
      const Instruction& before = instructions_[i - 1];
      if (names(before.in) || names(before.out)) break;
      const bool product = (before.op->flags & kTakesEpilogue) != 0;
      if (product || chainable(before)) to = i - 1;
      if (product) break;
    }
    std::rotate(instructions_.begin() + static_cast<std::ptrdiff_t>(to),
                instructions_.begin() + static_cast<std::ptrdiff_t>(j),
                instructions_.begin() + static_cast<std::ptrdiff_t>(j) + 1);
  }
}

// Moves an elementwise call up to a chain of its shape, or to the product whose result it takes, over calls that have
// nothing to do with it.
void Program::bring_chains_together() {
  constexpr size_t kOver = 4;  // farther, what it makes would be kept for long
  for (size_t j = 1; j < instructions_.size(); ++j) {
    if (!chainable(instructions_[j])) continue;
    const Instruction& moved = instructions_[j];
    const auto reads = [&](int slot) {
      return std::any_of(moved.in.begin(), moved.in.end(), [&](const Operand& o) { return o.slot == slot; });
    };
    // Anything else may lie on the memory of an argument that is written.
    const bool apart = std::all_of(moved.in.begin(), moved.in.end(), [&](const Operand& o) {
      const Slot* s = o.slot < 0 ? nullptr : &slots_[static_cast<size_t>(o.slot)];
      return !s || s->kind == Slot::kTemporary || s->constant();
    });
    for (size_t to = j; to > 0 && j - to <= kOver; --to) {
      const Instruction& before = instructions_[to - 1];
      const bool makes_it = (before.op->flags & kTakesEpilogue) != 0 && reads(before.out[0].slot);
      if ((chainable(before) || makes_it) && before.out[0].window.same_shape(moved.out[0].window)) {
        std::rotate(instructions_.begin() + static_cast<std::ptrdiff_t>(to),
                    instructions_.begin() + static_cast<std::ptrdiff_t>(j),
                    instructions_.begin() + static_cast<std::ptrdiff_t>(j) + 1);
        break;
      }
      if ((before.op->writes || before.out.empty()) && !apart) break;
      bool written = false;
      for (size_t k = 0; k < before.in.size(); ++k) written |= before.op->writes >> k & 1 && reads(before.in[k].slot);
      if (written) break;
      if (std::any_of(before.out.begin(), before.out.end(), [&](const Operand& o) { return reads(o.slot); })) break;
    }
  }
}

// Moves a product that makes a gradient to just before the update that is its only reader, so that both can be one
// step. Later is always right for a call whose inputs nobody writes in between.
void Program::bring_updates_together() {
  for (size_t j = instructions_.size(); j-- > 1;) {
    if (instructions_[j].in.size() < 2 || !(instructions_[j].op->flags & kInPlace)) continue;
    const int gradient = instructions_[j].in[1].slot;
    size_t i = j, readers = 0;
    for (size_t t = 0; t < instructions_.size(); ++t) {
      for (const Operand& o : instructions_[t].out)
        if (o.slot == gradient) i = t;
      for (const Operand& o : instructions_[t].in) readers += o.slot == gradient;
    }
    for (const Operand& r : result_operands_) readers += r.slot == gradient;
    if (i >= j || readers != 1 || !is_update(instructions_[i], instructions_[j])) continue;
    bool movable = true;
    for (size_t t = i + 1; t <= j; ++t)
      for (size_t k = 0; k < instructions_[t].in.size(); ++k)
        if (instructions_[t].op->writes >> k & 1)
          for (const Operand& factor : instructions_[i].in) movable &= factor.slot != instructions_[t].in[k].slot;
    if (!movable) continue;
    std::rotate(instructions_.begin() + static_cast<std::ptrdiff_t>(i),
                instructions_.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                instructions_.begin() + static_cast<std::ptrdiff_t>(j));
  }
}

}  // namespace pn
