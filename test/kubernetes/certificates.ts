import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";

// Certificates for servers of tests, made anew each time: none can leak, none can expire.
// Source: RFC 5280; DER of ITU-T X.690.

export interface Certified {
  readonly cert: string;
  readonly key: string;
}

/** An authority, and a server certificate of it for 127.0.0.1. */
export function makeCertificates(): { readonly ca: string; readonly server: Certified } {
  const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const server = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const ca = certificate("sluice test CA", authority.publicKey, authority.privateKey, [
    extension("551d13", sequence(der(0x01, Buffer.from([0xff]))), true),
  ]);
  const address = der(0x87, Buffer.from([127, 0, 0, 1]));
  const cert = certificate("127.0.0.1", server.publicKey, authority.privateKey, [
    extension("551d11", sequence(address)),
  ]);
  const key = server.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return { ca, server: { cert, key } };
}

function certificate(
  name: string,
  subjectKey: KeyObject,
  signer: KeyObject,
  extensions: readonly Buffer[],
): string {
  const algorithm = sequence(oid("2a8648ce3d040302"));
  const signed = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    distinguishedName("sluice test CA"),
    sequence(der(0x17, Buffer.from("200101000000Z")), der(0x17, Buffer.from("490101000000Z"))),
    distinguishedName(name),
    createPublicKey(subjectKey.export({ type: "spki", format: "pem" })).export({
      type: "spki",
      format: "der",
    }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign("sha256", signed, signer);
  const whole = sequence(
    signed,
    algorithm,
    der(0x03, Buffer.concat([Buffer.from([0]), signature])),
  );
  const lines = whole
    .toString("base64")
    .match(/.{1,64}/g)!
    .join("\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

function distinguishedName(name: string): Buffer {
  return sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from(name)))));
}

function extension(id: string, value: Buffer, isCritical = false): Buffer {
  const critical = isCritical ? [der(0x01, Buffer.from([0xff]))] : [];
  return sequence(oid(id), ...critical, der(0x04, value));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
