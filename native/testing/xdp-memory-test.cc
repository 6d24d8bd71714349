#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "native/io/xdp-link.h"
#include "native/testing/allocations.h"
#include "native/testing/test.h"

// Apart from the other tests of links, which ThreadSanitizer runs too: it has allocations of its
// own.

namespace sluice {
namespace {

using testing::OutOfMemory;

TEST("af-xdp: the sockets go with a link that there is no memory for") {
  constexpr uint64_t ALLOCATIONS = 3;  // of a link, and of two queues that may be refused
  for (const bool adopts : {false, true}) {
    for (uint64_t number = 0; number < ALLOCATIONS; ++number) {
      std::array<int, 4> fds = {};
      REQUIRE(pipe2(fds.data(), O_CLOEXEC) == 0 && pipe2(fds.data() + 2, O_CLOEXEC) == 0);
      std::unique_ptr<XdpLink> link;
      const XdpQueueHandoff handoffs[] = {{fds[0], fds[1], {}}, {fds[2], fds[3], {}}};
      const XdpSocket sockets[] = {{fds[0], 0}, {fds[2], 1}};
      Status status;
      {
        const OutOfMemory out(number);
        status = adopts ? XdpLink::adopt(handoffs, {}, &link) : XdpLink::create(sockets, {}, &link);
      }
      // A queue is looked at before the next one is made.
      const bool looked = adopts && number == 2;
      CHECK(status.code == (looked ? StatusCode::Argument : StatusCode::Limit));
      CHECK(link == nullptr);
      for (size_t each = 0; each < fds.size(); ++each) {
        const bool ours = !adopts && each % 2 == 1;
        CHECK((fcntl(fds[each], F_GETFD) >= 0) == ours);
        if (ours) close(fds[each]);
      }
    }
  }
}

}  // namespace
}  // namespace sluice
