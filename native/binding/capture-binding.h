#pragma once

#include <napi.h>

namespace sluice {

// Adds the class `NativeCaptureJudge` to the addon.
void defineCapture(Napi::Env env, Napi::Object exports);

}  // namespace sluice
