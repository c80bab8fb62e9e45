// Faults inside a step, for tests: see worker/fault.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tandem {

enum class Fault { kNone, kNaN, kFlip };

struct ArmedFault {
  std::string point, action;
  int64_t step; // or a later one
  bool fired = false;
};

// Filled before any training.
extern std::vector<ArmedFault> armed_faults;

// Kills or stops this process, or says what the caller has to break.
Fault hit_fault(const char* point, int64_t step);

inline Fault fault(const char* point, int64_t step) {
  return __builtin_expect(armed_faults.empty(), 1) ? Fault::kNone : hit_fault(point, step);
}

// Whether an action is armed, for callers that have to break something first.
bool faulty(const char* point, int64_t step, const char* action);

} // namespace tandem
