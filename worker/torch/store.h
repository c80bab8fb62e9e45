// A c10d::Store over the Go side's rendezvous.
#pragma once

#include "core.h"

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>

namespace tandem {

// c10d asks its store for set, get and wait only. What was read is kept, since
// a key is written once and c10d waits for it before it gets it.
class RendezvousStore : public c10d::Store {
 public:
  RendezvousStore(uintptr_t rendezvous, std::chrono::milliseconds timeout)
      : c10d::Store(timeout), rendezvous_(rendezvous) {}

  void set(const std::string& key, const std::vector<uint8_t>& value) override {
    char* error = nullptr;
    auto bytes = value; // the callback is C and knows no const
    if (tandemRendezvousSet(rendezvous_, const_cast<char*>(key.c_str()), bytes.data(),
                            bytes.size(), &error) != 0)
      raise(TDM_ERROR, error);
    std::lock_guard<std::mutex> lock(mutex_);
    seen_[key] = value;
  }

  std::vector<uint8_t> get(const std::string& key) override { return fetch(key, timeout_); }

  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }

  void wait(const std::vector<std::string>& keys,
            const std::chrono::milliseconds& timeout) override {
    for (const auto& key : keys) fetch(key, timeout);
  }

  // Answered from what this rank knows: only c10d's debugging features ask.
  bool check(const std::vector<std::string>& keys) override {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& key : keys)
      if (!seen_.count(key)) return false;
    return true;
  }

  int64_t add(const std::string&, int64_t) override {
    throw Failure(TDM_ERROR, "the rendezvous has no counters");
  }
  bool deleteKey(const std::string&) override { return false; }
  int64_t getNumKeys() override {
    std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<int64_t>(seen_.size());
  }

  // The memory that another rank of this host offers.
  int open_segment(pid_t pid, int fd) {
    char* error = nullptr;
    const int opened = tandemSegmentOpen(rendezvous_, pid, fd, &error);
    if (opened < 0) {
      const std::string text = error ? error : "no reason given";
      std::free(error);
      throw Failure(TDM_ERROR, text);
    }
    return opened;
  }

  // Pure virtual in later versions, unknown to earlier ones.
  virtual c10::intrusive_ptr<c10d::Store> clone() {
    return c10::make_intrusive<RendezvousStore>(rendezvous_, timeout_);
  }

 private:
  std::vector<uint8_t> fetch(const std::string& key, std::chrono::milliseconds timeout) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto it = seen_.find(key);
      if (it != seen_.end()) return it->second;
    }
    uint8_t* value = nullptr;
    size_t n = 0;
    char* error = nullptr;
    int code = tandemRendezvousGet(rendezvous_, const_cast<char*>(key.c_str()),
                                   timeout.count(), &value, &n, &error);
    if (code != 0) raise(static_cast<tdm_code>(code), error);
    std::vector<uint8_t> bytes(value, value + n);
    std::free(value);
    std::lock_guard<std::mutex> lock(mutex_);
    seen_[key] = bytes;
    return bytes;
  }

  [[noreturn]] static void raise(tdm_code code, char* error) {
    std::string text = error ? error : "no reason given";
    std::free(error);
    throw Failure(code, "rendezvous: " + text);
  }

  uintptr_t rendezvous_;
  std::mutex mutex_;
  std::map<std::string, std::vector<uint8_t>> seen_;
};

} // namespace tandem
