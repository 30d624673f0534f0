// Bounds on distances that spare k-means most of its products (Elkan, "Using the triangle inequality to accelerate
// k-means", 2003): a centre that has moved by m is at most m nearer to any row.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace pn::learn {

// A float not below, or not above, a distance given in float64. What is in between is far more than the rounding of a
// sum of squares, so two distances whose bounds are apart compare as their sums of squares do.
inline float above(double distance) {
  return static_cast<float>(distance * (1 + 0x1p-22)) + std::numeric_limits<float>::min();
}
inline float below(double distance) {
  const double most = std::min<double>(distance, std::numeric_limits<float>::max());
  return std::max(static_cast<float>(most * (1 - 0x1p-22)) - std::numeric_limits<float>::min(), 0.0f);
}

// For each row its nearest centre, a bound above the distance to it, and bounds below those to all centres. (Elkan's
// other test, by distances between centres, spares next to nothing where features are many, and is left out.)
//
// When to use them is decided by what they spare, not by who asks. Their memory is at most that of the rows; with fewer
// features than that leaves, products are as cheap as bounds. They are kept from the second pass on; a pass in which
// they spare too little drops them, for 1, 2, 4, ... passes.
class Bounds {
 public:
  // Before a pass: whether the pass keeps bounds. `bytes` are those of a row.
  bool keep(int64_t n, int64_t d, int64_t k, int64_t bytes, const double* centers) {
    if (k < 2 || k * static_cast<int64_t>(sizeof(float)) > bytes) return stop(), false;
    if (k != k_) {
      stop();
      k_ = k, left_ = 1;
    }
    if (left_ > 0) return --left_, false;
    if (!kept_) {
      if (size_ < n * k) lower_ = std::make_unique_for_overwrite<float[]>(size_ = n * k);
      upper_.resize(n), labels_.resize(n), moves_.resize(k);
    } else {
      for (int64_t j = 0; j < k; ++j) {
        double square = 0;
        for (int64_t p = 0; p < d; ++p) {
          const double step = centers[j * d + p] - centers_[j * d + p];
          square += step * step;
        }
        moves_[j] = square > 0 ? above(std::sqrt(square)) : 0.0f;
      }
    }
    centers_.assign(centers, centers + k * d);
    return true;
  }

  // After a pass that kept them: of how many of n rows all products were made.
  void done(int64_t dense, int64_t n) {
    if (kept_ && 2 * dense > n) {
      kept_ = false;
      left_ = pause_;
      pause_ *= 2;
      return;
    }
    if (kept_) pause_ = 1;
    kept_ = true;
  }

  bool kept() const { return kept_; }  // whether those of the last pass stand
  float* lower(int64_t row) { return lower_.get() + row * k_; }
  float& upper(int64_t row) { return upper_[row]; }
  int32_t& label(int64_t row) { return labels_[row]; }
  const float* moves() const { return moves_.data(); }

 private:
  void stop() { k_ = 0, kept_ = false, pause_ = 1; }

  int64_t k_ = 0, size_ = 0, left_ = 0, pause_ = 1;
  bool kept_ = false;
  std::unique_ptr<float[]> lower_;
  std::vector<float> upper_, moves_;
  std::vector<int32_t> labels_;
  std::vector<double> centers_;
};

}  // namespace pn::learn
