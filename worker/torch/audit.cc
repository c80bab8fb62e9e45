// Makes what loading a TorchScript file makes, without running any of it, and walks its code and its objects: loading a file runs its
// __setstate__ methods, so the look comes before the load.
#include "module.h"

#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/frontend/source_range.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/operator.h>
#include <torch/csrc/jit/serialization/import_source.h>
#include <torch/csrc/jit/serialization/unpickler.h>

#include <algorithm>
#include <memory>
#include <set>
#include <sstream>
#include <unordered_map>
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

  // All that was compiled. Looking at a function may compile others.
  void functions(jit::CompilationUnit& unit) {
    for (size_t done = 0;;) {
      const auto all = unit.get_functions();
      if (done == all.size()) return;
      for (; done < all.size(); done++) function(*all[done]);
    }
  }

  // Of an object: one of a C++ library runs code of that library when it is loaded.
  void type(const std::string& where, const c10::TypePtr& t) {
    where_ = where;
    type(t);
  }

 private:
  void function(jit::Function& f) {
    if (!f.isGraphFunction()) // code of a library, not of the file
      throw Failure(TDM_OPERATOR, f.qualname().qualifiedName() + "\na function of a C++ library");
    where_ = f.qualname().qualifiedName();
    f.ensure_defined();
    graph(*jit::toGraphFunction(f).graph());
  }

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
    if (n.kind() == c10::prim::unchecked_cast) cast(n.input()->type(), n.output()->type());
    for (const auto* v : n.outputs()) type(v->type());
    for (const auto* b : n.blocks()) block(*b);
    for (auto name : n.attributeNames()) {
      if (n.kindOf(name) == jit::AttributeKind::g) graph(*n.g(name));
      if (n.kindOf(name) == jit::AttributeKind::gs)
        for (const auto& g : n.gs(name)) graph(*g);
    }
  }

  // A cast that nothing checks may take None away. To a type with a class or a tuple in it, it may do nothing else: libtorch takes the
  // attributes of an object and the parts of a tuple by number, without a look at how many there are.
  void cast(const c10::TypePtr& from, const c10::TypePtr& to) {
    if (!numbered(*to)) return;
    const bool choice = from->kind() == c10::TypeKind::OptionalType || from->kind() == c10::TypeKind::UnionType;
    const std::vector<c10::TypePtr> one{from};
    for (const auto& t : choice ? from->containedTypes().vec() : one)
      if (t->kind() != c10::TypeKind::NoneType && !t->isSubtypeOf(*to))
        throw Failure(TDM_OPERATOR, "prim::unchecked_cast from " + t->annotation_str() + " to " + to->annotation_str() + "\n" + where_);
  }

  static bool numbered(const c10::Type& t) {
    if (t.kind() == c10::TypeKind::ClassType || t.kind() == c10::TypeKind::InterfaceType || t.kind() == c10::TypeKind::TupleType) return true;
    for (const auto& inner : t.containedTypes())
      if (numbered(*inner)) return true;
    return false;
  }

  void type(const c10::TypePtr& root) {
    for (std::vector<c10::TypePtr> todo{root}; !todo.empty();) { // classes of classes may be any number deep
      const auto t = std::move(todo.back());
      todo.pop_back();
      if (!seen_.insert(t.get()).second) continue;
      kept_.push_back(t); // so that no other type gets its address
      const auto* named = t->castRaw<c10::ClassType>();
      if (named && named->name() && named->name()->qualifiedName().rfind("__torch__.torch.classes.", 0) == 0)
        throw Failure(TDM_OPERATOR, "the class " + named->name()->qualifiedName() + "\n" + where_);
      for (const auto& inner : t->containedTypes()) todo.push_back(inner);
    }
  }

  const std::unordered_set<std::string> allowed_;
  std::set<const c10::Type*> seen_;
  std::vector<c10::TypePtr> kept_;
  std::string where_;
};

