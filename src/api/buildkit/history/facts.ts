/** The facts of a build's record, as people and programs read them. Pure. */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { predicateTypeKey } from '../../../attest/index.ts';
import type { BuildHistoryRecord } from '../../../pb/moby/buildkit/v1/control_pb.js';
import { saysCanceled } from '../../../progress/index.ts';

/** A build. Times are in ms. */
export interface BuildFacts {
  ref: string;
  /** What was built: the images' names, or the context, with the target. */
  name: string;
  status: 'running' | 'completed' | 'error' | 'canceled';
  createdAt: number;
  completedAt: number | undefined;
  duration: number;
  frontend: string;
  context: string | undefined;
  dockerfile: string;
  target: string | undefined;
  platforms: string[];
  buildArgs: Record<string, string>;
  labels: Record<string, string>;
  steps: { total: number; completed: number; cached: number; warnings: number };
  images: string[];
  digest: string | undefined;
  error: string | undefined;
  pinned: boolean;
  /** What was stated of the results, and where it is among the record's blobs. */
  attachments: { digest: string; type: string }[];
}

/** Takes the facts out of a record. `now`: when it is read. */
export function factsOf(record: BuildHistoryRecord, now: number): BuildFacts {
  const {
    Ref: ref,
    FrontendAttrs: attrs,
    CreatedAt,
    CompletedAt,
    error,
    ExporterResponse: response,
  } = record;
  const createdAt = CreatedAt === undefined ? 0 : timestampMs(CreatedAt);
  const completedAt = CompletedAt === undefined ? undefined : timestampMs(CompletedAt);
  const images = (response['image.name'] ?? record.Exporters.map(({ Attrs }) => Attrs.name ?? '').join(','))
    .split(',')
    .filter((name) => name !== '');
  const { target } = attrs;
  const context = attrs.context ?? attrs['vcs:source'];
  const named = images.length > 0 ? images.join(', ') : (context ?? '');
  const results = [record.Result, ...Object.values(record.Results)];
  return {
    ref,
    name: target ? `${named}${named === '' ? '' : ' '}(${target})` : named,
    status:
      completedAt === undefined
        ? 'running'
        : error === undefined
          ? 'completed'
          : saysCanceled(error.message)
            ? 'canceled'
            : 'error',
    createdAt,
    completedAt,
    duration: (completedAt ?? now) - createdAt,
    frontend: record.Frontend,
    context,
    dockerfile: attrs.filename ?? 'Dockerfile',
    target: target || undefined,
    platforms: (attrs.platform ?? '').split(',').filter((each) => each !== ''),
    buildArgs: prefixed(attrs, 'build-arg:'),
    labels: prefixed(attrs, 'label:'),
    steps: {
      total: record.numTotalSteps,
      completed: record.numCompletedSteps,
      cached: record.numCachedSteps,
      warnings: record.numWarnings,
    },
    images,
    digest: response['containerimage.digest'],
    error: error?.message,
    pinned: record.pinned,
    attachments: results.flatMap((result) =>
      (result?.Attestations ?? []).map(({ digest, annotations, mediaType }) => ({
        digest,
        type: annotations[predicateTypeKey] ?? mediaType,
      })),
    ),
  };
}

function prefixed(attrs: Readonly<Record<string, string>>, prefix: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(attrs).flatMap(([name, value]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [],
    ),
  );
}
