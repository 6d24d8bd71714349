// Knows of pods what kube-network-policies' informer knows: lists all from an API server at the socket of its argument,
// then follows them. Writes `synced`, and for each pod that gets an address a line: the address, and when it was known.
// Units: milliseconds of the machine's monotonic clock.
import { request } from "node:https";

const [, , socketPath, token] = process.argv;
const pods = new Map();

function ask(query, answered) {
  const path = `/api/v1/pods?${query}`;
  const headers = { authorization: `Bearer ${token}` };
  request({ socketPath, path, headers, rejectUnauthorized: false }, answered).end();
}

function learn(pod, isNews) {
  for (const { ip } of pod.status?.podIPs ?? []) {
    if (isNews && !pods.has(ip)) {
      process.stdout.write(`${ip} ${Number(process.hrtime.bigint()) / 1e6}\n`);
    }
    pods.set(ip, pod);
  }
}

function follow(version) {
  ask(`watch=true&timeoutSeconds=3600&resourceVersion=${version}`, (answer) => {
    let rest = "";
    answer.setEncoding("utf8").on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) learn(JSON.parse(line).object, true);
    });
    process.stdout.write("synced\n");
  });
}

ask("", (answer) => {
  const parts = [];
  answer.on("data", (part) => parts.push(part));
  answer.on("end", () => {
    const { items, metadata } = JSON.parse(Buffer.concat(parts).toString("utf8"));
    for (const pod of items) learn(pod, false);
    follow(metadata.resourceVersion);
  });
});
