#pragma once

#include <napi.h>

namespace sluice {

// Adds the class NativeTable to the addon.
void defineTable(Napi::Env env, Napi::Object exports);

}  // namespace sluice
