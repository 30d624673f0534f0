// The product of one row with a matrix. Included by isa_unit.cpp inside the namespace of one instruction set, after
// reduce.inl, whose joins it uses.
//
// One row leaves the tiles of matmul.inl nothing to reuse, and a matrix that stands the wrong way round for them would
// have to be turned. So these products have an order of their own: element p of the chain goes to lane p % 16, and the
// lanes are joined 8 apart, 4 apart, 2 apart and neighbours, as in reduce.inl. It can be followed along k and along the
// columns alike, so the bits do not depend on the layout, the instruction set (with a fused multiply-add) or threads.
namespace row_product {

using matmul::kLanes;
using matmul::load;
using matmul::load_part;
using matmul::multiply_add;
using matmul::V;

constexpr int64_t kChains = 16;
constexpr int64_t kPanel = 64;          // columns whose chains stay in L1
constexpr int64_t kTaskWork = 1 << 16;  // multiply-adds per task: their memory traffic is worth a thread

// Columns [low, high) whose elements stand together along k: vectors run along the chains.
template <class T>
void along_columns(const Gemm<T>& g, const T* a, int64_t low, int64_t high) {
  constexpr int L = kLanes<T>, P = static_cast<int>(kChains) / L, C = 4;
  const int64_t whole = g.k / kChains * kChains;
  for (int64_t j = low; j < high; j += C) {
    const int columns = static_cast<int>(high - j < C ? high - j : C);
    const T* b[C];
    V<T> sum[C][P];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      b[c] = g.b + (j + (c < columns ? c : 0)) * g.b_col;
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sum[c][p] = V<T>{};
    }
    for (int64_t i = 0; i < whole; i += kChains) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const V<T> x = load<T>(a + i + p * L);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) sum[c][p] = multiply_add(x, load<T>(b[c] + i + p * L), sum[c][p]);
      }
    }
    for (int c = 0; c < columns; ++c) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const int64_t left = g.k - whole - p * L;
        if (left <= 0) break;
        const int lanes = static_cast<int>(left < L ? left : L);
        sum[c][p] =
            multiply_add(load_part(a + whole + p * L, lanes), load_part(b[c] + whole + p * L, lanes), sum[c][p]);
      }
      reduce::join<reduce::Add, P>(sum[c]);
      const T y = reduce::across<reduce::Add, T>(sum[c][0]);
      g.c[j + c] = g.bias ? y + g.bias[j + c] : y;
    }
  }
}

// Columns [low, high), at most kPanel, of a matrix whose rows (or nothing) stand together: vectors run along columns.
template <class T>
void along_rows(const Gemm<T>& g, int64_t low, int64_t high) {
  alignas(64) T sum[kChains][kPanel];
  const int64_t columns = high - low;
  for (int64_t l = 0; l < kChains; ++l)
    for (int64_t j = 0; j < columns; ++j) sum[l][j] = 0;
  for (int64_t p = 0; p < g.k; ++p) {
    const T x = g.a[p * g.a_col], *b = g.b + p * g.b_row + low * g.b_col;
    T* s = sum[p % kChains];
    if (g.b_col == 1)
      for (int64_t j = 0; j < columns; ++j) s[j] = multiply_add(x, b[j], s[j]);
    else
      for (int64_t j = 0; j < columns; ++j) s[j] = multiply_add(x, b[j * g.b_col], s[j]);
  }
  for (int64_t half = kChains / 2; half > 0; half /= 2)
    for (int64_t l = 0; l < half; ++l)
      for (int64_t j = 0; j < columns; ++j) sum[l][j] += sum[l + half][j];
  for (int64_t j = 0; j < columns; ++j) g.c[low + j] = g.bias ? sum[0][j] + g.bias[low + j] : sum[0][j];
}

template <class T>
void run(const Gemm<T>& g) {
  const T* a = g.a;
  bool down = g.b_row == 1 && g.b_col != 1;
  if (down && g.a_col != 1) {
    T* copy = static_cast<T*>(matmul::scratch.get(static_cast<size_t>(g.k) * sizeof(T)));
    if (copy)
      for (int64_t p = 0; p < g.k; ++p) copy[p] = g.a[p * g.a_col];
    a = copy;
    down = copy != nullptr;
  }
  const int64_t panels = (g.n + kPanel - 1) / kPanel, together = 1 + kTaskWork / (g.k * kPanel + 1);
  const auto task = [&](int64_t t) {
    for (int64_t panel = t * together; panel < panels && panel < (t + 1) * together; ++panel) {
      const int64_t low = panel * kPanel, high = low + kPanel < g.n ? low + kPanel : g.n;
      if (down)
        along_columns(g, a, low, high);
      else
        along_rows(g, low, high);
      if (g.epilogue) g.epilogue->apply(g.epilogue->context, 0, low, 1, high - low);
    }
  };
  const int64_t tasks = (panels + together - 1) / together;
  if (tasks < 4)  // too little for a second thread
    for (int64_t t = 0; t < tasks; ++t) task(t);
  else
    parallel_for(tasks, task);
}

}  // namespace row_product

void row_product_f32(const Gemm<float>& g) { row_product::run(g); }
void row_product_f64(const Gemm<double>& g) { row_product::run(g); }
