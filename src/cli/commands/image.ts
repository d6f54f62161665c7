import { fail } from '../../errors/index.ts';
import { pruneImageFilters, pruneImages } from '../../images/index.ts';
import type { Filters } from '../../words/index.ts';
import { type CommandContext, command } from '../command.ts';
import { readFilters } from '../filters.ts';
import { formatBytes } from '../units.ts';

export default command({
  usage: 'prune',
  summary: `Remove images: those that have lost their names (<none>), or with --all every one that the filters mean. docker's
other words work, too: image build, history, inspect, load, ls, pull, push, rm, save, tag.`,
  flags: {
    all: { type: 'bool', short: 'a', help: 'Images with names, too' },
    filter: { type: 'list', value: 'KEY=VALUE', help: 'until=24h, label=KEY[=VALUE], label!=KEY[=VALUE]' },
    force: { type: 'bool', short: 'f', help: 'Accepted; nothing is asked' },
  },
  operands: [1, 1],
  async run(flags, [action], ctx) {
    if (action !== 'prune') {
      throw fail('invalid', 'client', `unknown: drydock image ${action}`, {
        hint: 'Say `drydock image prune`.',
      });
    }
    const given = readFilters(flags.filter, pruneImageFilters);
    const { removed, reclaimed } = await pruned(
      flags.all ? new Map([...given, ['dangling', ['false']]]) : given,
      ctx,
    );
    if (removed.length > 0) ctx.stdout.write('Deleted Images:\n');
    for (const { Untagged, Deleted } of removed) {
      if (Untagged !== undefined) ctx.stdout.write(`untagged: ${Untagged}\n`);
      if (Deleted !== undefined) ctx.stdout.write(`deleted: ${Deleted}\n`);
    }
    if (removed.length > 0) ctx.stdout.write('\n');
    ctx.stdout.write(`Total reclaimed space: ${formatBytes(reclaimed)}\n`);
    return 0;
  },
});

interface Pruned {
  removed: { Untagged?: string; Deleted?: string }[];
  reclaimed: number;
}

async function pruned(filters: Filters, ctx: CommandContext): Promise<Pruned> {
  const remote = await ctx.remote();
  if (remote !== undefined) {
    const { remotePruneImages } = await import('../remote/images.ts');
    return remotePruneImages(remote, filters);
  }
  const { removed, reclaimed } = await pruneImages((await ctx.engine()).store, filters);
  const lines = removed.flatMap(({ untagged, deleted }) => [
    ...untagged.map((Untagged) => ({ Untagged })),
    ...(deleted === undefined ? [] : [{ Deleted: deleted }]),
  ]);
  return { removed: lines, reclaimed };
}
