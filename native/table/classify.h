#pragma once

#include <span>

#include "native/layout/layout.gen.h"
#include "native/table/table-view.h"

namespace sluice {

// Judges the first packets of flows, of both families in any order.
//
// Shape: as many verdicts as tuples; each is what TableView::decide() says.
void classify(const TableView& view, std::span<const FlowTuple> tuples,
              DeniedBy* verdicts) noexcept;

// The same with the audited policies: each verdict is what TableView::audit() says.
void audit(const TableView& view, std::span<const FlowTuple> tuples, DeniedBy* verdicts) noexcept;

}  // namespace sluice
