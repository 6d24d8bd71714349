#pragma once

#include <napi.h>

namespace sluice {

// The calls of src/dataplane/take-over.ts.
void defineTakeOver(Napi::Env env, Napi::Object exports);

}  // namespace sluice
