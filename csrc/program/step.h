// What run() of a program does, one after the other.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "core/loop.h"
#include "kernels/kernels.h"
#include "ops/op.h"

namespace pn {

class Step {
 public:
  const char* what = "call";   // how its calls are done
  size_t first = 0, last = 0;  // which of the program's calls: [first, last)
  virtual ~Step() = default;
  virtual void run() = 0;
};

// One op call as it was recorded.
class CallStep : public Step {
 public:
  OpCall call;
  std::vector<const Array*> inputs;
  Ready ready;  // its go is null where the op has nothing to prepare
  void run() override {
    if (ready.go) return ready.go(ready);
    if (call.op->flags & kChecksValues) call.op->infer(call);  // describes the same outputs again; may refuse a value
    call.op->run(call);
  }
};

// Elementwise calls of one shape, run tile by tile: what one leaves for the next stays in L1. Each call does what it
// would do alone, element by element, so the bits are the same.
class ChainStep : public Step {
 public:
  static constexpr int64_t kTile = 512;
  static constexpr int kMaxBuffers = 12;

  // Where an operand of a link is: dense in memory, in a buffer that an earlier link filled, or to be laid out first.
  struct Place {
    enum Kind { kDense, kBuffer, kSpread } kind = kDense;
    const Array* array = nullptr;  // kDense, kSpread
    int buffer = 0;                // kBuffer: which; kSpread: where it is laid out
    bool one_value = false;        // kSpread: the same value everywhere
    bool constant = false;         // kSpread: in every replay
    Array stretched;               // kSpread: with the chain's shape (its data follows array's)
    size_t item = 4;
  };
  struct Link {
    BoundKernel kernel;
    Place places[4];  // output first
    int count = 0;
  };
  std::vector<Link> links;
  int64_t total = 0;
  int buffers = 0;

  void prepare();  // once all links are there
  void run() override;
  void range(int64_t low, int64_t high) const;  // of the flat index

 private:
  // Of at most one tile, everything but the arguments' addresses is known beforehand.
  struct SmallLink {
    Piece piece;
    const void* context;
    char* const* at[4];
    int count;
  };
  struct SmallSpread {
    const Array* array;
    std::vector<int64_t> offsets;  // in bytes, of each element
    size_t item;
    char* to;
  };
  void lay_out(const SmallSpread& s) const;

  bool dense_ = false;  // one link whose operands need no buffer: there is nothing to keep in L1
  std::vector<SmallLink> small_;
  std::vector<SmallSpread> spreads_;
  std::vector<char*> buffer_of_;  // small chains: where buffer i lies in memory_
  Array memory_;
};

// A matrix product and the elementwise calls on its result, done to each block while it is in cache.
class ProductStep : public Step {
 public:
  CallStep product;  // prepared
  ChainStep chain;
  void prepare();
  void run() override { product.run(); }

 private:
  Epilogue epilogue_;
};

// Neighbouring updates of an optimiser as one pass over all their parameters.
class UpdatesStep : public Step {
 public:
  struct Call {
    OpCall call;
    std::vector<const Array*> inputs;
    alignas(8) char coefficients[Update::kCoefficientBytes];
  };
  std::deque<Call> calls;  // each points into itself
  void prepare();          // once all calls are there
  void run() override;

 private:
  struct Piece {
    Call* call;
    int64_t low, n;
  };
  std::vector<Piece> pieces_;
  std::vector<size_t> tasks_;  // the first piece of each, and behind the last one their number
};

// A matrix product whose only use is a plain SGD update: w <- w - lr (a b + decay w). A few rows of the gradient at a
// time are made in cache and used up there; they never go through memory. Each element is what the two calls would
// give.
class UpdateStep : public Step {
 public:
  const Array *a, *b;     // (m, k) and (k, n): the factors of the gradient
  const Array* w;         // (m, n), contiguous
  const Array* settings;  // the optimiser's, read at each run
  void prepare();         // once all operands are there
  void run() override;

 private:
  template <class T>
  void run_as();
  int64_t rows_ = 0;  // of the gradient at a time
  Array block_;       // for them, if one thread does it all
};

}  // namespace pn
