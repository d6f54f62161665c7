import { DrydockError, toDrydockError } from '../../errors/error.ts';
import { removeImage } from '../../images/remove.ts';
import { command } from '../command.ts';
import { errorText } from '../error-text.ts';

export default command({
  usage: 'IMAGE [IMAGE…]',
  summary: 'Remove names of images, and images that have no other name.',
  flags: { force: { type: 'bool', short: 'f', help: 'All names of an ID; no error for what is not there' } },
  operands: [1, Infinity],
  async run(flags, args, ctx) {
    const { store } = await ctx.engine();
    let failed = 0;
    for (const arg of args) {
      try {
        const { untagged, deleted } = await removeImage(store, arg, { force: flags.force });
        for (const name of untagged) ctx.stdout.write(`Untagged: ${name}\n`);
        if (deleted !== undefined) ctx.stdout.write(`Deleted: ${deleted}\n`);
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
