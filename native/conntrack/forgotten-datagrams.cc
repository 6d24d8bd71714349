#include "native/conntrack/forgotten-datagrams.h"

namespace sluice {

void ForgottenDatagrams::note(Spot spot, const FragmentVerdict& verdict, uint64_t untilUs,
                              uint64_t nowUs) noexcept {
  Place& into = places_[spot.place];
  const uint32_t nowS = secondsOf(nowUs);
  if (verdict.generation > into.generation) {
    for (Known& each : into.known) each.term.grow();
    into.rest.grow();
    into.generation = verdict.generation;
  }
  size_t room = QUESTIONS_MAX;
  for (size_t each = 0; each < QUESTIONS_MAX && !verdict.once; ++each) {
    const Known& known = into.known[each];
    const bool over = known.term.isOver(nowS);
    if (over && room == QUESTIONS_MAX) room = each;
    if (over || known.question != verdict.question) continue;
    room = each;
    break;
  }
  Term* term = &into.rest;
  if (room != QUESTIONS_MAX) {
    Known& known = into.known[room];
    if (known.term.isOver(nowS)) into.groups[room] = 0;
    into.groups[room] |= spot.group;
    known.question = verdict.question;
    term = &known.term;
  }
  uint32_t& until = verdict.generation == into.generation ? term->untilS : term->olderUntilS;
  until = std::max(until, secondsOf(untilUs) + 1);
}

}  // namespace sluice
