// Stands in for a header that gloo's tcp transport includes and gloo's packages leave out. It is searched after all real
// folders. Only the layout matters here: one standard smart pointer a class, as gloo was compiled with.
#pragma once

#include <memory>

namespace gloo {

template <class T>
class ShareableNonOwningPtr;

template <class T>
class NonOwningPtr {
 public:
  NonOwningPtr() = default;

 private:
  std::shared_ptr<T> held_;
};

template <class T>
class WeakNonOwningPtr {
 public:
  WeakNonOwningPtr() = default;
  explicit WeakNonOwningPtr(const ShareableNonOwningPtr<T>& owner)
      : watched_(owner.owner_) {}

 private:
  std::weak_ptr<T> watched_;
};

template <class T>
class ShareableNonOwningPtr {
 private:
  friend class WeakNonOwningPtr<T>;
  std::shared_ptr<T> owner_;
};

} // namespace gloo
