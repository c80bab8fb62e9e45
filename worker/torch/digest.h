// What can be said of all bits of a state at once.
#pragma once

#include "core.h"

namespace tandem {

// Equal on equal states, another one when any single bit is another. Names
// take no part. On a CUDA device it is another function than on the host.
uint64_t digest(const NamedTensors& state);

// Whether every floating-point number is finite.
bool all_finite(const NamedTensors& state);

} // namespace tandem
