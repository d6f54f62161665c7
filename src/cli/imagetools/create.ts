/** `drydock imagetools create`. */
import { readFile } from 'node:fs/promises';
import { fail } from '../../errors/index.ts';
import {
  combine,
  copyParts,
  type IndexAnnotation,
  readSources,
  repositoryOf,
  sourceName,
} from '../../imagetools/index.ts';
import { familiarName, formatPlatform, normalizeName, parsePlatform } from '../../oci/index.ts';
import type { RegistryClient } from '../../registry/index.ts';
import { dockerConfigCredentials } from '../../session/index.ts';
import { annotationAttrs } from '../build/annotations.ts';
import type { CommandContext } from '../command.ts';
import { splitCsv } from '../csv.ts';
import { writeOutput } from '../output-file.ts';
import { progressMode } from '../progress/mode.ts';
import { showTransfer } from '../transfer.ts';

/** What `create` is told by its flags. */
interface CreateFlags {
  annotation: readonly string[];
  append?: boolean;
  'dry-run'?: boolean;
  file: readonly string[];
  'metadata-file'?: string;
  platform: readonly string[];
  'prefer-index'?: boolean;
  progress?: string;
  tag: readonly string[];
}

/** Makes an index of sources and pushes it under tags, with what they need of other repositories. */
export async function createImage(
  flags: CreateFlags,
  sources: readonly string[],
  client: RegistryClient,
  ctx: CommandContext,
): Promise<void> {
  const tags = flags.tag.map((tag) => normalizeName(tag));
  if (tags.length === 0 && !flags['dry-run']) {
    throw fail('invalid', 'client', "can't push with no tags specified, please set --tag or --dry-run");
  }
  if (flags.append && tags.length === 0) {
    throw fail('invalid', 'client', "can't append with no tags specified, please set --tag");
  }
  const mode = progressMode(flags);
  const annotations = indexAnnotations(flags.annotation);
  const platforms = flags.platform.flatMap(splitCsv).map((text) => parsePlatform(text.trim()));
  const files = await Promise.all(flags.file.map((file) => sourceIn(file)));
  const names = [...(flags.append ? tags.slice(0, 1) : []), ...files, ...sources].map(sourceName);
  if (names.length === 0) throw fail('invalid', 'client', 'there are no sources to make an image of');
  const credentials = dockerConfigCredentials(ctx.env);
  const call = { credentials, signal: ctx.signal };
  const found = await readSources(client, names, tags, call);
  const preferIndex = flags['prefer-index'] ?? true;
  const made = combine(found, { annotations, platforms, preferIndex });
  if (flags['dry-run']) {
    ctx.stdout.write(`${made.bytes.toString('utf8')}\n`);
    return;
  }
  for (const tag of tags) {
    await showTransfer(
      ctx,
      mode,
      `pushing ${made.descriptor.digest} to ${familiarName(tag)}`,
      async (report) => {
        await copyParts(client, made.parts, repositoryOf(tag), call, report);
        await client.pushManifest(tag, made.descriptor, made.bytes, call);
      },
    );
  }
  const file = flags['metadata-file'];
  if (file === undefined) return;
  const metadata = {
    'containerimage.descriptor': made.descriptor,
    'image.name': tags.map(familiarName).join(','),
  };
  await writeOutput(file, `${JSON.stringify(metadata, undefined, 2)}\n`);
}

async function sourceIn(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw fail('not-found', 'client', `the file ${file} cannot be read`, { cause });
  }
}

/** Annotations for an index. Throws `invalid`, and `unsupported` for those of what an index does not hold. */
function indexAnnotations(list: readonly string[]): IndexAnnotation[] {
  return Object.entries(annotationAttrs(list)).map(([attr, value]) => {
    const [, place = '', platform, key = ''] =
      /^annotation-(index|manifest-descriptor)(?:\[(.+)\])?\.(.+)$/s.exec(attr) ?? [];
    if (place !== 'index' && place !== 'manifest-descriptor') {
      throw fail(
        'unsupported',
        'client',
        'annotations of manifests are not supported: the manifests stay as they are',
        {
          hint: "Annotate the index, or its entries: --annotation 'index:KEY=VALUE', 'manifest-descriptor[OS/ARCH]:KEY=VALUE'.",
        },
      );
    }
    const forPlatform = platform === undefined ? undefined : formatPlatform(parsePlatform(platform));
    return { place, platform: forPlatform, key, value };
  });
}
