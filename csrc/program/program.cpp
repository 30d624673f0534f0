#include "program/program.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/cpu.h"
#include "core/threads.h"
#include "program/fusion.h"
#include "program/step.h"

namespace pn {

Windows::Windows(const Instruction& i) {
  for (const Operand& o : i.in) in_.push_back(o.slot < 0 ? nullptr : &o.window);
  call.op = i.op;
  call.inputs = static_cast<int>(in_.size());
  call.in = in_.data();
  call.attributes = i.attributes;
  call.blocked = i.blocked;
  for (size_t k = 0; k < i.out.size(); ++k) call.out[k] = i.out[k].window;
}

Program::Program() = default;

Program::~Program() {
  for (Slot& s : slots_)
    if (s.storage) s.storage->drop();
}

// ---- recording ----

int Program::slot_of(const Array& a, Slot::Kind if_new) {
  const auto known = slot_by_storage_.find(a.storage);
  if (known != slot_by_storage_.end()) return known->second;
  const int number = static_cast<int>(slots_.size());
  // Held while recording, so that no later tensor gets the address of one that is gone.
  a.storage->retain();
  slots_.push_back({if_new, a.storage});
  slot_by_storage_.emplace(a.storage, number);
  return number;
}

Operand Program::operand(const Array& a, Slot::Kind if_new) {
  Operand o;
  o.slot = slot_of(a, if_new);
  o.window = a;
  o.window.storage->drop();
  o.window.storage = nullptr;
  return o;
}

void Program::add_argument(const Array& a) {
  const int slot = slot_of(a, Slot::kArgument);
  if (slots_[static_cast<size_t>(slot)].argument < 0)
    slots_[static_cast<size_t>(slot)].argument = static_cast<int>(argument_data_.size());
  argument_slot_.push_back(slot);
  argument_data_.emplace_back(a.data, slot);
}

bool Program::adopt(const Array& a) {
  if (slot(a)) return false;
  add_argument(a);
  return true;
}

void Program::add_inside(const Array& a) {
  if (slot(a)) return;
  slots_[static_cast<size_t>(slot_of(a, Slot::kOutside))].made_inside = true;
}

void Program::record(const OpCall& call) {
  if (call.op->flags & kView) {
    slot_of(*call.in[0], Slot::kOutside);
    return;
  }
  Instruction i;
  i.op = call.op;
  i.attributes = call.attributes;
  for (int k = 0; k < call.inputs; ++k) {
    i.in.push_back(call.in[k] ? operand(*call.in[k], Slot::kOutside) : Operand{});
    if (call.in[k] && call.op->writes >> k & 1) slots_[static_cast<size_t>(i.in.back().slot)].written = true;
  }
  for (int k = 0; k < call.op->outputs; ++k) i.out.push_back(operand(call.out[k], Slot::kTemporary));
  instructions_.push_back(std::move(i));
}

const Slot* Program::slot(const Array& a) const {
  const auto known = slot_by_storage_.find(a.storage);
  return known == slot_by_storage_.end() ? nullptr : &slots_[static_cast<size_t>(known->second)];
}

bool Program::is_temporary(const Array& a) const {
  const Slot* s = slot(a);
  return s && s->kind == Slot::kTemporary;
}

bool Program::is_argument(const Array& a) const {
  const Slot* s = slot(a);
  return s && s->kind == Slot::kArgument;
}

bool Program::is_inside(const Array& a) const {
  const Slot* s = slot(a);
  return s && s->made_inside;
}

bool Program::is_computed(const Array& a) const {
  const Slot* s = slot(a);
  return s && (s->kind != Slot::kOutside || s->written);
}

bool Program::consumed_in_place(const Array& a) const {
  const auto known = slot_by_storage_.find(a.storage);
  if (known == slot_by_storage_.end()) return false;
  for (const Instruction& i : instructions_) {
    if (!(i.op->flags & kInPlace)) continue;
    for (size_t k = 0; k < i.in.size(); ++k)
      if (i.in[k].slot == known->second && !(i.op->writes >> k & 1)) return true;
  }
  return false;
}

// ---- finishing ----

int Program::add_result(const Array& a) {
  result_operands_.push_back(operand(a, Slot::kOutside));
  return static_cast<int>(result_operands_.size()) - 1;
}

void Program::drop_unread() {
  std::vector<bool> read(slots_.size(), false);
  for (const Operand& r : result_operands_) read[static_cast<size_t>(r.slot)] = true;
  std::vector<Instruction> kept;
  for (auto i = instructions_.rbegin(); i != instructions_.rend(); ++i) {
    // No outputs: the call is there for what it checks. A check of values stands even where nobody reads the result, or
    // a replay would let through what the eager step refuses.
    bool needed = i->op->writes != 0 || i->out.empty() || i->op->flags & kChecksValues;
    // A write counts only if somebody sees it; a temporary that is only written is nobody's.
    if (i->op->writes) {
      needed = false;
      for (size_t k = 0; k < i->in.size(); ++k) {
        if (i->in[k].slot < 0 || !(i->op->writes >> k & 1)) continue;
        const Slot& s = slots_[static_cast<size_t>(i->in[k].slot)];
        needed |= s.kind != Slot::kTemporary || read[static_cast<size_t>(i->in[k].slot)];
      }
    }
    for (const Operand& o : i->out) needed |= read[static_cast<size_t>(o.slot)];
    if (!needed) continue;
    for (const Operand& o : i->in)
      if (o.slot >= 0) read[static_cast<size_t>(o.slot)] = true;
    kept.push_back(std::move(*i));
  }
  std::reverse(kept.begin(), kept.end());
  instructions_ = std::move(kept);
}

int64_t Program::held_bytes() const {
  int64_t bytes = 0;
  for (const Slot& s : slots_)
    if (s.kind == Slot::kTemporary) bytes += static_cast<int64_t>(s.storage->bytes);
  return bytes;
}

void Program::finish(const Passes& passes) {
  passes_ = passes;
  captured_bytes_ = held_bytes();
  if (passes.fuse) fold_constants();
  if (passes.drop_unread) drop_unread();
  if (passes.fuse) mask_before_unpooling();
  if (passes.fuse) bring_draws_forward();
  if (passes.fuse) bring_chains_together();
  if (passes.fuse) bring_updates_together();
  if (passes.block) lay_in_blocks();

  // When each temporary is first and last touched, in groups; what only passes between links of one chain needs no
  // memory.
  const std::vector<Group> groups = group(instructions_, slots_, passes.fuse);
  constexpr int64_t never = -1, end = std::numeric_limits<int64_t>::max();
  std::vector<int64_t> first(slots_.size(), never), last(slots_.size(), never);
  std::vector<bool> inside(slots_.size(), true);
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t i = groups[g].first; i < groups[g].last; ++i) {
      const auto touch = [&](const Operand& o) {
        if (o.slot < 0) return;
        const size_t s = static_cast<size_t>(o.slot);
        if (first[s] == never) first[s] = static_cast<int64_t>(g);
        const bool keeps = groups[g].kind == Group::kChain || groups[g].kind == Group::kUpdate ||
                           (groups[g].kind == Group::kProduct && i > groups[g].first);
        inside[s] = inside[s] && keeps && first[s] == static_cast<int64_t>(g);
        last[s] = static_cast<int64_t>(g);
      };
      for (const Operand& o : instructions_[i].in) touch(o);
      for (const Operand& o : instructions_[i].out) touch(o);
    }
  }
  for (const Operand& r : result_operands_)
    last[static_cast<size_t>(r.slot)] = end, inside[static_cast<size_t>(r.slot)] = false;

  // What only a product's own chain reads may lie where the chain's last call leaves the same number of elements.
  std::vector<std::pair<size_t, size_t>> twins;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].kind != Group::kProduct || !passes.share_memory) continue;
    const Operand &made = instructions_[groups[g].first].out[0], &left = instructions_[groups[g].last - 1].out[0];
    const size_t from = static_cast<size_t>(made.slot), to = static_cast<size_t>(left.slot);
    if (last[from] == static_cast<int64_t>(g) && !inside[to] && made.window.dtype == left.window.dtype)
      twins.emplace_back(from, to);
  }

  std::vector<size_t> order;
  for (size_t s = 0; s < slots_.size(); ++s)
    if (slots_[s].kind == Slot::kTemporary && first[s] != never && !inside[s] &&
        std::none_of(twins.begin(), twins.end(), [&](const auto& twin) { return twin.first == s; }))
      order.push_back(s);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return slots_[a].storage->bytes > slots_[b].storage->bytes; });
  // The largest first, each at the lowest offset that is free all its life.
  std::vector<size_t> placed;
  arena_bytes_ = 0;
  for (size_t s : order) {
    const int64_t bytes = (static_cast<int64_t>(slots_[s].storage->bytes) + 63) / 64 * 64;
    int64_t offset = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t other : placed) {
        const int64_t size = (static_cast<int64_t>(slots_[other].storage->bytes) + 63) / 64 * 64;
        const bool together = !passes.share_memory || (first[s] <= last[other] && first[other] <= last[s]);
        if (together && offset < slots_[other].arena + size && slots_[other].arena < offset + bytes) {
          offset = slots_[other].arena + size;
          moved = true;
        }
      }
    }
    slots_[s].arena = offset;
    placed.push_back(s);
    arena_bytes_ = std::max(arena_bytes_, offset + bytes);
  }
  for (const auto& [from, to] : twins) slots_[from].arena = slots_[to].arena;
  const int64_t size = arena_bytes_;
  arena_ = Array::empty(DType::UInt8, 1, &size);

  // Windows become offsets from their slot's first byte; the memory of the capture is then let go.
  const auto relative = [&](Operand& o) {
    if (o.slot < 0) return;
    const Slot& s = slots_[static_cast<size_t>(o.slot)];
    o.window.data = reinterpret_cast<char*>(o.window.data - base(s));
  };
  for (Instruction& i : instructions_) {
    for (Operand& o : i.in) relative(o);
    for (Operand& o : i.out) relative(o);
  }
  for (Operand& o : result_operands_) relative(o);
  for (Slot& s : slots_) {
    if (s.kind == Slot::kArgument && s.written) written_arguments_.push_back(s.argument);
    if (s.kind == Slot::kOutside) {
      if (s.written && s.storage->bytes) written_outside_.push_back(s.storage);
      continue;
    }
    s.storage->drop();
    s.storage = nullptr;
  }
  slot_by_storage_.clear();
  finished_ = true;
  build_steps(passes.fuse);
}

