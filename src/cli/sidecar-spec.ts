import { runFolder, settings } from "../control/settings.js";
import { command, type OptionsOf } from "./command-spec.js";
import {
  enforcing,
  filename,
  folders,
  following,
  live,
  pod,
  routerAdvertisements,
  sourceKind,
} from "./shared-options.js";

const flags = [
  {
    flags: "--interface <name>",
    description: "the workload's interface",
    completes: "interface",
    required: true,
  },
  { ...filename, required: false },
  ...folders,
  sourceKind,
  ...following,
  { ...pod, required: false },
  {
    flags: "--adopt",
    description:
      "take up the connections that the workload has at the start, as far as policy allows them",
  },
  {
    flags: "--on-stop <what>",
    description:
      "at a clean end: restore the interface, or leave all in place and block all traffic until a restart; when left out: restore if standard input and standard error are a terminal, otherwise block",
    values: ["restore", "block"],
  },
  {
    flags: "--restore",
    description: "put back what a killed process has left, and do nothing else",
  },
  {
    flags: "--state-dir <folder>",
    description: "folder of the record with the interface's original state",
    completes: "folder",
    default: runFolder,
  },
  {
    flags: routerAdvertisements.flags,
    description: `${settings.routerAdvertisements.doc}; when left out: pass if the interface has a route from a router advertisement, otherwise drop`,
    values: settings.routerAdvertisements.words,
  },
  ...enforcing,
] as const;

export type SidecarOptions = OptionsOf<typeof flags>;

export const sidecar = command({
  name: "sidecar",
  summary: "stand between one workload and its network, inside its network namespace",
  details: [
    "A new interface takes the name, MAC, MTU, addresses, routes and neighbour entries of the workload's interface, which becomes the uplink. The workload notices nothing. Start it before or after the workload.",
    "Prints ready on standard output once it enforces. SIGHUP reads the manifests again. SIGTERM and Ctrl-C end the process; --on-stop says what happens to the interface.",
    "When the process is killed, traffic stops, and the workload keeps its interface. The next start takes it over. With --restore, the command only restores the interface that a killed process has left.",
  ],
  group: live,
  options: flags,
  examples: [
    {
      command: "sluice sidecar --interface eth0 -f manifests/ --pod shop/database",
      effect: "enforce for the workload whose network namespace this is",
    },
    {
      command: "sluice sidecar --interface eth0 --source kubernetes --pod shop/database",
      effect: "the same by the API server, which it reaches past its own wire",
    },
    {
      command: "sluice sidecar --interface eth0 --restore",
      effect: "undo what a killed sidecar has left",
    },
  ],
  run: async (options, io) => (await import("./sidecar.js")).runSidecar(options, io),
});
