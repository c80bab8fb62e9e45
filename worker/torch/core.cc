#include "core.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/frontend/error_report.h>
#include <torch/cuda.h>
#ifdef TANDEM_CUDA
#include <ATen/cuda/CUDAContext.h>
#if __has_include(<nccl.h>)
#include <nccl.h>
#endif
#endif

#include <dlfcn.h>
#include <malloc.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <sstream>

namespace tandem {

tdm_status ok() {
  tdm_status s{};
  return s;
}

tdm_status failure(int32_t code, const std::string& text) {
  tdm_status s{};
  s.code = code;
  std::snprintf(s.text, sizeof s.text, "%s", text.empty() ? "unknown error" : text.c_str());
  return s;
}

std::string plain_message(const std::string& what) {
  // TorchScript puts the cause last, behind a traceback of the model's source.
  std::string text = what;
  const std::string mark = "RuntimeError: ";
  auto at = text.rfind(mark);
  if (at != std::string::npos) text = text.substr(at + mark.size());
  // The first line that says something; one may be empty, or only announce the next.
  std::string said;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line) && (said.empty() || said.back() == ':');)
    if (line.find_first_not_of(" \t\r") != std::string::npos) said += (said.empty() ? "" : " ") + line;
  return said;
}

namespace {
// compile_message says why code does not compile, and where: no address of libtorch's objects, and the place also where it is not in the
// line that says what is wrong.
std::string compile_message(const std::string& text) {
  std::string said = plain_message(text);
  const std::string unit = " (of Python compilation unit at:", place = "File \"code/";
  for (size_t at; (at = said.find(unit)) != std::string::npos;) {
    const auto end = said.find(')', at);
    said.erase(at, end == std::string::npos ? end : end + 1 - at);
  }
  const auto at = text.rfind(place);
  if (at != std::string::npos && said.find(place) == std::string::npos) said += " " + text.substr(at, text.find('\n', at) - at);
  return "its code does not compile: " + said;
}
}  // namespace

tdm_status caught(tdm_code fallback) {
  try {
    throw;
  } catch (const Failure& e) {
    return failure(e.code, e.what());
  } catch (const torch::jit::ErrorReport& e) {
    return failure(TDM_MODEL, compile_message(e.what()));
  } catch (const c10::Error& e) {
    return failure(fallback, plain_message(e.what_without_backtrace()));
  } catch (const std::exception& e) {
    return failure(fallback, plain_message(e.what()));
  } catch (...) {
    return failure(fallback, "an exception of unknown type");
  }
}

std::string shape_text(at::IntArrayRef shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); i++) {
    if (i) s += ", ";
    s += std::to_string(shape[i]);
  }
  return s + "]";
}

namespace {
const std::map<std::string, at::ScalarType>& dtypes() {
  static const std::map<std::string, at::ScalarType> table = {
      {"F64", at::kDouble},   {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16},
      {"I64", at::kLong},     {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar},
      {"U8", at::kByte},      {"BOOL", at::kBool}};
  return table;
}
} // namespace

const char* dtype_name(at::ScalarType type) {
  for (const auto& entry : dtypes())
    if (entry.second == type) return entry.first.c_str();
  throw Failure(TDM_STATE, std::string("tensors of type ") + at::toString(type) +
                               " cannot be saved");
}

at::ScalarType dtype_of(const std::string& name) {
  auto it = dtypes().find(name);
  if (it == dtypes().end()) throw Failure(TDM_STATE, "unknown tensor type " + name);
  return it->second;
}

void load_strict(const NamedTensors& into, const NamedTensors& from) {
  std::map<std::string, at::Tensor> given;
  for (const auto& t : from)
    if (!given.emplace(t.first, t.second).second)
      throw Failure(TDM_STATE, t.first + " is given twice");
  for (const auto& t : into) {
    auto it = given.find(t.first);
    if (it == given.end()) throw Failure(TDM_STATE, t.first + " is missing");
    const auto& g = it->second;
    if (g.scalar_type() != t.second.scalar_type())
      throw Failure(TDM_STATE, t.first + " is " + dtype_name(g.scalar_type()) + ", expected " +
                                   dtype_name(t.second.scalar_type()));
    if (g.sizes() != t.second.sizes())
      throw Failure(TDM_STATE, t.first + " has shape " + shape_text(g.sizes()) + ", expected " +
                                   shape_text(t.second.sizes()));
  }
  if (from.size() != into.size()) {
    std::map<std::string, int> wanted;
    for (const auto& t : into) wanted[t.first] = 1;
    for (const auto& t : from)
      if (!wanted.count(t.first)) throw Failure(TDM_STATE, t.first + " is not known here");
  }
  c10::NoGradGuard no_grad;
  for (const auto& t : into) t.second.detach().copy_(given[t.first]);
}

} // namespace tandem

using namespace tandem;

tdm_tensors* tdm_tensors_new(void) { return new tdm_tensors; }
void tdm_tensors_free(tdm_tensors* list) { delete list; }
size_t tdm_tensors_len(const tdm_tensors* list) { return list->list.size(); }