// A call as it was recorded; place(operand) gives the array that it works on.
template <class F>
static void fill_call(CallStep& step, const Instruction& i, const F& place) {
  step.call.op = i.op;
  step.call.attributes = i.attributes;
  step.call.blocked = i.blocked;
  for (const Operand& o : i.in) step.inputs.push_back(o.slot < 0 ? nullptr : place(o));
  step.call.inputs = static_cast<int>(step.inputs.size());
  step.call.in = step.inputs.data();
  for (size_t k = 0; k < i.out.size(); ++k) step.call.out[k] = *place(i.out[k]);
  if (!i.op->prepare || !i.op->prepare(step.call, step.ready)) step.ready.go = nullptr;
}

void Program::build_steps(bool fuse) {
  steps_.clear();
  arrays_.clear();
  patches_.clear();
  const auto place = [&](const Operand& o) -> const Array* {
    const Slot& s = slots_[static_cast<size_t>(o.slot)];
    arrays_.push_back(o.window);
    Array& a = arrays_.back();
    const int64_t offset = reinterpret_cast<int64_t>(o.window.data);
    if (s.kind == Slot::kArgument) {
      patches_.push_back({&a, s.argument, offset});
    } else {
      a.storage = s.kind == Slot::kTemporary ? arena_.storage : s.storage;
      a.storage->retain();
      a.data = s.kind == Slot::kTemporary ? arena_.data + s.arena + offset : s.storage->data + offset;
    }
    return &a;
  };
  const auto add = [&](std::unique_ptr<Step> step, const char* what, size_t first, size_t last) {
    step->what = what, step->first = first, step->last = last;
    steps_.push_back(std::move(step));
  };
  // Fills in a chain of the calls [first, last).
  const auto fill = [&](ChainStep* step, size_t first, size_t last) {
    const Array& shape = instructions_[first].out[0].window;
    step->total = shape.size();
    std::unordered_map<int, ChainStep::Place> made;  // by slot: where a link has left its output
    for (size_t n = first; n < last; ++n) {
      const Instruction& i = instructions_[n];
      ChainStep::Link link;
      i.op->bind(Windows(i).call, link.kernel);
      link.count = 1 + static_cast<int>(i.in.size());
      for (size_t k = 0; k < i.in.size(); ++k) {
        const Operand& o = i.in[k];
        ChainStep::Place& p = link.places[k + 1];
        if (const auto from = made.find(o.slot); from != made.end()) {
          p = from->second;
          continue;
        }
        p.item = item_size(o.window.dtype);
        p.array = place(o);
        if (takes_whole(i, k)) {
          p.item = 0;  // the same address for every tile
        } else if (!dense_full(o.window, shape)) {
          p.kind = ChainStep::Place::kSpread;
          p.buffer = step->buffers++;
          p.one_value = o.window.size() == 1;
          p.constant = slots_[static_cast<size_t>(o.slot)].constant();
          p.stretched = expanded(o.window, shape.ndim, shape.shape);
        }
      }
      ChainStep::Place& out = link.places[0];
      out.item = item_size(i.out[0].window.dtype);
      if (slots_[static_cast<size_t>(i.out[0].slot)].arena < 0) {
        out.kind = ChainStep::Place::kBuffer;
        out.buffer = step->buffers++;
      } else {
        out.kind = ChainStep::Place::kDense;
        out.array = place(i.out[0]);
      }
      made[i.out[0].slot] = out;
      step->links.push_back(std::move(link));
    }
    step->prepare();
  };
  for (const Group& g : group(instructions_, slots_, fuse)) {
    // A product whose gradient somebody else reads as well keeps its memory, and its own step.
    const bool update =
        g.kind == Group::kUpdate && slots_[static_cast<size_t>(instructions_[g.first].out[0].slot)].arena < 0;
    if (update) {
      auto step = std::make_unique<UpdateStep>();
      const Instruction &product = instructions_[g.first], &change = instructions_[g.first + 1];
      step->a = place(product.in[0]), step->b = place(product.in[1]);
      step->w = place(change.in[0]), step->settings = place(change.in.back());
      step->prepare();
      add(std::move(step), "product and update", g.first, g.last);
      continue;
    }
    if (g.kind == Group::kUpdates) {
      auto step = std::make_unique<UpdatesStep>();
      for (size_t n = g.first; n < g.last; ++n) {
        UpdatesStep::Call& c = step->calls.emplace_back();
        for (const Operand& o : instructions_[n].in) c.inputs.push_back(place(o));
        c.call.op = instructions_[n].op;
        c.call.inputs = static_cast<int>(c.inputs.size());
        c.call.in = c.inputs.data();
      }
      step->prepare();
      add(std::move(step), g.last - g.first > 1 ? "one pass" : "call", g.first, g.last);
      continue;
    }
    if (g.kind == Group::kProduct) {
      auto step = std::make_unique<ProductStep>();
      fill_call(step->product, instructions_[g.first], place);
      fill(&step->chain, g.first + 1, g.last);
      step->prepare();
      add(std::move(step), "product and chain", g.first, g.last);
      continue;
    }
    if (g.kind != Group::kChain) {
      for (size_t n = g.first; n < g.last; ++n) {
        auto step = std::make_unique<CallStep>();
        fill_call(*step, instructions_[n], place);
        add(std::move(step), "call", n, n + 1);
      }
      continue;
    }
    auto step = std::make_unique<ChainStep>();
    fill(step.get(), g.first, g.last);
    add(std::move(step), "chain", g.first, g.last);
  }
  result_arrays_.clear();
  for (const Operand& o : result_operands_) result_arrays_.push_back(place(o));
  built_for_ = &kernels();
}

// ---- replay ----

void Program::run(const Array* const* arguments) {
  if (built_for_ != &kernels()) build_steps(passes_.fuse);
  for (int a : written_arguments_)
    if (!arguments[a]->storage->writable)
      fail<ValueError>("the step changes argument ", a, " of shape ", shape_text(*arguments[a]),
                       " in place, which lies on read-only memory; pass a copy of it");
  for (const Patch& p : patches_) p.array->data = arguments[p.argument]->data + p.offset;
  const auto all = [](void* program) {
    for (const auto& step : static_cast<Program*>(program)->steps_) step->run();
  };
  const int64_t before = loops_shared();
  loops_ > 1 ? together(all, this) : all(this);
  loops_ = loops_shared() - before;
  for (Storage* s : written_outside_) ++s->version;
  for (int a : written_arguments_) ++arguments[a]->storage->version;
}

void Program::copy_results(Array* to) const {
  for (size_t i = 0; i < result_arrays_.size(); ++i) {
    to[i] = Array::empty(result_arrays_[i]->dtype, result_arrays_[i]->ndim, result_arrays_[i]->shape);
    copy_into(to[i], *result_arrays_[i]);
  }
}

}  // namespace pn
