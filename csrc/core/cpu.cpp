#include "core/cpu.h"

#include <atomic>
#include <cstdlib>
#include <sstream>

#include "core/error.h"
#include "kernels/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#define PN_TARGET_x86 1
#define PN_TARGET_arm 0
#else
#define PN_TARGET_x86 0
#define PN_TARGET_arm 1
#endif

// Each compiled unit of kernels hands out its table under its own namespace.
#define PN_ISA(name, target, flags, features, xcr0) PN_DECLARE_##target(name)
#if PN_TARGET_x86
#define PN_DECLARE_x86(name) \
  namespace pn::name {       \
  const Kernels& table();    \
  }
#define PN_DECLARE_arm(name)
#else
#define PN_DECLARE_x86(name)
#define PN_DECLARE_arm(name) \
  namespace pn::name {       \
  const Kernels& table();    \
  }
#endif
#include "kernels/isa.def"
#undef PN_ISA

namespace pn {
namespace {

struct Isa {
  const char* name;
  const char* features;
  unsigned xcr0;
  const Kernels& (*table)();
};

const Isa kIsas[] = {
#define PN_ISA(name, target, flags, features, xcr0) PN_ROW_##target(name, features, xcr0)
#if PN_TARGET_x86
#define PN_ROW_x86(name, features, xcr0) {#name, features, xcr0, &name::table},
#define PN_ROW_arm(name, features, xcr0)
#else
#define PN_ROW_x86(name, features, xcr0)
#define PN_ROW_arm(name, features, xcr0) {#name, features, xcr0, &name::table},
#endif
#include "kernels/isa.def"
#undef PN_ISA
};

#if PN_TARGET_x86
struct Bit {
  const char* feature;
  unsigned leaf, reg, bit;  // reg: 0 eax, 1 ebx, 2 ecx, 3 edx
};
constexpr Bit kBits[] = {
    {"sse3", 1, 2, 0},      {"ssse3", 1, 2, 9},     {"fma", 1, 2, 12},          {"cx16", 1, 2, 13},
    {"sse4_1", 1, 2, 19},   {"sse4_2", 1, 2, 20},   {"movbe", 1, 2, 22},        {"popcnt", 1, 2, 23},
    {"avx", 1, 2, 28},      {"f16c", 1, 2, 29},     {"bmi1", 7, 1, 3},          {"avx2", 7, 1, 5},
    {"bmi2", 7, 1, 8},      {"avx512f", 7, 1, 16},  {"avx512dq", 7, 1, 17},     {"avx512cd", 7, 1, 28},
    {"avx512bw", 7, 1, 30}, {"avx512vl", 7, 1, 31}, {"lzcnt", 0x80000001, 2, 5}};

bool has_feature(const std::string& feature) {
  for (const Bit& b : kBits) {
    if (feature != b.feature) continue;
    unsigned r[4] = {0, 0, 0, 0};
    return __get_cpuid_count(b.leaf, 0, &r[0], &r[1], &r[2], &r[3]) && (r[b.reg] >> b.bit & 1);
  }
  fail<std::logic_error>("isa.def names the feature ", feature, ", which cpu.cpp has no CPUID bit for");
}

// Registers that the operating system saves on a task switch; without that the CPU's own bits mean nothing.
unsigned saved_registers() {
  unsigned r[4] = {0, 0, 0, 0};
  if (!__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]) || !(r[2] >> 27 & 1)) return 0;  // OSXSAVE
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}
#else
bool has_feature(const std::string&) { return true; }
unsigned saved_registers() { return ~0u; }
#endif

// Empty if the CPU can run it, else what is missing.
std::string lacking(const Isa& isa) {
  std::istringstream words(isa.features);
  std::string missing;
  for (std::string f; words >> f;)
    if (!has_feature(f)) missing += " " + f;
  if ((saved_registers() & isa.xcr0) != isa.xcr0) missing += " (the operating system does not save its registers)";
  return missing;
}

const Isa& find(const std::string& name) {
  std::string known;
  for (const Isa& isa : kIsas) {
    if (name == isa.name) {
      if (const std::string missing = lacking(isa); !missing.empty())
        fail<ValueError>("instruction set ", name, ": this CPU lacks", missing,
                         "; choose one of those in pyneural.show_config()");
      return isa;
    }
    known += std::string(known.empty() ? "" : ", ") + isa.name;
  }
  fail<ValueError>("instruction set '", name, "' is not known; this build has ", known);
}

std::atomic<const Isa*> chosen{nullptr};
std::atomic<const Kernels*> in_use{nullptr};

void choose(const Isa& isa) {
  in_use.store(&isa.table(), std::memory_order_release);
  chosen.store(&isa, std::memory_order_release);
}

const Isa& current() {
  if (const Isa* isa = chosen.load(std::memory_order_acquire)) return *isa;
  if (const char* wanted = std::getenv("PYNEURAL_ISA"); wanted && *wanted) {
    try {
      choose(find(wanted));
    } catch (const ValueError& e) {
      fail<ValueError>("PYNEURAL_ISA: ", e.what());
    }
  } else {
    for (const Isa& isa : kIsas)
      if (lacking(isa).empty()) choose(isa);
    if (!chosen.load()) fail<std::runtime_error>("pyneural needs a CPU with", lacking(kIsas[0]));
  }
  return *chosen.load();
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : kIsas)
    if (lacking(isa).empty()) names.push_back(isa.name);
  return names;
}

std::string current_isa() { return current().name; }
void set_isa(const std::string& name) { choose(find(name)); }

const Kernels& kernels() {
  if (const Kernels* k = in_use.load(std::memory_order_acquire)) return *k;
  current();
  return *in_use.load(std::memory_order_acquire);
}

}  // namespace pn
