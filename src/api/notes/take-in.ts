/** Takes the notes of builds without a daemon into the history. */
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
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
import { noteLines } from './note-lines.ts';

/**
 * The notes under a root. A note is gone once its record is written, and waits on while the disk takes no record. What is
 * no note is dropped.
 */
export function notedUnder(root: string): NotedBuilds {
  const folder = notesFolder(root);
  let taking: Promise<void> | undefined;
  const takeAll = async (history: History) => {
    if (!existsSync(folder)) return;
    const names = (await readdir(folder).catch(() => [])).filter(isNote).sort();
    for (const name of names) {
      const path = join(folder, name);
      const waits = await takeIn(history, path).catch(isOfTheSystem);
      if (!waits) await rm(path, { force: true }).catch(() => {});
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

/** Whether it was the system that failed, as on a bad disk, and not the file that is no note. */
function isOfTheSystem(err: unknown): boolean {
  return err instanceof Error && 'syscall' in err;
}

/** Takes a note in. True: its record can only be written later. Throws when the file is no note, or cannot be read. */
async function takeIn(history: History, path: string): Promise<boolean> {
  const log = new BuildLog();
  const read = log.keep();
  try {
    let head: NoteHead | undefined;
    let end: NoteEnd | undefined;
    for await (const line of noteLines(path)) {
      const value = JSON.parse(line) as NoteHead | NoteOutput | NoteEnd;
      if (head === undefined) {
        head = value as NoteHead;
        if (head.version !== noteVersion) return false;
      } else if (isOutput(value)) {
        const [vertex, stream, timestamp, data] = value;
        log.log({ vertex: vertex as Digest, stream, timestamp, data: Buffer.from(data, 'base64') });
      } else end = value as NoteEnd;
    }
    if (head === undefined || end === undefined) return false;
    tell(log, end);
    const { owner, ref, at } = head;
    if (typeof owner !== 'string' || typeof ref !== 'string') return false;
    if (!Number.isFinite(at) || !Number.isFinite(end.at)) return false;
    // Read before the record begins, which would be under way for ever.
    const how = { ...recordedEnd(end), at: end.at };
    return await history.started(owner, ref, solveRequest(ref, head), at).completed(log, how);
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
