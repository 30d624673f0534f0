// An elementwise call bound to its kernel, so that captured programs can run several of them tile by tile.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pn {

struct OpCall;

// piece(context, at, n, p): p[0] is the output, p[1] ... the inputs, all dense and n elements long; but for an input
// that is taken as a whole (kSecondIsWhole), for which `at` says where in the whole output the n elements lie.
using Piece = void (*)(const void* context, int64_t at, int64_t n, char* const* p);

struct BoundKernel {
  Piece piece = nullptr;
  alignas(8) char context[40];  // what the piece needs: the kernel's address, and parameters
};

// Lays n elements that are `stride` elements of `item` bytes apart densely at `to`.
void gather(int64_t n, const char* from, int64_t stride, size_t item, char* to);

}  // namespace pn
