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
    const { store } = await ctx.engine();
    const source =
      flags.input === undefined || flags.input === '-' ? process.stdin : createReadStream(flags.input);
    for (const { name, id } of await loadImages(store, source, { signal: ctx.signal })) {
      if (!flags.quiet) ctx.stdout.write(`Loaded image${name === undefined ? ' ID' : ''}: ${name ?? id}\n`);
    }
    return 0;
  },
});
