/** Takes the notes of builds without a daemon into the history. */
import { createReadStream, existsSync } from 'node:fs';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Digest } from '../../oci/index.ts';
import {
  isNote,
  type NoteEnd,
  type NoteHead,
  type NoteOutput,
  notesFolder,
  noteVersion,
} from '../../records/index.ts';
import type { History, NotedBuilds } from '../buildkit/history/history.ts';
import { solveRequest } from '../buildkit/jobs/record-build.ts';
import { BuildLog } from '../shared/build-log.ts';
import { decodedError } from './note-error.ts';

/** The notes under a root. A note is gone once its record is written; one that cannot be read is dropped. */
export function notedUnder(root: string): NotedBuilds {
  const folder = notesFolder(root);
  let taking: Promise<void> | undefined;
  const takeAll = async (history: History) => {
    if (!existsSync(folder)) return;
    const names = (await readdir(folder).catch(() => [])).filter(isNote).sort();
    for (const name of names) {
      const path = join(folder, name);
      await takeIn(history, path).catch(() => {});
      await rm(path, { force: true }).catch(() => {});
    }
  };
  return {
    takeIn: (history) => {
      taking ??= takeAll(history).finally(() => {
        taking = undefined;
      });
      return taking;
    },
  };
}

async function takeIn(history: History, path: string): Promise<void> {
  // A FIFO would never be read to its end, and a link may lead to anything.
  if (!(await lstat(path)).isFile()) return;
  const log = new BuildLog();
  const read = log.keep();
  try {
    let head: NoteHead | undefined;
    let end: NoteEnd | undefined;
    for await (const line of createInterface({ input: createReadStream(path) })) {
      const value = JSON.parse(line) as NoteHead | NoteOutput | NoteEnd;
      if (head === undefined) {
        head = value as NoteHead;
        if (head.version !== noteVersion) return;
      } else if (isOutput(value)) {
        const [vertex, stream, timestamp, data] = value;
        log.log({ vertex: vertex as Digest, stream, timestamp, data: Buffer.from(data, 'base64') });
      } else end = value as NoteEnd;
    }
    if (head === undefined || end === undefined) return;
    tell(log, end);
    const { owner, ref, at } = head;
    await history.started(owner, ref, solveRequest(ref, head), at).completed(log, {
      ...recordedEnd(end),
      at: end.at,
    });
  } finally {
    log.end();
    read();
  }
}

function isOutput(value: NoteHead | NoteOutput | NoteEnd): value is NoteOutput {
  return Array.isArray(value);
}

function tell(log: BuildLog, { vertices, statuses, warnings }: NoteEnd): void {
  for (const event of vertices) log.vertex(event);
  for (const event of statuses) log.status(event);
  for (const event of warnings) log.warning(event);
}

function recordedEnd({ details, error, response, results, documents, predicates }: NoteEnd) {
  return {
    details,
    error: error === undefined ? undefined : decodedError(error),
    response: response && { ...response },
    results: new Map(results ?? []),
    documents: documents?.map((each) => Buffer.from(each, 'base64')),
    predicates: new Map(
      predicates?.map(([name, predicateType, value]) => [
        name,
        { predicateType, predicate: async () => value as Record<string, unknown> },
      ]),
    ),
  };
}
