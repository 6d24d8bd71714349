#pragma once

#include <napi.h>

namespace sluice {

// Adds what follows interfaces, and what guards them by their names, to the addon.
void defineInterfaces(Napi::Env env, Napi::Object exports);

}  // namespace sluice
