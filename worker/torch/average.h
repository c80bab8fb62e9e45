// How the ranks of a group average their gradients.
#pragma once

#include "group.h"

#include <memory>
#include <string>

namespace tandem {

class Average {
 public:
  virtual ~Average() = default;
  virtual void before_forward() {}
  virtual void before_backward() {}
  // When it returns, every gradient is the average over the ranks. Called in the
  // collective that backward is part of.
  virtual void after_backward() {}
};

// Of the gradients of params. bucket_bytes is the size from which they are on
// their way while backward goes on, where that hides any time; 0: as suits the
// device. Collective.
std::unique_ptr<Average> new_average(Group& group, const NamedTensors& params,
                                     int64_t bucket_bytes);

// Of a parameter that has no gradient after backward.
inline Failure untrained(const std::string& parameter) {
  return Failure(TDM_MODEL, "the parameter " + parameter +
                                " takes no part in the loss: remove it from the model or set its "
                                "requires_grad to False");
}

} // namespace tandem
