/**
 * Has the programs of a step trust more certificate authorities, without a change to its files: the image's own bundle
 * and the others are in a folder that is mounted in /dev, and variables lead programs there.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FsView, readFileIn } from '../fs/index.ts';
import { type AssemblyMount, plainFlags } from './assemble.ts';
import type { ExecSpec } from './types.ts';

/** Where the distributions keep the bundle of all authorities. */
export const bundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];
/** The largest bundle that is taken over, bytes. */
const largest = 10 << 20;

const folder = '/dev/drydock';
const all = `${folder}/authorities.pem`;
/** The variables by which OpenSSL, Go, curl, git, Python, cargo, AWS, Deno, Node, apt and wget find authorities. */
const variables: Record<string, string> = {
  SSL_CERT_FILE: all,
  CURL_CA_BUNDLE: all,
  GIT_SSL_CAINFO: all,
  REQUESTS_CA_BUNDLE: all,
  PIP_CERT: all,
  CARGO_HTTP_CAINFO: all,
  AWS_CA_BUNDLE: all,
  DENO_CERT: all,
  NODE_EXTRA_CA_CERTS: `${folder}/added.pem`,
  APT_CONFIG: `${folder}/apt.conf`,
  WGETRC: `${folder}/wgetrc`,
};

interface Trust {
  mounts: AssemblyMount[];
  /** Variables as `K=V`. */
  env: string[];
}

/**
 * Makes the mount and the variables. `added`: certificates as PEM; none: nothing is done. `env`: the step's own variables,
 * which are not overridden.
 */
export function trustFor(
  view: FsView,
  { bundle, env, added }: { bundle: string; env: readonly string[]; added: readonly string[] },
): Trust {
  if (added.length === 0) return { mounts: [], env: [] };
  const more = added.map((pem) => pem.trim()).join('\n');
  const at = join(bundle, 'trust');
  mkdirSync(at, { mode: 0o755 });
  const write = (name: string, text: string) => writeFileSync(join(at, name), text, { mode: 0o644 });
  write('authorities.pem', `${bundleOf(view)}${more}\n`);
  write('added.pem', `${more}\n`);
  write('apt.conf', `Acquire::https::CAInfo "${all}";\n`);
  write('wgetrc', `ca_certificate = ${all}\n`);
  const has = new Set(env.map((entry) => entry.split('=', 1)[0]));
  return {
    mounts: [{ dest: folder, readonly: true, flags: plainFlags, tree: { type: 'path', path: at } }],
    env: Object.entries(variables).flatMap(([name, value]) => (has.has(name) ? [] : [`${name}=${value}`])),
  };
}

/** The image's own bundle; '' when it has none. */
function bundleOf(view: FsView): string {
  for (const path of bundles) {
    try {
      const text = readFileIn(view, path);
      if (text !== undefined && text.length <= largest) return `${text.toString('utf8').trim()}\n`;
    } catch {
      // It leads nowhere.
    }
  }
  return '';
}

/** A process with more variables. Those of the network take the place of its own ones. */
export function withVariables(
  process: ExecSpec,
  network: readonly string[],
  more: readonly string[],
): ExecSpec {
  const nameOf = (entry: string) => entry.split('=', 1)[0];
  const replaced = new Set(network.map(nameOf));
  const own = process.env.filter((entry) => !replaced.has(nameOf(entry)));
  return { ...process, env: [...own, ...network, ...more] };
}
