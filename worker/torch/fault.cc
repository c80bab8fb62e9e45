#include "fault.h"
#include "shim.h"

#include <csignal>
#include <cstdio>

#include <unistd.h>

namespace tandem {

std::vector<ArmedFault> armed_faults;
std::string fault_taken, fault_fired; // file to rename when a fault fires, and to what

static void breaks(int signal) {
  if (!fault_taken.empty()) std::rename(fault_taken.c_str(), fault_fired.c_str());
  kill(getpid(), signal);
}

bool faulty(const char* point, int64_t step, const char* action) {
  for (auto& f : armed_faults) {
    if (f.fired || step < f.step || f.point != point || f.action != action) continue;
    return f.fired = true;
  }
  return false;
}

Fault hit_fault(const char* point, int64_t step) {
  auto found = Fault::kNone;
  for (auto& f : armed_faults) {
    if (f.fired || step < f.step || f.point != point) continue;
    f.fired = true;
    if (f.action == "kill") breaks(SIGKILL);
    if (f.action == "stop") breaks(SIGSTOP);
    if (f.action == "nan") found = Fault::kNaN;
    if (f.action == "flip") found = Fault::kFlip;
  }
  return found;
}

} // namespace tandem

void tdm_fault_arm(const char* point, int64_t step, const char* action) {
  tandem::armed_faults.push_back({point, action, step, false});
}

void tdm_fault_file(const char* taken, const char* fired) {
  tandem::fault_taken = taken;
  tandem::fault_fired = fired;
}
