#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "native/packet/status.h"
#include "native/table/table-view.h"

namespace sluice {

inline uint32_t wordOf(const Napi::Value& value) { return value.As<Napi::Number>().Uint32Value(); }
inline int intOf(const Napi::Value& value) { return value.As<Napi::Number>().Int32Value(); }
inline std::string textOf(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

// The bytes of a typed array, or an empty span with a pending TypeError.
template <typename Element>
inline std::span<Element> elementsOf(const Napi::Value& value, napi_typedarray_type type,
                                     const char* what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    Napi::TypeError::New(value.Env(), std::string("want a typed array for ") + what)
        .ThrowAsJavaScriptException();
    return {};
  }
  const auto array = value.As<Napi::TypedArray>();
  auto* bytes = static_cast<std::byte*>(array.ArrayBuffer().Data()) + array.ByteOffset();
  return {reinterpret_cast<Element*>(bytes), array.ElementLength()};
}

inline std::span<uint8_t> bytesOf(const Napi::Value& value, const char* what) {
  return elementsOf<uint8_t>(value, napi_uint8_array, what);
}

inline std::span<uint32_t> wordsOf(const Napi::Value& value, const char* what) {
  return elementsOf<uint32_t>(value, napi_uint32_array, what);
}

// The record in a typed array, without a copy; nullptr with a pending error when the array does not
// hold one.
template <typename Record>
inline Record* recordOf(const Napi::Value& value, const char* what) {
  const auto bytes = bytesOf(value, what);
  if (value.Env().IsExceptionPending()) return nullptr;
  if (bytes.size() == sizeof(Record) &&
      reinterpret_cast<uintptr_t>(bytes.data()) % alignof(Record) == 0) {
    return reinterpret_cast<Record*>(bytes.data());
  }
  Napi::TypeError::New(value.Env(), std::string("want one record of ") + what)
      .ThrowAsJavaScriptException();
  return nullptr;
}

// Lines of a table from the first two arguments, without a copy; false with a pending error when
// they are not that.
inline bool linesOf(const Napi::CallbackInfo& info, TableLines* lines) {
  const auto numbers = wordsOf(info[0], "numbers");
  if (info.Env().IsExceptionPending()) return false;
  const auto bytes = bytesOf(info[1], "bytes");
  if (info.Env().IsExceptionPending()) return false;
  *lines = {numbers, std::as_bytes(bytes)};
  return true;
}

// Throws `status` as an error: `code` is the StatusCode's word; `syscall`, `errno` and the Fault's
// word are set when a system call failed, and `detail` when the kernel says more.
inline void throwStatus(Napi::Env env, const Status& status) {
  const std::string word(statusCodeWords[static_cast<size_t>(status.code)]);
  Napi::Error error = Napi::Error::New(env, word);
  error.Set("code", Napi::String::New(env, word));
  if (status.code == StatusCode::System) {
    error.Set("syscall", Napi::String::New(env, status.call));
    error.Set("errno", Napi::Number::New(env, status.error));
    error.Set("fault", std::string(faultWords[static_cast<size_t>(status.fault)]));
    if (*status.detail != '\0') error.Set("detail", Napi::String::New(env, status.detail));
  }
  error.ThrowAsJavaScriptException();
}

inline void throwUnless(const Napi::CallbackInfo& info, const Status& status) {
  if (!status.ok()) throwStatus(info.Env(), status);
}

}  // namespace sluice
