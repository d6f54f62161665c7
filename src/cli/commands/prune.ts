import { resolve } from 'node:path';
import { removeNameless } from '../../images/index.ts';
import { sharedKeyOf } from '../../session/index.ts';
import { type PruneOptions, prune, readPruneChoice, splitPruneFilters } from '../../upkeep/index.ts';
import { command } from '../command.ts';
import { ago, formatBytes, parseBytes, table } from '../units.ts';

export default command({
  usage: '',
  summary:
    'Remove build cache that no image and no running build uses, and everything left unreferenced in the store.',
  flags: {
    all: { type: 'bool', short: 'a', help: 'Also records that images share, and internal ones' },
    filter: {
      type: 'list',
      value: 'KEY=VALUE',
      help: 'until=24h, type=…, id=…, image=…, project=FOLDER, mount=ID, description=…; also != and ~=',
    },
    force: { type: 'bool', short: 'f', help: 'Accepted; nothing is asked' },
    images: { type: 'bool', help: 'Also images that have lost their names (<none>)' },
    'keep-storage': { type: 'string', value: 'SIZE', help: 'Keep this much' },
  },
  operands: [0, 0],
  async run(flags, _args, ctx) {
    const options: PruneOptions = { all: flags.all };
    if (flags['keep-storage'] !== undefined)
      options.keepBytes = parseBytes(flags['keep-storage'], 'keep-storage');
    const remote = await ctx.remote();
    // A folder that was sent is known to the daemon by the key that was sent with it.
    const projectOf = remote === undefined ? resolve : (folder: string) => `*${sharedKeyOf(folder)}`;
    const filters = filtersOf(flags.filter, projectOf);
    const choice = readPruneChoice(filters);
    if (remote !== undefined) {
      const { remotePrune, remotePruneImages } = await import('../remote/images.ts');
      const { removed, reclaimed: ofImages } = flags.images
        ? await remotePruneImages(remote)
        : { removed: [], reclaimed: 0 };
      const ids = removed.flatMap(({ Deleted }) => Deleted ?? []);
      const asked = Object.fromEntries(filters);
      const { all, keepBytes } = options;
      const cache = await remotePrune(remote, { all, keepBytes, filters: asked });
      for (const id of [...ids, ...cache.ids]) ctx.stdout.write(`${id}\n`);
      ctx.stdout.write(`Total reclaimed space: ${formatBytes(ofImages + cache.reclaimed)}\n`);
      return 0;
    }
    const engine = await ctx.engine();
    const images = flags.images ? await removeNameless(engine.store) : none;
    for (const id of images.ids) ctx.stdout.write(`${id}\n`);
    const { records, reclaimed } = await prune(engine, { ...options, ...choice });
    if (records.length > 0) {
      const rows = records.map((record) => [
        record.id.replace('sha256:', '').slice(0, 25),
        formatBytes(record.size),
        ago(record.lastUsedAt),
        record.description,
      ]);
      ctx.stdout.write(table([['ID', 'SIZE', 'LAST USED', 'DESCRIPTION'], ...rows]));
    }
    ctx.stdout.write(`Total reclaimed space: ${formatBytes(images.reclaimed + reclaimed)}\n`);
    return 0;
  },
});

const none = { ids: [], reclaimed: 0 };

/** The filters of flags. `projectOf` makes of a folder what records of its builds know it by. */
function filtersOf(flags: readonly string[], projectOf: (folder: string) => string): Map<string, string[]> {
  const filters = [...splitPruneFilters(flags)].map(([key, values]): [string, string[]] => [
    key,
    /^project!?$/.test(key) ? values.map((each) => (/[*:]/.test(each) ? each : projectOf(each))) : values,
  ]);
  return new Map(filters);
}
