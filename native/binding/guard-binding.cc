#include "native/binding/guard-binding.h"

#include <cstring>
#include <memory>
#include <vector>

#include "native/attach/source-guards.h"
#include "native/binding/arguments.h"

namespace sluice {
namespace {

// The NativeSourceGuards of src/dataplane/addon.ts.
class GuardBinding : public Napi::ObjectWrap<GuardBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeSourceGuards",
                       {InstanceMethod<&GuardBinding::guard>("guard"),
                        InstanceMethod<&GuardBinding::unguard>("unguard"),
                        InstanceMethod<&GuardBinding::list>("list")});
  }

  explicit GuardBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<GuardBinding>(info) {
    throwUnless(info, SourceGuards::open(textOf(info[0]), &guards_));
  }

 private:
  void guard(const Napi::CallbackInfo& info) {
    const auto* const own = recordOf<GuardedInterface>(info[1], "GuardedInterface");
    if (own != nullptr) throwUnless(info, guards_->guard(wordOf(info[0]), *own));
  }

  void unguard(const Napi::CallbackInfo& info) {
    throwUnless(info, guards_->unguard(wordOf(info[0])));
  }

  Napi::Value list(const Napi::CallbackInfo& info) {
    std::vector<GuardState> states;
    throwUnless(info, guards_->list(&states));
    const size_t bytes = states.size() * sizeof(GuardState);
    auto array = Napi::Uint8Array::New(info.Env(), bytes);
    if (bytes > 0) std::memcpy(array.Data(), states.data(), bytes);
    return array;
  }

  std::unique_ptr<SourceGuards> guards_;
};

}  // namespace

void defineSourceGuards(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeSourceGuards", GuardBinding::define(env));
}

}  // namespace sluice
