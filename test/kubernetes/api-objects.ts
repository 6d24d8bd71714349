// Objects as an API server of Kubernetes 1.31 answers with: whole, with all that nobody asked for.

export interface ApiObject {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: Readonly<Record<string, unknown>> & {
    readonly name: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
  };
  readonly spec?: unknown;
  readonly status?: unknown;
}

function metadata(
  name: string,
  namespace: string | undefined,
  labels: Readonly<Record<string, string>>,
  manager: string,
) {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    uid: `4ac2d9d0-7c43-4f3b-9b5a-${Buffer.from(name.slice(-6).padStart(6, "0")).toString("hex")}`,
    creationTimestamp: "2026-11-20T08:00:00Z",
    labels,
    managedFields: [
      {
        manager,
        operation: "Update",
        apiVersion: "v1",
        time: "2026-11-20T08:00:00Z",
        fieldsType: "FieldsV1",
        fieldsV1: {
          "f:metadata": {
            "f:labels": { ".": {}, "f:app": {}, "f:pod-template-hash": {} },
            "f:ownerReferences": { ".": {}, 'k:{"uid":"9d5f2c2e-1f7c-4f2a"}': {} },
          },
        },
      },
      {
        manager: "kubelet",
        operation: "Update",
        apiVersion: "v1",
        time: "2026-11-20T08:00:05Z",
        fieldsType: "FieldsV1",
        fieldsV1: { "f:status": { "f:podIP": {}, "f:conditions": { 'k:{"type":"Ready"}': {} } } },
        subresource: "status",
      },
    ],
  };
}

export interface PodShape {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ip?: string;
  readonly node?: string;
  readonly phase?: string;
  readonly hostNetwork?: boolean;
}

export function podObject(name: string, shape: PodShape = {}): ApiObject {
  const { namespace = "shop", labels = { app: "web" }, ip, node = "n1", phase = "Running" } = shape;
  const at = "2026-11-20T08:00:05Z";
  return {
    kind: "Pod",
    apiVersion: "v1",
    metadata: {
      ...metadata(
        name,
        namespace,
        { ...labels, "pod-template-hash": "7c5d8b9f6" },
        "kube-controller-manager",
      ),
      generateName: "web-7c5d8b9f6-",
      annotations: { "kubernetes.io/config.seen": "2026-11-20T08:00:00.123456789Z" },
      ownerReferences: [
        {
          apiVersion: "apps/v1",
          kind: "ReplicaSet",
          name: "web-7c5d8b9f6",
          uid: "9d5f2c2e-1f7c-4f2a-8c39-0c3d6f3c2f11",
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      volumes: [
        {
          name: "kube-api-access-x7k2p",
          projected: {
            sources: [
              { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
              {
                configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] },
              },
            ],
            defaultMode: 420,
          },
        },
      ],
      containers: [
        {
          name: "web",
          image: "registry.example/web:1.2.3",
          ports: [{ name: "http", containerPort: 8080, protocol: "TCP" }],
          env: [
            { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "web", key: "password" } } },
            { name: "FEATURES", value: "a,b,c" },
          ],
          resources: { limits: { memory: "256Mi" }, requests: { cpu: "100m", memory: "128Mi" } },
          livenessProbe: {
            httpGet: { path: "/healthz", port: "http", scheme: "HTTP" },
            timeoutSeconds: 1,
            periodSeconds: 10,
            successThreshold: 1,
            failureThreshold: 3,
          },
          terminationMessagePath: "/dev/termination-log",
          terminationMessagePolicy: "File",
          imagePullPolicy: "IfNotPresent",
          securityContext: { capabilities: { drop: ["ALL"] }, runAsNonRoot: true },
        },
      ],
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
      dnsPolicy: "ClusterFirst",
      serviceAccountName: "default",
      nodeName: node,
      ...(shape.hostNetwork ? { hostNetwork: true } : {}),
      securityContext: {},
      schedulerName: "default-scheduler",
      tolerations: [
        {
          key: "node.kubernetes.io/not-ready",
          operator: "Exists",
          effect: "NoExecute",
          tolerationSeconds: 300,
        },
      ],
      priority: 0,
      enableServiceLinks: true,
      preemptionPolicy: "PreemptLowerPriority",
    },
    status: {
      phase,
      conditions: [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
      ].map((type) => ({ type, status: "True", lastProbeTime: null, lastTransitionTime: at })),
      hostIP: "192.168.1.10",
      hostIPs: [{ ip: "192.168.1.10" }],
      ...(ip === undefined ? {} : { podIP: ip, podIPs: [{ ip }] }),
      startTime: "2026-11-20T08:00:00Z",
      containerStatuses: [
        {
          name: "web",
          state: { running: { startedAt: at } },
          lastState: {},
          ready: true,
          restartCount: 0,
          image: "registry.example/web:1.2.3",
          imageID: "registry.example/web@sha256:0f9a6f3e1b",
          containerID: "containerd://d2b0c7",
          started: true,
        },
      ],
      qosClass: "Burstable",
    },
  };
}

