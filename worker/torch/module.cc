#include "module.h"

#include <map>
#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/serialization/export.h>

#include <sstream>

using namespace tandem;
using torch::jit::Module;

struct tdm_unit {
  std::shared_ptr<torch::jit::CompilationUnit> unit =
      std::make_shared<torch::jit::CompilationUnit>();
};

namespace tandem {

NamedTensors parameters_of(const Module& m) {
  NamedTensors list;
  for (const auto& p : m.named_parameters()) list.emplace_back(p.name, p.value);
  return list;
}

NamedTensors buffers_of(const Module& m) {
  NamedTensors list;
  for (const auto& b : m.named_buffers()) list.emplace_back(b.name, b.value);
  return list;
}

void set_training(Module& m, bool on) {
  for (auto sub : m.modules())
    if (!sub.hasattr("training"))
      throw Failure(TDM_MODEL,
                    "the model cannot switch between training and evaluation (frozen, or saved "
                    "without its `training` attribute): save it with torch.jit.script(model), "
                    "not torch.jit.freeze");
  m.train(on);
}

at::Tensor forward(Module& m, const at::Tensor& x) {
  PlainExecutor plain;
  return as(TDM_MODEL, [&] {
    auto out = m.forward({x});
    if (!out.isTensor())
      throw Failure(TDM_SHAPE, "the model returned a " + out.tagKind() +
                                   ", it has to return one tensor");
    return out.toTensor();
  });
}

} // namespace tandem

tdm_unit* tdm_unit_new(void) { return new tdm_unit; }
void tdm_unit_free(tdm_unit* unit) { delete unit; }

tdm_status tdm_module_new(tdm_unit* unit, const char* name, tdm_module* out) {
  return guarded([&] {
    auto m = std::make_unique<Module>(c10::QualifiedName(std::string("__torch__.") + name),
                                      unit->unit, /*shouldMangle=*/true);
    m->register_attribute("training", c10::BoolType::get(), true);
    *out = m.release();
  });
}

void tdm_module_free(tdm_module m) { delete static_cast<Module*>(m); }

tdm_status tdm_module_add_tensor(tdm_module m, const char* name, const int64_t* shape,
                                 int32_t dims, const float* data, int32_t is_buffer,
                                 int32_t is_integer) {
  return guarded([&] {
    auto t = at::empty(at::IntArrayRef(shape, dims), at::TensorOptions().dtype(at::kFloat));
    if (t.nbytes()) std::memcpy(t.data_ptr(), data, t.nbytes());
    if (is_integer) t = t.to(at::kLong);
    if (!is_buffer) t.requires_grad_(true);
    as_module(m).register_parameter(name, t, is_buffer != 0);
  });
}

tdm_status tdm_module_add_child(tdm_module m, const char* name, tdm_module child) {
  return guarded([&] { as_module(m).register_module(name, as_module(child)); });
}

tdm_status tdm_module_define(tdm_module m, const char* source) {
  return guarded([&] { as_module(m).define(source); }, TDM_MODEL);
}

tdm_status tdm_module_check(tdm_module m, uint64_t bytes, const char* allowed) {
  return guarded(
      [&] {
        if (!as_module(m).find_method("forward"))
          throw Failure(TDM_NOT_TORCHSCRIPT, "the module has no forward method");
        audit_unit(as_module(m), allowed);
        // A tensor with strides of 0 shows a few bytes as many, which its copies then have.
        uint64_t total = 0;
        std::map<const void*, std::string> first;  // the name of the first tensor of each storage
        size_t shared = 0;
        std::string pair;
        for (const auto& list : {parameters_of(as_module(m)), buffers_of(as_module(m))})
          for (const auto& t : list) {
            const uint64_t shown = static_cast<uint64_t>(t.second.numel()) * t.second.element_size();
            if (t.second.has_storage() && shown > t.second.storage().nbytes())
              throw Failure(TDM_NOT_TORCHSCRIPT, "the tensor " + t.first + " has more elements than are stored: call contiguous() on it before you save");
            total += shown;
            if (!t.second.has_storage()) continue;
            const auto at = first.emplace(t.second.storage().unsafeGetStorageImpl(), t.first);
            if (at.second) continue;
            shared++;
            if (pair.empty()) pair = at.first->second + " and " + t.first;
          }
        // Each was found to lie within what is stored, so only tensors that share can come to that.
        if (total / 4 > bytes)
          throw Failure(TDM_NOT_TORCHSCRIPT, "counted one by one its parameters and buffers have " + std::to_string(total) +
                            " bytes, more than four times the file: " + std::to_string(shared) +
                            " of them show bytes that another one has too, such as " + pair +
                            "; give each its own with clone(), or register it once and use it from there");
      },
      TDM_NOT_TORCHSCRIPT);
}

tdm_status tdm_module_to(tdm_module m, tdm_device device) {
  return guarded([&] { as_module(m).to(device_of(device)); }, TDM_DEVICE);
}

tdm_status tdm_module_double(tdm_module m) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    for (const auto& list : {parameters_of(as_module(m)), buffers_of(as_module(m))})
      for (const auto& t : list)
        if (t.second.is_floating_point()) t.second.set_data(t.second.to(at::kDouble));
  });
}

tdm_status tdm_module_train(tdm_module m, int32_t on) {
  return guarded([&] { set_training(as_module(m), on != 0); }, TDM_MODEL);
}

tdm_status tdm_module_save(tdm_module m, uint8_t** data, size_t* bytes) {
  return guarded([&] {
    std::ostringstream out;
    as_module(m).save(out);
    std::string s = out.str();
    *data = static_cast<uint8_t*>(std::malloc(s.size()));
    if (!*data) throw std::bad_alloc();
    std::memcpy(*data, s.data(), s.size());
    *bytes = s.size();
  });
}

void tdm_bytes_free(uint8_t* data) { std::free(data); }

tdm_status tdm_module_tensors(tdm_module m, int32_t kind, tdm_tensors** out) {
  return guarded([&] {
    auto list = std::make_unique<tdm_tensors>();
    if (kind != 1)
      for (const auto& p : parameters_of(as_module(m))) list->add(p.first, p.second);
    if (kind != 0)
      for (const auto& b : buffers_of(as_module(m))) list->add(b.first, b.second);
    for (const auto& t : list->list) dtype_name(t.second.scalar_type());
    *out = list.release();
  });
}

tdm_status tdm_module_load(tdm_module m, const tdm_tensors* list) {
  return guarded([&] {
    auto into = parameters_of(as_module(m));
    for (auto& b : buffers_of(as_module(m))) into.push_back(b);
    load_strict(into, list->list);
  });
}

tdm_status tdm_module_forward(tdm_module m, tdm_tensor in, tdm_tensor* out) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    const auto& x = *static_cast<at::Tensor*>(in);
    c10::OptionalDeviceGuard device(x.device());
    *out = new at::Tensor(forward(as_module(m), x));
  });
}
