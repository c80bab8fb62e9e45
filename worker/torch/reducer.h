// The one constructor of c10d::Reducer that the libtorch at hand has.
#pragma once

#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <memory>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace tandem {

// Converts to an empty vector of whatever the constructor wants.
struct EmptyList {
  template <typename T>
  operator std::vector<T>() const {
    return {};
  }
};

// params in the order in which their gradients are expected. Collective.
//
// PyTorch's DDP lays its buckets out anew after the first step, by the order
// in which gradients came. With three ranks or more the layout decides the
// order of additions, so a resumed training would differ in its first step.
// Here the layout follows from the model alone and is fixed at once.
template <typename R = c10d::Reducer>
std::shared_ptr<R> new_reducer(const std::vector<at::Tensor>& params,
                               const std::vector<std::string>& names,
                               const c10::intrusive_ptr<c10d::ProcessGroup>& group,
                               int64_t first_bucket_bytes, int64_t bucket_bytes) {
  using Buckets = std::vector<std::vector<size_t>>;
  using Group = c10::intrusive_ptr<c10d::ProcessGroup>;
  using Names = std::unordered_map<size_t, std::string>;
  using Tensors = std::vector<at::Tensor>;
  using Sizes = std::vector<size_t>;
  using Flags = std::vector<bool>;

  const Flags sparse(params.size(), false);
  Names named;
  for (size_t i = 0; i < names.size(); i++) named[i] = names[i];
  auto assignment = c10d::compute_bucket_assignment_by_size(
      params, {static_cast<size_t>(first_bucket_bytes), static_cast<size_t>(bucket_bytes)},
      sparse);
  Buckets buckets = std::get<0>(assignment);
  Sizes limits = std::get<1>(assignment);

  std::shared_ptr<R> reducer;
  if constexpr (std::is_constructible_v<R, Tensors, Buckets, Sizes, Group, Flags, int64_t, bool,
                                        bool, Names, int64_t>) {
    reducer = std::make_shared<R>(params, buckets, limits, group, sparse, bucket_bytes, false,
                                  true, named, first_bucket_bytes);
  } else if constexpr (std::is_constructible_v<R, Tensors, Buckets, Sizes, Group, Flags, int64_t,
                                               bool, bool, Names, int64_t, bool, bool>) {
    reducer = std::make_shared<R>(params, buckets, limits, group, sparse, bucket_bytes, false,
                                  true, named, first_bucket_bytes, false, false);
  } else if constexpr (std::is_constructible_v<R, Tensors, Buckets, Group, Flags, int64_t, bool,
                                               bool, Names, int64_t>) {
    reducer = std::make_shared<R>(params, buckets, group, sparse, bucket_bytes, false, true,
                                  named, first_bucket_bytes);
  } else {
    reducer = std::make_shared<R>(params, buckets, group, sparse, bucket_bytes, false, true,
                                  named, first_bucket_bytes, false, false, EmptyList{});
  }
  reducer->push_rebuilt_params_for_all_indices();
  reducer->rebuild_buckets();
  return reducer;
}

} // namespace tandem
