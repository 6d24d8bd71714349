#pragma once

#include <napi.h>

namespace sluice {

// Adds the class NativeDataplane to the addon.
void defineDataplane(Napi::Env env, Napi::Object exports);

}  // namespace sluice
