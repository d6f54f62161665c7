import type { RecordType } from '../../cache/index.ts';
import { fail } from '../../errors/index.ts';
import { removeNameless } from '../../images/index.ts';
import { type PruneOptions, prune } from '../../upkeep/index.ts';
import { command } from '../command.ts';
import { ago, formatBytes, parseBytes, parseDuration, table } from '../units.ts';

export default command({
  usage: '',
  summary:
    'Remove build cache that no image and no running build uses, and everything left unreferenced in the store.',
  flags: {
    all: { type: 'bool', short: 'a', help: 'Also records that images share, and internal ones' },
    filter: { type: 'list', value: 'KEY=VALUE', help: 'until=24h, type=regular, id=…' },
    force: { type: 'bool', short: 'f', help: 'Accepted; nothing is asked' },
    images: { type: 'bool', help: 'Also images that have lost their names (<none>)' },
    'keep-storage': { type: 'string', value: 'SIZE', help: 'Keep this much' },
  },
  operands: [0, 0],
  async run(flags, _args, ctx) {
    const options: PruneOptions = { all: flags.all };
    if (flags['keep-storage'] !== undefined)
      options.keepBytes = parseBytes(flags['keep-storage'], 'keep-storage');
    for (const filter of flags.filter) addFilter(options, filter);
    const remote = await ctx.remote();
    if (remote !== undefined) {
      const { remotePrune, remotePruneImages } = await import('../remote/images.ts');
      const images = flags.images ? await remotePruneImages(remote) : none;
      const filters: Record<string, string[]> = {};
      if (options.unusedFor !== undefined) filters.until = [`${Math.round(options.unusedFor / 1000)}s`];
      if (options.types !== undefined) filters.type = options.types;
      if (options.ids !== undefined) filters.id = options.ids;
      const { all, keepBytes } = options;
      const { ids, reclaimed } = await remotePrune(remote, { all, keepBytes, filters });
      for (const id of [...images.ids, ...ids]) ctx.stdout.write(`${id}\n`);
      ctx.stdout.write(`Total reclaimed space: ${formatBytes(images.reclaimed + reclaimed)}\n`);
      return 0;
    }
    const engine = await ctx.engine();
    const images = flags.images ? await removeNameless(engine.store) : none;
    for (const id of images.ids) ctx.stdout.write(`${id}\n`);
    const { records, reclaimed } = await prune(engine, options);
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

const types: RecordType[] = [
  'regular',
  'source.local',
  'source.git.checkout',
  'exec.cachemount',
  'frontend',
  'internal',
];

function addFilter(options: PruneOptions, filter: string): void {
  const at = filter.indexOf('=');
  const key = filter.slice(0, at);
  const value = filter.slice(at + 1);
  if (key === 'until' || key === 'unused-for') options.unusedFor = parseDuration(value, `filter ${key}`);
  else if (key === 'id') options.ids = [...(options.ids ?? []), value];
  else if (key === 'type') {
    const type = types.find((known) => known === value);
    if (type === undefined)
      throw fail('invalid', 'client', `unknown record type ${value}`, {
        hint: `Types: ${types.join(', ')}.`,
      });
    options.types = [...(options.types ?? []), type];
  } else
    throw fail('invalid', 'client', `invalid filter ${JSON.stringify(filter)}`, {
      hint: 'Filters: until=, type=, id=.',
    });
}
