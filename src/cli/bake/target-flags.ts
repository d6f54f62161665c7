/** A bake target as the flags of `drydock build`, so that both are built by the same road. */
import { isAbsolute, join } from 'node:path';
import { entryText, here, type PlannedTarget, sshText } from '../../bake/index.ts';
import { fail, prefixed } from '../../errors/index.ts';
import { isRemoteUrl } from '../../words/index.ts';
import { parseCall } from '../build/call.ts';
import { buildFlags } from '../build/flags.ts';
import type { BuildFlags } from '../build/prepare.ts';

/** What `prepareBuild` is called with for a target. */
interface TargetBuild {
  context: string;
  flags: BuildFlags;
  /** The Dockerfile, where the target has it in itself. */
  inline?: string;
  /** The contexts that are results of other targets: their names and `target:NAME`. */
  links: Record<string, string>;
}

/** The flags of a target. Throws `invalid` and `unsupported`, with the target's name, for what a build has no flag for. */
export function targetBuild(name: string, target: PlannedTarget): TargetBuild {
  const context = withoutHere(target.context);
  if (context === '-')
    throw fail('invalid', 'client', `target ${name}: context from stdin not allowed in bake`);
  if (target.dockerfile === '-')
    throw fail('invalid', 'client', `target ${name}: dockerfile from stdin not allowed in bake`);
  if (target.policy !== undefined && target.policy.length > 0) {
    throw fail('unsupported', 'client', `target ${name}: policy is not obeyed by drydock bake`, {
      hint: 'It is written in Rego, which buildx alone reads. `drydock bake --source-policy FILE` takes a lock or another source policy for all targets.',
    });
  }
  const call = target.call ?? 'build';
  const method = inTarget(name, () => parseCall(call).method);
  const contexts = Object.entries(target.contexts ?? {});
  const flags: BuildFlags = {
    ...noFlags(),
    file: target['dockerfile-inline'] === undefined ? dockerfileOf(context, target.dockerfile) : undefined,
    tag: [...(target.tags ?? [])],
    target: target.target || undefined,
    'build-arg': pairs(target.args),
    label: pairs(target.labels),
    platform: [...(target.platforms ?? [])],
    'build-context': contexts
      .filter(([, value]) => !isLink(value))
      .map(([key, value]) => `${key}=${withoutHere(value)}`),
    'cache-from': (target['cache-from'] ?? []).map(entryText),
    'cache-to': (target['cache-to'] ?? []).map(entryText),
    secret: (target.secret ?? []).map(entryText),
    ssh: (target.ssh ?? []).map(sshText),
    output: (target.output ?? []).map(entryText),
    attest: (target.attest ?? []).map(entryText),
    annotation: [...(target.annotations ?? [])],
    allow: [...(target.entitlements ?? [])],
    'add-host': pairs(target['extra-hosts']),
    network: target.network,
    'no-cache': target['no-cache'],
    'no-cache-filter': [...(target['no-cache-filter'] ?? [])],
    pull: target.pull ? 'always' : undefined,
    'shm-size': target['shm-size'],
    ulimit: [...(target.ulimits ?? [])],
    resource: pairs(target.resources),
    check: method === 'check',
    call,
  };
  const links = Object.fromEntries(contexts.filter(([, value]) => isLink(value)));
  return { context, flags, inline: target['dockerfile-inline'], links };
}

function inTarget<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (err) {
    throw prefixed(err, `target ${name}`);
  }
}

/** The flags of a build that was given none. */
export function noFlags(): BuildFlags {
  const lists = Object.entries(buildFlags).filter(([, { type }]) => type === 'list');
  return Object.fromEntries(lists.map(([name]) => [name, []])) as unknown as BuildFlags;
}

/** The Dockerfile of a folder is beside it; that of a URL is in it. */
function dockerfileOf(context: string, dockerfile: string): string {
  if (dockerfile.startsWith(here) || isAbsolute(dockerfile) || isRemoteUrl(dockerfile))
    return withoutHere(dockerfile);
  return isRemoteUrl(context) ? dockerfile : join(context, dockerfile);
}

function isLink(value: string): boolean {
  return value.startsWith('target:');
}

function withoutHere(path: string): string {
  return path.startsWith(here) ? path.slice(here.length) || '.' : path;
}

function pairs(map: Readonly<Record<string, string | null>> = {}): string[] {
  return Object.entries(map).flatMap(([key, value]) => (value === null ? [] : [`${key}=${value}`]));
}
