#include <napi.h>

#include "native/binding/capture-binding.h"
#include "native/binding/dataplane-binding.h"
#include "native/binding/descriptor-passing-binding.h"
#include "native/binding/forward-binding.h"
#include "native/binding/guard-binding.h"
#include "native/binding/host-binding.h"
#include "native/binding/interface-binding.h"
#include "native/binding/privilege-binding.h"
#include "native/binding/table-binding.h"
#include "native/binding/traffic-binding.h"
#include "native/layout/layout.gen.h"

namespace sluice {
namespace {

Napi::Object start(Napi::Env env, Napi::Object exports) {
  exports.Set("layoutHash", Napi::Number::New(env, LAYOUT_HASH));
  defineTable(env, exports);
  defineDataplane(env, exports);
  defineForwardFilter(env, exports);
  defineSourceGuards(env, exports);
  defineHost(env, exports);
  defineInterfaces(env, exports);
  defineCapture(env, exports);
  defineTraffic(env, exports);
  definePrivilege(env, exports);
  defineDescriptorPassing(env, exports);
  return exports;
}

}  // namespace
}  // namespace sluice

static Napi::Object startAddon(Napi::Env env, Napi::Object exports) {
  return sluice::start(env, exports);
}
NODE_API_MODULE(dataplane, startAddon)
