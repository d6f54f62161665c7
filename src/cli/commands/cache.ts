/** `drydock cache mount …`: cache mounts of `RUN --mount=type=cache`, here or at a daemon. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { isNamed, statesOf } from '../../cache-mounts/index.ts';
import { fail } from '../../errors/index.ts';
import { csvLine } from '../../words/index.ts';
import { buildFlags } from '../build/flags.ts';
import { type CommandContext, command } from '../command.ts';
import { splitCsv } from '../csv.ts';
import { parseFlags } from '../flags.ts';
import { ago, formatBytes, table } from '../units.ts';
import { runBuildCommand } from './build.ts';

export default command({
  usage: 'mount ls | mount export ID DEST | mount import ID SOURCE | mount prune ID…',
  summary: `Show, export, import or remove cache mounts (RUN --mount=type=cache). DEST and SOURCE are a folder (./out: an
OCI layout), a tar of one (out.tar), an image name in a registry, or what --cache-to and --cache-from take
(type=local,dest=…). An export sends what has changed since the last one there. An import takes the place of the mount.`,
  flags: {
    progress: { type: 'string', value: 'MODE', help: 'auto, tty, plain, rawjson, quiet or none' },
  },
  operands: [2, Infinity],
  async run(flags, [what, action, ...args], ctx) {
    const [id, place] = args;
    if (what === 'mount' && action === 'ls' && args.length === 0) return list(ctx);
    if (what === 'mount' && action === 'prune' && args.length > 0) return prune(args, ctx);
    if (what === 'mount' && args.length === 2 && id !== undefined && place !== undefined) {
      const progress = flags.progress === undefined ? [] : ['--progress', flags.progress];
      if (action === 'export') return exportTo(id, place, progress, ctx);
      if (action === 'import') return importFrom(id, place, progress, ctx);
    }
    throw fail('invalid', 'client', `unknown: drydock cache ${[what, action, ...args].join(' ')}`, {
      hint: 'Say `drydock cache mount ls`, `… export ID DEST`, `… import ID SOURCE` or `… prune ID`.',
    });
  },
});

interface ListedMount {
  id: string;
  name: string;
  size: number;
  lastUsedAt: number;
  inUse: boolean;
  /** Where it was exported to. */
  targets: string[];
}

const described = /^cache mount /;

async function mounts(ctx: CommandContext): Promise<ListedMount[]> {
  const remote = await ctx.remote();
  if (remote !== undefined) {
    const { remoteUsage } = await import('../remote/images.ts');
    const records = (await remoteUsage(remote)).filter(({ type }) => type === 'exec.cachemount');
    return records.map(({ description, ...record }) => {
      return { ...record, name: description.replace(described, ''), targets: [] };
    });
  }
  const { cacheMounts } = (await ctx.engine()).kept;
  const found = new Map(cacheMounts.all().map(({ id, instance }) => [id, instance]));
  return (await cacheMounts.list()).map(({ description, ...record }) => {
    const instance = found.get(record.id);
    const targets = instance === undefined ? [] : statesOf(instance).map(({ target }) => target);
    return { ...record, name: description.replace(described, ''), targets };
  });
}

async function list(ctx: CommandContext): Promise<number> {
  const rows = (await mounts(ctx))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, size, lastUsedAt, inUse, targets }) => [
      name,
      formatBytes(size),
      ago(lastUsedAt),
      inUse ? 'yes' : 'no',
      targets.join(' '),
    ]);
  ctx.stdout.write(table([['ID', 'SIZE', 'LAST USED', 'IN USE', 'EXPORTED TO'], ...rows]));
  return 0;
}

