import { runFolder, settings } from "../control/settings.js";
import { command, type OptionsOf } from "./command-spec.js";
import { enforcing, filename, live, pod, routerAdvertisements } from "./shared-options.js";

const flags = [
  {
    flags: "--interface <name>",
    description: "the workload's interface",
    completes: "interface",
    required: true,
  },
  { ...filename, required: false },
  { ...pod, required: false },
  {
    flags: "--adopt",
    description:
      "take up the connections that the workload has at the start, as far as policy allows them",
  },
  {
    flags: "--on-stop <what>",
    description:
      "at a clean end: put the interface back as it was, or leave all in place and let nothing pass, as for a restart; when left out: restore where standard input and standard error are a terminal, else block",
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
    description: `${settings.routerAdvertisements.doc}; when left out, they do if the interface has a route from a router advertisement`,
    values: settings.routerAdvertisements.words,
  },
  ...enforcing,
] as const;

export type SidecarOptions = OptionsOf<typeof flags>;

export const sidecar = command({
  name: "sidecar",
  summary: "stand between one workload and its network, inside its network namespace",
  details: [
    "Another interface takes the name, MAC, MTU, addresses, routes and neighbour entries of the workload's own, which becomes the uplink: the workload notices nothing. Starts before the workload or after it. Prints ready on standard output once it enforces; SIGHUP reads the manifests again; SIGTERM and Ctrl-C end it: --on-stop says what becomes of the interface then.",
    "When the process is killed, traffic stops: the workload keeps its interface, and the next start goes on with it. With --restore the command only puts back what a killed process has left.",
  ],
  group: live,
  options: flags,
  examples: [
    {
      command: "sluice sidecar --interface eth0 -f manifests/ --pod shop/database",
      effect: "enforce for the workload whose network namespace this is",
    },
    {
      command: "sluice sidecar --interface eth0 --restore",
      effect: "undo what a killed sidecar has left",
    },
  ],
  run: async (options, io) => (await import("./sidecar.js")).runSidecar(options, io),
});
