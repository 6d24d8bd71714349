import { type Capture, CaptureError } from "./capture.js";
import { isPcap, readPcap } from "./pcap.js";
import { isPcapng, readPcapng } from "./pcapng.js";

/**
 * Reads a capture of either format, whatever its byte order.
 *
 * Cost:   one pass; packets are not copied.
 * Errors: CaptureError with the offset of what is wrong. A file that ends too early is not an error:
 *         whole packets are returned, and `cutAt`.
 */
export function readCapture(bytes: Uint8Array): Capture {
  if (isPcapng(bytes)) return readPcapng(bytes);
  if (isPcap(bytes)) return readPcap(bytes);
  throw new CaptureError(0, "this is neither pcap nor pcapng");
}
