// What ops that draw from a random stream share.
#pragma once
#include <cstdint>

#include "core/array.h"
#include "kernels/random.h"
#include "ops/op.h"

namespace pn {

// Refuses an input that is no key of a stream: int64[2], the seed and the number of the first block.
void check_key(const OpCall& call, int input);
Stream stream_of(const Array& key);

// Words below this are dropped, for a probability p in [0, 1]; refused where p is none.
void check_drop(const OpCall& call, double p);
uint32_t drop_below(double p);

}  // namespace pn
