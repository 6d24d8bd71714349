#pragma once

#include <napi.h>

namespace sluice {

// Adds the class NativeSourceGuards to the addon.
void defineSourceGuards(Napi::Env env, Napi::Object exports);

}  // namespace sluice
