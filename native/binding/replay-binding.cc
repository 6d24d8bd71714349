#include "native/binding/replay-binding.h"

#include "native/binding/arguments.h"
#include "native/worker/replay.h"

namespace sluice {
namespace {

// replay(blob, endpointId, podMac, bytes, frames, reasons): see src/dataplane/addon.ts.
void replayFrames(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto blob = bytesOf(info[0], "blob");
  if (env.IsExceptionPending()) return;
  const auto mac = bytesOf(info[2], "podMac");
  if (env.IsExceptionPending()) return;
  const auto bytes = bytesOf(info[3], "bytes");
  if (env.IsExceptionPending()) return;
  const auto records = bytesOf(info[4], "frames");
  if (env.IsExceptionPending()) return;
  const auto reasons = bytesOf(info[5], "reasons");
  if (env.IsExceptionPending()) return;

  const bool aligned = reinterpret_cast<uintptr_t>(records.data()) % alignof(ReplayFrame) == 0;
  if (records.size() != reasons.size() * sizeof(ReplayFrame) || !aligned) {
    Napi::RangeError::New(env, "frames and reasons do not fit each other")
        .ThrowAsJavaScriptException();
    return;
  }
  const Replay replay = {
      .blob = std::as_bytes(blob),
      .endpointId = info[1].ToNumber().Uint32Value(),
      .podMac = mac,
      .bytes = std::as_writable_bytes(bytes),
      .frames = {reinterpret_cast<const ReplayFrame*>(records.data()), reasons.size()},
      .reasons = reasons,
  };
  const Status status = judgeCapture(replay);
  if (!status.ok()) throwStatus(env, status);
}

}  // namespace

void defineReplay(Napi::Env env, Napi::Object exports) {
  exports.Set("replay", Napi::Function::New(env, replayFrames, "replay"));
}

}  // namespace sluice