// What a pickle of a file is made of, by libtorch's own Unpickler, without running any code of the file.
class Objects {
 public:
  Objects(PyTorchStreamReader& reader, jit::TypeResolver resolve) : reader_(reader), resolve_(std::move(resolve)) {}

  // name is "data" or "constants"; text is what was looked at already.
  at::IValue read(const std::string& name, tdm_view text) {
    auto found = reader_.getRecord(name + ".pkl");
    if (std::get<1>(found) != text.bytes || std::memcmp(std::get<0>(found).get(), text.data, text.bytes) != 0)
      throw Failure(TDM_NOT_TORCHSCRIPT, "the directory of the archive says one thing here and another there");
    size_t at = 0;
    jit::Unpickler unpickler(
        [&](char* to, size_t n) {
          n = std::min(n, text.bytes - at);
          std::memcpy(to, text.data + at, n);
          at += n;
          return n;
        },
        resolve_,
        [&](const at::StrongTypePtr& type, at::IValue state) { return object(type, std::move(state)); },
        [&](const std::string& key) {
          auto record = reader_.getRecord(name + "/" + key);
          sizes_[std::get<0>(record).get()] = std::get<1>(record);
          return std::move(std::get<0>(record));
        },
        c10::Device(c10::kCPU));
    unpickler.set_version(3); // the types of what is in containers are none of this one's business
    auto value = unpickler.parse_ivalue();
    look(value);
    for (const auto& state : states_) look(state);
    return value;
  }

 private:
  // The attributes of an object; where its __setstate__ would make them, what that would get is kept beside it.
  c10::intrusive_ptr<c10::ivalue::Object> object(const at::StrongTypePtr& type, at::IValue state) {
    auto cls = type.type_->cast<c10::ClassType>();
    if (!cls) throw Failure(TDM_NOT_TORCHSCRIPT, "it has an object of what is not a class");
    auto made = c10::ivalue::Object::create(type, cls->numAttributes());
    const auto* set = cls->findMethod("__setstate__");
    if (set && cls->findMethod("__getstate__")) {
      if (set->getSchema().arguments().size() == 2) fit(state, set->getSchema().arguments()[1].type(), "__setstate__");
      states_.push_back(state);
      return made;
    }
    const auto values = state.toGenericDict();
    for (size_t i = 0; i < cls->numAttributes(); i++) {
      const auto& name = cls->getAttributeName(i);
      const auto value = values.at(name);
      fit(value, cls->getAttribute(i), name);
      made->setSlot(i, value);
    }
    return made;
  }

  // Refuses an object in the place of one of another class: libtorch takes the attributes of an object by their numbers, without a look at how
  // many it has.
  static void fit(const at::IValue& v, const c10::TypePtr& want, const std::string& where) {
    const auto wrong = [&] {
      throw Failure(TDM_NOT_TORCHSCRIPT, "the attribute " + where + " is not of its type, " + want->str());
    };
    switch (want->kind()) {
      case c10::TypeKind::ClassType:
        if (!v.isObject() || *v.toObjectRef().type() != *want) wrong();
        break;
      case c10::TypeKind::InterfaceType:
        if (!v.isObject() || !v.toObjectRef().type()->isSubtypeOf(*want)) wrong();
        break;
      case c10::TypeKind::OptionalType:
        if (!v.isNone()) fit(v, want->containedTypes().at(0), where);
        break;
      case c10::TypeKind::TupleType: {
        const auto& types = want->containedTypes();
        if (!v.isTuple() || v.toTupleRef().elements().size() != types.size()) wrong();
        for (size_t i = 0; i < types.size(); i++) fit(v.toTupleRef().elements()[i], types[i], where);
        break;
      }
      case c10::TypeKind::ListType:
        if (!v.isList()) wrong();
        for (const at::IValue& element : v.toListRef()) fit(element, want->containedTypes().at(0), where);
        break;
      case c10::TypeKind::DictType:
        if (!v.isGenericDict()) wrong();
        for (const auto& entry : v.toGenericDict()) {
          fit(entry.key(), want->containedTypes().at(0), where);
          fit(entry.value(), want->containedTypes().at(1), where);
        }
        break;
      default: // what is read of it is looked at when it is read
        break;
    }
  }

