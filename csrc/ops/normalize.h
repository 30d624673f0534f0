// Sums over the places of channels, shared by norms and the gradients of biases.
#pragma once
#include "core/array.h"

namespace pn {

// sums[c] = the sum of x[:, c] for a contiguous x (N, C, ...) with at least kLongPlaces places and N a multiple of
// kBatchLanes, which may lie in blocks of the batch.
void sum_channels(const Array& x, bool blocked, const Array& sums);

}  // namespace pn
