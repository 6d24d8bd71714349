#pragma once

namespace sluice::cni {

// Carries out one call of a container runtime, as the last plugin of a chain.
//
// ADD and CHECK ask the daemon of this node, which answers when the pod's policy is in force; ADD
// then returns the previous plugin's result, byte for byte. DEL and GC succeed without a daemon: it
// forgets by itself what has gone.
//
// Shape:  `environment` as environ(7). The network configuration is read from `input` to its end,
// the result or the
//         error is written to `output`. Returns the program's exit code.
// Source: CNI specification 1.1.0, sections 2 and 5.
int runPlugin(const char* const* environment, int input, int output) noexcept;

}  // namespace sluice::cni
