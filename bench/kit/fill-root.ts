/** Roots with a great many things in them, which would take days to build. */
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { create } from '@bufbuild/protobuf';
import { openHistory } from '../../src/api/buildkit/history/open.ts';
import { Jobs } from '../../src/api/buildkit/jobs/jobs.ts';
import { recordStatus } from '../../src/engine/gateway/encode.ts';
import { openStore } from '../../src/engine/stores.ts';
import { DrydockError } from '../../src/errors/index.ts';
import { digestOf, mediaTypes } from '../../src/oci/index.ts';
import { SolveRequestSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';

/**
 * Adds `count` cache records to a root that has a build's: each with two keys, which are made of the record before it,
 * and with a lease on one of the build's snapshots.
 */
export function fillRecords(root: string, count: number): void {
  const db = new DatabaseSync(join(root, 'cache.db'));
  db.exec(`ATTACH ${quoted(join(root, 'store.db'))} AS store`);
  db.exec(`
    CREATE TEMP TABLE some AS SELECT row_number() OVER () AS n, key FROM store.snapshots WHERE run IS NULL LIMIT 50;
    CREATE TEMP TABLE made AS
      WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${count})
      SELECT n, 'sha256:' || lower(hex(randomblob(32))) AS id, 'sha256:' || lower(hex(randomblob(32))) AS def,
        'sha256:' || lower(hex(randomblob(32))) AS content,
        (SELECT key FROM some WHERE some.n = 1 + numbers.n % (SELECT count(*) FROM some)) AS snapshot
      FROM numbers;
    BEGIN IMMEDIATE;
    INSERT INTO records (id, description, type, results, size, created_at, last_used_at, usage_count)
      SELECT id, '[stage 1/3] RUN step number ' || n || ' of a build that was made once', 'regular',
        '[{"kind":"snapshot","key":"' || snapshot || '"}]', 1000, 1700000000000 + n, 1700000000000 + n, 1
      FROM made ORDER BY n;
    INSERT INTO keys (key, record, kind, op) SELECT def, id, 'definition', content FROM made ORDER BY def;
    INSERT INTO keys (key, record, kind, op) SELECT content, id, 'content', def FROM made ORDER BY content;
    INSERT INTO links (key, input, dep, dep_index, selector, content)
      SELECT a.def, 0, b.id, 0, '', 0 FROM made a JOIN made b ON b.rowid = a.rowid - 1 ORDER BY a.def;
    INSERT INTO links (key, input, dep, dep_index, selector, content)
      SELECT a.content, 0, b.id, 0, '/src', 1 FROM made a JOIN made b ON b.rowid = a.rowid - 1 ORDER BY a.content;
    INSERT INTO store.leases (id, run, view, labels, created_at)
      SELECT 'cache-' || substr(id, 8), NULL, 0, '{}', 1700000000000 + n FROM made ORDER BY id;
    INSERT INTO store.held (lease, type, id) SELECT 'cache-' || substr(id, 8), 'snapshot', snapshot FROM made ORDER BY id;
    COMMIT;
  `);
  db.close();
}

/** Adds `count` images to a root, each with a config and a manifest of its own and with the layers of none. */
export async function fillImages(root: string, count: number): Promise<void> {
  const store = await openStore({ root });
  try {
    const lease = `fill-${randomBytes(4).toString('hex')}`;
    await store.leases.create(lease);
    const put = async (mediaType: string, value: unknown) => {
      const bytes = Buffer.from(JSON.stringify(value));
      const digest = await store.content.put(bytes, { lease, labels: labelsOf(value) });
      return { mediaType, digest, size: bytes.length };
    };
    for (let i = 0; i < count; i++) {
      const config = await put(mediaTypes.ociConfig, {
        architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
        os: 'linux',
        created: new Date(1_700_000_000_000 + i * 1000).toISOString(),
        config: { Labels: { number: String(i) } },
        rootfs: { type: 'layers', diff_ids: [] },
      });
      const manifest = await put(mediaTypes.ociManifest, {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config,
        layers: [],
      });
      await store.images.put(`docker.io/library/filled-${i}:latest`, manifest);
    }
    await store.leases.delete(lease);
  } finally {
    await store.close();
  }
}

/** Adds `count` builds that have ended to the history of a root, a daemon's or not: those of whoever asks without a name. */
export async function fillBuilds(root: string, count: number): Promise<void> {
  const history = openHistory(root);
  const jobs = new Jobs();
  try {
    for (let i = 0; i < count; i++) {
      const ref = randomUUID();
      const name = `registry.example/team-${i % 20}/app-${i}`;
      const request = create(SolveRequestSchema, {
        Ref: ref,
        Frontend: 'dockerfile.v0',
        FrontendAttrs: { filename: 'Dockerfile', context: `https://example.org/team-${i % 20}/app.git` },
        Exporters: [{ Type: 'image', Attrs: { name } }],
      });
      const { log, end } = jobs.start('anonymous', ref);
      const record = history.started('anonymous', ref, request);
      const now = Date.now();
      for (const step of ['[1/2] FROM debian', '[2/2] RUN make']) {
        const digest = digestOf(step);
        log.vertex({ digest, name: step, inputs: [], started: now - (i % 100) * 1000, completed: now });
      }
      const error = new DrydockError('process "make" did not complete successfully: exit code: 2', {
        code: 'failed',
      });
      const failed = i % 10 === 0;
      const written = record.completed(
        log,
        failed ? { error: recordStatus(error) } : { response: { 'image.name': name }, predicates: new Map() },
      );
      end();
      if (i % 100 === 0) await written;
    }
    await history.settled();
  } finally {
    await history.close();
  }
}

/** The labels by which a manifest keeps its config. */
function labelsOf(value: unknown): Record<string, string> {
  const config = (value as { config?: { digest?: unknown } }).config?.digest;
  return typeof config === 'string' ? { 'containerd.io/gc.ref.content.config': config } : {};
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
