#pragma once

#include <napi.h>

namespace sluice {

// Adds the calls of src/dataplane/traffic.ts to the addon.
void defineTraffic(Napi::Env env, Napi::Object exports);

}  // namespace sluice
