#include "native/binding/table-binding.h"

#include <memory>

#include "native/binding/arguments.h"
#include "native/table/classify.h"
#include "native/table/table-slot.h"
#include "native/table/table-view.h"

namespace sluice {
namespace {

// A table that answers questions outside the packet path: the NativeTable of
// src/dataplane/addon.ts.
class TableBinding : public Napi::ObjectWrap<TableBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeTable",
                       {InstanceMethod<&TableBinding::classify>("classify"),
                        InstanceMethod<&TableBinding::audit>("audit"),
                        InstanceMethod<&TableBinding::locate>("locate")});
  }

  explicit TableBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TableBinding>(info) {
    const auto blob = bytesOf(info[0], "blob");
    if (info.Env().IsExceptionPending()) return;
    Status status = TableBytes::copy(std::as_bytes(blob), &bytes_);
    if (status.ok()) status = TableView::open(bytes_.span(), &view_);
    if (!status.ok()) throwStatus(info.Env(), status);
  }

 private:
  // The tuples of info[0], after checking that info[1] holds `perTuple` results for each.
  template <typename Element>
  std::span<const FlowTuple> tuplesOf(const Napi::CallbackInfo& info, std::span<Element> results,
                                      size_t perTuple) {
    const auto bytes = bytesOf(info[0], "tuples");
    if (info.Env().IsExceptionPending()) return {};
    const size_t count = bytes.size() / sizeof(FlowTuple);
    const bool aligned = reinterpret_cast<uintptr_t>(bytes.data()) % alignof(FlowTuple) == 0;
    if (bytes.size() % sizeof(FlowTuple) != 0 || results.size() != count * perTuple || !aligned) {
      Napi::RangeError::New(info.Env(), "tuples and results do not fit each other")
          .ThrowAsJavaScriptException();
      return {};
    }
    return {reinterpret_cast<const FlowTuple*>(bytes.data()), count};
  }

  void classify(const Napi::CallbackInfo& info) {
    const auto verdicts = bytesOf(info[1], "verdicts");
    if (info.Env().IsExceptionPending()) return;
    sluice::classify(view_, tuplesOf(info, verdicts, 1), verdicts.data());
  }

  void audit(const Napi::CallbackInfo& info) {
    const auto verdicts = bytesOf(info[1], "verdicts");
    if (info.Env().IsExceptionPending()) return;
    sluice::audit(view_, tuplesOf(info, verdicts, 1), verdicts.data());
  }

  void locate(const Napi::CallbackInfo& info) {
    const auto leaves = wordsOf(info[1], "leaves");
    if (info.Env().IsExceptionPending()) return;
    size_t index = 0;
    for (const FlowTuple& tuple : tuplesOf(info, leaves, 2)) {
      leaves[index++] = view_.leafOf(tuple.source, tuple.family);
      leaves[index++] = view_.leafOf(tuple.destination, tuple.family);
    }
  }

  TableBytes bytes_;
  TableView view_;
};

}  // namespace

void defineTable(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeTable", TableBinding::define(env));
}

}  // namespace sluice
