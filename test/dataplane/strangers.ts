import { ConnState, SavedConnection } from "../../src/layout/layout.gen.js";

/** Established connections of strangers to 10.9.0.x, as SavedConnection records. */
export function recordsOf(zone: number, pod: number, count: number): Uint8Array {
  const records = new Uint8Array(count * SavedConnection.bytes);
  const view = new DataView(records.buffer);
  for (let each = 0; each < count; each++) {
    const at = each * SavedConnection.bytes;
    // Without a fixed step from one to the next: workers share addresses by a random factor, and a few
    // factors would give most of such a row to one worker.
    const spread = (each * each * 7) >> 3;
    records.set([11, spread & 255, each >> 8, each & 255], at + SavedConnection.source);
    records.set([10, 9, 0, pod], at + SavedConnection.destination);
    view.setBigUint64(at + SavedConnection.remainingUs, 60_000_000n, true);
    view.setUint32(at + SavedConnection.zone, zone, true);
    view.setUint16(at + SavedConnection.destinationPort, 443, true);
    view.setUint8(at + SavedConnection.protocol, 6);
    view.setUint8(at + SavedConnection.family, 4);
    view.setUint8(at + SavedConnection.state, ConnState.Established);
  }
  return records;
}
