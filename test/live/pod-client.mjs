/**
 * A program in a pod: does what each argument says, one after the other, and prints a JSON list of what came of it:
 * `{"got"}` or `{"failed"}`.
 *
 * `A:NAME`, `AAAA:NAME`, `SRV:NAME`, `PTR:ADDRESS`, `CNAME:NAME`: asks the pod's name server. `find:NAME`: as
 * programs do, by the machine's library. `http:URL`, `http6:URL`: the body. `udp:HOST:PORT:TEXT`: what comes back.
 * `file:PATH`: its text. `hostname`.
 */
import { createSocket } from "node:dgram";
import { promises as dns, lookup } from "node:dns";
import { readFileSync } from "node:fs";
import { get } from "node:http";
import { hostname } from "node:os";
import { promisify } from "node:util";

/** Silence is a denial, but a busy machine is silent too. */
const timeoutMs = 4_000;
const resolver = new dns.Resolver({ timeout: timeoutMs / 2, tries: 2 });

const actions = {
  A: (name) => resolver.resolve4(name),
  AAAA: (name) => resolver.resolve6(name),
  SRV: async (name) => (await resolver.resolveSrv(name)).map((each) => `${each.name} ${each.port}`),
  CNAME: (name) => resolver.resolveCname(name),
  PTR: (...parts) => resolver.reverse(parts.join(":")),
  find: async (name) => (await promisify(lookup)(name, { all: true })).map((each) => each.address),
  http: (...url) => fetchText(url.join(":"), 0),
  http4: (...url) => fetchText(url.join(":"), 4),
  http6: (...url) => fetchText(url.join(":"), 6),
  udp: (host, port, text) => exchange(host, Number(port), text),
  file: async (path) => readFileSync(path, "utf8"),
  hostname: async () => hostname(),
};

function fetchText(url, family) {
  return new Promise((resolve, reject) => {
    const request = get(url, { family, timeout: timeoutMs, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve(text));
    });
    request.on("timeout", () => request.destroy(Object.assign(new Error(), { code: "TIMEOUT" })));
    request.on("error", reject);
  });
}

function exchange(host, port, text) {
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp4");
    const timer = setTimeout(() => finish(reject, { code: "TIMEOUT" }), timeoutMs);
    const finish = (settle, value) => {
      clearTimeout(timer);
      socket.close();
      settle(value);
    };
    socket.on("error", (error) => finish(reject, error));
    socket.on("message", (message) => finish(resolve, message.toString()));
    // Connected: a refusal that comes back is heard.
    socket.connect(port, host, (error) => {
      if (error) finish(reject, error);
      else socket.send(text);
    });
  });
}

const answers = [];
for (const each of process.argv.slice(2)) {
  const [action, ...rest] = each.split(":");
  try {
    answers.push({ got: await actions[action](...rest) });
  } catch (error) {
    answers.push({ failed: error.code ?? String(error) });
  }
}
process.stdout.write(JSON.stringify(answers));
