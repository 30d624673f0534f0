// Attention without the matrix of scores: tile by tile, with a running maximum and sum of each query (Milakov and
// Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867; Dao et al., "FlashAttention",
// arXiv:2205.14135). Included by isa_unit.cpp inside the namespace of one instruction set, after matmul.inl and
// random.inl, whose products and words it uses.
//
// Tiles are turned, (keys, queries): vectors run along queries, so that maxima and sums of a query are lanes, keys and
// values are read in place by all products, and every sum over keys goes key by key.
namespace attention {

using matmul::larger;
using matmul::round_up;
using matmul::smaller;

constexpr int64_t kTile = kQueryTile * kKeyTile;
constexpr int64_t kLaneUnit = 16;  // lanes of a tile are computed in whole units of these

// Beyond these one power of two is 0, or infinite, and so is the weight.
template <class T>
constexpr T kLowest = sizeof(T) == 4 ? T(-88.1) : T(-709.2);
template <class T>
constexpr T kHighest = sizeof(T) == 4 ? T(89) : T(710);

// exp(x) for weights, which are 1 at most: what is less than the smallest normal number may be 0.
template <class T>
PN_MATH T weight(T x) {
  const auto [r, r_lo, n] = exp_reduce(clamp_(x, kLowest<T>, kHighest<T>));
  return (T(1) + fma_(r * r, exp_poly(r), r)) * from_bits<T>((n + Fp<T>::bias) << Fp<T>::mantissa);
}

template <class T>
void product(const Gemm<T>& g) {
  if (g.m > 0 && g.n > 0 && !matmul::multiply(g)) matmul::plain(g);
}

// Memory of a call, cut up.
template <class T>
struct Memory {
  T* at;
  explicit Memory(T* given) : at(given) { at += (64 - reinterpret_cast<uintptr_t>(at) % 64) % 64 / sizeof(T); }
  T* take(int64_t n) {
    T* p = at;
    at += round_up(n, 64);
    return p;
  }
};
template <class T>
int64_t memory(const AttentionHead<T>& h) {
  // Tiles of scores, their gradients and the mask; words and rows of the mask share one; queries, their gradients, and
  // outputs or their gradients, turned.
  return 64 + 4 * kTile + kQueryTile * (2 * h.width + h.value_width) + 4 * kQueryTile;
}

// to (depth, kQueryTile) = rows (n, depth) turned, times scale; lanes up to `lanes` are filled with 0.
template <class T>
void turn(const T* rows, int64_t row, int64_t n, int64_t depth, T scale, int64_t lanes, T* __restrict to) {
  matmul::transpose<T, matmul::kLanes<T>, false>(rows, row, to, kQueryTile, n, depth);
  for (int64_t e = 0; e < depth; ++e, to += kQueryTile) {
    for (int64_t i = 0; i < n; ++i) to[i] *= scale;
    for (int64_t i = n; i < lanes; ++i) to[i] = 0;
  }
}

// The queries of one tile.
template <class T>
struct Queries {
  int64_t first, count, lanes;
  const T* turned;  // scaled
  Queries(const AttentionHead<T>& h, int64_t from, int64_t end, T* to) : first(from), turned(to) {
    count = smaller(kQueryTile, end - from);
    lanes = round_up(count, kLaneUnit);
    turn(h.q + from * h.q_row, h.q_row, count, h.width, h.scale, lanes, to);
  }
};

// s[j, i] += mask[i, j], where a key that is not visible has -inf.
template <class T>
void add_mask(const AttentionHead<T>& h, const Queries<T>& q, int64_t low, int64_t keys, T* rows, T* turned,
              T* __restrict s) {
  const int64_t start = q.first * h.mask_row + low * h.mask_column;
  const auto at = [&](int64_t place) {
    return h.bias ? h.bias[start + place] : h.visible[start + place] ? T(0) : -Fp<T>::inf;
  };
  if (h.mask_row == 0) {
    for (int64_t j = 0; j < keys; ++j, s += kQueryTile) {
      const T b = at(j * h.mask_column);
      if (b != T(0))
        for (int64_t i = 0; i < q.lanes; ++i) s[i] += b;
    }
    return;
  }
  for (int64_t i = 0; i < q.count; ++i) {
    T* row = rows + i * kKeyTile;
    const int64_t place = i * h.mask_row;
    if (h.bias)
      for (int64_t j = 0; j < keys; ++j) row[j] = h.bias[start + place + j * h.mask_column];
    else if (h.mask_column == 1)
      for (int64_t j = 0; j < keys; ++j) row[j] = h.visible[start + place + j] ? T(0) : -Fp<T>::inf;
    else
      for (int64_t j = 0; j < keys; ++j) row[j] = at(place + j * h.mask_column);
  }
  turn(rows, kKeyTile, q.count, keys, T(1), q.lanes, turned);
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t i = 0; i < q.lanes; ++i) s[j * kQueryTile + i] += turned[j * kQueryTile + i];
}

