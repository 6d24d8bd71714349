#include "native/binding/host-binding.h"

#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "native/attach/fail-open.h"
#include "native/attach/interface-traits.h"
#include "native/attach/stack-guard.h"
#include "native/binding/arguments.h"
#include "native/binding/job.h"
#include "native/host/namespaces.h"
#include "native/measure/latency.h"
#include "native/measure/prober.h"
#include "native/netlink/exchange.h"
#include "native/netlink/links.h"

namespace sluice {
namespace {

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

// The arguments of configureInterface() from JavaScript: see src/dataplane/addon.ts.
struct Configuration {
  struct Route {
    std::optional<std::string> destination;
    std::optional<std::string> gateway;
  };
  struct Neighbour {
    std::string address;
    std::string mac;
  };
  std::string name;
  std::optional<std::string> rename;
  std::optional<std::string> mac;
  std::optional<uint32_t> mtu;
  std::vector<std::string> addresses;
  std::optional<bool> up;
  std::optional<bool> linkLocal;
  std::vector<Route> routes;
  std::vector<Neighbour> neighbours;
};

// The value of a key, read by `read`; nothing where it is undefined.
template <typename Read>
auto optionalOf(const Napi::Object& object, const char* key, Read read)
    -> std::optional<decltype(read(object.Get(key)))> {
  const Napi::Value value = object.Get(key);
  if (value.IsUndefined()) return std::nullopt;
  return read(value);
}

template <typename Read>
auto listOf(const Napi::Value& value, Read read) -> std::vector<decltype(read(value))> {
  const auto array = value.As<Napi::Array>();
  std::vector<decltype(read(value))> items;
  for (uint32_t index = 0; index < array.Length(); ++index) items.push_back(read(array.Get(index)));
  return items;
}

Configuration configurationOf(const Napi::Object& from) {
  const auto flagOf = [](const Napi::Value& value) -> bool { return value.ToBoolean(); };
  const auto routeOf = [](const Napi::Value& value) -> Configuration::Route {
    const auto route = value.As<Napi::Object>();
    return {optionalOf(route, "destination", textOf), optionalOf(route, "gateway", textOf)};
  };
  const auto neighbourOf = [](const Napi::Value& value) -> Configuration::Neighbour {
    const auto neighbour = value.As<Napi::Object>();
    return {textOf(neighbour.Get("address")), textOf(neighbour.Get("mac"))};
  };
  return {
      .name = textOf(from.Get("name")),
      .rename = optionalOf(from, "rename", textOf),
      .mac = optionalOf(from, "mac", textOf),
      .mtu = optionalOf(from, "mtu", wordOf),
      .addresses = listOf(from.Get("addresses"), textOf),
      .up = optionalOf(from, "up", flagOf),
      .linkLocal = optionalOf(from, "linkLocal", flagOf),
      .routes = listOf(from.Get("routes"), routeOf),
      .neighbours = listOf(from.Get("neighbours"), neighbourOf),
  };
}

Status putRoute(uint32_t index, const Configuration::Route& route) {
  HostAddress destination;
  HostAddress gateway;
  if (route.gateway && !parseHostAddress(*route.gateway, &gateway)) return {StatusCode::Argument};
  destination.family = gateway.family;  // the default route
  if (route.destination && !parseHostAddress(*route.destination, &destination)) {
    return {StatusCode::Argument};
  }
  if (destination.family == 0) return {StatusCode::Argument};
  return addRoute(index, destination, route.gateway ? &gateway : nullptr);
}

Status putNeighbour(uint32_t index, const Configuration::Neighbour& neighbour) {
  HostAddress address;
  MacAddress mac;
  if (!parseHostAddress(neighbour.address, &address) || !parseMac(neighbour.mac, &mac)) {
    return {StatusCode::Argument};
  }
  return addNeighbour(index, address, mac);
}

Status putMac(uint32_t index, const std::string& text) {
  MacAddress mac;
  return parseMac(text, &mac) ? setInterfaceMac(index, mac) : Status{StatusCode::Argument};
}

Status putAddress(uint32_t index, const std::string& text) {
  HostAddress address;
  return parseHostAddress(text, &address) ? addAddress(index, address)
                                          : Status{StatusCode::Argument};
}

Status configure(const Configuration& wanted) {
  uint32_t index = 0;
  Status status = interfaceIndex(wanted.name.c_str(), &index);
  if (status.ok() && wanted.rename) status = renameInterface(index, wanted.rename->c_str());
  if (status.ok() && wanted.mac) status = putMac(index, *wanted.mac);
  if (status.ok() && wanted.mtu) status = setInterfaceMtu(index, *wanted.mtu);
  if (status.ok() && wanted.linkLocal) status = setInterfaceLinkLocal(index, *wanted.linkLocal);
  for (const std::string& address : wanted.addresses) {
    if (status.ok()) status = putAddress(index, address);
  }
  if (status.ok() && wanted.up) status = setInterfaceUp(index, *wanted.up);
  for (const auto& route : wanted.routes) {
    if (status.ok()) status = putRoute(index, route);
  }
  for (const auto& neighbour : wanted.neighbours) {
    if (status.ok()) status = putNeighbour(index, neighbour);
  }
  return status;
}

void configureInterface(const Napi::CallbackInfo& info) {
  const Configuration wanted = configurationOf(info[1].As<Napi::Object>());
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
  const auto checks =
      info[3].As<Napi::Boolean>().Value() ? NetlinkChecks::Strict : NetlinkChecks::Loose;
  throwUnless(info, exchangeNetlink(intOf(info[0]), intOf(info[1]), requests, &replies, checks));
  auto array = Napi::Uint8Array::New(info.Env(), replies.size());
  if (!replies.empty()) std::memcpy(array.Data(), replies.data(), replies.size());
  return array;
}

class NetlinkJob : public Job {
 public:
  NetlinkJob(Napi::Env env, std::span<const uint32_t> namespaceFds, int protocol,
             std::span<const uint8_t> requests)
      : Job(env),
        namespaceFds_(namespaceFds.begin(), namespaceFds.end()),
        protocol_(protocol),
        requests_(requests.begin(), requests.end()) {}

