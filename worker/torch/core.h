// What the C++ files of this package share. Not seen by Go.
#pragma once

#include "failure.h"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <torch/version.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace tandem {

tdm_status ok();
tdm_status failure(int32_t code, const std::string& text);

// The status of the exception in flight, `fallback` where it says no more.
tdm_status caught(tdm_code fallback);

// The line of a libtorch message that tells a user what is wrong.
std::string plain_message(const std::string& what);

// Runs body; no exception leaves it.
template <typename Body>
tdm_status guarded(Body&& body, tdm_code fallback = TDM_ERROR) {
  try {
    body();
    return ok();
  } catch (...) {
    return caught(fallback);
  }
}

// Runs body, giving what it throws the code `code` unless it is a Failure.
template <typename Body>
auto as(tdm_code code, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Failure&) {
    throw;
  } catch (const std::exception& e) {
    throw Failure(code, plain_message(e.what()));
  }
}

inline c10::Device device_of(tdm_device index) {
  return index < 0 ? c10::Device(c10::kCPU)
                   : c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

std::string shape_text(at::IntArrayRef shape);
const char* dtype_name(at::ScalarType type);
// TDM_STATE for a name that is none.
at::ScalarType dtype_of(const std::string& name);

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

} // namespace tandem

struct tdm_tensors {
  tandem::NamedTensors list;
  // Takes the tensor to the host, contiguous.
  void add(const std::string& name, const at::Tensor& t) {
    list.emplace_back(name, t.detach().to(c10::kCPU).contiguous());
  }
};

namespace tandem {
// Copies `from` into the tensors of `into` by name. Names, types and shapes
// have to be the same; the first difference throws TDM_STATE and nothing is written.
void load_strict(const NamedTensors& into, const NamedTensors& from);
} // namespace tandem
