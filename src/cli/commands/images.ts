import { type ImageSummary, listImages } from '../../images/list.ts';
import { hex } from '../../oci/digest.ts';
import { command } from '../command.ts';
import { ago, formatBytes, table } from '../units.ts';

export default command({
  usage: '[REPOSITORY[:TAG]]',
  summary: 'List images.',
  flags: {
    all: { type: 'bool', short: 'a', help: 'Accepted; there are no intermediate images' },
    digests: { type: 'bool', help: 'Show digests' },
    format: { type: 'string', value: 'json', help: 'One JSON object a line' },
    'no-trunc': { type: 'bool', help: 'Whole IDs' },
    quiet: { type: 'bool', short: 'q', help: 'IDs only' },
  },
  operands: [0, 1],
  async run(flags, [wanted], ctx) {
    const remote = await ctx.remote();
    const found =
      remote === undefined
        ? await listImages((await ctx.engine()).store)
        : await (await import('../remote/images.ts')).remoteImages(remote);
    const images = found.flatMap((image) => rows(image, wanted));
    const id = (image: ImageSummary) => (flags['no-trunc'] ? image.id : hex(image.id).slice(0, 12));
    if (flags.quiet) {
      ctx.stdout.write([...new Set(images.map(({ image }) => `${id(image)}\n`))].join(''));
      return 0;
    }
    if (flags.format === 'json') {
      for (const { image, repository, tag } of images) {
        ctx.stdout.write(`${JSON.stringify({ ...image, repository, tag })}\n`);
      }
      return 0;
    }
    const head = ['REPOSITORY', 'TAG', ...(flags.digests ? ['DIGEST'] : []), 'IMAGE ID', 'CREATED', 'SIZE'];
    const body = images.map(({ image, repository, tag }) => [
      repository,
      tag,
      ...(flags.digests ? [image.target] : []),
      id(image),
      image.created === undefined ? 'N/A' : ago(image.created),
      formatBytes(image.size),
    ]);
    ctx.stdout.write(table([head, ...body]));
    return 0;
  },
});

interface Row {
  image: ImageSummary;
  repository: string;
  tag: string;
}

/** One row a name; an image without names has one of `<none>`s. */
function rows(image: ImageSummary, wanted: string | undefined): Row[] {
  const named = image.names.map((name): Row => {
    const colon = name.lastIndexOf(':');
    return { image, repository: name.slice(0, colon), tag: name.slice(colon + 1) };
  });
  const repository = image.digests[0]?.split('@')[0] ?? '<none>';
  const all = named.length > 0 ? named : [{ image, repository, tag: '<none>' }];
  if (wanted === undefined) return all;
  return all.filter((row) => row.repository === wanted || `${row.repository}:${row.tag}` === wanted);
}
