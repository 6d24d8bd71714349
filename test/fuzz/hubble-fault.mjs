// The Hubble listener with a planted fault: who follows ends it.
import { FlowStore } from "../../dist/hubble/flow-store.js";

const { read } = FlowStore.prototype;
FlowStore.prototype.read = function (call, wanted) {
  if (wanted.follow) {
    setImmediate(() => {
      throw new Error("planted");
    });
  }
  read.call(this, call, wanted);
};
await import("../../dist/hubble/hubble-listener.js");
