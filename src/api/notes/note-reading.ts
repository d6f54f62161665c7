/** The lines of a note, as they become a build's log. */
import type { Digest } from '../../oci/index.ts';
import type { LogEvent, ProgressSink } from '../../progress/index.ts';
import {
  type NoteEnd,
  type NoteHead,
  type NoteOutput,
  type NoteProgress,
  noteVersion,
} from '../../records/index.ts';
import { type BuildLog, framesOf } from '../shared/build-log.ts';
import { logMessages, StatusCollector } from '../shared/status.ts';

/** Takes a note's lines in their order. */
export class NoteReading {
  /** What was asked for; undefined before the first line. */
  head: NoteHead | undefined;
  /** How the build ended; undefined until the last line, and for good of a build whose process was killed. */
  end: NoteEnd | undefined;
  readonly #log: BuildLog;
  #warnings = 0;
  /** The states that the log has heard of, as JSON; the last line has all of them again. */
  readonly #told = new Map<string, string>();

  /** `log` hears of the build's progress. */
  constructor(log: BuildLog) {
    this.#log = log;
  }

  /** Takes a line. Throws for one that is none of a note, or of a note of another version, which the log does not hear of. */
  line(text: string): void {
    const value = JSON.parse(text) as NoteHead | NoteOutput | NoteProgress | NoteEnd;
    if (this.head === undefined) this.head = checkedHead(value as NoteHead);
    else if (isOutput(value)) this.#log.log(outputOf(value));
    else this.#progress(value as NoteProgress | NoteEnd);
  }

  #progress(line: NoteProgress | NoteEnd): void {
    const { vertices, statuses, warnings } = line;
    const isLast = 'at' in line;
    if (isLast && !Number.isFinite(line.at)) throw new TypeError('a build that ended at no time');
    const news: NoteProgress = {
      vertices: vertices.filter((each) => this.#isNew(each.digest, each)),
      statuses: statuses.filter((each) => this.#isNew(`${each.vertex} ${each.id}`, each)),
      warnings: isLast ? warnings.slice(this.#warnings) : warnings,
    };
    this.#warnings += news.warnings.length;
    // What cannot be told to followers is found here rather than when it is told.
    framesOf(tell(new StatusCollector(), news).take());
    tell(this.#log, news);
    if (isLast) this.end = line;
  }

  #isNew(key: string, state: object): boolean {
    const text = JSON.stringify(state);
    if (this.#told.get(key) === text) return false;
    this.#told.set(key, text);
    return true;
  }
}

function checkedHead(head: NoteHead): NoteHead {
  const { version, owner, ref, at } = head;
  if (version !== noteVersion) throw new TypeError(`a note of version ${version}`);
  if (typeof owner !== 'string' || typeof ref !== 'string' || !Number.isFinite(at))
    throw new TypeError('a build without an owner, a reference or a time');
  return head;
}

function isOutput(value: object): value is NoteOutput {
  return Array.isArray(value);
}

function outputOf([vertex, stream, timestamp, data]: NoteOutput): LogEvent {
  const event: LogEvent = { vertex: vertex as Digest, stream, timestamp, data: Buffer.from(data, 'base64') };
  framesOf(logMessages([event]));
  return event;
}

function tell<T extends Pick<ProgressSink, 'vertex' | 'status' | 'warning'>>(
  sink: T,
  { vertices, statuses, warnings }: NoteProgress,
): T {
  for (const event of vertices) sink.vertex(event);
  for (const event of statuses) sink.status(event);
  for (const event of warnings) sink.warning(event);
  return sink;
}
