import { DrydockError, fail, toDrydockError } from '../../errors/index.ts';
import { removeImage, removePlatforms } from '../../images/index.ts';
import { parsePlatform } from '../../oci/index.ts';
import { type CommandContext, command } from '../command.ts';
import { errorText } from '../error-text.ts';

export default command({
  usage: 'IMAGE [IMAGE…]',
  summary: 'Remove names of images, and images that have no other name.',
  flags: {
    force: { type: 'bool', short: 'f', help: 'All names of an ID; no error for what is not there' },
    platform: {
      type: 'list',
      value: 'OS/ARCH',
      help: 'Only these platforms, from all images that have them',
    },
  },
  operands: [1, Infinity],
  async run(flags, args, ctx) {
    const { platform: platforms, force = false } = flags;
    if (platforms.length > 0 && !force) {
      throw fail('invalid', 'client', 'a platform is removed from all images that have it', {
        hint: 'Say so with --force.',
      });
    }
    const remove = await remover(ctx, { force, platforms });
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
  { force, platforms }: { force: boolean; platforms: readonly string[] },
): Promise<(name: string) => Promise<{ untagged: readonly string[]; deleted: readonly string[] }>> {
  const remote = await ctx.remote();
  if (remote !== undefined) {
    const { remoteRemove } = await import('../remote/images.ts');
    return (name) => remoteRemove(remote, name, { force, platforms });
  }
  const { store } = await ctx.engine();
  if (platforms.length > 0) {
    const wanted = platforms.map(parsePlatform);
    return async (name) => {
      const { untagged, manifests } = await removePlatforms(store, name, wanted);
      return { untagged, deleted: manifests };
    };
  }
  return async (name) => {
    const { untagged, deleted } = await removeImage(store, name, { force });
    return { untagged, deleted: deleted === undefined ? [] : [deleted] };
  };
}
