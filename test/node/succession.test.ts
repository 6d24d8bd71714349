import { expect, test, vi } from "vitest";
import { Dataplane } from "../../src/dataplane/dataplane.js";
import { Attachments } from "../../src/node/attachments.js";
import { Succession } from "../../src/node/handoff/succession.js";
import { FlowLog } from "../../src/observe/flow-log.js";
import { Hits } from "../../src/observe/hits.js";

// Goal: what is left to the next process is what the last table made, and none comes into force behind it.
// Method: a table is still being put in force when the end comes; a service manager that nobody answers for.
test("what is handed on is packed when no table comes into force any more", async () => {
  const dataplane = Dataplane.create();
  const attachments = new Attachments({ dataplane, tell: () => {}, swapped: () => {} });
  const steps: string[] = [];
  vi.spyOn(attachments, "freeze").mockImplementation(() => void steps.push("packed"));
  let tableDone = () => {};
  const succession = new Succession({
    dataplane,
    hits: new Hits({
      dataplane,
      flows: new FlowLog(dataplane, { interfaceName: () => undefined }),
    }),
    attachments,
    host: {
      env: { NOTIFY_SOCKET: "/nonexistent/notify", FDSTORE: "8" },
      tell: (line) => void steps.push(line.split(":")[0]!),
      show: () => {},
      ready: () => {},
      hasTerminal: false,
    },
    version: "0",
    socket: "none",
    hubbleListen: undefined,
    takesOver: false,
    takeUp: () => {},
    endReloads: () =>
      new Promise((resolve) => {
        steps.push("reloads end");
        tableDone = resolve;
      }),
  });
  try {
    expect(await succession.enter(() => 1)).toBe(1);
    const ended = succession.end("SIGTERM");
    await new Promise((resolve) => setImmediate(resolve));
    expect(steps).toEqual(["reloads end"]);
    tableDone();
    expect(await ended).toBe(false);
    expect(steps).toEqual(["reloads end", "packed", "connections end"]);
    await expect(succession.enter(() => 2)).rejects.toThrow("the process is ending");
    expect(() => succession.offerPlace((step) => step())).toThrow("the process is ending");
  } finally {
    dataplane.close();
  }
});
