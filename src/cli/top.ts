import { explain } from "../analysis/explain.js";
import { explanationText } from "../analysis/explain-text.js";
import type { ControlClient } from "../control/client.js";
import { Table } from "../dataplane/table.js";
import { parseAddress } from "../net/address.js";
import { protocolNumbers } from "../net/protocol.js";
import type { Flow, FlowL4 } from "../observe/flow.js";
import { compiledInForce, readManifestList } from "../ui/live-source.js";
import { controlClient } from "./control-common.js";
import { CommandError, exitCodes, type Io } from "./io.js";
import { ellipsisOf } from "./locale.js";
import { sanitizeAll, styles } from "./output.js";
import { runRecommend } from "./recommend.js";
import type { RecommendOptions } from "./recommend-spec.js";
import { asCommand } from "./refusals.js";
import { keysOf } from "./top/keys.js";
import { LiveData } from "./top/live-data.js";
import type { Paint } from "./top/screen.js";
import { type Size, TopView } from "./top/top-view.js";
import type { TopOptions } from "./top-spec.js";

/** The size of a screen that does not tell it. */
const usualSize: Size = { columns: 80, rows: 24 };
/** At most so often a frame is drawn for what comes by itself. */
const drawMs = 500;

// Of a terminal: another screen and back, with the cursor away; the top left; the rest of a line, and of the screen.
const enterScreen = "\u001b[?1049h\u001b[?25l";
const leaveScreen = "\u001b[?25h\u001b[?1049l";
const home = "\u001b[H";
const restOfLine = "\u001b[K";
const restOfScreen = "\u001b[J";

/** Shows the flows, drops, policies, endpoints and connections of a process in a terminal. */
export async function runTop(options: TopOptions, io: Io): Promise<number> {
  return asCommand(async () => {
    const isShown = io.isTerminal.stdin && io.isTerminal.stdout;
    if (!options.once && !isShown) {
      throw new CommandError(
        exitCodes.usage,
        "got no terminal, want one",
        "--once prints one frame",
      );
    }
    const client = controlClient(options, io);
    const name = options.lab === undefined ? (options.socket ?? "") : `lab ${options.lab}`;
    let changed = () => {};
    const data = new LiveData(client, name, options.pane, () => changed());
    const view = new TopView(
      {
        title: () => data.title(),
        rows: (pane, grouping) => data.rows(pane, grouping),
        why: (flow) => why(client, flow),
        recommend: () => recommended(options, io),
        shown: (pane) => data.shown(pane),
        changed: () => changed(),
      },
      paintOf(io),
      ellipsisOf(io),
      options.pane,
    );
    await data.read();
    if (options.once) {
      io.stdout.write(
        `${view
          .frame(sizeOf(io))
          .map((line) => line.trimEnd())
          .join("\n")}\n`,
      );
      return exitCodes.ok;
    }
    data.follow();
    try {
      await interact(view, io, (draw) => {
        changed = draw;
      });
    } finally {
      data.close();
    }
    return exitCodes.ok;
  });
}

/** Draws and reads keys until the view is left. */
async function interact(view: TopView, io: Io, onDraw: (draw: () => void) => void): Promise<void> {
  const stdin = io.stdin as NodeJS.ReadStream;
  let last = "";
  const draw = () => {
    const lines = view.frame(sizeOf(io)).map((line) => `${line}${restOfLine}`);
    const text = `${home}${lines.join("\r\n")}${restOfScreen}`;
    if (text !== last) io.stdout.write(text);
    last = text;
  };
  onDraw(draw);
  const leave = () => {
    stdin.setRawMode(false);
    io.stdout.write(leaveScreen);
  };
  // After a bug too, the terminal is the user's again.
  process.once("exit", leave);
  stdin.setRawMode(true);
  stdin.setEncoding("utf8");
  io.stdout.write(enterScreen);
  const timer = setInterval(draw, drawMs);
  const resized = () => {
    last = "";
    draw();
  };
  process.on("SIGWINCH", resized);
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  process.once("SIGTERM", end).once("SIGHUP", end);
  const read = (text: string) => {
    for (const key of keysOf(text)) if (!view.press(key, sizeOf(io))) return end();
    draw();
  };
  stdin.on("data", read).once("end", end);
  try {
    draw();
    await ended;
  } finally {
    onDraw(() => {});
    clearInterval(timer);
    process.off("SIGWINCH", resized).off("SIGTERM", end).off("SIGHUP", end);
    stdin.off("data", read).off("end", end);
    stdin.pause();
    process.off("exit", leave);
    leave();
  }
}

