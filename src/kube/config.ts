/** The cluster that kubectl would speak to, and who asks there: kubeconfig files, or the pod in which this runs. */
import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { errnoCode, fail } from '../errors/index.ts';
import { homeFolder } from '../linux/index.ts';
import { type ExecPlugin, execCredential, type KnownCluster } from './exec-credential.ts';

/** What proves who asks. */
export interface Credential {
  headers: Record<string, string | string[]>;
  cert?: string;
  key?: string;
}

/** An API server. */
export interface Cluster {
  server: URL;
  ca?: string;
  insecure: boolean;
  servername?: string;
  namespace: string;
  /** HTTP_PROXY, HTTPS_PROXY and NO_PROXY, by which the server is reached. */
  proxies: NodeJS.ProcessEnv;
  /** Asked before each connection: tokens end, and files with them are renewed. */
  credential(): Promise<Credential>;
}

interface Choice {
  kubeconfig?: string;
  context?: string;
}

const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Finds the cluster: by the files that `kubeconfig` or KUBECONFIG names, else `~/.kube/config`, else as the pod in which
 * this runs. Throws `not-found` when there is none, and `invalid` for a file that is wrong, or needs what is not
 * supported here (a proxy, an auth provider).
 */
export function clusterOf({ kubeconfig, context }: Choice, env: NodeJS.ProcessEnv): Cluster {
  const named = kubeconfig ?? env.KUBECONFIG;
  const files = named
    ? named.split(':').filter((file) => file !== '')
    : [join(homeFolder(env), '.kube/config')];
  const read = files.map((file) => [file, textOf(file)] as const).filter(([, text]) => text !== undefined);
  if (read.length > 0)
    return fromFiles(
      read.map(([file, text]) => part(file, text as string)),
      context,
      env,
    );
  if (!kubeconfig && env.KUBERNETES_SERVICE_HOST) return inCluster(env);
  throw fail('not-found', 'client', `there is no kubeconfig: ${files.join(', ')}`, {
    hint: 'Set KUBECONFIG, or run in a pod whose service account may look for pods and exec in them.',
  });
}

function inCluster(env: NodeJS.ProcessEnv): Cluster {
  const host = env.KUBERNETES_SERVICE_HOST as string;
  const token = () => mustRead(join(serviceAccount, 'token')).trim();
  token();
  return {
    server: new URL(
      `https://${host.includes(':') ? `[${host}]` : host}:${env.KUBERNETES_SERVICE_PORT || 443}`,
    ),
    ca: mustRead(join(serviceAccount, 'ca.crt')),
    insecure: false,
    namespace: textOf(join(serviceAccount, 'namespace'))?.trim() || 'default',
    proxies: env,
    credential: async () => ({ headers: { authorization: `Bearer ${token()}` } }),
  };
}

type Fields = Record<string, unknown>;

/** A file's lists by the names of their things; the first file that has a name counts. */
interface Part {
  file: string;
  current: string | undefined;
  named(list: 'clusters' | 'contexts' | 'users', name: string): Fields | undefined;
}

function part(file: string, text: string): Part {
  let root: Fields;
  try {
    root = (parse(text) ?? {}) as Fields;
  } catch (cause) {
    throw fail('invalid', 'client', `${file} is no YAML: ${(cause as Error).message.split('\n')[0]}`, {
      cause,
    });
  }
  const single = { clusters: 'cluster', contexts: 'context', users: 'user' } as const;
  return {
    file,
    current: stringOf(root['current-context']),
    named(list, name) {
      const all = Array.isArray(root[list]) ? (root[list] as Fields[]) : [];
      return all.find((each) => each?.name === name)?.[single[list]] as Fields | undefined;
    },
  };
}

function fromFiles(parts: Part[], asked: string | undefined, env: NodeJS.ProcessEnv): Cluster {
  const where = parts.map(({ file }) => file).join(':');
  const find = (list: 'clusters' | 'contexts' | 'users', name: string) => {
    for (const each of parts) {
      const found = each.named(list, name);
      if (found !== undefined) return { file: each.file, fields: found };
    }
    throw fail('invalid', 'client', `${where} has no ${list.slice(0, -1)} ${JSON.stringify(name)}`);
  };
  const name = asked ?? parts.find(({ current }) => current)?.current;
  if (!name) {
    throw fail('invalid', 'client', `${where} has no current context`, {
      hint: 'Choose one with `kubectl config use-context`, or in the address: ?context=NAME.',
    });
  }
  const context = find('contexts', name).fields;
  const { file, fields: cluster } = find('clusters', stringOf(context.cluster) ?? '');
  let server: URL;
  try {
    server = new URL(stringOf(cluster.server) ?? '');
  } catch (cause) {
    throw fail('invalid', 'client', `${file}: the cluster's server is no URL`, { cause });
  }
  const user = stringOf(context.user)
    ? find('users', stringOf(context.user) as string)
    : { file, fields: {} };
  const proxy = stringOf(cluster['proxy-url']);
  const ca = dataOf(cluster, 'certificate-authority', file);
  const servername = stringOf(cluster['tls-server-name']);
  const insecure = cluster['insecure-skip-tls-verify'] === true;
  return {
    server,
    ca,
    insecure,
    servername,
    namespace: stringOf(context.namespace) ?? 'default',
    proxies: proxiesFor(server, proxy, file, env),
    credential: async () => {
      // What a program is told of the cluster when it asks for it.
      const config = extensionOf(cluster, 'client.authentication.k8s.io/exec');
      const known = { server, ca, insecure, servername, proxy, config };
      const credential = await credentialOf(user.fields, user.file, known, env);
      return { ...credential, headers: { ...credential.headers, ...impersonation(user.fields) } };
    },
  };
}