  // Every tensor lies in the bytes that the file has for it. The storage believes what the pickle says of them.
  void look(const at::IValue& root) {
    std::vector<at::IValue> todo{root};
    std::unordered_set<const void*> seen;
    while (!todo.empty()) {
      const auto v = std::move(todo.back());
      todo.pop_back();
      if (v.isTensor()) {
        look(v.toTensor());
        continue;
      }
      if (!v.isPtrType() || !seen.insert(v.internalToPointer()).second) continue;
      if (v.isTuple()) {
        for (const auto& e : v.toTupleRef().elements()) todo.push_back(e);
      } else if (v.isList()) {
        for (const at::IValue& e : v.toListRef()) todo.push_back(e);
      } else if (v.isGenericDict()) {
        for (const auto& e : v.toGenericDict()) {
          todo.push_back(e.key());
          todo.push_back(e.value());
        }
      } else if (v.isObject()) {
        for (const auto& e : v.toObjectRef().slots()) todo.push_back(e);
      }
    }
  }

  void look(const at::Tensor& t) {
    if (!t.defined() || !t.has_storage()) return;
    const auto stored = sizes_.find(t.storage().data_ptr().get());
    if (t.storage().nbytes() > (stored == sizes_.end() ? 0 : stored->second))
      throw Failure(TDM_NOT_TORCHSCRIPT, "a tensor has storage for " + std::to_string(t.storage().nbytes()) + " bytes, while the file has " +
                                             std::to_string(stored == sizes_.end() ? 0 : stored->second) + " of it");
    lies_in_its_storage(t, "a tensor");
  }

  PyTorchStreamReader& reader_;
  const jit::TypeResolver resolve_;
  std::unordered_map<const void*, size_t> sizes_; // of records, by where they were read to
  std::vector<at::IValue> states_;
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

// Compiles what loading the file compiles: the classes of its objects, and all that these use.
void audit(tdm_view file, tdm_view data, tdm_view pickled_constants, const char* allowed) {
  PyTorchStreamReader reader(
      std::unique_ptr<caffe2::serialize::ReadAdapterInterface>(new Bytes(file.data, file.bytes)));
  std::vector<at::IValue> constants;
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
  Objects objects(reader, [&](const c10::QualifiedName& name) {
    auto type = importer.loadType(name);
    auditor.type(name.qualifiedName(), type);
    return c10::StrongTypePtr(unit, type);
  });
  const auto table = objects.read("constants", pickled_constants).toTuple();
  for (const auto& value : table->elements()) constants.push_back(value);
  const auto root = objects.read("data", data);
  auditor.functions(*unit);
}

} // namespace

namespace tandem {

void lies_in_its_storage(const at::Tensor& t, const std::string& name) {
  if (t.numel() == 0) return;
  int64_t last = t.storage_offset();
  for (int64_t i = 0; i < t.dim(); i++) {
    int64_t by = 0;
    if (t.stride(i) < 0 || __builtin_mul_overflow(t.size(i) - 1, t.stride(i), &by) || __builtin_add_overflow(last, by, &last))
      throw Failure(TDM_NOT_TORCHSCRIPT, name + " has negative strides, or is too large to be counted");
  }
  if (t.storage_offset() < 0 || static_cast<uint64_t>(last) >= t.storage().nbytes() / t.element_size())
    throw Failure(TDM_NOT_TORCHSCRIPT, name + " shows what is outside of its storage");
}

void audit_unit(const jit::Module& m, const char* allowed) { Auditor(lines_of(allowed)).functions(*m._ivalue()->compilation_unit()); }

} // namespace tandem

tdm_status tdm_module_audit(tdm_view file, tdm_view data, tdm_view constants, const char* allowed) {
  return guarded([&] { audit(file, data, constants, allowed); }, TDM_NOT_TORCHSCRIPT);
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
