import { type CommandSpec, command, type OptionsOf } from "./command-spec.js";
import { choosing, enforcer, output, where } from "./shared-options.js";

const listFlags = [...where, ...choosing, output("table", "json")] as const;

export type ConntrackListOptions = OptionsOf<typeof listFlags>;

const flushFlags = [
  ...where,
  ...choosing,
  { flags: "--all", description: "every connection" },
  output("table", "json"),
] as const;

export type ConntrackFlushOptions = OptionsOf<typeof flushFlags>;

export const conntrack: CommandSpec = {
  name: "conntrack",
  summary: "list tracked connections, or forget some",
  group: enforcer,
  examples: [{ command: "sluice conntrack list", effect: "all of them" }],
  commands: [
    command({
      name: "list",
      summary: "list tracked connections, the same as get connections",
      options: listFlags,
      examples: [{ command: "sluice conntrack list --protocol udp", effect: "those over UDP" }],
      run: async (options, io) => (await import("./conntrack.js")).runConntrackList(options, io),
    }),
    command({
      name: "flush",
      summary: "forget connections: their next packets are judged as if they were the first",
      details: [
        "A TCP connection that is forgotten ends, unless the process runs with --loose: only a SYN opens one.",
      ],
      options: flushFlags,
      examples: [
        { command: "sluice conntrack flush --from-pod shop/frontend", effect: "those of a pod" },
      ],
      run: async (options, io) => (await import("./conntrack.js")).runConntrackFlush(options, io),
    }),
  ],
};
