/**
 * The forms that Kubernetes asks of names, keys and values. Each function returns what is wanted
 * instead, or undefined when the text is good.
 */

const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const dnsLabel = new RegExp(`^${label}$`);
const dnsSubdomain = new RegExp(`^${label}(\\.${label})*$`);
const qualifiedPart = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;

/** Source: RFC 1123 labels, as Kubernetes names namespaces. */
export function wantDnsLabel(text: string): string | undefined {
  if (text.length > 63) return "at most 63 characters";
  if (dnsLabel.test(text)) return undefined;
  return "lowercase letters, digits and -, beginning and ending with a letter or digit";
}

/** Source: RFC 1123 subdomains, as Kubernetes names most objects. */
export function wantDnsSubdomain(text: string): string | undefined {
  if (text.length > 253) return "at most 253 characters";
  if (dnsSubdomain.test(text)) return undefined;
  return "lowercase letters, digits, - and ., each part beginning and ending with a letter or digit";
}

/** A label key: a name, with a DNS name and a slash in front or without. */
export function wantLabelKey(text: string): string | undefined {
  const parts = text.split("/");
  if (parts.length > 2) return "at most one slash, between prefix and name";
  if (parts.length === 2) {
    const want = parts[0] === "" ? "a DNS name" : wantDnsSubdomain(parts[0]!);
    if (want !== undefined) return `a prefix of ${want}`;
  }
  const name = parts[parts.length - 1]!;
  if (name === "") return "a name of one character at least";
  if (name.length > 63) return "a name of at most 63 characters";
  if (qualifiedPart.test(name)) return undefined;
  return "a name of letters, digits, -, _ and ., beginning and ending with a letter or digit";
}

export function wantLabelValue(text: string): string | undefined {
  if (text.length > 63) return "at most 63 characters";
  if (text === "" || qualifiedPart.test(text)) return undefined;
  return "letters, digits, -, _ and ., beginning and ending with a letter or digit";
}

/** Source: RFC 6335 section 5.1, in lowercase. */
export function wantPortName(text: string): string | undefined {
  if (text.length > 15) return "at most 15 characters";
  if (!/^[-a-z0-9]*$/.test(text)) return "only lowercase alpha-numeric characters and -";
  if (!/[a-z]/.test(text)) return "a name with at least one letter; a number has no quotes";
  if (text.includes("--")) return "no two - in a row";
  if (text.startsWith("-") || text.endsWith("-")) return "a name that does not begin or end with -";
  return undefined;
}

/** A domain name of two labels or more, with `*.` in front or without. */
export function wantDomainName(text: string): string | undefined {
  const part = "[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?";
  if (new RegExp(`^(\\*\\.)?(${part}\\.)+${part}\\.?$`).test(text)) return undefined;
  return "a domain name such as example.com or *.example.com";
}
