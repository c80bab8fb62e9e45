// Walks the code of a TorchScript file before anything of it runs: loading a file runs its
// __setstate__ methods, so the look comes before the load.
#include "module.h"

#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/frontend/source_range.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/operator.h>
#include <torch/csrc/jit/serialization/import_read.h>
#include <torch/csrc/jit/serialization/import_source.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <set>
#include <sstream>
#include <unordered_set>

using namespace tandem;
namespace jit = torch::jit;
using caffe2::serialize::PyTorchStreamReader;

namespace {

// The bytes of a file that somebody else owns.
class Bytes : public caffe2::serialize::ReadAdapterInterface {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  size_t size() const override { return size_; }
  size_t read(uint64_t pos, void* buf, size_t n, const char*) const override {
    if (pos >= size_) return 0;
    n = std::min(n, size_ - static_cast<size_t>(pos));
    std::memcpy(buf, data_ + pos, n);
    return n;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

std::unordered_set<std::string> lines_of(const char* text) {
  std::unordered_set<std::string> all;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) all.insert(line);
  return all;
}

// Refuses what is not on the list.
class Auditor {
 public:
  explicit Auditor(std::unordered_set<std::string> allowed) : allowed_(std::move(allowed)) {}

  void function(jit::Function& f) {
    if (!f.isGraphFunction()) // code of a library, not of the file
      throw Failure(TDM_OPERATOR, f.qualname().qualifiedName() + "\na function of a C++ library");
    where_ = f.qualname().qualifiedName();
    f.ensure_defined();
    graph(*jit::toGraphFunction(f).graph());
  }

  // Of the attributes of a class: an object of a C++ library runs code of that library when it is loaded.
  void type(const std::string& where, const c10::TypePtr& t) {
    where_ = where;
    type(t);
  }

 private:
  void graph(const jit::Graph& g) {
    for (const auto* v : g.inputs()) type(v->type());
    block(*g.block());
  }

  void block(const jit::Block& b) {
    for (const auto* n : b.nodes()) node(*n);
  }

  void node(const jit::Node& n) {
    const std::string kind = n.kind().toQualString();
    if (!allowed_.count(kind)) throw Failure(TDM_OPERATOR, kind + "\n" + where_);
    for (const auto* v : n.outputs()) type(v->type());
    for (const auto* b : n.blocks()) block(*b);
    for (auto name : n.attributeNames()) {
      if (n.kindOf(name) == jit::AttributeKind::g) graph(*n.g(name));
      if (n.kindOf(name) == jit::AttributeKind::gs)
        for (const auto& g : n.gs(name)) graph(*g);
    }
  }

  void type(const c10::TypePtr& t) {
    if (!seen_.insert(t.get()).second) return;
    kept_.push_back(t); // so that no other type gets its address
    if (const auto* named = t->castRaw<c10::ClassType>()) {
      if (!named->name()) return;
      const std::string name = named->name()->qualifiedName();
      if (name.rfind("__torch__.torch.classes.", 0) == 0)
        throw Failure(TDM_OPERATOR, "the class " + name + "\n" + where_);
      return;
    }
    for (const auto& inner : t->containedTypes()) type(inner);
  }

  const std::unordered_set<std::string> allowed_;
  std::set<const c10::Type*> seen_;
  std::vector<c10::TypePtr> kept_;
  std::string where_;
};

std::string text_of(PyTorchStreamReader& reader, const std::string& name) {
  auto record = reader.getRecord(name);
  return std::string(static_cast<const char*>(std::get<0>(record).get()), std::get<1>(record));
}

// "code/__torch__/a/b.py" holds what is named "__torch__.a.b.".
std::string file_of(std::string qualifier) {
  std::replace(qualifier.begin(), qualifier.end(), '.', '/');
  return "code/" + qualifier + ".py";
}

// The names of the classes that a source defines: each begins a line.
std::vector<std::string> classes_of(const std::string& text) {
  std::vector<std::string> names;
  for (size_t line = 0; line < text.size(); line = text.find('\n', line) + 1) {
    if (text.compare(line, 5, "class") == 0) {
      // A backslash goes on in the next line.
      const auto begin = text.find_first_not_of(" \t\r\n\\", line + 5);
      auto end = begin;
      while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_'))
        end++;
      if (begin != std::string::npos && begin > line + 5 && end > begin) names.push_back(text.substr(begin, end - begin));
    }
    if (text.find('\n', line) == std::string::npos) break;
  }
  return names;
}

void audit(const uint8_t* data, size_t bytes, const char* allowed) {
  PyTorchStreamReader reader(
      std::unique_ptr<caffe2::serialize::ReadAdapterInterface>(new Bytes(data, bytes)));
  // Constants are numbers, texts and tensors: there is nobody here to make an object.
  std::vector<at::IValue> constants;
  auto table = jit::readArchiveAndTensors("constants", "", "", {}, {}, c10::Device(c10::kCPU), reader)
                   .toTuple();
  for (const auto& value : table->elements()) constants.push_back(value);

  auto unit = std::make_shared<jit::CompilationUnit>();
  jit::SourceImporter importer(
      unit, &constants,
      [&](const std::string& qualifier) -> std::shared_ptr<jit::Source> {
        const auto name = file_of(qualifier);
        if (!reader.hasRecord(name)) return nullptr;
        return std::make_shared<jit::Source>(text_of(reader, name), name, 1);
      },
      reader.version());
  Auditor auditor(lines_of(allowed));
  for (const auto& name : reader.getAllRecords()) {
    if (name.rfind("code/", 0) != 0 || name.size() < 8 || name.substr(name.size() - 3) != ".py")
      continue;
    std::string qualifier = name.substr(5, name.size() - 8);
    std::replace(qualifier.begin(), qualifier.end(), '/', '.');
    for (const auto& class_name : classes_of(text_of(reader, name))) {
      const auto loaded = importer.loadType(c10::QualifiedName(qualifier + "." + class_name));
      if (const auto* c = loaded ? loaded->castRaw<c10::ClassType>() : nullptr)
        for (const auto& t : c->containedTypes()) auditor.type(qualifier, t);
    }
  }
  for (auto* f : unit->get_functions()) auditor.function(*f);
}

} // namespace

tdm_status tdm_module_audit(const uint8_t* data, size_t bytes, const char* allowed) {
  return guarded([&] { audit(data, bytes, allowed); }, TDM_NOT_TORCHSCRIPT);
}

tdm_status tdm_operators(uint8_t** data, size_t* bytes) {
  return guarded([&] {
    std::set<std::string> names;
    for (const auto& op : jit::getAllOperators()) names.insert(op->schema().name());
    std::string all;
    for (const auto& name : names) all += name + "\n";
    *data = static_cast<uint8_t*>(std::malloc(all.size()));
    if (!*data) throw std::bad_alloc();
    std::memcpy(*data, all.data(), all.size());
    *bytes = all.size();
  });
}
