// k-means over rows in memory: exact labels, sums in float64, the same bits for any number of threads.
#pragma once
#include <cstdint>
#include <memory>

namespace pn::learn {

// Rows (n, d) with weights, and what is computed of them once. The rows and weights stay the caller's.
//
// A label is the number of the nearest centre, the lowest of equal ones, as sums of squared differences in float64
// tell: scores are computed in the type of the rows (float for bytes), and where two are closer than their rounding
// could be off, the distances decide. Scores are products with centres less the mean of the rows, so that an offset
// common to all rows costs no digits.
class KMeans {
 public:
  // weights (n) or null for ones; mean (d), any point near the rows, or null for their weighted mean.
  static std::unique_ptr<KMeans> over(const float* x, int64_t n, int64_t d, const double* weights, const double* mean);
  static std::unique_ptr<KMeans> over(const double* x, int64_t n, int64_t d, const double* weights, const double* mean);
  static std::unique_ptr<KMeans> over(const uint8_t* x, int64_t n, int64_t d, const double* weights,
                                      const double* mean);
  virtual ~KMeans() = default;

  struct Step {
    int64_t moved;   // rows whose label is another than before
    double inertia;  // weighted sum of squared distances to the given centres
  };

  // One pass: labels (n) of centers (k, d), whose former values tell what moved; sums (k, d) and weights (k) of the
  // rows of each label.
  virtual Step step(const double* centers, int64_t k, int32_t* labels, double* sums, double* weights) = 0;

  // Of how many rows the last pass made the products with all centres; of the others, bounds spared some.
  virtual int64_t full_rows() const = 0;

  // Labels (n) alone, and squared distances to the nearest centre (n) if not null.
  virtual void assign(const double* centers, int64_t k, int32_t* labels, double* distances) = 0;

  // Squared distances (n, k), none above closest (n) if that is given. Those that would lose more than about four of
  // the type's digits to cancellation are computed from differences.
  virtual void distances(const double* centers, int64_t k, const double* closest, double* out) = 0;

  virtual const double* mean() const = 0;

  // Weighted sum of squared distances from the mean.
  virtual double spread() const = 0;
};

}  // namespace pn::learn
