#include "shared.h"

#include "failure.h"
#include "wide.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>

namespace tandem {

// A line of the segment's head: one for each member, in a cache line of its own.
struct alignas(64) Shared::Line {
  std::atomic<uint32_t> round;    // meetings this member has come to; the kernel waits on it
  std::atomic<uint32_t> sleepers; // members that wait for it in the kernel
  std::atomic<uint32_t> gone;     // it comes to no more
  std::atomic<uint32_t> short_of; // memory: it could not lay out its part

  // Meetings are counted modulo 2^32; nobody is half of that behind.
  bool reached(uint32_t wanted) const {
    return static_cast<int32_t>(round.load(std::memory_order_acquire) - wanted) >= 0;
  }
  void wake() {
    if (sleepers.load() != 0)
      syscall(SYS_futex, reinterpret_cast<uint32_t*>(&round), FUTEX_WAKE, INT32_MAX, nullptr,
              nullptr, 0);
  }
};

// What lay_out gave: a part for each member. It is mapped as long as anybody
// has taken of it.
struct Shared::Space {
  uint8_t* base;
  size_t each; // bytes of a member
  size_t members;
  size_t taken = 0; // by this member

  ~Space() { munmap(base, each * members); }
  uint8_t* of(size_t member) const { return base + member * each; }
};

namespace {

using Clock = std::chrono::steady_clock;

// Each member has two slots and uses them in turn. When a member comes to a
// meeting it is done with reading what was put before the last one, so that
// a slot is free again at its turn.
constexpr size_t kSlotBytes = 512 << 10;
constexpr size_t kHeadBytes = kMaxSharing * 64;
// What is added up at a time where parts lie in place: small enough to stay in
// the nearest cache, until it is written to all.
constexpr size_t kBlockBytes = 16 << 10;
// Up to here everyone adds up everything; beyond, each member adds up a part.
constexpr size_t kAllAdd = 3;

std::string system_text(const std::string& act) {
  return act + ": " + std::generic_category().message(errno);
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

int open_watch(pid_t pid) {
#ifdef SYS_pidfd_open
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
#else
  errno = ENOSYS;
  return -1;
#endif
}

TANDEM_WIDE void add_floats(float* __restrict sum, const float* __restrict part, size_t n) {
  for (size_t i = 0; i < n; i++) sum[i] += part[i];
}
TANDEM_WIDE void add_two_floats(float* __restrict sum, const float* __restrict a,
                                const float* __restrict b, size_t n) {
  for (size_t i = 0; i < n; i++) sum[i] = a[i] + b[i];
}
template <typename T>
void add_all(T* sum, const std::vector<const uint8_t*>& parts, size_t from, size_t n) {
  std::memcpy(sum, reinterpret_cast<const T*>(parts[0]) + from, n * sizeof(T));
  for (size_t k = 1; k < parts.size(); k++) {
    auto* part = reinterpret_cast<const T*>(parts[k]) + from;
    for (size_t i = 0; i < n; i++) sum[i] += part[i];
  }
}
template <>
void add_all(float* sum, const std::vector<const uint8_t*>& parts, size_t from, size_t n) {
  auto part = [&](size_t k) { return reinterpret_cast<const float*>(parts[k]) + from; };
  add_two_floats(sum, part(0), part(1), n);
  for (size_t k = 2; k < parts.size(); k++) add_floats(sum, part(k), n);
}

void add(void* sum, const std::vector<const uint8_t*>& parts, size_t from, size_t n,
         Element type) {
  switch (type) {
    case Element::kFloat: return add_all(static_cast<float*>(sum), parts, from, n);
    case Element::kDouble: return add_all(static_cast<double*>(sum), parts, from, n);
    case Element::kInt: return add_all(static_cast<int32_t*>(sum), parts, from, n);
    case Element::kLong: return add_all(static_cast<int64_t*>(sum), parts, from, n);
  }
}

size_t size_of(Element type) {
  return type == Element::kFloat || type == Element::kInt ? 4 : 8;
}

} // namespace

std::string host_name(std::string* reason) {
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  struct stat space {};
  if (boot.empty() || stat("/proc/self/ns/pid", &space) != 0) {
    *reason = "/proc does not say which machine this is";
    return "";
  }
  const int watch = open_watch(getpid());
  if (watch < 0) {
    *reason = system_text("the kernel cannot watch over processes (pidfd_open)");
    return "";
  }
  close(watch);
  return boot + "/" + std::to_string(space.st_ino);
}

int new_segment(const char* name) {
  const int fd = memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) throw Failure(TDM_ERROR, system_text("make shared memory"));
  return fd;
}

Shared::Shared(std::vector<Member> members, size_t index, std::chrono::milliseconds timeout,
               const Open& open)
    : members_(std::move(members)), index_(index), timeout_(timeout) {
  static_assert(sizeof(Line) == 64 && std::atomic<uint32_t>::is_always_lock_free);
  const size_t n = members_.size();
  if (n > kMaxSharing)
    throw Failure(TDM_ERROR, std::to_string(n) + " ranks on one host are too many to share memory");
  spin_ = std::chrono::microseconds(n <= std::thread::hardware_concurrency() ? 100 : 5);
  bytes_ = kHeadBytes + n * 2 * kSlotBytes;
  auto fail = [&](const std::string& act, const Member& m, const std::string& why = "") {
    const auto what = act + " of rank " + std::to_string(m.rank);
    const auto text = why.empty() ? system_text(what) : what + ": " + why;
    const bool lost = kill(m.pid, 0) != 0 && errno == ESRCH;
    for (int watch : watches_) close(watch);
    throw Failure(lost ? TDM_PEER_LOST : TDM_ERROR, text);
  };
  for (const auto& m : members_) {
    const int watch = open_watch(m.pid);
    if (watch < 0) fail("watch over the process", m);
    watches_.push_back(watch);
  }
  const auto& owner = members_[0];
  int fd = -1;
  try {
    fd = open(owner);
  } catch (const Failure& e) {
    fail("open the shared memory", owner, e.what());
  }
  // All members ask for the same size, whoever comes first.
  void* base = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(bytes_)) == 0)
    base = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    const int error = errno;
    close(fd);
    errno = error;
    fail("map the shared memory", owner);
  }
  base_ = static_cast<uint8_t*>(base);
  fd_ = fd;
  file_bytes_ = bytes_;
}

