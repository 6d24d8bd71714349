#pragma once

#include <napi.h>

namespace sluice {

// Adds the function `replay` to the addon.
void defineReplay(Napi::Env env, Napi::Object exports);

}  // namespace sluice
