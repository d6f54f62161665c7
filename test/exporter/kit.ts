import { PassThrough } from 'node:stream';
import { createExporter } from '../../src/exporter/exporters.ts';
import type { ExportRequest, ExportResponse, OutputSink, PlatformResult } from '../../src/exporter/types.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { ImageConfig, Platform } from '../../src/oci/types.ts';
import { createRefs } from '../../src/refs/refs.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import type { Session } from '../../src/session/types.ts';
import type { Ref } from '../../src/store/ref.ts';
import type { Store } from '../../src/store/store.ts';
import { lease } from '../layer/kit.ts';

export const registry = new RegistryClient({ userAgent: 'drydock/test', retries: 0 });
export const amd64: Platform = { os: 'linux', architecture: 'amd64' };
export const arm64: Platform = { os: 'linux', architecture: 'arm64' };

export const refsOf = (store: Store) => createRefs({ store, registry });

/** A solved platform as the frontend gives it: a config with history, without diff IDs. */
export function solved(
  ref: Ref | undefined,
  more: Partial<ImageConfig> = {},
  platform = amd64,
): PlatformResult {
  return {
    ref,
    platform,
    config: {
      ...platform,
      config: { Cmd: ['sh'] },
      history: [
        { created_by: 'COPY a /' },
        { created_by: 'ENV x=y', empty_layer: true },
        { created_by: 'RUN b' },
      ],
      rootfs: { type: 'layers', diff_ids: [] },
      ...more,
    },
  };
}

export interface Exported extends ExportResponse {
  /** Names of the progress lines, in order of their beginning. */
  statuses: string[];
  /** Progress lines that never ended. */
  open: string[];
}

export async function run(
  store: Store,
  type: string,
  attrs: Record<string, string>,
  request: Partial<ExportRequest> & { results: PlatformResult[] },
  options: { sink?: OutputSink; signal?: AbortSignal } = {},
): Promise<Exported> {
  const lines = new Map<string, boolean>();
  const response = await createExporter(type, attrs).export(
    { attrs, names: [], ...request },
    {
      store,
      registry,
      trusting: (ref) => registry.trusting(ref.split('/')[0]!),
      session: { credentials: async () => undefined } as unknown as Session,
      progress: {
        digest: digestOf('exporting'),
        report: (id, { done }) => lines.set(id, done ?? false),
        log() {},
        warn() {},
      },
      signal: options.signal ?? new AbortController().signal,
      lease,
      sink: options.sink,
    },
  );
  return {
    ...response,
    statuses: [...lines.keys()],
    open: [...lines].flatMap(([id, done]) => (done ? [] : [id])),
  };
}

/** A sink that keeps what it gets. */
export function bufferSink(): { sink: OutputSink; bytes(): Promise<Buffer> } {
  const stream = new PassThrough();
  const bytes = stream.toArray().then((parts: Buffer[]) => Buffer.concat(parts));
  bytes.catch(() => {});
  return { sink: { tar: async () => stream }, bytes: () => bytes };
}
