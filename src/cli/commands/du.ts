import { throwIfAborted } from '../../errors/index.ts';
import { type UsageRecord, usagePages } from '../../upkeep/index.ts';
import { inertLine } from '../../words/index.ts';
import { command } from '../command.ts';
import { print } from '../print.ts';
import { ago, formatBytes } from '../units.ts';

export default command({
  usage: '',
  summary: 'Show the build cache: one line a record, least recently used first, with totals.',
  flags: {
    verbose: { type: 'bool', help: 'Everything that is known of each record, as JSON lines' },
  },
  operands: [0, 0],
  async run(flags, _args, ctx) {
    const remote = await ctx.remote();
    const pages =
      remote === undefined
        ? usagePages(await ctx.engine())
        : [await (await import('../remote/images.ts')).remoteUsage(remote)];
    const sums = { shared: 0, idle: 0, all: 0 };
    const head = ['ID', 'RECLAIMABLE', 'SIZE', 'LAST USED', 'DESCRIPTION'];
    if (!flags.verbose) ctx.stdout.write(line(head));
    // There may be a million of them: they are written as they are read.
    for await (const page of pages) {
      const lines = page.map((record) => (flags.verbose ? `${JSON.stringify(record)}\n` : lineOf(record)));
      await print(ctx.stdout, lines.join(''));
      throwIfAborted(ctx.signal);
      for (const { size, shared, inUse } of page) {
        sums.all += size;
        if (shared) sums.shared += size;
        if (!inUse) sums.idle += size;
      }
    }
    if (flags.verbose) return 0;
    const { shared, idle, all } = sums;
    ctx.stdout.write(`Shared:\t\t${formatBytes(shared)}\nReclaimable:\t${formatBytes(idle)}\n`);
    ctx.stdout.write(`Total:\t\t${formatBytes(all)}\n`);
    return 0;
  },
});

function lineOf({ id, inUse, size, shared, lastUsedAt, description }: UsageRecord): string {
  return line([
    id.replace('sha256:', '').slice(0, 25),
    inUse ? 'false' : 'true',
    formatBytes(size) + (shared ? '*' : ''),
    ago(lastUsedAt),
    inertLine(description),
  ]);
}

/** The widths of all columns but the last: those of their longest cells. */
const widths = [25, 'RECLAIMABLE'.length, '1023.9MB*'.length, '23 months ago'.length];

function line(cells: readonly string[]): string {
  const padded = cells.map((cell, i) => (i < widths.length ? cell.padEnd((widths[i] ?? 0) + 3) : cell));
  return `${padded.join('').trimEnd()}\n`;
}