/**
 * The variables by which a server is reached: those of the environment, as kubectl takes them (never for this machine), or
 * the proxy that the file names. Throws `unsupported` for a proxy that speaks no HTTP.
 */
function proxiesFor(server: URL, proxy: string | undefined, file: string, env: NodeJS.ProcessEnv) {
  if (proxy === undefined) return isLoopback(server.hostname) ? {} : env;
  if (!/^https?:\/\//.test(proxy)) {
    throw fail('unsupported', 'client', `${file}: proxy-url: only proxies of http and https are supported`);
  }
  return { HTTP_PROXY: proxy, HTTPS_PROXY: proxy };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function extensionOf(fields: Fields, name: string): unknown {
  const all = Array.isArray(fields.extensions) ? (fields.extensions as Fields[]) : [];
  return all.find((each) => each?.name === name)?.extension;
}

/** The headers by which a user acts as another: `as`, `as-uid`, `as-groups`, `as-user-extra`. */
function impersonation(user: Fields): Record<string, string | string[]> {
  const listOf = (value: unknown) => (Array.isArray(value) ? value.map(String) : []);
  const headers: Record<string, string | string[]> = {};
  const [as, uid, groups] = [stringOf(user.as), stringOf(user['as-uid']), listOf(user['as-groups'])];
  if (as !== undefined) headers['impersonate-user'] = as;
  if (uid !== undefined) headers['impersonate-uid'] = uid;
  if (groups.length > 0) headers['impersonate-group'] = groups;
  for (const [key, values] of Object.entries((user['as-user-extra'] ?? {}) as Fields)) {
    // A key may have bytes that a header's name may not.
    headers[`impersonate-extra-${encodeURIComponent(key.toLowerCase())}`] = listOf(values);
  }
  return headers;
}

async function credentialOf(
  user: Fields,
  file: string,
  cluster: KnownCluster,
  env: NodeJS.ProcessEnv,
): Promise<Credential> {
  if (user['auth-provider'] !== undefined) {
    throw fail('unsupported', 'client', `${file}: auth-provider is not supported`, {
      hint: 'Kubernetes 1.26 has removed it; its successor is an exec plugin.',
    });
  }
  const cert = dataOf(user, 'client-certificate', file);
  const key = dataOf(user, 'client-key', file);
  const pair = { ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) };
  const tokenFile = stringOf(user.tokenFile);
  const token = tokenFile ? mustRead(besides(file, tokenFile)).trim() : stringOf(user.token);
  if (token) return { headers: { authorization: `Bearer ${token}` }, ...pair };
  if (stringOf(user.username)) {
    const basic = Buffer.from(`${user.username}:${stringOf(user.password) ?? ''}`).toString('base64');
    return { headers: { authorization: `Basic ${basic}` }, ...pair };
  }
  if (user.exec !== undefined) return execCredential(user.exec as ExecPlugin, { file, ...cluster }, env);
  return { headers: {}, ...pair };
}

/** A value that is in the file (`NAME-data`, base64) or in another that it names. */
function dataOf(fields: Fields, name: string, file: string): string | undefined {
  const data = stringOf(fields[`${name}-data`]);
  if (data) return Buffer.from(data, 'base64').toString();
  const path = stringOf(fields[name]);
  return path ? mustRead(besides(file, path)) : undefined;
}

function besides(file: string, path: string): string {
  return isAbsolute(path) ? path : resolve(dirname(file), path);
}

function stringOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT' || errnoCode(cause) === 'ENOTDIR') return undefined;
    throw fail('denied', 'client', `cannot read ${file} (${errnoCode(cause)})`, { cause });
  }
}

function mustRead(file: string): string {
  const text = textOf(file);
  if (text === undefined) throw fail('not-found', 'client', `there is no ${file}`);
  return text;
}
