import { createReadStream } from 'node:fs';
import { loadImages } from '../../images/load.ts';
import { command } from '../command.ts';

export default command({
  usage: '',
  summary: 'Load the images of a tar: `docker save`’s, an OCI layout’s, plain or compressed.',
  flags: {
    input: { type: 'string', short: 'i', value: 'FILE', help: 'File to read (default: stdin)' },
    quiet: { type: 'bool', short: 'q', help: 'Print nothing' },
  },
  operands: [0, 0],
  async run(flags, _args, ctx) {
    const source =
      flags.input === undefined || flags.input === '-' ? process.stdin : createReadStream(flags.input);
    const remote = await ctx.remote();
    if (remote !== undefined) {
      const { remoteLoad } = await import('../remote/images.ts');
      const said = await remoteLoad(remote, source);
      if (!flags.quiet) for (const line of said) ctx.stdout.write(`${line}\n`);
      return 0;
    }
    const { store } = await ctx.engine();
    for (const { name, id } of await loadImages(store, source, { signal: ctx.signal })) {
      if (!flags.quiet) ctx.stdout.write(`Loaded image${name === undefined ? ' ID' : ''}: ${name ?? id}\n`);
    }
    return 0;
  },
});
