import { DrydockError, toDrydockError } from '../../errors/error.ts';
import { removeImage } from '../../images/remove.ts';
import { type CommandContext, command } from '../command.ts';
import { errorText } from '../error-text.ts';

export default command({
  usage: 'IMAGE [IMAGE…]',
  summary: 'Remove names of images, and images that have no other name.',
  flags: { force: { type: 'bool', short: 'f', help: 'All names of an ID; no error for what is not there' } },
  operands: [1, Infinity],
  async run(flags, args, ctx) {
    const remove = await remover(ctx, flags.force ?? false);
    let failed = 0;
    for (const arg of args) {
      try {
        const { untagged, deleted } = await remove(arg);
        for (const name of untagged) ctx.stdout.write(`Untagged: ${name}\n`);
        for (const id of deleted) ctx.stdout.write(`Deleted: ${id}\n`);
      } catch (err) {
        // As docker: the rest is still removed.
        if (flags.force && err instanceof DrydockError && err.code === 'not-found') continue;
        ctx.stderr.write(errorText(toDrydockError(err)));
        failed = 1;
      }
    }
    return failed;
  },
});

async function remover(
  ctx: CommandContext,
  force: boolean,
): Promise<(name: string) => Promise<{ untagged: readonly string[]; deleted: readonly string[] }>> {
  const remote = await ctx.remote();
  if (remote !== undefined) {
    const { remoteRemove } = await import('../remote/images.ts');
    return (name) => remoteRemove(remote, name, force);
  }
  const { store } = await ctx.engine();
  return async (name) => {
    const { untagged, deleted } = await removeImage(store, name, { force });
    return { untagged, deleted: deleted === undefined ? [] : [deleted] };
  };
}
