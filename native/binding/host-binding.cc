#include "native/binding/host-binding.h"

#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "native/attach/devices.h"
#include "native/attach/fail-open.h"
#include "native/binding/arguments.h"
#include "native/binding/errand.h"
#include "native/host/namespaces.h"
#include "native/measure/latency.h"
#include "native/measure/prober.h"
#include "native/netlink/exchange.h"
#include "native/netlink/rtnetlink.h"

namespace sluice {
namespace {

std::vector<std::string> textsOf(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> texts;
  for (uint32_t index = 0; index < array.Length(); ++index) {
    texts.push_back(textOf(array.Get(index)));
  }
  return texts;
}

Napi::Value makeNamespace(const Napi::CallbackInfo& info) {
  int fd = -1;
  throwUnless(info, createNamespace(&fd));
  return Napi::Number::New(info.Env(), fd);
}

Napi::Value openNamespaceFile(const Napi::CallbackInfo& info) {
  int fd = -1;
  throwUnless(info, openNamespace(textOf(info[0]).c_str(), &fd));
  return Napi::Number::New(info.Env(), fd);
}

void closeDescriptor(const Napi::CallbackInfo& info) { close(intOf(info[0])); }

// What configureInterface() is asked to do, as it came from JavaScript.
struct Configuration {
  std::string name;
  std::string rename;
  std::string mac;
  uint32_t mtu = 0;
  std::vector<std::string> addresses;
  int up = -1;
  std::vector<std::string> routes;      // destination or empty, gateway or empty
  std::vector<std::string> neighbours;  // address, MAC
  int linkLocal = -1;
};

Status addRoutes(uint32_t index, const std::vector<std::string>& routes) {
  for (size_t at = 0; at + 1 < routes.size(); at += 2) {
    HostAddress destination;
    HostAddress gateway;
    const bool viaGateway = !routes[at + 1].empty();
    if (viaGateway && !parseHostAddress(routes[at + 1], &gateway)) return {StatusCode::Argument};
    if (routes[at].empty()) {
      destination.family = gateway.family;  // the default route
    } else if (!parseHostAddress(routes[at], &destination)) {
      return {StatusCode::Argument};
    }
    if (destination.family == 0) return {StatusCode::Argument};
    const Status status = addRoute(index, destination, viaGateway ? &gateway : nullptr);
    if (!status.ok()) return status;
  }
  return {};
}

Status addNeighbours(uint32_t index, const std::vector<std::string>& neighbours) {
  for (size_t at = 0; at + 1 < neighbours.size(); at += 2) {
    HostAddress address;
    MacAddress mac;
    if (!parseHostAddress(neighbours[at], &address) || !parseMac(neighbours[at + 1], &mac)) {
      return {StatusCode::Argument};
    }
    if (const Status status = addNeighbour(index, address, mac); !status.ok()) return status;
  }
  return {};
}

Status configure(const Configuration& wanted) {
  uint32_t index = 0;
  Status status = interfaceIndex(wanted.name.c_str(), &index);
  if (status.ok() && !wanted.rename.empty()) status = renameInterface(index, wanted.rename.c_str());
  if (status.ok() && !wanted.mac.empty()) {
    MacAddress mac;
    if (!parseMac(wanted.mac, &mac)) return {StatusCode::Argument};
    status = setInterfaceMac(index, mac);
  }
  if (status.ok() && wanted.mtu != 0) status = setInterfaceMtu(index, wanted.mtu);
  if (status.ok() && wanted.linkLocal >= 0) {
    status = setInterfaceLinkLocal(index, wanted.linkLocal != 0);
  }
  for (const std::string& text : wanted.addresses) {
    HostAddress address;
    if (!parseHostAddress(text, &address)) return {StatusCode::Argument};
    if (status.ok()) status = addAddress(index, address);
  }
  if (status.ok() && wanted.up >= 0) status = setInterfaceUp(index, wanted.up != 0);
  if (status.ok()) status = addRoutes(index, wanted.routes);
  if (status.ok()) status = addNeighbours(index, wanted.neighbours);
  return status;
}

void configureInterface(const Napi::CallbackInfo& info) {
  const Configuration wanted = {textOf(info[1]),  textOf(info[2]),  textOf(info[3]),
                                wordOf(info[4]),  textsOf(info[5]), intOf(info[6]),
                                textsOf(info[7]), textsOf(info[8]), intOf(info[9])};
  throwUnless(info, inNamespace(intOf(info[0]), [&wanted] { return configure(wanted); }));
}

void createVeth(const Napi::CallbackInfo& info) {
  const int here = intOf(info[0]);
  const std::string name = textOf(info[1]);
  const int there = intOf(info[2]);
  const std::string peerName = textOf(info[3]);
  throwUnless(info, createVethPair(here, name, there, peerName));
}

void deleteInterfaceNamed(const Napi::CallbackInfo& info) {
  const std::string name = textOf(info[1]);
  throwUnless(info, inNamespace(intOf(info[0]), [&name]() -> Status {
                uint32_t index = 0;
                const Status status = interfaceIndex(name.c_str(), &index);
                return status.ok() ? deleteInterface(index) : status;
              }));
}

Napi::Value traitsOf(const Napi::CallbackInfo& info) {
  InterfaceTraits traits;
  throwUnless(info, readInterfaceTraits(intOf(info[0]), textOf(info[1]), &traits));
  auto object = Napi::Object::New(info.Env());
  object.Set("driver", traits.driver);
  object.Set("mtu", traits.mtu);
  object.Set("queues", traits.queues);
  object.Set("segmentation", traits.segmentation);
  object.Set("hardware", traits.hardware);
  return object;
}

void failOpen(const Napi::CallbackInfo& info) {
  uint32_t inside = 0;
  uint32_t outside = 0;
  Status status = inNamespace(intOf(info[0]), [&]() -> Status {
    const Status found = interfaceIndex(textOf(info[1]).c_str(), &inside);
    return found.ok() ? interfaceIndex(textOf(info[2]).c_str(), &outside) : found;
  });
  if (status.ok()) status = setFailOpen(intOf(info[0]), inside, outside);
  throwUnless(info, status);
}

void failClosed(const Napi::CallbackInfo& info) {
  uint32_t index = 0;
  Status status =
      inNamespace(intOf(info[0]), [&] { return interfaceIndex(textOf(info[1]).c_str(), &index); });
  if (status.ok()) status = clearFailOpen(intOf(info[0]), index);
  throwUnless(info, status);
}

Napi::Value failingOpen(const Napi::CallbackInfo& info) {
  std::vector<std::string> names;
  throwUnless(info, listFailOpen(intOf(info[0]), &names));
  auto array = Napi::Array::New(info.Env(), names.size());
  for (uint32_t each = 0; each < names.size(); ++each) array.Set(each, names[each]);
  return array;
}

void writeSysctl(const Napi::CallbackInfo& info) {
  throwUnless(info, setSysctl(intOf(info[0]), textOf(info[1]).c_str(), textOf(info[2]).c_str()));
}

Napi::Value netlink(const Napi::CallbackInfo& info) {
  const auto requests = bytesOf(info[2], "requests");
  if (info.Env().IsExceptionPending()) return info.Env().Undefined();
  std::vector<uint8_t> replies;
  throwUnless(info, exchangeNetlink(intOf(info[0]), intOf(info[1]), requests, &replies));
  auto array = Napi::Uint8Array::New(info.Env(), replies.size());
  if (!replies.empty()) std::memcpy(array.Data(), replies.data(), replies.size());
  return array;
}

void holdInterface(const Napi::CallbackInfo& info) {
  const int namespaceFd = intOf(info[0]);
  const uint32_t index = wordOf(info[1]);
  const bool hold = info[2].ToBoolean();
  throwUnless(info, hold ? holdStack(namespaceFd, index) : releaseStack(namespaceFd, index));
}

Napi::Value isInterfaceHeld(const Napi::CallbackInfo& info) {
  bool held = false;
  throwUnless(info, isStackHeld(intOf(info[0]), wordOf(info[1]), &held));
  return Napi::Boolean::New(info.Env(), held);
}

// Locks an open file against every other process, until the descriptor closes; false when another
// has it.
Napi::Value tryLock(const Napi::CallbackInfo& info) {
  int result = 0;
  do {
    result = flock(intOf(info[0]), LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EWOULDBLOCK) {
    throwStatus(info.Env(), Status::system("flock", errno));
    return info.Env().Undefined();
  }
  return Napi::Boolean::New(info.Env(), result == 0);
}

class ProbeErrand : public Errand {
 public:
  ProbeErrand(Napi::Env env, std::span<const uint8_t> requests)
      : Errand(env), requests_(requests.size() / sizeof(ProbeRequest)), results_(requests_.size()) {
    if (!requests_.empty()) {
      std::memcpy(requests_.data(), requests.data(), requests_.size() * sizeof(ProbeRequest));
    }
  }

 protected:
  Status work() override { return sluice::probe(requests_, results_); }
  Napi::Value result() override {
    auto array = Napi::Uint8Array::New(Env(), results_.size() * sizeof(ProbeResult));
    if (!results_.empty()) std::memcpy(array.Data(), results_.data(), array.ByteLength());
    return array;
  }

 private:
  std::vector<ProbeRequest> requests_;
  std::vector<ProbeResult> results_;
};

class LatencyErrand : public Errand {
 public:
  LatencyErrand(Napi::Env env, const LatencyRequest& request) : Errand(env), request_(request) {}

 protected:
  Status work() override { return measureLatency(request_, &samples_); }
  Napi::Value result() override {
    auto array = Napi::Float64Array::New(Env(), samples_.size());
    std::copy(samples_.begin(), samples_.end(), array.Data());
    return array;
  }

 private:
  LatencyRequest request_;
  std::vector<double> samples_;
};

Napi::Value probe(const Napi::CallbackInfo& info) {
  const auto requests = bytesOf(info[0], "requests");
  if (info.Env().IsExceptionPending()) return info.Env().Undefined();
  // The pool's end of an errand deletes it.
  auto* errand = new ProbeErrand(info.Env(), requests);
  errand->Queue();
  return errand->promise();
}

Napi::Value latency(const Napi::CallbackInfo& info) {
  LatencyRequest request;
  request.clientNamespace = intOf(info[0]);
  request.serverNamespace = intOf(info[2]);
  request.port = static_cast<uint16_t>(wordOf(info[4]));
  request.count = wordOf(info[5]);
  if (!parseHostAddress(textOf(info[1]), &request.client) ||
      !parseHostAddress(textOf(info[3]), &request.server)) {
    throwStatus(info.Env(), {StatusCode::Argument});
    return info.Env().Undefined();
  }
  auto* errand = new LatencyErrand(info.Env(), request);
  errand->Queue();
  return errand->promise();
}

}  // namespace

void defineHost(Napi::Env env, Napi::Object exports) {
  exports.Set("createNamespace", Napi::Function::New<makeNamespace>(env));
  exports.Set("openNamespace", Napi::Function::New<openNamespaceFile>(env));
  exports.Set("closeDescriptor", Napi::Function::New<closeDescriptor>(env));
  exports.Set("configureInterface", Napi::Function::New<configureInterface>(env));
  exports.Set("createVeth", Napi::Function::New<createVeth>(env));
  exports.Set("deleteInterface", Napi::Function::New<deleteInterfaceNamed>(env));
  exports.Set("interfaceTraits", Napi::Function::New<traitsOf>(env));
  exports.Set("setFailOpen", Napi::Function::New<failOpen>(env));
  exports.Set("clearFailOpen", Napi::Function::New<failClosed>(env));
  exports.Set("listFailOpen", Napi::Function::New<failingOpen>(env));
  exports.Set("setSysctl", Napi::Function::New<writeSysctl>(env));
  exports.Set("netlink", Napi::Function::New<netlink>(env));
  exports.Set("holdStack", Napi::Function::New<holdInterface>(env));
  exports.Set("isStackHeld", Napi::Function::New<isInterfaceHeld>(env));
  exports.Set("tryLock", Napi::Function::New<tryLock>(env));
  exports.Set("probe", Napi::Function::New<probe>(env));
  exports.Set("latency", Napi::Function::New<latency>(env));
}

}  // namespace sluice
