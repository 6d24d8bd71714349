interface Named {
  readonly namespace: string;
  readonly name: string;
}

/** `namespace/name`, or the name of an object that has no namespace. */
export function objectName({ namespace, name }: Named): string {
  return namespace === "" ? name : `${namespace}/${name}`;
}

/** `namespace/name`, or the kind and the name of a policy of the whole cluster. */
export function policyName(policy: Named & { readonly kind: string }): string {
  return policy.namespace === "" ? `${policy.kind} ${policy.name}` : objectName(policy);
}

/** `NetworkPolicy shop/web`. */
export function kindAndName(object: Named & { readonly kind: string }): string {
  return `${object.kind} ${objectName(object)}`;
}
