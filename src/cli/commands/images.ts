import type { Engine } from '../../engine/index.ts';
import { filterImages, type ImageSummary, imageFilters, listImages } from '../../images/index.ts';
import { hex } from '../../oci/index.ts';
import type { Filters } from '../../words/index.ts';
import { command } from '../command.ts';
import { readFilters } from '../filters.ts';
import { type FormatRow, formatRows } from '../format.ts';
import { ago, formatBytes, table } from '../units.ts';

export default command({
  usage: '[REPOSITORY[:TAG]]',
  summary: 'List images.',
  flags: {
    all: { type: 'bool', short: 'a', help: 'Accepted; there are no intermediate images' },
    digests: { type: 'bool', help: 'Show digests' },
    filter: {
      type: 'list',
      short: 'f',
      value: 'KEY=VALUE',
      help: "reference='app:*', label=KEY[=VALUE], label!=…, dangling=true, before=IMAGE, since=IMAGE, until=24h",
    },
    format: {
      type: 'string',
      value: 'FORMAT',
      help: "json (an object a line), or docker's template: '{{.Repository}}:{{.Tag}}', 'table {{.ID}}\\t{{.Size}}'",
    },
    'no-trunc': { type: 'bool', help: 'Whole IDs' },
    quiet: { type: 'bool', short: 'q', help: 'IDs only' },
  },
  operands: [0, 1],
  async run(flags, [wanted], ctx) {
    const remote = await ctx.remote();
    const filters = readFilters(flags.filter, imageFilters);
    const found =
      remote === undefined
        ? await listed((await ctx.engine()).store, filters)
        : await (await import('../remote/images.ts')).remoteImages(remote, filters);
    const images = found.flatMap((image) => rows(image, wanted));
    const id = (image: ImageSummary) => (flags['no-trunc'] ? image.id : hex(image.id).slice(0, 12));
    if (flags.quiet) {
      ctx.stdout.write([...new Set(images.map(({ image }) => `${id(image)}\n`))].join(''));
      return 0;
    }
    if (flags.format !== undefined && flags.format !== 'table') {
      const shown = images.map((row) => fieldsOf(row, id(row.image)));
      ctx.stdout.write(formatRows(flags.format, shown, fieldNames, headings));
      return 0;
    }
    const head = ['REPOSITORY', 'TAG', ...(flags.digests ? ['DIGEST'] : []), 'IMAGE ID', 'CREATED', 'SIZE'];
    const body = images.map(({ image, repository, tag }) => [
      repository,
      tag,
      ...(flags.digests ? [digestIn(image, repository)] : []),
      id(image),
      image.created === undefined ? 'N/A' : ago(image.created),
      formatBytes(image.size),
    ]);
    ctx.stdout.write(table([head, ...body]));
    return 0;
  },
});

/** The images of a store that fit the filters, with the names that do. */
async function listed(store: Engine['store'], filters: Filters): Promise<ImageSummary[]> {
  const all = await listImages(store);
  if (filters.size === 0) return all;
  const named = all.map((image) => ({ ...image, tags: image.names, created: image.created ?? 0 }));
  const fitting = await filterImages(store, filters, named);
  return fitting.map(({ tags, ...image }) => ({
    ...image,
    names: tags,
    created: image.created || undefined,
  }));
}

/** The fields of docker's templates. */
const fieldNames = [
  ...['Containers', 'CreatedAt', 'CreatedSince', 'Digest', 'ID', 'Repository', 'SharedSize', 'Size', 'Tag'],
  ...['UniqueSize', 'VirtualSize'],
];

/** Docker's headings where they are not the field's name. */
const headings = { ID: 'IMAGE ID', CreatedSince: 'CREATED', VirtualSize: 'SIZE' };

function fieldsOf({ image, repository, tag }: Row, id: string): FormatRow {
  const { created } = image;
  return {
    Containers: 'N/A',
    CreatedAt:
      created === undefined
        ? 'N/A'
        : new Date(created).toISOString().replace('T', ' ').replace(/\..*/, ' +0000 UTC'),
    CreatedSince: created === undefined ? 'N/A' : ago(created),
    Digest: digestIn(image, repository),
    ID: id,
    Repository: repository,
    SharedSize: 'N/A',
    Size: formatBytes(image.size),
    Tag: tag,
    UniqueSize: 'N/A',
    VirtualSize: formatBytes(image.size),
  };
}

/** The digest by which a repository has the image, or would get it. */
function digestIn({ digests, target }: ImageSummary, repository: string): string {
  return digests.find((text) => text.startsWith(`${repository}@`))?.slice(repository.length + 1) ?? target;
}

interface Row {
  image: ImageSummary;
  repository: string;
  tag: string;
}

/** One row for each name; an image without names has one row of `<none>`s. */
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