tdm_tensor_view tdm_tensors_at(const tdm_tensors* list, size_t i) {
  const auto& entry = list->list[i];
  const auto& t = entry.second;
  tdm_tensor_view v{};
  v.name = entry.first.c_str();
  v.dtype = dtype_name(t.scalar_type());
  v.shape = t.sizes().data();
  v.dims = static_cast<int32_t>(t.dim());
  v.data = static_cast<const uint8_t*>(t.data_ptr());
  v.bytes = t.nbytes();
  return v;
}

tdm_status tdm_tensors_add(tdm_tensors* list, const char* name, const char* dtype,
                           const int64_t* shape, int32_t dims, const void* data, size_t bytes) {
  return guarded([&] {
    at::IntArrayRef sizes(shape, dims);
    for (auto d : sizes)
      if (d < 0) throw Failure(TDM_STATE, std::string(name) + " has a negative size");
    auto t = at::empty(sizes, at::TensorOptions().dtype(dtype_of(dtype)));
    if (t.nbytes() != bytes)
      throw Failure(TDM_STATE, std::string(name) + " has " + std::to_string(bytes) +
                                   " bytes, shape " + shape_text(sizes) + " of " + dtype +
                                   " needs " + std::to_string(t.nbytes()));
    if (bytes) std::memcpy(t.data_ptr(), data, bytes);
    list->list.emplace_back(name, std::move(t));
  });
}

tdm_status tdm_init(int32_t threads, int32_t deterministic) {
  return guarded([&] {
    // What a model prints reaches the log line by line, however the process ends.
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
    // glibc returns large blocks to the kernel and faults them in again at
    // every step: keeping them saves 7 to 20 %.
    mallopt(M_MMAP_THRESHOLD, 32 << 20); // glibc takes no more
    mallopt(M_TRIM_THRESHOLD, -1);
    mallopt(M_TOP_PAD, 64 << 20);
    // Debian's torch logs through glog, which nobody has initialised here; it
    // reads its environment when it is loaded, so the flag itself is set.
    if (auto* level = static_cast<int32_t*>(dlsym(RTLD_DEFAULT, "_ZN3fLI18FLAGS_minloglevelE")))
      *level = 2;
    if (threads > 0) {
      at::set_num_threads(threads);
      // torch leaves a BLAS other than MKL at one thread per core.
      auto* blas = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
      if (blas) blas(threads);
    }
    at::globalContext().setDeterministicAlgorithms(deterministic != 0, /*warn_only=*/true);
    at::globalContext().setDeterministicCuDNN(deterministic != 0);
    at::globalContext().setBenchmarkCuDNN(deterministic == 0);
  });
}

tdm_build tdm_build_info(void) {
  tdm_build b{};
  std::snprintf(b.version, sizeof b.version, "%s", TORCH_VERSION);
#ifdef TANDEM_CUDA
  b.cuda = 1;
#ifdef NCCL_VERSION_CODE
  b.nccl_version = NCCL_VERSION_CODE;
#endif
#endif
#if __has_include(<gloo/context.h>)
  b.gloo = 1;
#endif
  return b;
}

tdm_status tdm_device_count(int32_t* count) {
  return guarded([&] { *count = static_cast<int32_t>(torch::cuda::device_count()); });
}

tdm_status tdm_device_get(int32_t index, tdm_device_info* out) {
  return guarded(
      [&] {
        *out = tdm_device_info{};
#ifdef TANDEM_CUDA
        auto* p = at::cuda::getDeviceProperties(index);
        std::snprintf(out->name, sizeof out->name, "%s", p->name);
        out->memory_bytes = static_cast<int64_t>(p->totalGlobalMem);
        out->major = p->major;
        out->minor = p->minor;
#else
        throw Failure(TDM_DEVICE, "cuda:" + std::to_string(index) +
                                      " cannot be used: this libtorch has no CUDA");
#endif
      },
      TDM_DEVICE);
}

tdm_status tdm_matmul_seconds(int32_t n, double* seconds) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto a = at::ones({n, n}), b = at::ones({n, n});
    *seconds = 1e9;
    for (int i = 0; i < 3; i++) {
      auto start = std::chrono::steady_clock::now();
      auto c = at::mm(a, b);
      std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      *seconds = std::min(*seconds, took.count());
    }
  });
}

tdm_status tdm_tensor_from_f32(const float* data, const int64_t* shape, int32_t dims,
                               tdm_device device, tdm_tensor* out) {
  return guarded([&] {
    auto t = at::empty(at::IntArrayRef(shape, dims), at::TensorOptions().dtype(at::kFloat));
    if (t.nbytes()) std::memcpy(t.data_ptr(), data, t.nbytes());
    if (device >= 0) t = t.to(device_of(device));
    *out = new at::Tensor(std::move(t));
  });
}

void tdm_tensor_free(tdm_tensor t) { delete static_cast<at::Tensor*>(t); }

tdm_status tdm_tensor_to_host(tdm_tensor t, tdm_tensors** out) {
  return guarded([&] {
    auto list = std::make_unique<tdm_tensors>();
    list->add("", *static_cast<at::Tensor*>(t));
    dtype_name(list->list[0].second.scalar_type());
    *out = list.release();
  });
}
