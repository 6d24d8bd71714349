#include "native/netlink/host-address.h"

#include <arpa/inet.h>

#include <charconv>

namespace sluice {

bool parseHostAddress(const std::string& text, HostAddress* address) noexcept {
  const size_t slash = text.find('/');
  const std::string host = text.substr(0, slash);
  HostAddress parsed;
  parsed.family = host.find(':') == std::string::npos ? 4 : 6;
  const int family = parsed.family == 4 ? AF_INET : AF_INET6;
  if (inet_pton(family, host.c_str(), parsed.bytes.data()) != 1) return false;
  const auto bits = static_cast<uint8_t>(parsed.size() * 8);
  parsed.length = bits;
  if (slash != std::string::npos) {
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data() + slash + 1, end, parsed.length);
    if (result.ec != std::errc() || result.ptr != end || parsed.length > bits) return false;
  }
  *address = parsed;
  return true;
}

bool parseMac(const std::string& text, MacAddress* mac) noexcept {
  if (text.size() != 17) return false;
  MacAddress parsed;
  for (size_t index = 0; index < parsed.size(); ++index) {
    const char* start = text.data() + index * 3;
    const auto result = std::from_chars(start, start + 2, parsed[index], 16);
    if (result.ec != std::errc() || result.ptr != start + 2) return false;
    if (index < 5 && start[2] != ':') return false;
  }
  *mac = parsed;
  return true;
}

}  // namespace sluice
