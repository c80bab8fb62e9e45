// The error that crosses the C++ files of this package.
#pragma once

#include "shim.h"

#include <stdexcept>
#include <string>

namespace tandem {

// An error whose code the Go side tells apart.
struct Failure : std::runtime_error {
  Failure(tdm_code code, const std::string& text) : std::runtime_error(text), code(code) {}
  tdm_code code;
};

} // namespace tandem
