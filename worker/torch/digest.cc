#include "digest.h"

#include <algorithm>

namespace tandem {
namespace {

constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;

// Each step is one-to-one in h and in word, so a single changed word changes
// all that follow, for certain.
uint64_t mixed(uint64_t h, uint64_t word) {
  h = (h ^ word) * kOdd;
  return h ^ (h >> 29);
}

// Four chains, so that multiplications overlap.
uint64_t digest_bytes(const uint8_t* data, size_t n) {
  uint64_t lanes[4] = {n, 1, 2, 3};
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    uint64_t words[4];
    std::memcpy(words, data + i, 32);
    for (int lane = 0; lane < 4; lane++) lanes[lane] = mixed(lanes[lane], words[lane]);
  }
  for (; i < n; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + i, std::min<size_t>(8, n - i));
    lanes[0] = mixed(lanes[0], word);
  }
  return mixed(mixed(mixed(lanes[0], lanes[1]), lanes[2]), lanes[3]);
}

// A sum of the bytes, each times an odd number of its place: one changed byte
// changes it. Done where the tensor is, some megabytes at a time.
uint64_t digest_on_device(const at::Tensor& t) {
  auto bytes = t.contiguous().reshape({-1}).view(at::kByte);
  const int64_t n = bytes.numel(), part = int64_t(8) << 20;
  uint64_t h = static_cast<uint64_t>(n);
  for (int64_t i = 0; i < n; i += part) {
    auto piece = bytes.narrow(0, i, std::min(part, n - i)).to(at::kLong);
    auto odd = at::arange(piece.numel(), piece.options());
    odd = odd.mul(static_cast<int64_t>(kOdd >> 1)).mul(2).add(1);
    h = mixed(h, static_cast<uint64_t>(piece.mul(odd).sum().item<int64_t>()));
  }
  return h;
}

bool finite(const float* data, int64_t n) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    std::memcpy(&bits, data + i, 4);
    bad |= (bits & 0x7f800000u) == 0x7f800000u;
  }
  return bad == 0;
}

} // namespace

uint64_t digest(const NamedTensors& state) {
  c10::NoGradGuard no_grad;
  uint64_t h = state.size();
  for (const auto& entry : state) {
    auto t = entry.second.detach();
    if (t.numel() == 0) continue;
    if (!t.device().is_cpu()) {
      h = mixed(h, digest_on_device(t));
      continue;
    }
    t = t.contiguous();
    h = mixed(h, digest_bytes(static_cast<const uint8_t*>(t.data_ptr()), t.nbytes()));
  }
  return h;
}

bool all_finite(const NamedTensors& state) {
  c10::NoGradGuard no_grad;
  for (const auto& entry : state) {
    auto t = entry.second.detach();
    if (!t.is_floating_point() || t.numel() == 0) continue;
    if (t.device().is_cpu() && t.scalar_type() == at::kFloat && t.is_non_overlapping_and_dense()) {
      if (!finite(t.data_ptr<float>(), t.numel())) return false;
    } else if (!at::isfinite(t).all().item<bool>()) {
      return false;
    }
  }
  return true;
}

} // namespace tandem
