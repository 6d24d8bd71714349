#pragma once

#include <napi.h>

#include "native/binding/arguments.h"
#include "native/packet/status.h"

namespace sluice {

// Work for a thread of the pool; its end settles a promise.
class Job : public Napi::AsyncWorker {
 public:
  explicit Job(Napi::Env env)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)) {}
  [[nodiscard]] Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  virtual Status work() = 0;
  virtual Napi::Value result() = 0;

  void Execute() override { status_ = work(); }
  void OnOK() override {
    if (status_.ok()) {
      deferred_.Resolve(result());
      return;
    }
    throwStatus(Env(), status_);
    deferred_.Reject(Env().GetAndClearPendingException().Value());
  }

 private:
  Napi::Promise::Deferred deferred_;
  Status status_;
};

}  // namespace sluice