export function namespaceObject(
  name: string,
  labels: Readonly<Record<string, string>> = {},
): ApiObject {
  return {
    kind: "Namespace",
    apiVersion: "v1",
    metadata: metadata(
      name,
      undefined,
      { "kubernetes.io/metadata.name": name, ...labels },
      "kubectl",
    ),
    spec: { finalizers: ["kubernetes"] },
    status: { phase: "Active" },
  };
}

export function nodeObject(name: string, address: string): ApiObject {
  return {
    kind: "Node",
    apiVersion: "v1",
    metadata: {
      ...metadata(
        name,
        undefined,
        { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" },
        "kubelet",
      ),
      annotations: {
        "node.alpha.kubernetes.io/ttl": "0",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
      },
    },
    spec: {
      podCIDR: "10.1.0.0/24",
      podCIDRs: ["10.1.0.0/24"],
      providerID: "kind://docker/kind/n1",
    },
    status: {
      capacity: { cpu: "8", "ephemeral-storage": "263174212Ki", memory: "32566392Ki", pods: "110" },
      conditions: [
        {
          type: "Ready",
          status: "True",
          lastHeartbeatTime: "2026-11-20T09:00:00Z",
          lastTransitionTime: "2026-11-20T08:00:00Z",
          reason: "KubeletReady",
          message: "kubelet is posting ready status",
        },
      ],
      addresses: [
        { type: "InternalIP", address },
        { type: "Hostname", address: name },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
      nodeInfo: {
        kernelVersion: "6.1.0",
        osImage: "Debian GNU/Linux 12 (bookworm)",
        kubeletVersion: "v1.31.2",
      },
      images: [{ names: ["registry.example/web:1.2.3"], sizeBytes: 12345678 }],
    },
  };
}

export function policyObject(name: string, spec: unknown, namespace = "shop"): ApiObject {
  return {
    kind: "NetworkPolicy",
    apiVersion: "networking.k8s.io/v1",
    metadata: {
      ...metadata(name, namespace, {}, "kubectl-client-side-apply"),
      generation: 1,
      annotations: {
        "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify({
          metadata: { name },
          spec,
        }),
      },
    },
    spec,
  };
}

/** What a ClusterNetworkPolicy says that denies everything to every pod. */
export const denyAll = {
  tier: "Admin",
  priority: 1,
  subject: { namespaces: {} },
  ingress: [{ action: "Deny", from: [{ namespaces: {} }] }],
};

export function clusterPolicyObject(name: string, spec: unknown): ApiObject {
  return {
    kind: "ClusterNetworkPolicy",
    apiVersion: "policy.networking.k8s.io/v1alpha2",
    metadata: { ...metadata(name, undefined, {}, "kubectl"), generation: 1 },
    spec,
    status: { conditions: [] },
  };
}
