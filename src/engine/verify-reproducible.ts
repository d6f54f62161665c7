/** Builds that are verified first: made twice, without cache, and compared. */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { clip, type DrydockError, fail, printable } from '../errors/index.ts';
import { compareLayouts, type Difference, type PartDifference } from '../reproduce/index.ts';
import type { Session } from '../session/index.ts';
import { Job } from '../solver/index.ts';
import type { runBuild } from './build.ts';
import { isImageOutput } from './outputs.ts';
import type { BuildRequest, Built, OutputSpec } from './types.ts';

/** Attributes of an output that say where the result goes, and nothing about what it is. */
const places =
  /^(name|push|push-by-digest|store|unpack|dangling-name-prefix|name-canonical|tar|registry\..*|mode|platform-split|attestation-prefix)$/;

/**
 * Builds a request three times: twice by its frontend without cache (`verifyBy`), with the attributes of the first
 * output that makes an image, and then, when both have made the same, as it was asked for. The results lie in a folder of
 * the root meanwhile, and so do streams of the client, which can be read once. Throws `failed` when the results differ,
 * with the differences in its message, and what `build` throws.
 */
export async function verifiedBuild(
  build: typeof runBuild,
  ...[engine, request, session, sink, signal]: Parameters<typeof runBuild>
): Promise<Built> {
  const { verifyBy, ...plain } = request;
  if (verifyBy === undefined) return build(engine, request, session, sink, signal);
  const dir = await mkdtemp(join(engine.store.runDir, 'reproduce-'));
  const again = rereadable(session, dir);
  try {
    const folders = [join(dir, 'first'), join(dir, 'second')] as const;
    for (const files of folders) {
      await build(engine, withoutCache(plain, verifyBy, files), again, sink, signal);
    }
    const job = new Job(again, sink, signal);
    try {
      await job.inVertex('[internal] comparing two builds without cache', async (progress) => {
        const found = await compareLayouts(...folders);
        if (found.length > 0) throw differs(found);
        progress.log(1, 'both have made the same\n');
      });
    } finally {
      job.end();
    }
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })));
    return await build(engine, plain, again, sink, signal);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The same build for its layers and its configuration alone, into a folder. */
function withoutCache(
  request: Omit<BuildRequest, 'verifyBy'>,
  frontend: BuildRequest['frontend'],
  files: string,
): BuildRequest {
  const image = request.outputs.find(isImageOutput);
  const attrs = Object.fromEntries(Object.entries(image?.attrs ?? {}).filter(([name]) => !places.test(name)));
  const output: OutputSpec = { type: 'oci', attrs: { ...attrs, tar: 'false' }, sink: { files } };
  return {
    ...request,
    frontend,
    outputs: [output],
    tags: [],
    ...{ cacheFrom: [], cacheTo: [], provenance: undefined, sbom: undefined, locks: false, recorded: false },
    ...{ madeNow: undefined, furtherOutputs: undefined, exported: undefined },
  };
}

/** A session whose streams may be read as often as one likes: each is kept in a folder when it is read first. */
function rereadable(session: Session, dir: string): Session {
  const files = new Map<string, Promise<string | undefined>>();
  const keep = async (id: string, n: number) => {
    const stream = await session.upload(id);
    if (stream === undefined) return undefined;
    const file = join(dir, `upload-${n}`);
    await pipeline(stream, createWriteStream(file, { flags: 'wx', mode: 0o600 }));
    return file;
  };
  return Object.create(session, {
    upload: {
      async value(id: string) {
        const kept = files.get(id) ?? keep(id, files.size);
        files.set(id, kept);
        const file = await kept;
        return file === undefined ? undefined : createReadStream(file);
      },
    },
  }) as Session;
}

function differs(parts: readonly PartDifference[]): DrydockError {
  const text = (value: string) => printable(clip(value, 200));
  const line = ({ path, what, first, second }: Difference) =>
    `  ${[text(path), what].filter((word) => word !== '').join(': ')}\n    first   ${text(first)}\n    second  ${text(second)}`;
  const lines = parts.flatMap(({ part, count, differences }) => [
    text(part),
    ...differences.map(line),
    ...(count > differences.length ? [`  … and ${count - differences.length} more`] : []),
  ]);
  const all = parts.flatMap(({ differences }) => differences);
  const isTime = ({ what, path }: Difference) => what === 'mtime' || /(^|\.)created$/.test(path);
  return fail('failed', 'client', `the build is not reproducible:\n${lines.join('\n')}`, {
    hint: all.every(isTime)
      ? 'Only times differ: set SOURCE_DATE_EPOCH, and rewrite-timestamp=true in the output.'
      : undefined,
  });
}
