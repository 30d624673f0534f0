// The op table: every primitive op by name, with its rule for the outputs' shape and type and the function that fills
// them. The other half of each op (NumPy reference, gradient rule, samples) is the record of that name in
// pyneural/ops/.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/array.h"
#include "core/error.h"
#include "kernels/conv.h"
#include "ops/elementwise.h"

namespace pn {

struct OpCall;

// An operand (N, C, ...) with N a multiple of kBatchLanes may lie in blocks of the batch: then memory has (N /
// kBatchLanes, C, ..., kBatchLanes), so that one position of so many images is a vector or a few, while its shape and
// strides say what they always do. Only temporaries of a program do (program/blocks.cpp), and only where the op lets
// them: bit i of a mask stands for input i, kOutputBit << k for output k. With kOneOrder, all of them do or none.
inline constexpr unsigned kOutputBit = 1u << 16, kOneOrder = 1u << 31;

inline constexpr int kMaxOutputs = 4;
inline constexpr int kMaxInts = 40;
inline constexpr int kMaxReals = 4;

// Attributes of a call, flattened in the order of the record's names: an integer or flag is one int, a list of
// integers its length and then its entries, None is kNone, a float is one real.
inline constexpr int64_t kNone = INT64_MIN;
struct Attributes {
  int int_count = 0, real_count = 0;
  int64_t ints[kMaxInts];
  double reals[kMaxReals];
};

// Reads attributes in that order.
class AttributeReader {
 public:
  explicit AttributeReader(const Attributes& a) : a_(a) {}
  int64_t integer() { return a_.ints[int_++]; }
  bool flag() { return integer() != 0; }
  double real() { return a_.reals[real_++]; }
  struct List {
    int count;
    const int64_t* values;
  };
  List list() {
    const int count = static_cast<int>(a_.ints[int_++]);
    const List l{count, a_.ints + int_};
    int_ += count;
    return l;
  }

 private:
  const Attributes& a_;
  int int_ = 0, real_ = 0;
};

enum OpFlags : unsigned {
  kPlain = 0,
  kBroadcasts = 1,         // inputs broadcast to the output's shape: gradients are summed back to the inputs' shapes
  kView = 2,               // the output is a window on input 0: infer() makes it, run() does nothing
  kInPlace = 4,            // writes into its inputs (those that `writes` marks) and has no outputs
  kDraws = 8,              // takes numbers from a random stream
  kTakesIntegers = 16,     // has integer kernels; for other ops the engine converts integers to float32 first
  kFirstIsCondition = 32,  // input 0 is a bool and takes no part in the common type
  kAnyTypes = 64,          // inputs keep their own types (indices, masks, states): the engine converts nothing
  kChecksValues = 128,     // infer() looks at values (indices in range): a replay calls it each time
  kDataShaped = 256,       // the output's shape depends on values: cannot be captured
  kTakesEpilogue = 512,    // this op calls its epilogue for each block of the result
  kSecondIsWhole = 1024,   // of an elementwise op: its kernel takes all of input 1 each time, and finds its place there
};

// A call whose shape work is done, for replays: only addresses are left to be read, because an argument's may change
// from one replay to the next.
struct Ready {
  void (*go)(const Ready&) = nullptr;
  char* const* at[6];                         // where the addresses of the operands stand
  int64_t n[8];                               // sizes and strides, as go() wants them
  const struct Epilogue* epilogue = nullptr;  // see kTakesEpilogue; an op that prepares nothing finds it in its call
};

// An optimiser's update in two parts, so that one pass can go through the parameters of many calls.
struct Update {
  int operands;  // the first inputs, which have w's shape or are empty: w, its gradient and the states
  void (*begin)(const OpCall&, void* coefficients);  // counts the step, reads the settings
  // Elements [low, low + n) of contiguous operands.
  void (*piece)(const OpCall&, const void* coefficients, int64_t low, int64_t n);
  static constexpr size_t kCoefficientBytes = 96;
};

inline constexpr int64_t kUpdateTask = int64_t{1} << 15;  // elements per task of an update

struct Op {
  const char* name;
  int inputs;  // -1: any number, at least one
  int outputs;
  unsigned flags;
  void (*infer)(OpCall&);      // checks the inputs and attributes; describes the outputs (or, for a view, makes them)
  void (*run)(const OpCall&);  // fills the outputs; must not fail
  unsigned writes = 0;         // bit i: input i is written
  void (*bind)(const OpCall&, BoundKernel&) = nullptr;  // elementwise ops: the kernel for this call's types
  // Optional: fills in a Ready for which go() does what run() would, to the bit; or false where only run() serves. The
  // call, its operands and their shapes outlive the Ready.
  bool (*prepare)(const OpCall&, Ready&) = nullptr;
  const Update* update = nullptr;                 // optimisers' updates: what run() is made of
  double (*operations)(const OpCall&) = nullptr;  // products and sums of a call; null: one per element
  unsigned (*blocks)(const OpCall&) = nullptr;    // which operands of such a call may lie in blocks
};

struct OpCall {
  const Op* op;
  int inputs = 0;
  const Array* const* in = nullptr;
  Array out[kMaxOutputs];
  Attributes attributes;
  const struct Epilogue* epilogue = nullptr;  // see kTakesEpilogue
  unsigned blocked = 0;                       // which operands lie in blocks of the batch
};

// Checks and allocates: all of execute() but the run.
void prepare(OpCall& call);
// Checks, allocates and runs: the eager form of a call.
void execute(OpCall& call);

const std::vector<const Op*>& all_ops();
const Op* find_op(const std::string& name);  // null if there is none

// Families, each a file in csrc/ops/.
using OpList = std::vector<Op>;
const OpList& elementwise_ops();
const OpList& reduce_ops();
const OpList& loss_ops();
const OpList& normalize_ops();
const OpList& matmul_ops();
const OpList& attention_ops();
const OpList& conv_ops();
const OpList& pool_ops();
const OpList& max_pool_ops();
const OpList& resample_ops();
const OpList& grid_sample_ops();
const OpList& extend_ops();
const OpList& recurrent_ops();
const OpList& shape_ops();
const OpList& index_ops();
const OpList& segment_ops();
const OpList& random_ops();
const OpList& optim_ops();

// Helpers for infer().
int64_t checked_axis(const OpCall& call, int64_t axis, int ndim);  // 0 <= result < ndim, or IndexError
void require_float(const OpCall& call, int input, const char* argument);
int spatial_dims(const OpCall& call);  // 1 to 3, of input 0, which is (N, C, ...); or ValueError

// For run(): elements [low, high) of the first output, whole rows or a part of one, are made; its epilogue, if any,
// takes them. In blocks, they are counted as they lie.
void made(const OpCall& call, int64_t low, int64_t high);

}  // namespace pn
