import { createReadStream } from 'node:fs';
import { checkLoadedPlatforms, loadImages } from '../../images/index.ts';
import { formatPlatform, parsePlatform } from '../../oci/index.ts';
import { command } from '../command.ts';

export default command({
  usage: '',
  summary: 'Load the images of a tar: `docker save`’s, an OCI layout’s, plain or compressed.',
  flags: {
    input: { type: 'string', short: 'i', value: 'FILE', help: 'File to read (default: stdin)' },
    platform: { type: 'list', value: 'OS/ARCH', help: 'Of these platforms alone' },
    quiet: { type: 'bool', short: 'q', help: 'Print nothing' },
  },
  operands: [0, 0],
  fills: true,
  async run(flags, _args, ctx) {
    const source =
      flags.input === undefined || flags.input === '-' ? process.stdin : createReadStream(flags.input);
    const platforms = flags.platform.flatMap((text) => text.split(',')).map(parsePlatform);
    const remote = await ctx.remote();
    if (remote !== undefined) {
      const { remoteLoad } = await import('../remote/images.ts');
      const said = await remoteLoad(remote, source, platforms.map(formatPlatform));
      if (!flags.quiet) for (const line of said) ctx.stdout.write(`${line}\n`);
      return 0;
    }
    const { store } = await ctx.engine();
    const loaded = await loadImages(store, source, { signal: ctx.signal, platforms });
    for (const { name, id } of loaded) {
      if (!flags.quiet) ctx.stdout.write(`Loaded image${name === undefined ? ' ID' : ''}: ${name ?? id}\n`);
    }
    checkLoadedPlatforms(loaded, platforms);
    return 0;
  },
});
