#pragma once

#include <napi.h>

namespace sluice {

// Adds the class NativeForwardFilter to the addon.
void defineForwardFilter(Napi::Env env, Napi::Object exports);

}  // namespace sluice
