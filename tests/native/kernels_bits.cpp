// Runs the kernels of csrc/kernels (but those of attention, k-means and normalisation, whose tests in Python compare
// the instruction sets) on odd sizes and addresses, once per instruction set that this CPU has, holds it against plain
// scalar code and prints one line per kernel and type: instruction set, name, type, hash of the result's bits. The
// hashes of all sets with a fused multiply-add must be the same, on x86 and on Arm (tests/test_kernel_bits.py compares
// them). The exit status is 1 if a result is wrong.
//
// In the hashes one NaN is like another: their sign and payload differ between processor families. Left out are sines,
// cosines and tangents beyond 1e7, which the C library computes.
#include "kernels_bits.h"
#include "core/cpu.h"

template <class T>
void all() {
  const FloatKernels<T>& k = kernels().of<T>();
  state = 1;
  elements(k);
  products(k);
  sums(k);
}

int main() {
  for (const std::string& name : available_isas()) {
    isa = name;
    set_isa(name);
    all<float>();
    all<double>();
  }
  return good ? 0 : 1;
}
