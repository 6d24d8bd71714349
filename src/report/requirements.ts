import type { RequirementEntry } from "./document.js";

/**
 * What segmentation is asked for by, each in one line of our own words.
 *
 * Source: PCI DSS v4.0; 45 CFR 164.312 (HIPAA Security Rule); CIS Kubernetes Benchmark, section 5.3.
 */
export const requirements: readonly RequirementEntry[] = [
  pci("1.2.3", "a network diagram shows how the cardholder data environment is connected", [
    "Zones",
    "Between zones",
  ]),
  pci("1.2.5", "each allowed service, protocol and port is known, approved and needed", [
    "Openings",
    "Exceptions",
  ]),
  pci("1.2.7", "rule sets are reviewed at least every six months", ["Openings", "Changes"]),
  pci(
    "1.2.8",
    "configuration files are kept from unauthorized change and agree with what is in force",
    ["Inputs", "Changes"],
  ),
  pci("1.3.1", "traffic into the cardholder data environment is only what is needed", [
    "Between zones",
    "Openings",
  ]),
  pci("1.3.2", "traffic out of the cardholder data environment is only what is needed", [
    "Between zones",
    "Openings",
  ]),
  pci("1.4.1", "controls stand between trusted and untrusted networks", [
    "Between zones",
    "Namespaces",
  ]),
  pci("1.4.2", "traffic from untrusted networks reaches only what is meant to be reached", [
    "Openings",
  ]),
  pci(
    "1.4.4",
    "systems that store cardholder data are not reachable straight from untrusted networks",
    ["Between zones", "Live probes"],
  ),
  pci(
    "11.4.5",
    "where segmentation is relied on, tests show at least once a year and after changes that it works",
    ["Live probes", "Changes"],
  ),
  hipaa(
    "164.312(a)(1)",
    "only those persons and programs that were granted it have access to systems with health data",
    ["Between zones", "Openings"],
  ),
  hipaa(
    "164.312(e)(1)",
    "health data is guarded against unauthorized access on its way through a network",
    ["Between zones", "Live probes"],
  ),
  cis("5.3.1", "what connects the pods enforces NetworkPolicy, of both directions", [
    "Live probes",
    "Namespaces",
  ]),
  cis("5.3.2", "every namespace has NetworkPolicies", ["Namespaces"]),
];

type Row = readonly [number: string, about: string, sections: readonly string[]];

function pci(...row: Row): RequirementEntry {
  return entry("PCI DSS 4.0", row);
}

function hipaa(...row: Row): RequirementEntry {
  return entry("HIPAA", row);
}

function cis(...row: Row): RequirementEntry {
  return entry("CIS Kubernetes", row);
}

function entry(standard: string, [number, about, sections]: Row): RequirementEntry {
  return { standard, number, about, sections };
}
