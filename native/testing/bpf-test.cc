// Goal:   a program has the instructions that its author wrote, and a refused program gives the
//         kernel's reason.
// Method: jumps are read back from the instructions; programs are loaded where this process may.
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "native/bpf/assembler.h"
#include "native/bpf/program.h"
#include "native/testing/test.h"

using namespace sluice;

namespace {

// Loads a socket filter; EPERM when this process may not load any.
Status loaded(Assembler& code) {
  Descriptor program;
  const Status status = loadProgram(BPF_PROG_TYPE_SOCKET_FILTER, code.finish(), &program);
  CHECK(status.ok() == program.valid());
  return status;
}

}  // namespace

TEST("bpf: jumps lead to where their labels were placed, forward and to the next instruction") {
  Assembler code;
  const BpfLabel far = code.label();
  const BpfLabel next = code.label();
  code.jumpIf(BPF_JEQ, R1, 7, far);
  code.jump(next);
  code.place(next);
  code.set(R0, 1);
  code.place(far);
  code.set(R0, 2);
  code.exit();
  const auto made = code.finish();
  REQUIRE(made.size() == 5);
  CHECK(made[0].off == 2 && made[0].imm == 7 && made[0].dst_reg == R1);
  CHECK(made[1].off == 0);
  CHECK(made[3].imm == 2);
}

TEST("bpf: a program that the verifier refuses is refused in its words") {
  Assembler good;
  good.set(R0, 0);
  good.exit();
  const Status allowed = loaded(good);
  if (allowed.error == EPERM) {
    CHECK(std::string(allowed.detail).empty());
    return;
  }
  CHECK(allowed.ok() && std::string(allowed.detail).empty());

  Assembler answersNothing;
  answersNothing.exit();
  Assembler readsTooFar;
  readsTooFar.load(BPF_W, R0, R1, 4'000);
  readsTooFar.exit();
  for (const auto& [code, words] :
       {std::pair{&answersNothing, "R0 !read_ok"},
        std::pair{&readsTooFar, "invalid bpf_context access off=4000"}}) {
    const Status refused = loaded(*code);
    CHECK(refused.code == StatusCode::System && std::strcmp(refused.call, "BPF_PROG_LOAD") == 0);
    CHECK(refused.error == EACCES || refused.error == EINVAL);
    const std::string detail = refused.detail;
    CHECK(detail.find(words) != std::string::npos);
    CHECK(detail.find("processed ") == std::string::npos && detail.find('\n') == std::string::npos);
    // The same words are kept once.
    CHECK(loaded(*code).detail == refused.detail);
  }
}
