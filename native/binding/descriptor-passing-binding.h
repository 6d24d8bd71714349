#pragma once

#include <napi.h>

namespace sluice {

// The calls of src/dataplane/descriptor-passing.ts.
void defineDescriptorPassing(Napi::Env env, Napi::Object exports);

}  // namespace sluice
