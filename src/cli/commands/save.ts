import { resolve } from 'node:path';
import { fail } from '../../errors/error.ts';
import { saveImages } from '../../images/save.ts';
import { dockerConfigCredentials } from '../../session/docker-config.ts';
import { command } from '../command.ts';
import { OutputFile } from '../output-file.ts';

export default command({
  usage: 'IMAGE [IMAGE…]',
  summary: 'Save images to a tar that `drydock load`, `docker load` and OCI tools read.',
  flags: { output: { type: 'string', short: 'o', value: 'FILE', help: 'File to write (default: stdout)' } },
  operands: [1, Infinity],
  async run(flags, args, ctx) {
    const { store, registry } = await ctx.engine();
    const options = { signal: ctx.signal, client: registry, credentials: dockerConfigCredentials(ctx.env) };
    if (flags.output === undefined || flags.output === '-') {
      if (ctx.stdout.isTTY) {
        throw fail('invalid', 'client', 'refusing to write a tar to a terminal', {
          hint: 'Name a file with -o, or send stdout into a file or a pipe.',
        });
      }
      await saveImages(store, args, ctx.stdout, options);
      return 0;
    }
    const file = new OutputFile(resolve(flags.output));
    try {
      await saveImages(store, args, await file.open(), options);
      await file.finish();
    } catch (err) {
      await file.abandon();
      throw err;
    }
    return 0;
  },
});
