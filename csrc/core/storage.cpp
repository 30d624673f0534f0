// Memory of tensors: 64-byte aligned blocks, kept for reuse by size class, because a training step asks for the same
// sizes again and again and the system's allocator gives large blocks back (and pages them in anew) each time.
#include <stdlib.h>

#include <mutex>
#include <new>
#include <vector>

#include "core/aligned.h"
#include "core/array.h"

namespace pn {

void* aligned_take(size_t bytes) {
#if defined(_WIN32)
  return _aligned_malloc(bytes, 64);
#else
  return aligned_alloc(64, (bytes + 63) / 64 * 64);
#endif
}

void aligned_give(void* block) {
#if defined(_WIN32)
  _aligned_free(block);
#else
  free(block);
#endif
}

namespace {

constexpr size_t kSmallest = 64;
constexpr int kClasses = 24;                      // 64 B ... 512 MB, in powers of two
constexpr size_t kKeptBytes = size_t{256} << 20;  // at most this much is kept for reuse
constexpr size_t kKeptPerClass = 64;

int size_class(size_t bytes) {
  int c = 0;
  while ((kSmallest << c) < bytes) ++c;
  return c;
}

class Pool {
 public:
  char* take(size_t bytes) {
    const int c = size_class(bytes);
    if (c < kClasses) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!free_[c].empty()) {
        char* block = free_[c].back();
        free_[c].pop_back();
        kept_ -= kSmallest << c;
        return block;
      }
    }
    // Large blocks take only what they need: the pages of a class's unused tail are never touched.
    void* block = aligned_take(c < kClasses ? kSmallest << c : bytes);
    if (!block) throw std::bad_alloc();
    return static_cast<char*>(block);
  }

  void give(char* block, size_t bytes) {
    const int c = size_class(bytes);
    if (c < kClasses) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (kept_ + (kSmallest << c) <= kKeptBytes && free_[c].size() < kKeptPerClass) {
        free_[c].push_back(block);
        kept_ += kSmallest << c;
        return;
      }
    }
    aligned_give(block);
  }

 private:
  std::mutex mutex_;
  std::vector<char*> free_[kClasses];
  size_t kept_ = 0;
};

// Never destroyed: tensors may outlive the end of main().
Pool& pool() {
  static Pool* p = new Pool;
  return *p;
}

}  // namespace

Storage* Storage::allocate(size_t bytes) {
  char* block = pool().take(bytes);
  Storage* s = new Storage;
  s->data = block;
  s->bytes = bytes;
  return s;
}

Storage* Storage::borrow(void* data, size_t bytes, bool writable, void (*release)(void*), void* owner) {
  Storage* s = new Storage;
  s->data = static_cast<char*>(data);
  s->bytes = bytes;
  s->writable = writable;
  s->release = release;
  s->owner = owner;
  return s;
}

void Storage::destroy() {
  if (release)
    release(owner);
  else
    pool().give(data, bytes);
  delete this;
}

}  // namespace pn
