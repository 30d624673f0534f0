// Errors that reach the user. The message names the op, the argument and the shapes, and says what to do.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace pn {

// The bindings raise each as the Python exception of its name.
using ValueError = std::invalid_argument;
using IndexError = std::out_of_range;
struct TypeError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// A value that had to be finite is not; Python's FloatingPointError.
struct NotFinite : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class E, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw E(message.str());
}

}  // namespace pn
