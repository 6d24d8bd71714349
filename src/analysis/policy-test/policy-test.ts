import type { Span } from "../../diagnostics/diagnostic.js";
import type { Address } from "../../net/address.js";
import type { Prefix } from "../../net/prefix.js";
import type { TransportProtocol } from "../../net/protocol.js";

/** The parties of one end of an assertion. */
export type Party =
  | { readonly by: "pod" | "workload"; readonly namespace: string; readonly name: string }
  /** Pods of one namespace, or of all, that have all of the labels. */
  | {
      readonly by: "pods";
      readonly namespace: string | undefined;
      readonly labels: ReadonlyMap<string, string>;
    }
  | { readonly by: "cidr"; readonly cidr: Prefix }
  | { readonly by: "ip"; readonly address: Address }
  /** Every pod and every address outside. */
  | { readonly by: "any" }
  /** The pods behind a Service; only `to`, and the ports beside it are the Service's. */
  | { readonly by: "service"; readonly namespace: string; readonly name: string }
  /** What such a Service leads to. No file has it: `readTestFile` knows of no pods. */
  | { readonly by: "places"; readonly places: Places };

/** Where connections to a Service end, by `addressKey`. */
export type Places = ReadonlyMap<string, Place>;

export interface Place {
  readonly address: Address;
  readonly isPod: boolean;
  /** Ports there, with IP protocol numbers. */
  readonly ports: readonly { readonly protocol: number; readonly port: number }[];
}

/** The packets to the receiving end. */
export type Service =
  /** Every port of the protocol; of every protocol when it is left out. */
  | { readonly by: "all"; readonly protocol: TransportProtocol | "ICMP" | undefined }
  /** Inclusive. */
  | {
      readonly by: "range";
      readonly protocol: TransportProtocol;
      readonly first: number;
      readonly last: number;
    }
  /** A container port of the receiving pod, of whatever protocol when it is left out. */
  | {
      readonly by: "name";
      readonly name: string;
      readonly protocol: TransportProtocol | undefined;
    }
  /** The ports of the places. */
  | { readonly by: "places"; readonly protocol: undefined; readonly places: Places };

export const allowReasons = ["allowed-by-rule", "not-isolated"] as const;
export const denyReasons = ["no-matching-rule", "denied-by-rule"] as const;
export type TestReason = (typeof allowReasons)[number] | (typeof denyReasons)[number];

/** One assertion: the expected verdict of every connection that it selects. */
export interface PolicyTest {
  /** Unique within its file. */
  readonly name: string;
  readonly from: Party;
  readonly to: Party;
  readonly service: Service;
  readonly expect: "allow" | "deny";
  /** The policy that must be the reason: `namespace/name`, or the name of a cluster policy. */
  readonly via: string | undefined;
  readonly reason: TestReason | undefined;
  /** Tests of the same file whose connections do not count here. */
  readonly except: readonly string[];
  readonly span: Span;
}

/** A file of assertions. */
export interface PolicyTestFile {
  readonly file: string;
  readonly tests: readonly PolicyTest[];
}
