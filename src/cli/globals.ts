/** The flags of the program itself. They come before the command; those that choose the store may also follow it. */
import { resolve } from 'node:path';
import {
  defaultRoot,
  explainFromEnv,
  noProcessSandboxFromEnv,
  type OperatorLimits,
  parseImageStore,
  parseSnapshotter,
  type SandboxOptions,
  type StoreOptions,
  stepLimitsFromEnv,
  stepRightsFromEnv,
  type TellOptions,
  usernsRemapFromEnv,
} from '../engine/index.ts';
import { fail } from '../errors/index.ts';
import { authoritiesFromEnv, type NetworkOptions, networkFromEnv, proxyFromEnv } from '../network/index.ts';

/** The program's options; the limits of steps are among them, for an engine in this process. */
interface Globals extends StoreOptions, OperatorLimits, SandboxOptions, TellOptions {
  debug: boolean;
  insecureRegistries: string[];
  /** The networks of steps, for an engine in this process. */
  network: NetworkOptions;
  proxyNetwork: boolean | undefined;
  trusted: string[];
  /** The file of an image policy, for an engine in this process. */
  imagePolicy: string | undefined;
  /** The address of a daemon. Commands are then for it, and not for the root. */
  host?: string;
  /** The command and its own arguments. */
  rest: string[];
}

/** The commands that read the store's flags themselves. */
const ownStoreFlags = new Set(['daemon', 'buildkitd']);

/** Reads the program's flags and variables. Throws `invalid`. Pure. */
export function globalFlags(argv: readonly string[], env: NodeJS.ProcessEnv): Globals {
  const globals: Globals = {
    root: defaultRoot(env),
    debug: Boolean(env.DRYDOCK_DEBUG),
    sync: /^(1|true)$/i.test(env.DRYDOCK_SYNC ?? ''),
    insecureRegistries: (env.DRYDOCK_INSECURE_REGISTRIES ?? '').split(',').filter((host) => host !== ''),
    ...stepLimitsFromEnv(env),
    ...stepRightsFromEnv(env),
    explain: explainFromEnv(env),
    noProcessSandbox: noProcessSandboxFromEnv(env),
    usernsRemap: usernsRemapFromEnv(env),
    network: networkFromEnv(env),
    proxyNetwork: proxyFromEnv(env),
    trusted: authoritiesFromEnv(env),
    imagePolicy: env.DRYDOCK_IMAGE_POLICY || undefined,
    provenanceEnvDir: env.DRYDOCK_PROVENANCE_ENV_DIR || undefined,
    rest: [],
  };
  for (const name of storeFlagNames) {
    const value = env[`DRYDOCK_${name.toUpperCase().replaceAll('-', '_')}`];
    if (value) setStore(globals, name, value);
  }
  if (env.DRYDOCK_HOST) globals.host = env.DRYDOCK_HOST;
  const rest = [...argv];
  const known = [
    '--root',
    '--host',
    '-H',
    '--image-policy',
    '--insecure-registry',
    '--debug',
    '-D',
    ...storeFlagNames.map((name) => `--${name}`),
  ];
  while (rest.length > 0) {
    const match = /^(--?[a-zA-Z-]+)(?:=(.*))?$/.exec(rest[0] as string);
    const name = match?.[1] ?? '';
    if (!known.includes(name)) break;
    rest.shift();
    if (name === '--debug' || name === '-D') globals.debug = match?.[2] !== 'false';
    else take(globals, name, match?.[2] ?? rest.shift());
  }
  globals.root = resolve(globals.root);
  const words = takeDebug(globals, rest);
  globals.rest = ownStoreFlags.has(words[0] ?? '') ? words : takeStoreFlags(globals, words);
  return globals;
}

const storeFlagNames = ['image-store', 'containerd-address', 'containerd-namespace', 'snapshotter'] as const;

function take(globals: Globals, flag: string, value: string | undefined): void {
  if (!value) throw fail('invalid', 'client', `flag needs an argument: ${flag}`);
  const name = storeFlagNames.find((each) => flag === `--${each}`);
  if (name !== undefined) setStore(globals, name, value);
  else if (flag === '--root') globals.root = value;
  else if (flag === '--image-policy') globals.imagePolicy = value;
  else if (flag === '--host' || flag === '-H') globals.host = value;
  else globals.insecureRegistries.push(value);
}

function setStore(globals: Globals, name: (typeof storeFlagNames)[number], value: string): void {
  if (name === 'image-store') globals.imageStore = parseImageStore(value);
  else if (name === 'containerd-address') globals.containerdAddress = value;
  else if (name === 'containerd-namespace') globals.containerdNamespace = value;
  else globals.snapshotter = parseSnapshotter(value);
}

/** Commands whose arguments are for other programs, or that have flags of the same name. */
const ownDebugFlag = new Set(['buildkitd', 'buildctl', 'unshare', 'debug']);

/** Takes `--debug` and `-D` out of a command's arguments: docker's CLI and scripts write them there as well. */
function takeDebug(globals: Globals, args: readonly string[]): string[] {
  if (ownDebugFlag.has(args[0] ?? '')) return [...args];
  const end = args.indexOf('--');
  return args.filter((arg, i) => {
    const match = end >= 0 && i > end ? null : /^(?:-D|--debug)(?:=(.*))?$/.exec(arg);
    if (match !== null) globals.debug = match[1] !== 'false';
    return match === null;
  });
}

/** Takes the store's flags out of a command's arguments. */
function takeStoreFlags(globals: Globals, args: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (arg === '--') return [...kept, ...args.slice(i)];
    const [name = '', value] = arg.startsWith('--') ? arg.split(/=(.*)/s, 2) : [];
    if (storeFlagNames.some((each) => name === `--${each}`)) take(globals, name, value ?? args[++i]);
    else kept.push(arg);
  }
  return kept;
}
