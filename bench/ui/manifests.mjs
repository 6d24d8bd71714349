/**
 * Manifests of that many pods in namespaces of ten workloads, with policies; `places` are the pods' ends. `protocol` is
 * that of their ports.
 */
export function manifestsOf(pods, protocol = "TCP") {
  const roles = ["web", "api", "db", "cache", "queue", "worker", "auth", "mail", "search", "jobs"];
  const ports = { web: 8080, api: 8080, db: 5432, cache: 6379, queue: 5672, auth: 9090 };
  const places = [];
  const texts = [];
  for (let at = 0; at < pods; at++) {
    const role = roles[at % roles.length];
    const namespace = `team-${Math.floor(at / 20)}`;
    const name = `${role}-${Math.floor((at % 20) / 10)}`;
    const address = `10.64.${Math.floor(at / 250)}.${1 + (at % 250)}`;
    const port = ports[role] ?? 8000;
    places.push({ namespace, name, address, port });
    texts.push(`apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: { role: ${role} } }
spec: { containers: [{ name: c, image: i, ports: [{ containerPort: ${port}, protocol: ${protocol} }] }] }
status: { podIP: ${address}, phase: Running }
`);
  }
  for (const namespace of new Set(places.map((each) => each.namespace))) {
    for (const [to, from] of [
      ["api", "web"],
      ["db", "api"],
      ["cache", "api"],
      ["queue", "worker"],
    ]) {
      texts.push(`apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${to}-from-${from}, namespace: ${namespace} }
spec:
  podSelector: { matchLabels: { role: ${to} } }
  ingress:
    - from: [{ podSelector: { matchLabels: { role: ${from} } } }]
      ports: [{ port: ${ports[to]}, protocol: ${protocol} }]
`);
    }
  }
  return { text: texts.join("---\n"), places };
}
