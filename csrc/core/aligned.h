// Memory that starts at a cache line (64 bytes), as vectors want it. Defined in storage.cpp.
#pragma once
#include <cstddef>

namespace pn {

// nullptr if there is none.
void* aligned_take(size_t bytes);
void aligned_give(void* block);

}  // namespace pn
