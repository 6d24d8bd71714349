// Goal:   the CNI plugin finds members of any text, byte for byte, and never reads beyond it; what
// it
//         says without a daemon is what the specification wants.
// Method: texts with what a reader may stumble over; every beginning of one, and every byte of it
//         changed; whole runs of the plugin with pipes in the place of a runtime.
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "native/cni/json-members.h"
#include "native/cni/plugin.h"
#include "native/testing/test.h"

using namespace sluice::cni;

namespace {

constexpr std::string_view CHAIN =
    R"({"cniVersion":"1.0.0", "name" : "pods","whenAway":"open","socket":"/nowhere/at.all",)"
    R"("waitSeconds":1,"prevResult": {"ips":[{"address":"10.0.0.5/24"}], "x":[1,-2.5e+3,null,"\u00e9}"]} })";

std::string_view valueOf(std::string_view text, std::string_view name) {
  std::array<JsonMember, 1> members = {{{name, {}}}};
  return findMembers(text, members) ? members[0].value : std::string_view("none");
}

struct Ran {
  int code = -1;
  std::string output;
};

Ran run(const char* command, std::string_view configuration) {
  std::array<int, 2> input = {};
  std::array<int, 2> output = {};
  if (pipe(input.data()) != 0 || pipe(output.data()) != 0) return {};
  Ran ran;
  if (write(input[1], configuration.data(), configuration.size()) ==
      static_cast<ssize_t>(configuration.size())) {
    close(input[1]);
    const std::string variable = std::string("CNI_COMMAND=") + command;
    const std::array<const char*, 2> environment = {variable.c_str(), nullptr};
    ran.code = runPlugin(environment.data(), input[0], output[1]);
  }
  close(input[0]);
  close(output[1]);
  std::array<char, 4'096> said = {};
  const ssize_t bytes = read(output[0], said.data(), said.size());
  if (bytes > 0) ran.output.assign(said.data(), static_cast<size_t>(bytes));
  close(output[0]);
  return ran;
}

}  // namespace

TEST("cni: a member is found as it stands there") {
  CHECK(valueOf(CHAIN, "name") == R"("pods")");
  CHECK(valueOf(CHAIN, "waitSeconds") == "1");
  CHECK(valueOf(CHAIN, "prevResult") ==
        R"({"ips":[{"address":"10.0.0.5/24"}], "x":[1,-2.5e+3,null,"\u00e9}"]})");
  CHECK(valueOf(R"({"a":{"b":1},"b":2,"b":3})", "b") == "3");
  CHECK(valueOf(R"({"a":"b\":1,","c":0})", "b").empty());
  CHECK(valueOf(" {} ", "a").empty());
  std::string_view characters;
  CHECK(plainString(R"("x y")", &characters) && characters == "x y");
  CHECK(!plainString(R"("x\ny")", &characters));
  CHECK(!plainString("\"", &characters));
}

TEST("cni: what is no JSON object is refused") {
  for (const std::string_view text : {"",
                                      "[]",
                                      "1",
                                      "{",
                                      "}",
                                      R"({"a"})",
                                      R"({"a":})",
                                      R"({"a":1,})",
                                      R"({"a":1}x)",
                                      R"({"a":1 "b":2})",
                                      R"({"a":.5})",
                                      R"({"a":5.})",
                                      R"({"a":1e})",
                                      R"({"a":tru})",
                                      R"({"a":"\x"})",
                                      R"({"a":"\u12g4"})",
                                      R"({"a":"})",
                                      R"({"a\u0062":1})",
                                      "{\"a\":\"\n\"}",
                                      R"({a:1})"}) {
    CHECK(valueOf(text, "a") == "none");
  }
  std::string deep = R"({"a":)" + std::string(1'000, '[') + std::string(1'000, ']') + "}";
  CHECK(valueOf(deep, "a") == "none");
}

TEST("cni: no text makes the reader leave it") {
  for (size_t length = 0; length < CHAIN.size(); ++length) {
    // A copy of its own, so that a byte behind it is noticed.
    const std::vector<char> part(CHAIN.begin(), CHAIN.begin() + static_cast<ptrdiff_t>(length));
    CHECK(valueOf({part.data(), part.size()}, "prevResult") == "none");
  }
  std::vector<char> changed(CHAIN.begin(), CHAIN.end());
  for (char& each : changed) {
    const char before = each;
    for (int value = 0; value < 256; ++value) {
      each = static_cast<char>(value);
      std::array<JsonMember, 1> members = {{{"prevResult", {}}}};
      const bool found = findMembers({changed.data(), changed.size()}, members);
      CHECK(!found || members[0].value.empty() ||
            (members[0].value.data() >= changed.data() &&
             members[0].value.data() + members[0].value.size() <= changed.data() + changed.size()));
    }
    each = before;
  }
}

TEST("cni: without a daemon an ADD passes only where the chain says so, and a DEL always") {
  const Ran open = run("ADD", CHAIN);
  CHECK(open.code == 0 && open.output == valueOf(CHAIN, "prevResult"));
  std::string closed(CHAIN);
  closed.replace(closed.find(R"("open")"), 6, R"("closed")");
  const Ran refused = run("ADD", closed);
  CHECK(refused.code == 1);
  CHECK(valueOf(refused.output, "code") == "11");
  CHECK(valueOf(refused.output, "cniVersion") == R"("1.0.0")");
  for (const char* command : {"DEL", "GC"}) {
    const Ran gone = run(command, closed);
    CHECK(gone.code == 0 && gone.output.empty());
  }
  CHECK(valueOf(run("STATUS", closed).output, "code") == "50");
  CHECK(run("STATUS", CHAIN).code == 0);
}
