#pragma once

#include <napi.h>

namespace sluice {

// Adds the classes that follow interfaces and guard them by name to the addon.
void defineInterfaces(Napi::Env env, Napi::Object exports);

}  // namespace sluice
