// Element types. The order matters: promotion takes the later of two types of one category, and floats win over
// integers.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pn {

enum class DType : uint8_t { Bool, UInt8, Int8, Int16, Int32, Int64, Float32, Float64 };
inline constexpr int kDTypes = 8;

inline constexpr size_t item_size(DType t) {
  constexpr size_t sizes[kDTypes] = {1, 1, 1, 2, 4, 8, 4, 8};
  return sizes[static_cast<int>(t)];
}

inline constexpr const char* dtype_name(DType t) {
  constexpr const char* names[kDTypes] = {"bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"};
  return names[static_cast<int>(t)];
}

inline constexpr bool is_float(DType t) { return t >= DType::Float32; }
inline constexpr bool is_integer(DType t) { return t != DType::Bool && t < DType::Float32; }

// Common type of two tensors: the wider one within a category, bool < integer < float between them. As PyTorch has it,
// an integer tensor never widens a float one: int64 with float32 is float32.
inline constexpr DType promote(DType a, DType b) {
  if (a == b) return a;
  const bool mixed_sign = (a == DType::UInt8 && b == DType::Int8) || (a == DType::Int8 && b == DType::UInt8);
  if (mixed_sign) return DType::Int16;
  return a > b ? a : b;
}

// Calls f(T{}) with the C++ type of t.
template <class F>
decltype(auto) visit_dtype(DType t, F&& f) {
  switch (t) {
    case DType::Bool: return f(bool{});
    case DType::UInt8: return f(uint8_t{});
    case DType::Int8: return f(int8_t{});
    case DType::Int16: return f(int16_t{});
    case DType::Int32: return f(int32_t{});
    case DType::Int64: return f(int64_t{});
    case DType::Float32: return f(float{});
    default: return f(double{});
  }
}

template <class T>
struct dtype_of;
// clang-format off
template <> struct dtype_of<bool> { static constexpr DType value = DType::Bool; };
template <> struct dtype_of<uint8_t> { static constexpr DType value = DType::UInt8; };
template <> struct dtype_of<int8_t> { static constexpr DType value = DType::Int8; };
template <> struct dtype_of<int16_t> { static constexpr DType value = DType::Int16; };
template <> struct dtype_of<int32_t> { static constexpr DType value = DType::Int32; };
template <> struct dtype_of<int64_t> { static constexpr DType value = DType::Int64; };
template <> struct dtype_of<float> { static constexpr DType value = DType::Float32; };
template <> struct dtype_of<double> { static constexpr DType value = DType::Float64; };
// clang-format on

}  // namespace pn