function sizeOf(io: Io): Size {
  const { columns, rows } = io.stdout as { readonly columns?: number; readonly rows?: number };
  return { columns: columns || usualSize.columns, rows: rows || usualSize.rows };
}

function paintOf(io: Io): Paint {
  const { bold, dim, red, yellow, inverse } = styles(io);
  return { title: bold, quiet: dim, denied: red, audited: yellow, selected: inverse };
}

/** Explains a flow by the table in force: a line each. */
async function why(client: ControlClient, flow: Flow): Promise<readonly string[]> {
  const { IP, l4 } = flow;
  const transport = transportOf(l4);
  const [source, destination] = [IP?.source, IP?.destination].map((text) =>
    parseAddress(text ?? ""),
  );
  if (source === undefined || destination === undefined || transport === undefined) {
    return ["nothing decides about it by policy"];
  }
  const list = await readManifestList(client);
  const { compiled } = compiledInForce(list);
  const table = Table.open(compiled.blob);
  const end = (side: "source" | "destination", address: typeof source) => {
    const { namespace, pod_name: name } = flow[side] ?? {};
    const label = name === undefined ? (IP?.[side] ?? "") : `${namespace}/${name}`;
    return { label, addresses: [address] };
  };
  const question = {
    from: end("source", source),
    to: end("destination", destination),
    ...transport,
  };
  const explanation = explain({ objects: list.objects, compiled, table }, question);
  if (explanation === undefined) return ["nothing decides about it by policy"];
  const seen = `seen ${flow.time}, ${flow.verdict}${flow.ext.reason === null ? "" : ` (${flow.ext.reason})`}`;
  const text = explanationText(sanitizeAll(explanation), (part) => part);
  return [seen, "by the table in force now:", "", ...text.trimEnd().split("\n")];
}

function transportOf(
  l4: FlowL4 | undefined,
): { readonly protocol: number; readonly port: number | null } | undefined {
  if (l4 === undefined) return undefined;
  if ("TCP" in l4) return { protocol: protocolNumbers["TCP"]!, port: l4.TCP.destination_port };
  if ("UDP" in l4) return { protocol: protocolNumbers["UDP"]!, port: l4.UDP.destination_port };
  if ("SCTP" in l4) return { protocol: protocolNumbers["SCTP"]!, port: l4.SCTP.destination_port };
  return {
    protocol: "ICMPv4" in l4 ? protocolNumbers["ICMP"]! : protocolNumbers["ICMPv6"]!,
    port: null,
  };
}

/** What `sluice recommend` says of the same process. */
async function recommended({ socket, lab }: TopOptions, io: Io): Promise<readonly string[]> {
  let text = "";
  const sink = {
    write: (chunk: string | Uint8Array) => {
      text += chunk;
      return true;
    },
  };
  const options: RecommendOptions = {
    ...(socket === undefined ? {} : { socket }),
    ...(lab === undefined ? {} : { lab }),
    ...{ cluster: false, strict: false, render: "never", verbose: false, tighten: false },
    ...{ unanswered: false, audit: false, diff: false, defaultDeny: "namespace", output: "yaml" },
  };
  await runRecommend(options, { ...io, stdout: sink, stderr: sink }, new Map());
  return text.trimEnd().split("\n");
}
