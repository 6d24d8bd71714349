// Sends IPv4 packets that no ordinary socket sends, by the package raw-socket.
// node inject.mjs SOURCE DESTINATION PROTOCOL PAYLOAD_HEX COUNT
import raw from "raw-socket";

const [source, destination, protocol, payloadHex, count] = process.argv.slice(2);
const payload = Buffer.from(payloadHex, "hex");
const header = Buffer.alloc(20);
header[0] = 0x45;
header.writeUInt16BE(20 + payload.length, 2);
header[8] = 64;
header[9] = Number(protocol);
Buffer.from(source.split(".").map(Number)).copy(header, 12);
Buffer.from(destination.split(".").map(Number)).copy(header, 16);
raw.writeChecksum(header, 10, raw.createChecksum(header));
const packet = Buffer.concat([header, payload]);

const socket = raw.createSocket({ protocol: Number(protocol) });
socket.setOption(raw.SocketLevel.IPPROTO_IP, raw.SocketOption.IP_HDRINCL, 1);
for (let left = Number(count); left > 0; left--) {
  await new Promise((resolve, reject) => {
    socket.send(packet, 0, packet.length, destination, (error) =>
      error ? reject(error) : resolve(),
    );
  });
}
socket.close();
