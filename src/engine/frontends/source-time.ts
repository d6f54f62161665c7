/** The time of a source, by what the source itself says: SOURCE_DATE_EPOCH may be taken from it. */
import type { Definition, SourceOp } from '../../pb/solver/pb/ops_pb.js';
import type { VertexProgress } from '../../progress/index.ts';
import type { Job } from '../../solver/index.ts';
import { gitOptions, httpMeta, pinnedRef, withCommit } from '../../source/index.ts';
import type { Engine } from '../engine.ts';

/**
 * The time of the one source in a definition, in s since 1970: of a git commit, or of a file as its server tells it.
 * `files` means that the source does not tell a time, but its files may. Undefined for other sources, and when there is
 * more than one.
 */
export async function sourceTime(
  engine: Engine,
  job: Job,
  definition: Definition,
): Promise<number | 'files' | undefined> {
  const { vertices } = await job.load(definition);
  const [source, ...more] = vertices.flatMap(({ op: { op } }) => (op.case === 'source' ? [op.value] : []));
  if (source === undefined || more.length > 0) return undefined;
  const scheme = source.identifier.split('://', 1)[0];
  if (scheme === 'upload') return 'files';
  if (scheme !== 'git' && scheme !== 'http' && scheme !== 'https') return undefined;
  const find = scheme === 'git' ? commitTime : lastModified;
  return job.inVertex('[internal] resolve SOURCE_DATE_EPOCH', (progress) =>
    find(engine, job, source, progress),
  );
}

async function commitTime(
  engine: Engine,
  { session, signal, pins }: Job,
  { identifier, attrs }: SourceOp,
  progress: VertexProgress,
): Promise<number> {
  const options = gitOptions(identifier, attrs);
  const ctx = { session, signal, progress, pins };
  const { commit } = await pinnedRef(options, engine, ctx);
  return withCommit(options, commit, engine, ctx, async (mirror) =>
    Number((await mirror.commitTimeNs(commit)) / 1_000_000_000n),
  );
}

async function lastModified(
  engine: Engine,
  { session, signal }: Job,
  source: SourceOp,
  progress: VertexProgress,
): Promise<number | 'files'> {
  const cleanups: (() => void | Promise<void>)[] = [];
  const onRelease = (cleanup: () => void | Promise<void>) => void cleanups.push(cleanup);
  try {
    const found = await httpMeta(source, engine, { session, signal, progress, onRelease });
    const time = Date.parse(found.lastModified ?? '');
    return Number.isNaN(time) ? 'files' : Math.floor(time / 1000);
  } finally {
    for (const cleanup of cleanups) await cleanup();
  }
}
