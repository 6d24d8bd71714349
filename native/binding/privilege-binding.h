#pragma once

#include <napi.h>

namespace sluice {

// Adds what a process may ask about its privileges, and its service manager.
void definePrivilege(Napi::Env env, Napi::Object exports);

}  // namespace sluice
