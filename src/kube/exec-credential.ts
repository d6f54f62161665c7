/** Credentials of a program that a kubeconfig names: `exec`, as clouds have it. */
import { execFile } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { type DrydockError, errnoCode, fail } from '../errors/index.ts';
import type { Credential } from './config.ts';

/** https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins */
export interface ExecPlugin {
  apiVersion?: string;
  command?: string;
  args?: string[] | null;
  env?: { name: string; value: string }[] | null;
  installHint?: string;
  provideClusterInfo?: boolean;
  interactiveMode?: string;
}

/** What a program may be told of its cluster. */
export interface KnownCluster {
  server: URL;
  ca?: string;
  insecure: boolean;
  servername?: string;
  proxy?: string;
  /** What the kubeconfig has for programs alone. */
  config?: unknown;
}

interface ForCluster extends KnownCluster {
  /** The kubeconfig, for paths that are relative to it. */
  file: string;
}

/** What programs have answered, for as long as it holds. */
const known = new Map<string, { until: number; credential: Credential }>();
/** How long a program may take, in ms; it may ask the user to log in, in a browser. */
const patience = 120_000;

/** Runs the program and returns what it answers; an answer is used again until it ends. Throws `unauthenticated`. */
export async function execCredential(
  plugin: ExecPlugin,
  { file, server, ca, insecure, servername, proxy, config }: ForCluster,
  env: NodeJS.ProcessEnv,
): Promise<Credential> {
  const { apiVersion = '', command = '', installHint } = plugin;
  const id = JSON.stringify([plugin, server.href]);
  const before = known.get(id);
  if (before !== undefined && before.until > Date.now()) return before.credential;
  if (!/^client\.authentication\.k8s\.io\/v1(beta1)?$/.test(apiVersion) || command === '') {
    throw fail('unsupported', 'client', `${file}: exec needs a command, and the apiVersion v1 or v1beta1`);
  }
  if (plugin.interactiveMode === 'Always') {
    throw fail(
      'unsupported',
      'client',
      `${file}: exec: ${command} wants a terminal (interactiveMode: Always)`,
      {
        hint: 'Get a token by it, and name that in the kubeconfig: token or tokenFile.',
      },
    );
  }
  const cluster = plugin.provideClusterInfo
    ? {
        server: server.href,
        ...(servername !== undefined && { 'tls-server-name': servername }),
        ...(insecure && { 'insecure-skip-tls-verify': true }),
        ...(proxy !== undefined && { 'proxy-url': proxy }),
        ...(config !== undefined && { config }),
        ...(ca !== undefined && { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
      }
    : undefined;
  const info = {
    apiVersion,
    kind: 'ExecCredential',
    spec: { interactive: false, ...(cluster && { cluster }) },
  };
  const own = Object.fromEntries((plugin.env ?? []).map(({ name, value }) => [name, value]));
  const text = await new Promise<string>((done, failed) => {
    const child = execFile(
      command.includes('/') ? resolve(dirname(file), command) : command,
      plugin.args ?? [],
      {
        env: { ...env, ...own, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
        timeout: patience,
        maxBuffer: 1 << 20,
      },
      (err, stdout, stderr) =>
        err === null ? done(stdout) : failed(failure(command, err, stderr, installHint)),
    );
    child.stdin?.end();
  });
  const credential = readAnswer(text, command);
  const until = Date.parse(statusOf(text).expirationTimestamp ?? '');
  // A minute before it ends it is no good for a connection that is to be made.
  known.set(id, { until: Number.isNaN(until) ? Infinity : until - 60_000, credential });
  return credential;
}

function failure(command: string, err: Error, stderr: string, installHint: string | undefined): DrydockError {
  const missing = errnoCode(err) === 'ENOENT';
  const why = missing ? 'is not here' : `failed: ${stderr.trim().split('\n').at(-1) || err.message}`;
  return fail('unauthenticated', 'client', `${command}, which the kubeconfig asks for a credential, ${why}`, {
    cause: err,
    ...(missing && installHint && { hint: installHint }),
  });
}

interface Status {
  token?: string;
  clientCertificateData?: string;
  clientKeyData?: string;
  expirationTimestamp?: string;
}

function statusOf(text: string): Status {
  try {
    return (JSON.parse(text) as { status?: Status }).status ?? {};
  } catch {
    return {};
  }
}

function readAnswer(text: string, command: string): Credential {
  const { token, clientCertificateData: cert, clientKeyData: key } = statusOf(text);
  if (!token && !(cert && key)) {
    throw fail('unauthenticated', 'client', `${command} has answered with no credential`);
  }
  return {
    headers: token ? { authorization: `Bearer ${token}` } : {},
    ...(cert && key && { cert, key }),
  };
}
