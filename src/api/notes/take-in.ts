/** Takes the notes of builds without a daemon into the history, and follows those that run. */
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isNote, noteReference, notesFolder, writerOf } from '../../records/index.ts';
import type { History, NotedBuilds } from '../buildkit/history/history.ts';
import type { Jobs } from '../buildkit/jobs/jobs.ts';
import { solveRequest } from '../buildkit/jobs/record-build.ts';
import { BuildLog } from '../shared/build-log.ts';
import { FollowedNote } from './followed-note.ts';
import { noteLines } from './note-lines.ts';
import { NoteReading } from './note-reading.ts';
import { recordedEnd } from './recorded-end.ts';

/**
 * The notes under a root. A note is gone once its record is written, and waits on while the disk takes no record. What is
 * no note is dropped. `jobs` get the logs of the builds that run.
 */
export function notedUnder(root: string, jobs: Jobs): NotedBuilds {
  const folder = notesFolder(root);
  /** By the names of their files while they run. */
  const followed = new Map<string, FollowedNote>();
  let taking: Promise<void> | undefined;
  let closed = false;
  const follow = async (history: History, name: string) => {
    const note = await FollowedNote.open(join(folder, name), { history, jobs }, () => followed.delete(name));
    if (note === undefined) return;
    if (closed) note.close();
    else followed.set(name, note);
  };
  const takeAll = async (history: History) => {
    if (!existsSync(folder)) return;
    const names = (await readdir(folder).catch(() => [])).sort();
    // What has ended meanwhile is taken in by those who followed it.
    await Promise.all([...followed.values()].map((note) => note.look()));
    const known = new Set([...followed.values()].map(({ ref }) => ref));
    for (const name of names.filter(isNote)) {
      if (known.has(noteReference(name))) continue;
      const path = join(folder, name);
      const waits = await takeIn(history, path).catch(isOfTheSystem);
      if (!waits) await rm(path, { force: true }).catch(() => {});
    }
    for (const name of names) {
      if (writerOf(name) !== undefined && !followed.has(name)) await follow(history, name).catch(() => {});
    }
  };
  return {
    takeIn: (history) => {
      taking ??= takeAll(history).finally(() => {
        taking = undefined;
      });
      return taking;
    },
    close() {
      closed = true;
      for (const note of followed.values()) note.close();
      followed.clear();
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
    const note = new NoteReading(log);
    for await (const line of noteLines(path)) note.line(line);
    const { head, end } = note;
    if (head === undefined || end === undefined) return false;
    const { owner, ref, at } = head;
    // Read before the record begins, which would be under way for ever.
    const how = recordedEnd(end);
    return await history.started(owner, ref, solveRequest(ref, head), at).completed(log, how);
  } finally {
    log.end();
    read();
  }
}
