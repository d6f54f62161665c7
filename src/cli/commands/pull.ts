import { pullImage } from '../../images/index.ts';
import { familiarName, normalizeName, parsePlatform } from '../../oci/index.ts';
import { dockerConfigCredentials } from '../../session/index.ts';
import { command } from '../command.ts';
import { showTransfer } from '../transfer.ts';

export default command({
  usage: 'NAME[:TAG|@DIGEST]',
  summary: 'Pull an image from a registry into the store.',
  flags: {
    'all-platforms': { type: 'bool', help: 'All platforms of a multi-platform image' },
    platform: { type: 'string', value: 'OS/ARCH', help: "Platform (default: this machine's)" },
    quiet: { type: 'bool', short: 'q', help: 'Print nothing but the image’s name' },
  },
  operands: [1, 1],
  fills: true,
  async run(flags, [name = ''], ctx) {
    const mode = flags.quiet ? 'quiet' : 'auto';
    const remote = await ctx.remote();
    if (remote !== undefined) {
      const { remotePull } = await import('../remote/images.ts');
      const said = await showTransfer(ctx, mode, `pulling ${name}`, (report) =>
        remotePull(remote, name, { platform: flags.platform, all: flags['all-platforms'] }, report),
      );
      if (!flags.quiet) for (const line of said) ctx.stdout.write(`${line}\n`);
      ctx.stdout.write(`${normalizeName(name)}\n`);
      return 0;
    }
    const { store, registry, trust } = await ctx.engine();
    const { record, changed } = await showTransfer(ctx, mode, `pulling ${name}`, (report) =>
      pullImage(store, registry, name, {
        trust,
        platform: flags.platform === undefined ? undefined : parsePlatform(flags.platform),
        all: flags['all-platforms'],
        report,
        signal: ctx.signal,
        credentials: dockerConfigCredentials(ctx.env),
      }),
    );
    if (!flags.quiet) {
      ctx.stdout.write(`Digest: ${record.target.digest}\n`);
      ctx.stdout.write(
        `Status: ${changed ? 'Pulled' : 'Image is up to date for'} ${familiarName(record.name)}\n`,
      );
    }
    ctx.stdout.write(`${record.name}\n`);
    return 0;
  },
});
