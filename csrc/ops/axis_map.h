// Sparse linear maps along the spatial axes of images: what resampling and the means of pooling are made of.
#pragma once
#include <cstdint>
#include <vector>

#include "ops/op.h"

namespace pn {

// The taps of each output along one axis: [begin[j], begin[j + 1]).
template <class T>
struct AxisMap {
  int64_t from, to;
  std::vector<int64_t> begin{0}, place;
  std::vector<T> weight;

  void tap(int64_t at, double w) {
    place.push_back(at);
    weight.push_back(static_cast<T>(w));
  }
  void end_output() { begin.push_back(static_cast<int64_t>(place.size())); }
};

// The adjoint: from outputs back to inputs, in the order of outputs.
template <class T>
AxisMap<T> transposed(const AxisMap<T>& map);

// y (planes, to...) = x (planes, from...) mapped along its axes, one after the other, the first one first: every
// element is a chain of sums whose order the maps alone decide. The planes are those of a call whose x and y may lie in
// blocks of the batch.
template <class T>
void apply_maps(const OpCall& call, const std::vector<AxisMap<T>>& maps, int64_t planes, const T* x);

// Which operands of such a call may lie in blocks of the batch, if the axes are all but the first two.
unsigned map_blocks(const OpCall& call);

}  // namespace pn
