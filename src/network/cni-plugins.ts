/**
 * Runs the plugins of a CNI configuration.
 * https://github.com/containernetworking/cni/blob/main/SPEC.md (version 1.1.0, sections 1 to 5)
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';

/** A configuration: a chain of plugins. */
export interface CniConfig {
  cniVersion: string;
  name: string;
  plugins: ({ type: string } & Record<string, unknown>)[];
}

/** What a chain answers to ADD, as far as it matters here. */
export interface CniResult {
  ips?: { address: string; gateway?: string }[];
  [other: string]: unknown;
}

/** A namespace, as plugins are told of it. */
interface CniPlace {
  containerId: string;
  /** The path of the namespace; '' when it is gone. */
  netns: string;
  binaryPath: string;
  /** A descriptor that plugins hold for as long as they run. */
  calls?: number;
}

const longest = 60_000;

/** Reads a configuration, of one plugin or of a list. Throws `not-found` and `invalid`. */
export function readCniConfig(file: string): CniConfig {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const missing = errnoCode(cause) === 'ENOENT';
    throw fail(
      missing ? 'not-found' : 'denied',
      'exec',
      `the CNI configuration ${file} ${missing ? 'does not exist' : 'cannot be read'}`,
      { cause },
    );
  }
  return parseCniConfig(text, file);
}

/** `readCniConfig` on a text. Pure. */
function parseCniConfig(text: string, file: string): CniConfig {
  const invalid = (why: string) =>
    fail('invalid', 'exec', `the CNI configuration ${file} is not valid: ${why}`, {
      hint: 'A configuration has a name and a type, or a name and plugins with a type each.',
    });
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text) as Record<string, unknown>;
  } catch (err) {
    throw invalid((err as Error).message);
  }
  if (typeof value !== 'object' || value === null) throw invalid('it is no object');
  const { name, cniVersion = '0.1.0' } = value;
  const plugins = Array.isArray(value.plugins) ? value.plugins : [value];
  if (typeof name !== 'string' || name === '') throw invalid('it has no name');
  for (const plugin of plugins) {
    if (typeof plugin?.type !== 'string' || !/^[\w.-]+$/.test(plugin.type)) {
      throw invalid('a plugin has no type');
    }
  }
  return { name, cniVersion: String(cniVersion), plugins };
}

/** Connects a namespace. `answered` hears what each plugin tells; after a failure the caller has it taken back. */
export async function addCni(
  config: CniConfig,
  place: CniPlace,
  answered: (result: CniResult) => void,
): Promise<void> {
  let result: CniResult | undefined;
  for (const plugin of config.plugins) {
    result = (await call('ADD', config, plugin, place, result)) as CniResult;
    answered(result);
  }
}

/** Disconnects a namespace: the plugins in their opposite order. All are asked; the first error is thrown. */
export async function deleteCni(config: CniConfig, place: CniPlace, result?: CniResult): Promise<void> {
  let failed: unknown;
  for (const plugin of [...config.plugins].reverse()) {
    await call('DEL', config, plugin, place, result).catch((err: unknown) => {
      failed ??= err;
    });
  }
  if (failed !== undefined) throw failed;
}

async function call(
  command: 'ADD' | 'DEL',
  { name, cniVersion }: CniConfig,
  plugin: CniConfig['plugins'][number],
  { containerId, netns, binaryPath, calls }: CniPlace,
  prevResult: CniResult | undefined,
): Promise<unknown> {
  const program = join(binaryPath, plugin.type);
  const child = spawn(program, {
    env: {
      PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: netns,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: 'IgnoreUnknown=1',
      CNI_PATH: binaryPath,
    },
    stdio: ['pipe', 'pipe', 'pipe', calls ?? 'ignore'],
    timeout: longest,
  }) as ChildProcessWithoutNullStreams;
  const output: Buffer[] = [];
  const said: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  child.stdin.on('error', () => {});
  child.stdin.end(
    JSON.stringify({ ...plugin, name, cniVersion, ...(prevResult === undefined ? {} : { prevResult }) }),
  );
  let code: number | null;
  try {
    [code] = (await once(child, 'close')) as [number | null];
  } catch (cause) {
    const missing = errnoCode(cause) === 'ENOENT';
    throw fail(
      'unavailable',
      'exec',
      `the CNI plugin ${program} ${missing ? 'is not there' : 'does not run'}`,
      {
        cause,
        hint: 'Debian: apt-get install containernetworking-plugins, and cniBinaryPath = "/usr/lib/cni".',
      },
    );
  }
  const text = Buffer.concat(output).toString('utf8').trim();
  if (code === 0) return text === '' ? {} : JSON.parse(text);
  throw fail('unavailable', 'exec', `the CNI plugin ${plugin.type} failed: ${reasonIn(text, said)}`);
}

/** A plugin tells its error as JSON: `{ "code": 999, "msg": "…", "details": "…" }`. */
function reasonIn(text: string, said: Buffer[]): string {
  try {
    const { msg, details } = JSON.parse(text) as { msg?: string; details?: string };
    return [msg, details].filter(Boolean).join(': ');
  } catch {
    return text || Buffer.concat(said).toString('utf8').trim().slice(-500) || 'it said nothing';
  }
}
