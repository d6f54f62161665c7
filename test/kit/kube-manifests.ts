/** Manifests of packaging/kubernetes, rendered by the real helm and kubectl, and their check against published schemas. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';

/** The programs, which scripts/setup.sh puts there on machines that they exist for. */
const tools = '/usr/local/lib/drydock-test/kube';
export const kubeTools = existsSync(join(tools, 'helm'));
const folder = join(import.meta.dirname, '../../packaging/kubernetes');

/** An object of Kubernetes. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; labels?: Record<string, string> };
  // biome-ignore lint/suspicious/noExplicitAny: manifests have many shapes, and their schemas check these.
  [field: string]: any;
}

const rendered = new Map<string, string>();

/** What `helm template` makes of the chart with these values. Throws with helm's own words. */
export function renderedChart(...set: string[]): Manifest[] {
  const values = set.flatMap((each) => ['--set', each]);
  const args = ['template', 'drydock', join(folder, 'helm/drydock'), '--namespace', 'builds', ...values];
  const key = set.join(' ');
  let text = rendered.get(key);
  if (text === undefined) {
    text = execFileSync(join(tools, 'helm'), args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    rendered.set(key, text);
  }
  return documents(text);
}

/** What `kubectl kustomize` makes of a folder of packaging/kubernetes/kustomize. */
export function kustomized(name: string): Manifest[] {
  const args = ['kustomize', join(folder, 'kustomize', name)];
  return documents(
    execFileSync(join(tools, 'kubectl'), args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
  );
}

function documents(text: string): Manifest[] {
  return parseAllDocuments(text, { version: '1.1' })
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}

/**
 * What is wrong with a manifest by the schemas of Kubernetes' and cert-manager's APIs, as npm has them. The validators
 * take fields that no schema has; those are found as the ones that no validator has read.
 */
export async function faults(manifest: Manifest): Promise<string[]> {
  const { apiVersion, kind } = manifest;
  const room = apiVersion.startsWith('cert-manager.io/')
    ? '@kubernetes-models/cert-manager'
    : 'kubernetes-models';
  const module = (await import(`${room}/${apiVersion}/${kind}`)) as Record<
    string,
    new (
      data: object,
    ) => { validate(): void }
  >;
  const Model = module[kind];
  if (Model === undefined) return [`${apiVersion} has no ${kind}`];
  const read = new Set<string>();
  try {
    (watched(new Model(manifest), '', read) as { validate(): void }).validate();
  } catch (err) {
    return [`${kind} ${manifest.metadata.name}: ${(err as Error).message}`];
  }
  return leaves(manifest, '')
    .filter((path) => !read.has(path))
    .map((path) => `${kind} ${manifest.metadata.name}: no schema has ${path}`);
}

/** The same object, which notes the paths that are read. */
function watched(value: unknown, path: string, read: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return new Proxy(value, {
    get(target, key) {
      const found = Reflect.get(target, key);
      if (typeof key === 'symbol') return found;
      read.add(`${path}/${key}`);
      return watched(found, `${path}/${key}`, read);
    },
  });
}

/** The paths of all values that have no others in them. */
function leaves(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [path];
  const entries = Object.entries(value);
  return entries.length === 0 ? [path] : entries.flatMap(([key, each]) => leaves(each, `${path}/${key}`));
}
