/** The addresses of daemons in pods: `kube://NAMESPACE/SELECTOR` and `kube-pod://POD`. Pure. */
import { type DrydockError, fail, nearest } from '../errors/index.ts';

/** Where to look for pods, and by what. */
export interface KubeAddress {
  /** The address as it was given. */
  readonly text: string;
  /** The pod itself, or the labels of those that may be chosen from. */
  readonly pod?: string;
  readonly selector?: string;
  /** Default: the context's, or the one of the pod in which this runs. */
  readonly namespace?: string;
  /** The container in the pod; default: the pod's own default, else its first. */
  readonly container?: string;
  readonly context?: string;
  readonly kubeconfig?: string;
  /** What pods are chosen by; default: the project's own key. */
  readonly key?: string;
}

const parameters = ['context', 'namespace', 'container', 'kubeconfig', 'key'] as const;

/** Whether an address is one of pods. */
export function isKubeAddress(text: string): boolean {
  return /^kube(-pod)?:\/\//.test(text);
}

/**
 * Reads an address. `kube:///SELECTOR` leaves the namespace to the context. Parameters follow a `?`: `context`, `container`,
 * `kubeconfig`, `key`, and of `kube-pod` `namespace`, as buildctl has them. Throws `invalid`.
 *
 *     parseKubeAddress('kube://builds/app=drydock?key=web')
 */
export function parseKubeAddress(text: string): KubeAddress {
  const bad = (why: string): DrydockError =>
    fail('invalid', 'client', `invalid address ${JSON.stringify(text)}: ${why}`, {
      hint: 'Pods are kube://NAMESPACE/LABEL=VALUE or kube-pod://POD?namespace=NAMESPACE (docs/kubernetes.md).',
    });
  const [, scheme, place = '', query = ''] = /^(kube|kube-pod):\/\/([^?]*)(?:\?(.*))?$/s.exec(text) ?? [];
  if (scheme === undefined) throw bad('it has no scheme kube:// or kube-pod://');
  const given: Partial<Record<(typeof parameters)[number], string>> = {};
  for (const [name, value] of new URLSearchParams(query)) {
    const known = parameters.find((each) => each === name);
    if (known === undefined) {
      throw bad(
        `it has no parameter ${name}; did you mean ${nearest(name, parameters) ?? parameters.join(', ')}?`,
      );
    }
    given[known] = value;
  }
  if (scheme === 'kube-pod') {
    if (!isName(place)) throw bad('want the name of a pod');
    checkNames(given, bad);
    return { text, pod: place, ...given };
  }
  const at = place.indexOf('/');
  const namespace = at < 0 ? '' : place.slice(0, at);
  const selector = decoded(place.slice(at + 1), bad);
  if (at < 0 || selector === '') throw bad('want a namespace and labels');
  if (given.namespace !== undefined) throw bad('the namespace comes before the labels');
  if (!/^[\w./=!, ()-]+$/.test(selector)) throw bad('the labels are no selector');
  checkNames({ namespace: namespace || undefined, ...given }, bad);
  return { text, selector, ...given, ...(namespace !== '' && { namespace }) };
}

function checkNames(names: Partial<Record<string, string>>, bad: (why: string) => DrydockError): void {
  for (const name of ['namespace', 'container']) {
    const value = names[name];
    if (value !== undefined && !isName(value)) throw bad(`${JSON.stringify(value)} is no ${name}`);
  }
}

/** Names of Kubernetes' objects are DNS names. */
function isName(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(text);
}

function decoded(text: string, bad: (why: string) => DrydockError): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw bad('a % in the labels begins no escape');
  }
}