Shared::~Shared() {
  leave();
  munmap(base_, bytes_);
  close(fd_);
  for (int watch : watches_) close(watch);
}

uint8_t* Shared::slot(size_t member) const {
  return base_ + kHeadBytes + (2 * member + turn_ % 2) * kSlotBytes;
}

Shared::Line& Shared::line(size_t member) const {
  return reinterpret_cast<Line*>(base_)[member];
}

void Shared::leave() {
  left_ = true;
  line(index_).gone.store(1);
  line(index_).wake();
}

// Comes to the next meeting and waits for all others.
void Shared::meet() {
  round_++;
  line(index_).round.store(round_);
  line(index_).wake();
  for (size_t m = 0; m < members_.size(); m++)
    if (m != index_) wait_for(m);
}

// Spins, for a peer that is a moment late, where each has a core; then sleeps,
// for one that is far behind, has no core, hangs or is dead. Giving the core
// up and asking again would put this rank behind everybody else on the host.
void Shared::wait_for(size_t member) {
  auto& peer = line(member);
  const auto since = Clock::now();
  do {
    for (int i = 0; i < 20; i++) {
      if (peer.reached(round_)) return;
      relax();
    }
  } while (Clock::now() - since < spin_);
  const timespec nap{0, 1000000};
  for (;;) {
    peer.sleepers.fetch_add(1);
    const uint32_t seen = peer.round.load();
    if (static_cast<int32_t>(seen - round_) < 0 && !peer.gone.load() && !left_)
      syscall(SYS_futex, reinterpret_cast<uint32_t*>(&peer.round), FUTEX_WAIT, seen, &nap, nullptr,
              0);
    peer.sleepers.fetch_sub(1);
    if (peer.reached(round_)) return;
    look_after(since);
  }
}

// Looks why a meeting does not come about.
void Shared::look_after(Clock::time_point since) {
  if (left_) throw Failure(TDM_ABORTED, "this rank left the process group");
  std::vector<pollfd> list;
  for (int watch : watches_) list.push_back({watch, POLLIN, 0});
  poll(list.data(), list.size(), 0);
  for (size_t m = 0; m < members_.size(); m++) {
    const bool ended = (list[m].revents & POLLIN) != 0;
    // First whether it is gone, then whether it came before it went.
    if ((!ended && !line(m).gone.load()) || line(m).reached(round_)) continue;
    const auto rank = "rank " + std::to_string(members_[m].rank);
    throw Failure(TDM_PEER_LOST,
                  ended ? "the process " + std::to_string(members_[m].pid) + " of " + rank + " ended"
                        : rank + " left the process group");
  }
  if (Clock::now() - since > timeout_)
    throw Failure(TDM_TIMEOUT, "Timed out waiting " + std::to_string(timeout_.count()) +
                                   " ms for the other ranks of this host");
}