// s[j, i] = scale q_i . k_j, masked, for keys [low, low + keys).
template <class T>
void scores(const AttentionHead<T>& h, const Queries<T>& q, int64_t low, int64_t keys, T* rows, T* turned,
            T* __restrict s) {
  product<T>({keys, q.lanes, h.width, h.k + low * h.k_row, h.k_row, 1, q.turned, kQueryTile, 1, s, kQueryTile, false,
              nullptr});
  if (h.bias || h.visible) add_mask(h, q, low, keys, rows, turned, s);
  if (h.causal)
    for (int64_t j = larger(0, q.first - low + 1); j < keys; ++j) {
      const int64_t hidden = smaller(low + j - q.first, q.lanes);
      for (int64_t i = 0; i < hidden; ++i) s[j * kQueryTile + i] = -Fp<T>::inf;
    }
}

// Keys from here on are hidden from all queries of a tile.
template <class T>
int64_t keys_seen(const AttentionHead<T>& h, const Queries<T>& q, int64_t high) {
  return h.causal ? smaller(high, q.first + q.count) : high;
}

// The words for keys [low, low + keys), kQueryTile for each.
template <class T>
void draw(const AttentionHead<T>& h, const Queries<T>& q, int64_t low, int64_t keys, uint32_t* words) {
  static_assert(kQueryTile == kGroupWords);
  const int64_t group = q.first / kQueryTile * h.keys + low;
  random::words({h.stream.seed, h.stream.block + static_cast<uint64_t>(group * kGroupBlocks)}, keys, words);
}

// Sums and outputs by the maximum `top` in the place of `before`, which is overwritten.
template <class T>
void rescale(const AttentionHead<T>& h, const Queries<T>& q, const T* __restrict top, T* __restrict before,
             T* __restrict sum, T* __restrict out) {
  T moved = 0;
  for (int64_t i = 0; i < q.lanes; ++i) {
    // 0 where the maximum stays, and where all scores so far are -inf.
    before[i] = before[i] == top[i] ? T(0) : before[i] - top[i];
    moved = before[i] < moved ? before[i] : moved;
  }
  if (moved == T(0)) return;
  for (int64_t i = 0; i < q.lanes; ++i) before[i] = weight(before[i]);
  for (int64_t i = 0; i < q.lanes; ++i) sum[i] *= before[i];
  for (int64_t e = 0; e < h.value_width; ++e, out += kQueryTile)
    for (int64_t i = 0; i < q.lanes; ++i) out[i] *= before[i];
}

template <class T>
void forward(const AttentionHead<T>& h, int64_t low, int64_t high, T* given, T* y, int64_t y_row, T* lse,
             int64_t lse_step) {
  Memory<T> memory(given);
  T* __restrict s = memory.take(kTile);
  T *turned_mask = memory.take(kTile), *rows = memory.take(kTile), *turned = memory.take(h.width * kQueryTile);
  T* __restrict out = memory.take(h.value_width * kQueryTile);
  T* __restrict top = memory.take(kQueryTile), * __restrict sum = memory.take(kQueryTile);
  T* __restrict shrink = memory.take(kQueryTile);
  uint32_t* words = reinterpret_cast<uint32_t*>(rows);
  for (int64_t first = low; first < high; first += kQueryTile) {
    const Queries<T> q(h, first, high, turned);
    for (int64_t i = 0; i < q.lanes; ++i) top[i] = -Fp<T>::inf, sum[i] = 0;
    for (int64_t i = 0; i < h.value_width * kQueryTile; ++i) out[i] = 0;
    const int64_t end = keys_seen(h, q, h.keys);
    for (int64_t j0 = 0; j0 < end; j0 += kKeyTile) {
      const int64_t keys = smaller(kKeyTile, end - j0);
      scores(h, q, j0, keys, rows, turned_mask, s);
      for (int64_t i = 0; i < q.lanes; ++i) shrink[i] = top[i];
      for (int64_t j = 0; j < keys; ++j)
        for (int64_t i = 0; i < q.lanes; ++i) {
          const T x = s[j * kQueryTile + i];
          top[i] = x > top[i] ? x : top[i];
        }
      if (j0 > 0) rescale(h, q, top, shrink, sum, out);
      for (int64_t i = 0; i < q.lanes; ++i) shrink[i] = top[i] == -Fp<T>::inf ? T(0) : top[i];
      for (int64_t j = 0; j < keys; ++j)
        for (int64_t i = 0; i < q.lanes; ++i) {
          const T p = weight(s[j * kQueryTile + i] - shrink[i]);
          s[j * kQueryTile + i] = p;
          sum[i] += p;
        }
      if (h.drops) {
        draw(h, q, j0, keys, words);
        for (int64_t i = 0; i < keys * kQueryTile; ++i) s[i] = random::kept(words[i], h.below, s[i]);
      }
      product<T>({h.value_width, q.lanes, keys, h.v + j0 * h.v_row, 1, h.v_row, s, kQueryTile, 1, out, kQueryTile, true,
                  nullptr});
    }
    for (int64_t i = 0; i < q.lanes; ++i) {
      shrink[i] = sum[i] == T(0) ? T(0) : h.kept / sum[i];
      top[i] += log(sum[i]);  // -inf for no keys
    }
    for (int64_t e = 0; e < h.value_width; ++e)
      for (int64_t i = 0; i < q.lanes; ++i) out[e * kQueryTile + i] *= shrink[i];
    matmul::transpose<T, matmul::kLanes<T>, false>(out, kQueryTile, y + first * y_row, y_row, h.value_width, q.count);
    for (int64_t i = 0; i < q.count; ++i) lse[(first + i) * lse_step] = top[i];
  }
}

