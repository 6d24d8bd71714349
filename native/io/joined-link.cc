#include "native/io/joined-link.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace sluice {

Status JoinedLink::create(std::vector<std::unique_ptr<Link>> links,
                          std::unique_ptr<JoinedLink>* joined) noexcept {
  if (links.empty()) return {StatusCode::Argument};
  std::unique_ptr<JoinedLink> made(new (std::nothrow) JoinedLink(std::move(links)));
  if (made == nullptr) return {StatusCode::Limit};
  made->poll_ = epoll_create1(EPOLL_CLOEXEC);
  if (made->poll_ < 0) return Status::system("epoll_create1", errno);
  for (const auto& link : made->links_) {
    epoll_event event = {};
    event.events = EPOLLIN;
    if (epoll_ctl(made->poll_, EPOLL_CTL_ADD, link->descriptor(), &event) != 0) {
      return Status::system("epoll_ctl", errno);
    }
  }
  *joined = std::move(made);
  return {};
}

JoinedLink::~JoinedLink() {
  if (poll_ >= 0) close(poll_);
}

size_t JoinedLink::receive(std::span<Frame> frames) noexcept {
  for (size_t turn = 0; turn < links_.size(); ++turn) {
    current_ = (current_ + 1) % links_.size();
    if (const size_t count = links_[current_]->receive(frames); count > 0) return count;
  }
  return 0;
}

bool JoinedLink::recover() noexcept {
  return std::all_of(links_.begin(), links_.end(), [](auto& link) { return link->recover(); });
}

uint64_t JoinedLink::lostFrames() noexcept {
  uint64_t lost = 0;
  for (const auto& link : links_) lost += link->lostFrames();
  return lost;
}

bool JoinedLink::appendHandoff(std::vector<LinkHandoff>* queues) const {
  return std::all_of(links_.begin(), links_.end(),
                     [queues](auto& link) { return link->appendHandoff(queues); });
}

}  // namespace sluice