 protected:
  Status work() override {
    return exchangeNetlinkEach(namespaceFds_, protocol_, requests_, &replies_);
  }
  Napi::Value result() override {
    auto array = Napi::Array::New(Env(), replies_.size());
    for (uint32_t index = 0; index < replies_.size(); ++index) {
      const std::vector<uint8_t>& reply = replies_[index];
      auto bytes = Napi::Uint8Array::New(Env(), reply.size());
      if (!reply.empty()) std::memcpy(bytes.Data(), reply.data(), reply.size());
      array.Set(index, bytes);
    }
    return array;
  }

 private:
  std::vector<uint32_t> namespaceFds_;
  int protocol_;
  std::vector<uint8_t> requests_;
  std::vector<std::vector<uint8_t>> replies_;
};

Napi::Value netlinkEach(const Napi::CallbackInfo& info) {
  const auto namespaceFds = wordsOf(info[0], "namespaces");
  if (info.Env().IsExceptionPending()) return info.Env().Undefined();
  const auto requests = bytesOf(info[2], "requests");
  if (info.Env().IsExceptionPending()) return info.Env().Undefined();
  auto* job = new NetlinkJob(info.Env(), namespaceFds, intOf(info[1]), requests);
  const auto promise = job->promise();
  job->Queue();
  return promise;
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

// Locks an open file against other processes until the descriptor closes; false when another
// process has the lock.
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

class ProbeJob : public Job {
 public:
  ProbeJob(Napi::Env env, std::span<const uint8_t> requests)
      : Job(env), requests_(requests.size() / sizeof(ProbeRequest)), results_(requests_.size()) {
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

class LatencyJob : public Job {
 public:
  LatencyJob(Napi::Env env, const LatencyRequest& request) : Job(env), request_(request) {}

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
  // The thread pool deletes the job at its end.
  auto* job = new ProbeJob(info.Env(), requests);
  job->Queue();
  return job->promise();
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
  auto* job = new LatencyJob(info.Env(), request);
  job->Queue();
  return job->promise();
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
  exports.Set("netlinkEach", Napi::Function::New<netlinkEach>(env));
  exports.Set("holdStack", Napi::Function::New<holdInterface>(env));
  exports.Set("isStackHeld", Napi::Function::New<isInterfaceHeld>(env));
  exports.Set("tryLock", Napi::Function::New<tryLock>(env));
  exports.Set("probe", Napi::Function::New<probe>(env));
  exports.Set("latency", Napi::Function::New<latency>(env));
}

}  // namespace sluice
