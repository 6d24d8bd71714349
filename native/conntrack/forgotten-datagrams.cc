#include "native/conntrack/forgotten-datagrams.h"

namespace sluice {

void ForgottenDatagrams::note(size_t place, const FragmentVerdict& verdict, uint64_t untilUs,
                              uint64_t nowUs) noexcept {
  Place& into = places_[place];
  const uint32_t nowS = secondsOf(nowUs);
  Known* room = nullptr;
  for (Known& each : into.known) {
    if (verdict.once) break;
    const bool over = each.term.untilS <= nowS;
    if (over && room == nullptr) room = &each;
    if (over || each.question != verdict.question) continue;
    room = &each;
    break;
  }
  if (room != nullptr) room->question = verdict.question;
  Term& term = room != nullptr ? room->term : into.rest;
  term.extend(verdict.generation, secondsOf(untilUs) + 1, nowS);
}

}  // namespace sluice
