#pragma once

#include <napi.h>

namespace sluice {

// Adds the calls of src/dataplane/host.ts to the addon.
void defineHost(Napi::Env env, Napi::Object exports);

}  // namespace sluice
