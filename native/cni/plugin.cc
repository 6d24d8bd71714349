#include "native/cni/plugin.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string_view>

#include "native/cni/daemon-call.h"
#include "native/cni/json-members.h"

namespace sluice::cni {
namespace {

// Of a chain's result, which holds some addresses and routes.
constexpr size_t CONFIGURATION_BYTES_MAX = 256 * 1024;
constexpr size_t ENVIRONMENT_BYTES_MAX = 64 * 1024;
constexpr size_t ANSWER_BYTES_MAX = 64 * 1024;
constexpr int64_t WAIT_SECONDS = 10;
constexpr int64_t WAIT_SECONDS_MAX = 60;
// For what succeeds without a daemon.
constexpr int64_t SHORT_WAIT_MS = 2'000;

constexpr std::string_view USUAL_SOCKET = "/run/sluice/cni.sock";
constexpr std::array<std::string_view, 4> VERSIONS = {"0.3.1", "0.4.0", "1.0.0", "1.1.0"};
constexpr std::string_view SUPPORTED = R"("0.3.1","0.4.0","1.0.0","1.1.0")";

// Codes of the specification's section "Error".
enum class Code : uint8_t {
  IncompatibleVersion = 1,
  InvalidEnvironment = 4,
  Io = 5,
  InvalidConfiguration = 7,
  TryAgain = 11,
  NotAvailable = 50,
};

// What is told beside an error's code; none has a character that JSON would want escaped.
struct Fault {
  Code code;
  const char* message;
};

enum class Command : uint8_t { Add, Delete, Check, Status, CollectGarbage, Version };

struct CommandWord {
  std::string_view word;
  Command command;
};

constexpr std::array<CommandWord, 6> COMMANDS = {{{"ADD", Command::Add},
                                                  {"DEL", Command::Delete},
                                                  {"CHECK", Command::Check},
                                                  {"STATUS", Command::Status},
                                                  {"GC", Command::CollectGarbage},
                                                  {"VERSION", Command::Version}}};

// What a chain's entry for this plugin says, with the runtime's additions.
struct Configuration {
  std::string_view text;
  std::string_view version = "1.0.0";
  std::string_view socket = USUAL_SOCKET;
  std::string_view previousResult;
  int64_t waitMs = WAIT_SECONDS * 1'000;
  bool isOpenWhenAway = false;
};

// The memory of one call: a process makes one.
struct Memory {
  std::array<char, CONFIGURATION_BYTES_MAX + 1> configuration;
  std::array<char, ENVIRONMENT_BYTES_MAX> environment;
  std::array<char, ANSWER_BYTES_MAX> answer;
};

bool readAll(int input, const Deadline& deadline, std::span<char> room,
             std::string_view* text) noexcept {
  size_t bytes = 0;
  while (bytes < room.size() && deadline.await(input, POLLIN)) {
    const ssize_t got = read(input, room.data() + bytes, room.size() - bytes);
    if (got == 0) {
      *text = {room.data(), bytes};
      return true;
    }
    if (got > 0)
      bytes += static_cast<size_t>(got);
    else if (errno != EINTR && errno != EAGAIN)
      return false;
  }
  return false;
}

bool isSupported(std::string_view version) noexcept {
  return std::find(VERSIONS.begin(), VERSIONS.end(), version) != VERSIONS.end();
}

// Takes what the configuration says of the waiting. Returns what is wrong with it; null: nothing.
const char* takeWait(std::string_view value, int64_t* waitMs) noexcept {
  if (value.empty()) return nullptr;
  int64_t seconds = 0;
  for (const char each : value) {
    if (each < '0' || each > '9' || seconds > WAIT_SECONDS_MAX)
      return "waitSeconds is no number from 1 to 60";
    seconds = seconds * 10 + (each - '0');
  }
  if (seconds < 1 || seconds > WAIT_SECONDS_MAX) return "waitSeconds is no number from 1 to 60";
  *waitMs = seconds * 1'000;
  return nullptr;
}

// Returns what is wrong with the configuration's text; null: nothing.
const char* readConfiguration(Configuration* configuration, bool* isIncompatible) noexcept {
  std::array<JsonMember, 5> members = {{{"cniVersion", {}},
                                        {"socket", {}},
                                        {"whenAway", {}},
                                        {"waitSeconds", {}},
                                        {"prevResult", {}}}};
  const auto& [version, socket, whenAway, waitSeconds, previousResult] = members;
  if (!findMembers(configuration->text, members))
    return "the network configuration is no JSON object";
  std::string_view given;
  if (!plainString(version.value, &given) || !isSupported(given)) {
    *isIncompatible = true;
    return "the chain has another cniVersion than 0.3.1, 0.4.0, 1.0.0 and 1.1.0";
  }
  configuration->version = given;
  if (!socket.value.empty()) {
    if (!plainString(socket.value, &given) || !given.starts_with('/') || given.size() > 107) {
      return "socket is no absolute path of at most 107 bytes";
    }
    configuration->socket = given;
  }
  if (!whenAway.value.empty() && whenAway.value != R"("closed")" && whenAway.value != R"("open")") {
    return "whenAway is neither closed nor open";
  }
  configuration->isOpenWhenAway = whenAway.value == R"("open")";
  if (previousResult.value.starts_with('{')) configuration->previousResult = previousResult.value;
  return takeWait(waitSeconds.value, &configuration->waitMs);
}

// Copies the variables that the specification names. Errors: false when they do not fit.
bool gatherEnvironment(const char* const* environment, std::span<char> room,
                       std::string_view* text) noexcept {
  size_t bytes = 0;
  for (; *environment != nullptr; ++environment) {
    if (!std::string_view(*environment).starts_with("CNI_")) continue;
    const size_t length = std::strlen(*environment) + 1;
    if (length > room.size() - bytes) return false;
    std::memcpy(room.data() + bytes, *environment, length);
    bytes += length;
  }
  *text = {room.data(), bytes};
  return true;
}

const CommandWord* commandOf(const char* const* environment) noexcept {
  constexpr std::string_view NAME = "CNI_COMMAND=";
  for (; *environment != nullptr; ++environment) {
    std::string_view given = *environment;
    if (!given.starts_with(NAME)) continue;
    given.remove_prefix(NAME.size());
    for (const CommandWord& each : COMMANDS) {
      if (each.word == given) return &each;
    }
  }
  return nullptr;
}

int fail(int output, std::string_view version, const Fault& fault) noexcept {
  std::array<char, 512> text = {};
  const int length = std::snprintf(text.data(), text.size(),
                                   R"({"cniVersion":"%.*s","code":%u,"msg":"sluice: %s"})"
                                   "\n",
                                   static_cast<int>(version.size()), version.data(),
                                   static_cast<unsigned>(fault.code), fault.message);
  writeAll(output, {text.data(), static_cast<size_t>(length)});
  return 1;
}

int sayVersions(int output, std::string_view asked) noexcept {
  std::array<JsonMember, 1> members = {{{"cniVersion", {}}}};
  std::string_view version;
  if (!findMembers(asked, members) || !plainString(members[0].value, &version) ||
      !isSupported(version)) {
    version = VERSIONS.back();
  }
  std::array<char, 160> text = {};
  const int length = std::snprintf(text.data(), text.size(),
                                   R"({"cniVersion":"%.*s","supportedVersions":[%.*s]})"
                                   "\n",
                                   static_cast<int>(version.size()), version.data(),
                                   static_cast<int>(SUPPORTED.size()), SUPPORTED.data());
  return writeAll(output, {text.data(), static_cast<size_t>(length)}) ? 0 : 1;
}

// What a command comes to without a daemon. Returns the exit code.
int endWithout(Command command, const Configuration& configuration, int output) noexcept {
  switch (command) {
    case Command::Delete:
    case Command::CollectGarbage:
    case Command::Version:
      return 0;
    case Command::Status:
      if (configuration.isOpenWhenAway) return 0;
      return fail(output, configuration.version,
                  {Code::NotAvailable, "no daemon answers on this node"});
    case Command::Add:
      if (configuration.isOpenWhenAway)
        return writeAll(output, configuration.previousResult) ? 0 : 1;
      break;
    case Command::Check:
      if (configuration.isOpenWhenAway) return 0;
      break;
  }
  return fail(
      output, configuration.version,
      {Code::TryAgain, "no daemon answers on this node, so the pod would be without its policy"});
}

int ask(Command command, const Configuration& configuration, std::string_view environment,
        Memory* memory, int output) noexcept {
  const bool isLenient = command == Command::Delete || command == Command::CollectGarbage;
  const Deadline deadline = Deadline::in(isLenient ? std::min(SHORT_WAIT_MS, configuration.waitMs)
                                                   : configuration.waitMs);
  std::string_view answer;
  if (!askDaemon(configuration.socket, {environment, configuration.text},
                 isLenient ? Persistence::Once : Persistence::Patient, deadline, memory->answer,
                 &answer)) {
    return endWithout(command, configuration, output);
  }
  constexpr std::string_view ERROR = "error\n";
  if (answer.starts_with(ERROR)) {
    writeAll(output, answer.substr(ERROR.size()));
    return 1;
  }
  if (command != Command::Add) return 0;
  return writeAll(output, configuration.previousResult) ? 0 : 1;
}

}  // namespace

int runPlugin(const char* const* environment, int input, int output) noexcept {
  static Memory memory;
  Configuration configuration;
  const CommandWord* asked = commandOf(environment);
  if (asked == nullptr) {
    return fail(output, configuration.version,
                {Code::InvalidEnvironment,
                 "CNI_COMMAND is none of ADD, DEL, CHECK, STATUS, GC and VERSION"});
  }
  const Command command = asked->command;
  if (!readAll(input, Deadline::in(WAIT_SECONDS * 1'000), memory.configuration,
               &configuration.text)) {
    return fail(output, configuration.version,
                {Code::Io, "the network configuration has no end within 10 seconds and 256 KiB"});
  }
  if (command == Command::Version) return sayVersions(output, configuration.text);
  bool isIncompatible = false;
  const char* wrong = readConfiguration(&configuration, &isIncompatible);
  if (wrong != nullptr) {
    return fail(output, configuration.version,
                {isIncompatible ? Code::IncompatibleVersion : Code::InvalidConfiguration, wrong});
  }
  const bool needsResult = command == Command::Add || command == Command::Check;
  if (needsResult && configuration.previousResult.empty()) {
    return fail(output, configuration.version,
                {Code::InvalidConfiguration,
                 "there is no prevResult: a chain has another plugin before this one"});
  }
  std::string_view variables;
  if (!gatherEnvironment(environment, memory.environment, &variables)) {
    return fail(output, configuration.version,
                {Code::InvalidEnvironment, "the variables CNI_* have more than 64 KiB"});
  }
  return ask(command, configuration, variables, &memory, output);
}

}  // namespace sluice::cni
