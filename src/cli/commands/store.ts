import {
  type ImageStore,
  openEngine,
  otherStore,
  parseImageStore,
  type StoreOptions,
} from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import { migrateStore } from '../../upkeep/index.ts';
import { type CommandContext, command } from '../command.ts';
import { formatBytes } from '../units.ts';

export default command({
  usage: 'migrate --from STORE --to STORE [IMAGE…]',
  summary: `Copy images and the build cache from one store to the other (local, containerd). Nothing is removed, and
what is there already is left as it is. With names, only those images.`,
  flags: {
    from: { type: 'string', value: 'STORE', help: 'local or containerd' },
    to: { type: 'string', value: 'STORE', help: 'The other one' },
    cache: { type: 'bool', help: 'Cache records too (default: true unless images are named)' },
    quiet: { type: 'bool', short: 'q', help: 'Say only what could not be copied' },
  },
  operands: [1, Infinity],
  fills: true,
  async run(flags, [what = '', ...names], ctx) {
    if (what !== 'migrate') {
      throw fail('invalid', 'client', `unknown command: drydock store ${what}`, {
        hint: 'There is `drydock store migrate --from local --to containerd`, and the reverse.',
      });
    }
    const { from, to } = ends(flags.from, flags.to);
    const source = await openEngine({ ...ctx, ...placeOf(ctx, from) });
    try {
      const target = await openEngine({ ...ctx, ...placeOf(ctx, to) });
      try {
        const report = await migrateStore(source, target, {
          names: names.length === 0 ? undefined : names,
          cache: flags.cache,
          signal: ctx.signal,
          onProgress: flags.quiet ? undefined : (state) => show(ctx, state),
        });
        for (const name of report.images.taken) {
          ctx.stderr.write(`left alone: ${name} is another image in the ${to} store\n`);
        }
        for (const problem of report.problems) ctx.stderr.write(`not copied: ${problem}\n`);
        const { images, records, bytes } = report;
        if (!flags.quiet) {
          ctx.stdout.write(
            `Images: ${images.moved.length} copied, ${images.there} were there\n` +
              `Cache records: ${records.moved} copied, ${records.there} were there, ${records.left} without files\n` +
              `Copied: ${formatBytes(bytes)}\n`,
          );
        }
        return report.problems.length === 0 && images.taken.length === 0 ? 0 : 1;
      } finally {
        await target.close();
      }
    } finally {
      await source.close();
    }
  },
});

function ends(from: string | undefined, to: string | undefined): { from: ImageStore; to: ImageStore } {
  if (from === undefined || to === undefined) {
    throw fail('invalid', 'client', 'both --from and --to are needed', {
      hint: 'For example: drydock store migrate --from local --to containerd',
    });
  }
  const ends = { from: parseImageStore(from), to: parseImageStore(to) };
  if (ends.from !== ends.to) return ends;
  throw fail('invalid', 'client', `--from and --to are both the ${from} store`);
}

/** A store, with containerd where the flags say, else where this root last had it. */
function placeOf(ctx: CommandContext, imageStore: ImageStore): Partial<StoreOptions> {
  const { root, containerdAddress, containerdNamespace } = ctx;
  if (imageStore === 'local') return { imageStore };
  const known = otherStore({ root, imageStore: 'local' });
  return {
    imageStore,
    containerdAddress: containerdAddress ?? known?.containerdAddress,
    containerdNamespace: containerdNamespace ?? known?.containerdNamespace,
  };
}

function show(
  ctx: CommandContext,
  state: { done: number; total: number; what: string; bytes: number },
): void {
  const { done, total, what, bytes } = state;
  if (what === '') return;
  const line = `${done + 1}/${total} ${what}`;
  if (!ctx.stderr.isTTY) ctx.stderr.write(`${line}\n`);
  else
    ctx.stderr.write(
      `\r\x1b[K${line.slice(0, (ctx.stderr.columns ?? 80) - 12)} ${formatBytes(bytes)}${done + 1 === total ? '\n' : ''}`,
    );
}