async function prune(ids: readonly string[], ctx: CommandContext): Promise<number> {
  const all = await mounts(ctx);
  const chosen = ids.flatMap((id) => {
    const named = all.filter(({ name }) => isNamed(name, id));
    if (named.length > 0) return named;
    throw fail('not-found', 'client', `there is no cache mount ${id}`, {
      hint: '`drydock cache mount ls` shows those that there are.',
    });
  });
  const busy = chosen.find(({ inUse }) => inUse);
  if (busy !== undefined) {
    throw fail('conflict', 'client', `the cache mount ${busy.name} is in use by a build`, {
      hint: 'Try again when no build runs that has it.',
    });
  }
  const remote = await ctx.remote();
  let reclaimed = 0;
  if (remote !== undefined) {
    const { remotePrune } = await import('../remote/images.ts');
    for (const { id } of chosen) {
      reclaimed += (await remotePrune(remote, { all: true, filters: { id: [id] } })).reclaimed;
    }
  } else {
    const { cacheMounts } = (await ctx.engine()).kept;
    for (const { id } of chosen) reclaimed += await cacheMounts.remove(id);
  }
  for (const { name } of chosen) ctx.stdout.write(`${name}\n`);
  ctx.stdout.write(`Total reclaimed space: ${formatBytes(reclaimed)}\n`);
  return 0;
}

async function exportTo(
  id: string,
  place: string,
  progress: readonly string[],
  ctx: CommandContext,
): Promise<number> {
  const all = await mounts(ctx);
  const missing = id.split(';').find((each) => !all.some(({ name }) => isNamed(name, each)));
  if (missing !== undefined) {
    throw fail('not-found', 'client', `there is no cache mount ${missing}`, {
      hint: '`drydock cache mount ls` shows those that there are.',
    });
  }
  return inTemp(async (temp) => {
    const archive = isArchive(place) ? join(temp, 'layout') : undefined;
    const to = csvLine([...specOf(place, 'dest', archive), `mounts=${id}`]);
    const code = await buildNothing(['--cache-to', to, ...progress], temp, ctx);
    if (archive !== undefined && code === 0) {
      const { packLayoutFolder } = await import('../layout-archive.ts');
      await packLayoutFolder(archive, place, temp, ctx.signal);
    }
    return code;
  });
}

async function importFrom(
  id: string,
  place: string,
  progress: readonly string[],
  ctx: CommandContext,
): Promise<number> {
  return inTemp(async (temp) => {
    const archive = isArchive(place) ? join(temp, 'layout') : undefined;
    if (archive !== undefined) {
      const { unpackLayoutFolder } = await import('../layout-archive.ts');
      await unpackLayoutFolder(place, archive, ctx.signal);
    }
    const spec = csvLine([...specOf(place, 'src', archive), `mounts=${id}`, 'restore-mounts=true']);
    return buildNothing(['--cache-from', spec, ...progress], temp, ctx);
  });
}

function isArchive(place: string): boolean {
  return !place.includes('=') && place.endsWith('.tar');
}

/**
 * The fields of a cache as --cache-to and --cache-from take them. A place with a slash or a dot in front is a folder;
 * `content`: the folder with the content of an archive.
 */
function specOf(place: string, folder: 'src' | 'dest', content: string | undefined): string[] {
  if (content !== undefined) return ['type=local', `${folder}=${content}`, `archive=${resolve(place)}`];
  if (place.includes('=')) return splitCsv(place);
  return /^[./]/.test(place) ? ['type=local', `${folder}=${place}`] : ['type=registry', `ref=${place}`];
}

/** Runs a build of nothing, which reads and writes caches as all do. */
async function buildNothing(flags: readonly string[], temp: string, ctx: CommandContext): Promise<number> {
  const context = join(temp, 'context');
  await (await import('node:fs/promises')).mkdir(context);
  await writeFile(join(context, 'Dockerfile'), 'FROM scratch\n');
  const parsed = parseFlags(['--output', 'type=cacheonly', ...flags], buildFlags);
  return runBuildCommand(parsed.flags, context, ctx);
}

async function inTemp(body: (temp: string) => Promise<number>): Promise<number> {
  const temp = await mkdtemp(join(tmpdir(), 'drydock-cache-'));
  try {
    return await body(temp);
  } finally {
    await rm(temp, { recursive: true, force: true });
  }
}