void Shared::all_reduce(void* data, size_t n, Element type, const std::function<void()>& put) {
  const size_t element = size_of(type), w = members_.size();
  std::vector<const uint8_t*> parts(w);
  for (size_t done = 0; done < n;) {
    const size_t count = std::min(n - done, kSlotBytes / element);
    auto* out = static_cast<uint8_t*>(data) + done * element;
    std::memcpy(slot(index_), out, count * element);
    if (done == 0 && put) put();
    meet();
    for (size_t m = 0; m < w; m++) parts[m] = slot(m);
    if (w == 2 && type == Element::kFloat) {
      // a + b is b + a, and what is in out already need not be read again.
      add_floats(reinterpret_cast<float*>(out),
                 reinterpret_cast<const float*>(parts[1 - index_]), count);
    } else if (w <= kAllAdd) {
      add(out, parts, 0, count, type);
    } else {
      // Nobody else reads this member's part of its own slot before the next meeting.
      auto begin = [&](size_t m) { return count * m / w; };
      add(out, parts, begin(index_), begin(index_ + 1) - begin(index_), type);
      std::memcpy(slot(index_) + begin(index_) * element, out,
                  (begin(index_ + 1) - begin(index_)) * element);
      meet();
      for (size_t m = 0; m < w; m++)
        std::memcpy(out + begin(m) * element, parts[m] + begin(m) * element,
                    (begin(m + 1) - begin(m)) * element);
    }
    turn_++;
    done += count;
  }
}

void Shared::lay_out(size_t bytes) {
  space_.reset();
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), w = members_.size();
  const size_t each = (bytes + page - 1) / page * page, from = file_bytes_;
  file_bytes_ += each * w;
  void* base = MAP_FAILED;
  if (bytes > 0 && ftruncate(fd_, static_cast<off_t>(file_bytes_)) == 0)
    base = mmap(nullptr, each * w, PROT_READ | PROT_WRITE, MAP_SHARED, fd_,
                static_cast<off_t>(from));
  if (base != MAP_FAILED)
    space_.reset(new Space{static_cast<uint8_t*>(base), each, w});
  // All or none, since all have to go the same way.
  line(index_).short_of.store(space_ ? 0 : 1);
  meet();
  for (size_t m = 0; m < w; m++)
    if (line(m).short_of.load()) space_.reset();
  meet(); // nobody says anything new before all have looked
}

std::shared_ptr<uint8_t> Shared::take(size_t bytes) {
  constexpr size_t line = 64;
  const size_t whole = (bytes + line - 1) / line * line;
  if (!space_ || whole > space_->each - space_->taken) return nullptr;
  auto* at = space_->of(index_) + space_->taken;
  space_->taken += whole;
  return {space_, at};
}

size_t Shared::taken() const { return space_ ? space_->taken : 0; }

bool Shared::in_place(const void* data) const {
  if (!space_) return false;
  auto* at = static_cast<const uint8_t*>(data);
  return at >= space_->of(index_) && at < space_->of(index_) + space_->taken;
}

void Shared::all_reduce_in_place(void* data, size_t n, Element type,
                                 const std::function<void()>& put) {
  const size_t element = size_of(type), w = members_.size();
  const size_t from = static_cast<size_t>(static_cast<uint8_t*>(data) - space_->of(index_));
  if (put) put();
  meet();
  std::vector<uint8_t*> all(w);
  for (size_t m = 0; m < w; m++) all[m] = space_->of(m) + from;
  const std::vector<const uint8_t*> parts(all.begin(), all.end());
  // Each adds up a part, of whole cache lines, and hands it to everyone. Nobody
  // else reads or writes it there before the next meeting.
  constexpr size_t block = kBlockBytes / 8;
  auto begin = [&](size_t m) { return m == w ? n : n * m / w / 16 * 16; };
  alignas(64) uint8_t sum[kBlockBytes];
  for (size_t at = begin(index_); at < begin(index_ + 1); at += block) {
    const size_t count = std::min(block, begin(index_ + 1) - at);
    add(sum, parts, at, count, type);
    for (auto* to : all) std::memcpy(to + at * element, sum, count * element);
  }
  meet();
}

void Shared::broadcast(void* data, size_t bytes, size_t from) {
  for (size_t done = 0; done < bytes;) {
    const size_t count = std::min(bytes - done, kSlotBytes);
    auto* at = static_cast<uint8_t*>(data) + done;
    if (from == index_) std::memcpy(slot(from), at, count);
    meet();
    if (from != index_) std::memcpy(at, slot(from), count);
    turn_++;
    done += count;
  }
}

} // namespace tandem
