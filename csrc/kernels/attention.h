// The border of the attention kernels (cpu/attention.inl).
#pragma once
#include <cstdint>

#include "kernels/random.h"

namespace pn {

// Queries, and keys, of one tile of scores. Sums over keys and over queries go on from tile to tile, so both sizes are
// part of the order of every sum, and the same for all types and instruction sets.
inline constexpr int64_t kQueryTile = 64, kKeyTile = 64;

// One head. Rows of a matrix are *_row elements apart, the elements of a row neighbours.
template <class T>
struct AttentionHead {
  int64_t queries, keys, width, value_width;
  const T *q, *k, *v;  // (queries, width), (keys, width), (keys, value_width)
  int64_t q_row, k_row, v_row;
  T scale;
  bool causal;                    // query i sees keys 0 to i alone
  const T* bias;                  // added to the scores (queries, keys), or null
  const bool* visible;            // keys that a query sees, or null
  int64_t mask_row, mask_column;  // of either
  // A weight is dropped where the word of `stream` for it is less than `below`: for query i and key j number
  // i % kQueryTile of group i / kQueryTile * keys + j. What is left is multiplied by `kept` (1 without drops).
  bool drops;
  Stream stream;
  uint32_t below;
  T kept;
};

// What the gradient needs beside; delta is sum(dy y) of each query, less the gradient of its lse.
template <class T>
struct AttentionGradient {
  const T* dy;  // (queries, value_width)
  int64_t dy_row;
  const T *lse, *delta;  // (queries), lse_step apart
  int64_t lse_step;
  T *dq, *dk, *dv;
  int64_t dq_row, dk_row, dv_row;
};

template <class T>
struct AttentionKernels {
  // Elements of memory that a call needs for itself.
  int64_t (*memory)(const AttentionHead<T>&);
  // y = softmax(scores) v and lse = logsumexp(scores) of queries [low, high); low is a multiple of kQueryTile.
  void (*forward)(const AttentionHead<T>&, int64_t low, int64_t high, T* memory, T* y, int64_t y_row, T* lse,
                  int64_t lse_step);
  // dk and dv of keys [low, high), and what these keys add to dq of all queries; low is a multiple of kKeyTile.
  void (*backward)(const AttentionHead<T>&, int64_t low, int64_t high, T* memory, const AttentionGradient<T>&);
};

}  // namespace pn
