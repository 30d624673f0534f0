// A captured program: the op calls of one step, replayed without Python.
//
// Capture runs the step once and records each call. Memory that the step touches is one of three kinds of slot: an
// argument (another array may stand there at each replay), something that lives outside the step (parameters, the
// optimiser's state and settings, random streams, constants), or a temporary that the step itself makes. Views were
// resolved while recording: an operand is a window on a slot.
//
// finish() drops calls that nobody reads, fuses others where that keeps the bits, chooses which temporaries lie in
// blocks of the batch, and lays all of them into one arena by their lifetimes. run() then allocates nothing and reads
// every setting, counter and stream where it lives, at that moment.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/array.h"
#include "ops/op.h"

namespace pn {

struct Slot {
  enum Kind { kArgument, kOutside, kTemporary } kind;
  Storage* storage;          // as it was at capture; kept alive while recording, and for kOutside for good
  int argument = -1;         // kArgument: which
  bool written = false;      // by some instruction
  bool made_inside = false;  // kOutside: laid out by the step itself, from Python numbers or by NumPy
  int64_t arena = -1;        // kTemporary: offset in the arena; -1 while it has none
  // The same in every replay: made from numbers in the step's text, and nobody else has its memory.
  bool constant() const { return kind == kOutside && made_inside && !written && !storage->release; }
};

// An operand: a window on a slot. `window.data` is the address at capture until the program is finished.
struct Operand {
  int slot = -1;  // -1: absent (an optional input)
  Array window;   // without a storage
};

struct Instruction {
  const Op* op;
  std::vector<Operand> in, out;
  Attributes attributes;
  unsigned blocked = 0;  // which operands lie in blocks of the batch
};

// An instruction as a call on its windows, for the parts of an op that look at shapes alone.
struct Windows {
  explicit Windows(const Instruction& i);
  Windows(const Windows&) = delete;
  OpCall call;

 private:
  std::vector<const Array*> in_;
};

// What finish() may do, each for tests to switch off.
struct Passes {
  bool drop_unread = true;
  bool fuse = true;
  bool share_memory = true;
  bool block = true;
};

// For people: what one step does.
struct CallText {
  std::string op;
  std::vector<std::string> inputs, outputs;  // "float32(64, 10) argument 0"; what a call changes in place is an output
  double operations;
  int64_t bytes;  // that go through memory, not through what a chain keeps in cache
};
struct StepText {
  std::string what;
  std::vector<CallText> calls;
};

class Step;  // one thing that run() does: a call, or several fused

class Program {
 public:
  Program();
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // ---- recording ----
  void add_argument(const Array& a);
  bool adopt(const Array& a);       // add_argument() for memory that the program does not know yet; else false
  void add_inside(const Array& a);  // the step has laid this out without an op
  void record(const OpCall& call);
  bool is_computed(const Array& a) const;  // depends on an argument or was made by the step: its value may not be read
  bool is_temporary(const Array& a) const;
  bool is_argument(const Array& a) const;
  bool is_inside(const Array& a) const;          // see add_inside()
  bool consumed_in_place(const Array& a) const;  // read by a call that updates something outside in place

  // ---- finishing ----
  int add_result(const Array& a);  // number of the result; run() copies it out
  void finish(const Passes& passes);

  // ---- replay ----
  // Argument i must have the shape, dtype and strides that it had at capture. The first call after set_isa() picks the
  // kernels anew. Throws what the checks of the ops throw (an index out of range); nothing else can fail.
  void run(const Array* const* arguments);
  size_t result_count() const { return result_operands_.size(); }
  void copy_results(Array* to) const;                                 // new arrays with the results of the last run
  const Array& result(size_t i) const { return *result_arrays_[i]; }  // where it lies until the next run

  // ---- looking at it ----
  // Empty if this and the other capture of the same step are the same program, else the first difference in words.
  std::string difference(const Program& other) const;
  // The same for one value that each of the two hands out.
  std::string difference(const Array& a, const Program& other, const Array& b) const;
  std::vector<StepText> listing() const;
  size_t instructions() const { return instructions_.size(); }
  size_t steps() const { return steps_.size(); }
  int64_t held_bytes() const;  // while recording: of all temporaries
  int64_t arena_bytes() const { return arena_bytes_; }
  int64_t captured_bytes() const { return captured_bytes_; }

 private:
  int slot_of(const Array& a, Slot::Kind if_new);
  Operand operand(const Array& a, Slot::Kind if_new);
  std::string difference(const Operand& a, const Program& other, const Operand& b) const;
  const Slot* slot(const Array& a) const;  // null: unknown
  const char* base(const Slot& s) const;   // where offsets in a slot count from
  void fold_constants();
  void drop_unread();
  void mask_before_unpooling();
  void bring_draws_forward();
  void bring_chains_together();
  void bring_updates_together();
  void lay_in_blocks();
  void build_steps(bool fuse);

  std::vector<Slot> slots_;
  std::unordered_map<const Storage*, int> slot_by_storage_;
  std::vector<Instruction> instructions_;
  std::vector<Operand> result_operands_;
  std::vector<const Array*> result_arrays_;
  std::vector<std::pair<const char*, int64_t>> argument_data_;  // at capture: first element, and the storage's slot
  std::vector<int> argument_slot_;

  Array arena_;
  int64_t arena_bytes_ = 0, captured_bytes_ = 0;
  std::deque<Array> arrays_;  // the operands that steps point to; a deque, so that they stay put
  struct Patch {
    Array* array;
    int argument;
    int64_t offset;  // bytes from the argument's first element
  };
  std::vector<Patch> patches_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<Storage*> written_outside_;
  std::vector<int> written_arguments_;
  int64_t loops_ = 0;  // that the last run shared with other threads
  const struct Kernels* built_for_ = nullptr;
  Passes passes_;
  bool finished_ = false;
};

}  // namespace pn
