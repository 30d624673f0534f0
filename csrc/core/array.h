// Storage (a counted block of memory) and Array (a strided window on one): the data side of a tensor.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "core/dtype.h"

namespace pn {

inline constexpr int kMaxDims = 8;

// A block of memory, either our own (64-byte aligned) or borrowed from somebody who is told when we let go of it.
struct Storage {
  std::atomic<int64_t> references{1};
  char* data = nullptr;
  size_t bytes = 0;
  int64_t version = 0;               // counts writes in place, so that backward can notice a changed saved value
  void (*release)(void*) = nullptr;  // for borrowed memory
  void* owner = nullptr;
  bool writable = true;

  static Storage* allocate(size_t bytes);
  static Storage* borrow(void* data, size_t bytes, bool writable, void (*release)(void*), void* owner);
  int64_t shared() const { return references.load(std::memory_order_relaxed); }  // windows on it
  void retain() { references.fetch_add(1, std::memory_order_relaxed); }
  void drop() {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }

 private:
  void destroy();
};

// A window on a Storage: value type, cheap to copy. Strides are in elements and may be 0 (broadcast) or negative
// (flip).
class Array {
 public:
  Storage* storage = nullptr;
  char* data = nullptr;  // the element at index (0, ..., 0)
  DType dtype = DType::Float32;
  int ndim = 0;
  int64_t shape[kMaxDims];
  int64_t strides[kMaxDims];

  Array() = default;
  Array(const Array& other) {
    copy_window(other);
    if (storage) storage->retain();
  }
  Array(Array&& other) noexcept {
    copy_window(other);
    other.storage = nullptr;
  }
  Array& operator=(const Array& other) {
    if (this != &other) {
      if (other.storage) other.storage->retain();
      if (storage) storage->drop();
      copy_window(other);
    }
    return *this;
  }
  Array& operator=(Array&& other) noexcept {
    if (this != &other) {
      if (storage) storage->drop();
      copy_window(other);
      other.storage = nullptr;
    }
    return *this;
  }
  ~Array() {
    if (storage) storage->drop();
  }

  // Describes a contiguous array of this shape without memory; allocate() then gives it some.
  void describe(DType type, int dims, const int64_t* sizes);
  void allocate();
  static Array empty(DType type, int dims, const int64_t* sizes) {
    Array a;
    a.describe(type, dims, sizes);
    a.allocate();
    return a;
  }

  int64_t size() const {
    int64_t n = 1;
    for (int d = 0; d < ndim; ++d) n *= shape[d];
    return n;
  }
  bool contiguous() const;  // row-major without gaps
  bool same_shape(const Array& other) const;
  template <class T>
  T* ptr() const {
    return reinterpret_cast<T*>(data);
  }

 private:
  void copy_window(const Array& other) {
    storage = other.storage, data = other.data, dtype = other.dtype, ndim = other.ndim;
    for (int d = 0; d < ndim; ++d) shape[d] = other.shape[d], strides[d] = other.strides[d];
  }
};

// "(2, 3)", as NumPy prints a shape.
std::string shape_text(const Array& a);
std::string shape_text(int ndim, const int64_t* shape);

// Shape that a and b broadcast to, or false.
bool broadcast_shapes(int a_dims, const int64_t* a, int b_dims, const int64_t* b, int* out_dims, int64_t* out);

// a seen with the given (broadcast) shape: stride 0 along every stretched axis. The shapes must fit.
Array expanded(const Array& a, int ndim, const int64_t* shape);

// Copies src into dst, converting the type; the shapes must be equal. Overlapping windows are handled.
void copy_into(const Array& dst, const Array& src);

// n dense elements from one type to another, as copy_into converts them.
void convert(int64_t n, const char* from, DType from_type, char* to, DType to_type);

// a itself if contiguous, else a contiguous copy.
Array contiguous_copy(const Array& a);
inline Array as_contiguous(const Array& a) { return a.contiguous() ? a : contiguous_copy(a); }

// May the windows of a and b share an element? (Compares the address ranges.)
bool may_overlap(const Array& a, const Array& b);

}  // namespace pn