// Of a tile's scores s and the gradient ds of its weights: the weights after dropping, and the gradient of the scores.
template <bool drops, class T>
void weigh(const AttentionHead<T>& h, const Queries<T>& q, int64_t keys, const T* __restrict lse,
           const T* __restrict delta, const uint32_t* __restrict words, T* __restrict s, T* __restrict ds) {
  const T scale = h.scale, kept = h.kept;
  const uint32_t below = h.below;
  const int64_t lanes = q.lanes;
  for (int64_t j = 0; j < keys; ++j, s += kQueryTile, ds += kQueryTile, words += kQueryTile)
    for (int64_t i = 0; i < lanes; ++i) {
      const T p = weight(s[i] - lse[i]);
      s[i] = drops ? random::kept(words[i], below, p * kept) : p;
      ds[i] = p * ((drops ? random::kept(words[i], below, ds[i] * kept) : ds[i]) - delta[i]) * scale;
    }
}

template <class T>
void backward(const AttentionHead<T>& h, int64_t low, int64_t high, T* given, const AttentionGradient<T>& g) {
  Memory<T> memory(given);
  T* __restrict s = memory.take(kTile), * __restrict ds = memory.take(kTile);
  T *turned_mask = memory.take(kTile), *rows = memory.take(kTile), *turned = memory.take(h.width * kQueryTile);
  T *turned_dy = memory.take(h.value_width * kQueryTile), *dq = memory.take(h.width * kQueryTile);
  T* __restrict lse = memory.take(kQueryTile), * __restrict delta = memory.take(kQueryTile);
  uint32_t* words = reinterpret_cast<uint32_t*>(rows);
  for (int64_t j = low; j < high; ++j) {
    __builtin_memset(g.dk + j * g.dk_row, 0, static_cast<size_t>(h.width) * sizeof(T));
    __builtin_memset(g.dv + j * g.dv_row, 0, static_cast<size_t>(h.value_width) * sizeof(T));
  }
  for (int64_t first = 0; first < h.queries; first += kQueryTile) {
    const Queries<T> q(h, first, h.queries, turned);
    const T* dy = g.dy + first * g.dy_row;
    turn(dy, g.dy_row, q.count, h.value_width, T(1), q.lanes, turned_dy);
    for (int64_t i = 0; i < q.lanes; ++i) {
      const bool exists = i < q.count;
      const T l = exists ? g.lse[(first + i) * g.lse_step] : T(0);
      lse[i] = l == -Fp<T>::inf ? T(0) : l;
      delta[i] = exists ? g.delta[(first + i) * g.lse_step] : T(0);
    }
    __builtin_memset(dq, 0, static_cast<size_t>(h.width * kQueryTile) * sizeof(T));
    const int64_t end = keys_seen(h, q, high);
    for (int64_t j0 = low; j0 < end; j0 += kKeyTile) {
      const int64_t keys = smaller(kKeyTile, end - j0);
      scores(h, q, j0, keys, rows, turned_mask, s);
      product<T>({keys, q.lanes, h.value_width, h.v + j0 * h.v_row, h.v_row, 1, turned_dy, kQueryTile, 1, ds,
                  kQueryTile, false, nullptr});
      if (h.drops)
        draw(h, q, j0, keys, words), weigh<true>(h, q, keys, lse, delta, words, s, ds);
      else
        weigh<false>(h, q, keys, lse, delta, words, s, ds);
      product<T>({keys, h.value_width, q.count, s, kQueryTile, 1, dy, g.dy_row, 1, g.dv + j0 * g.dv_row, g.dv_row, true,
                  nullptr});
      product<T>({keys, h.width, q.count, ds, kQueryTile, 1, h.q + first * h.q_row, h.q_row, 1, g.dk + j0 * g.dk_row,
                  g.dk_row, true, nullptr});
      product<T>(
          {h.width, q.lanes, keys, h.k + j0 * h.k_row, 1, h.k_row, ds, kQueryTile, 1, dq, kQueryTile, true, nullptr});
    }
    matmul::transpose<T, matmul::kLanes<T>, false>(dq, kQueryTile, g.dq + first * g.dq_row, g.dq_row, h.width, q.count);
  }
}

template <class T>
AttentionKernels<T> table() {
  return {&memory<T>, &forward<T>, &backward<T>};
}

}  // namespace attention
