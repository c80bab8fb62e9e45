// Loops compiled twice, and the one that the processor can run is picked when
// the program is loaded. The bits are the same: nothing is fused, and sums keep
// their order.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TANDEM_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define TANDEM_WIDE
#endif
