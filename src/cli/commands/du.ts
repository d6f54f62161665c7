import { diskUsage } from '../../upkeep/index.ts';
import { command } from '../command.ts';
import { ago, formatBytes, table } from '../units.ts';

export default command({
  usage: '',
  summary: 'Show the build cache: one line a record, least recently used first, with totals.',
  flags: {
    verbose: { type: 'bool', help: 'Everything that is known of each record, as JSON lines' },
  },
  operands: [0, 0],
  async run(flags, _args, ctx) {
    const remote = await ctx.remote();
    const records =
      remote === undefined
        ? await diskUsage(await ctx.engine())
        : await (await import('../remote/images.ts')).remoteUsage(remote);
    if (flags.verbose) {
      for (const record of records) ctx.stdout.write(`${JSON.stringify(record)}\n`);
      return 0;
    }
    const rows = records.map((record) => [
      record.id.replace('sha256:', '').slice(0, 25),
      record.inUse ? 'false' : 'true',
      formatBytes(record.size) + (record.shared ? '*' : ''),
      ago(record.lastUsedAt),
      record.description,
    ]);
    ctx.stdout.write(table([['ID', 'RECLAIMABLE', 'SIZE', 'LAST USED', 'DESCRIPTION'], ...rows]));
    const sum = (list: typeof records) => formatBytes(list.reduce((n, record) => n + record.size, 0));
    const shared = records.filter((record) => record.shared);
    const idle = records.filter((record) => !record.inUse);
    ctx.stdout.write(`Shared:\t\t${sum(shared)}\nReclaimable:\t${sum(idle)}\nTotal:\t\t${sum(records)}\n`);
    return 0;
  },
});
