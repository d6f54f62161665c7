/** The note of a build that runs in another process: read as it is written, until the build ends or its process does. */
import { type FileHandle, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { recordStatus } from '../../engine/index.ts';
import { fail } from '../../errors/index.ts';
import { tryLock } from '../../linux/index.ts';
import { type NoteHead, noteName, noteReference } from '../../records/index.ts';
import type { History, Recording } from '../buildkit/history/history.ts';
import type { RecordedEnd } from '../buildkit/history/record.ts';
import type { Jobs } from '../buildkit/jobs/jobs.ts';
import { solveRequest } from '../buildkit/jobs/record-build.ts';
import type { BuildLog } from '../shared/build-log.ts';
import { NoteLines, openNote } from './note-lines.ts';
import { NoteReading } from './note-reading.ts';
import { recordedEnd } from './recorded-end.ts';

/** How often a note is looked at, in ms. */
const everyMs = 500;

/** Those who hear of the builds that run. */
interface Followers {
  history: History;
  jobs: Jobs;
}

/** A build that runs in another process: one of `jobs`, and under way in the history. */
export class FollowedNote {
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #over: () => void;
  readonly #log: BuildLog;
  readonly #lines: NoteLines;
  readonly #note: NoteReading;
  #recording: Recording | undefined;
  #endJob: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  private constructor(file: FileHandle, path: string, log: BuildLog, over: () => void) {
    this.#file = file;
    this.#path = path;
    this.#log = log;
    this.#lines = new NoteLines(file);
    this.#note = new NoteReading(log);
    this.#over = over;
  }

  /**
   * Begins to follow a note. Undefined for a file that has no line yet or whose build is under way here, and for one that
   * could be taken in at once, as its process is gone. What is no note is dropped when nobody writes it: this throws then.
   * `over` is called once the note is followed no more.
   */
  static async open(path: string, followers: Followers, over: () => void): Promise<FollowedNote | undefined> {
    const file = await openNote(path);
    const note = new FollowedNote(file, path, followers.jobs.newLog(), over);
    try {
      await note.#read();
      const { head } = note.#note;
      if (head === undefined || !note.#begin(head, followers)) {
        await note.#stop();
        return undefined;
      }
    } catch (err) {
      if (tryLock(file.fd)) await rm(path, { force: true });
      await note.#stop();
      throw err;
    }
    await note.look();
    return note.#recording === undefined ? undefined : note;
  }

  /** The reference of the build. */
  get ref(): string | undefined {
    return this.#note.head?.ref;
  }

  /** Takes in what there is, and the build's record when it has ended. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Lets the build go, which is under way here no longer. */
  close(): void {
    this.#recording?.elsewhere();
    void this.#stop();
  }

  #begin({ owner, ref, at, ...asked }: NoteHead, { history, jobs }: Followers): boolean {
    if (ref !== noteReference(basename(this.#path))) throw new TypeError(`the note of another build, ${ref}`);
    if (history.isActive(owner, ref)) return false;
    this.#endJob = jobs.start(owner, ref, this.#log).end;
    this.#recording = history.started(owner, ref, solveRequest(ref, asked), at);
    return true;
  }

  async #look(): Promise<void> {
    clearTimeout(this.#timer);
    const recording = this.#recording;
    if (recording === undefined) return;
    // Asked first: what the writer wrote before it let go is read then.
    const free = tryLock(this.#file.fd);
    try {
      await this.#read();
    } catch {
      // What was damaged on its way is the end of what can be known.
    }
    if (!free) {
      this.#timer = setTimeout(() => void this.look(), everyMs);
      return;
    }
    const read = this.#log.keep();
    try {
      const { nlink, mtimeMs } = await this.#file.stat();
      // Without a name it was taken in elsewhere, or dropped.
      if (nlink === 0) recording.elsewhere();
      else await this.#takeIn(recording, mtimeMs);
    } catch {
      recording.elsewhere();
    } finally {
      read();
      await this.#stop();
    }
  }

  async #takeIn(recording: Recording, lastWritten: number): Promise<void> {
    const { head, end } = this.#note;
    let waits = false;
    try {
      waits = await recording.completed(
        this.#log,
        end === undefined ? killed(lastWritten) : recordedEnd(end),
      );
    } finally {
      const last = head && end && join(dirname(this.#path), noteName(end.at, head.ref));
      for (const path of waits ? [] : [this.#path, last ?? this.#path]) await rm(path, { force: true });
    }
  }

  /** Reads the lines that there are. */
  async #read(): Promise<void> {
    for await (const line of this.#lines.come()) this.#note.line(line);
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#recording = undefined;
    this.#log.end();
    this.#endJob?.();
    this.#over();
    await this.#file.close();
  }
}

/** The end of a build whose process was killed after it had written last. */
function killed(at: number): RecordedEnd {
  const error = fail('unavailable', 'client', 'the process of the build was killed before the build ended', {
    hint: 'Build again: steps that had ended are cached.',
  });
  return { at, error: recordStatus(error) };
}
