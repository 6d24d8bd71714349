#pragma once

#include <napi.h>

namespace sluice {

// Adds the calls for privileges and for the service manager.
void definePrivilege(Napi::Env env, Napi::Object exports);

}  // namespace sluice
