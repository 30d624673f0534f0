// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011). A block is 128 random bits, a function of the seed (the key) and the block's number (the low half
// of the counter; the high half is 0), so any part of a stream can be made anywhere, in any order.
//
// How numbers are read from a stream (pyneural/ops/randomness.py says the same in NumPy): 16 blocks are a group, which
// is four rows of 16 words, row w being word w of each block in turn. A 32-bit draw takes one word; a 64-bit draw takes
// the words of two rows, rows 0 and 1 for the first 16 numbers and rows 2 and 3 for the next. Every call starts a
// group.
#pragma once
#include <cstdint>

namespace pn {

inline constexpr uint32_t kPhiloxM0 = 0xD2511F53, kPhiloxM1 = 0xCD9E8D57;  // multipliers
inline constexpr uint32_t kPhiloxW0 = 0x9E3779B9, kPhiloxW1 = 0xBB67AE85;  // the key's steps
inline constexpr int kPhiloxRounds = 10;

inline constexpr int kGroupBlocks = 16;
inline constexpr int kGroupWords = 4 * kGroupBlocks;

// Numbers that a group yields, for draws of that many bytes.
inline constexpr int64_t group_draws(int64_t bytes) { return kGroupWords * 4 / bytes; }

}  // namespace pn
