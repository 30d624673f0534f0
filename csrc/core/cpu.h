// Which instruction sets this CPU can run, and which one the kernels use.
#pragma once
#include <string>
#include <vector>

namespace pn {

struct Kernels;

std::vector<std::string> available_isas();  // weakest first
std::string current_isa();

// Switches every kernel to the named set. Throws ValueError if the name is unknown or the CPU lacks it.
void set_isa(const std::string& name);

// The kernels in use. The first call picks the best set, or the one that PYNEURAL_ISA names.
const Kernels& kernels();

}  // namespace pn
