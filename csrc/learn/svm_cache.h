// Rows of a kernel matrix, computed in batches when they are first needed and kept while there is room: the least
// recently used one leaves first. A row holds the columns of the active variables only.
#pragma once
#include <algorithm>
#include <memory>

#include "learn/svm.h"

namespace pn::learn {

// Memory that one solver after another uses: fresh pages cost more than what is written to them.
template <class T>
struct SvmStorage {
  std::unique_ptr<T[]> memory;
  int64_t size = 0;
  T* get(int64_t wanted) {
    if (wanted > size) memory.reset(new T[size = wanted]);
    return memory.get();
  }
};

template <class T>
class SvmRowCache {
 public:
  SvmRowCache(SvmSource<T>& source, SvmStorage<T>& storage, int64_t data_rows, int64_t columns, int64_t distinct,
              int64_t bytes)
      : source_(source), columns_(columns), slot_of_(data_rows, -1) {
    const int64_t row_bytes = std::max<int64_t>(1, columns) * static_cast<int64_t>(sizeof(T));
    const int64_t slots = std::clamp(bytes / row_bytes, int64_t{2}, std::max<int64_t>(2, distinct));
    limit_ = std::max<int64_t>(2, distinct);
    batch_ = std::clamp(slots - 1, int64_t{1}, source.batch());
    capacity_ = slots * columns;
    rows_ = storage.get(capacity_ + batch_ * columns);
    staging_ = rows_ + capacity_;
    make_slots(slots);
  }

  bool has(int64_t row) const { return slot_of_[row] >= 0; }
  int64_t batch() const { return batch_; }

  // Row `row`; valid until the call after the next one. On a miss, more(list) may append rows worth computing along.
  template <class More>
  const T* get(int64_t row, const More& more) {
    if (slot_of_[row] < 0) {
      wanted_.assign(1, row);
      if (batch_ > 1) more(wanted_);
      const int64_t count = static_cast<int64_t>(wanted_.size());
      source_.fill(wanted_.data(), count, staging_, columns_);
      for (int64_t r = count - 1; r >= 0; --r) {  // the row that was asked for is the last to be thrown out
        const int64_t slot = take_slot(wanted_[r]);
        std::copy(staging_ + r * columns_, staging_ + (r + 1) * columns_, rows_ + slot * columns_);
      }
    } else {
      touch(slot_of_[row]);
    }
    return rows_ + slot_of_[row] * columns_;
  }

  // From now on rows hold only these of their columns (ascending), which makes room for more rows.
  void keep_columns(const std::vector<int64_t>& kept) {
    const int64_t now = static_cast<int64_t>(kept.size());
    const int64_t used = used_;
    for (int64_t s = 0; s < used; ++s) {  // downwards in memory, so what is still to be read is never written over
      const T* from = rows_ + s * columns_;
      T* to = rows_ + s * now;
      for (int64_t k = 0; k < now; ++k) to[k] = from[kept[k]];
    }
    columns_ = now;
    const int64_t slots = now == 0 ? 2 : std::clamp(capacity_ / now, static_cast<int64_t>(older_.size()), limit_);
    older_.resize(slots, -1), newer_.resize(slots, -1), owner_.resize(slots, -1);
  }

  // Forgets everything; rows have as many columns as at the start again.
  void restart(int64_t columns) {
    std::fill(slot_of_.begin(), slot_of_.end(), -1);
    columns_ = columns;
    make_slots(capacity_ / std::max<int64_t>(1, columns));
  }

 private:
  void make_slots(int64_t slots) {
    older_.assign(slots, -1), newer_.assign(slots, -1), owner_.assign(slots, -1);
    used_ = 0, oldest_ = newest_ = -1;
  }
  void unlink(int64_t s) {
    (older_[s] < 0 ? oldest_ : newer_[older_[s]]) = newer_[s];
    (newer_[s] < 0 ? newest_ : older_[newer_[s]]) = older_[s];
  }
  void link_newest(int64_t s) {
    older_[s] = newest_, newer_[s] = -1;
    (newest_ < 0 ? oldest_ : newer_[newest_]) = s;
    newest_ = s;
  }
  void touch(int64_t s) {
    if (s == newest_) return;
    unlink(s);
    link_newest(s);
  }
  int64_t take_slot(int64_t row) {
    int64_t s;
    if (used_ < static_cast<int64_t>(owner_.size())) {
      s = used_++;
    } else {
      s = oldest_;
      unlink(s);
      slot_of_[owner_[s]] = -1;
    }
    owner_[s] = row;
    slot_of_[row] = s;
    link_newest(s);
    return s;
  }

  SvmSource<T>& source_;
  int64_t columns_, capacity_, batch_, limit_, used_ = 0, oldest_ = -1, newest_ = -1;
  T *rows_, *staging_;
  std::vector<int64_t> slot_of_, owner_, older_, newer_, wanted_;
};

// Solves one problem on this thread (its products may use more).
template <class T>
void svm_solve(SvmSource<T>& source, SvmProblem& problem, const SvmOptions& options, SvmStorage<T>& storage,
               int64_t data_rows, int64_t cache_bytes, SvmMonitor& monitor);

}  // namespace pn::learn
