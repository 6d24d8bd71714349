// Runs the command line and kills it, as kill -9 does, before its n-th call that changes an interface or
// asks about one: `KILL_AT=n node killed-at.mjs sidecar …`. Says at the end how many calls there were.
import { addon } from "../../dist/dataplane/addon.js";

const killAt = Number(process.env.KILL_AT ?? 0);
let calls = 0;

function counted(owner, name) {
  const call = owner[name];
  return function (...words) {
    calls++;
    // Nothing runs after this: a signal to oneself is there before the call returns.
    if (calls === killAt) process.kill(process.pid, "SIGKILL");
    return call.apply(this, words);
  };
}

const native = addon();
for (const name of ["netlink", "holdStack", "createVeth", "configureInterface", "tryLock"]) {
  native[name] = counted(native, name);
}
// Native methods cannot be replaced, but inherited.
const Counted = class extends native.NativeDataplane {};
for (const name of ["addTap", "addPacketLink", "addXdpLink", "removeLink", "joinWire", "close"]) {
  Object.defineProperty(Counted.prototype, name, {
    value: counted(native.NativeDataplane.prototype, name),
  });
}
native.NativeDataplane = Counted;
process.on("exit", () => process.stderr.write(`calls ${calls}\n`));
await import("../../dist/cli/main.js");
