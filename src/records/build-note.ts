/** Notes of builds without a daemon, in the place of records that a daemon would begin. */
import { randomUUID } from 'node:crypto';
import type { Built } from '../engine/index.ts';
import { Masks, type SourceLocation } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import type {
  LogEvent,
  ProgressSink,
  SourcesEvent,
  StatusEvent,
  UsageEvent,
  VertexEvent,
  WarningEvent,
} from '../progress/index.ts';
import { keptDetails } from './details.ts';
import { maskedJson, maskedPieces } from './masked.ts';
import { NoteFile } from './note-file.ts';
import { type NoteEnd, type NoteHead, notesFolder, noteVersion } from './note-format.ts';
import type { RecordBuild } from './recording.ts';
import { exporterResponse } from './response.ts';

/** About how many bytes of output are masked together, and with those before them. */
const window = 1 << 20;
/** The most bytes of output in a note; the history keeps 64 MiB, and says what it left out. */
const mostOutput = 65 << 20;
/** A note of more characters is taken in at once: notes wait as they are, and records are compressed. */
const large = 1 << 20;

/** What needs the libraries of the history, and is loaded when it is needed. */
export interface NoteHelp {
  /** An error as the history keeps it, without secrets: a google.rpc.Status in base64. */
  encodedError(error: unknown, masks: Masks): string;
  /** Takes the notes under a root into its history. */
  takeInNotes(root: string): Promise<void>;
}

/** Makes the function that notes builds under a root. */
export function noteBuild(root: string, help: () => Promise<NoteHelp>): RecordBuild {
  return ({ ref = randomUUID(), owner, frontend, options, outputs }) => {
    const masks = new Masks(
      [options, ...outputs.map(({ attrs }) => attrs)].flatMap((each) => Object.entries(each)),
    );
    const note = new BuildNote(new NoteFile(notesFolder(root), ref), masks, {
      version: noteVersion,
      owner,
      ref,
      at: Date.now(),
      frontend,
      options: masks.attrs(options),
      outputs: outputs.map(({ type, attrs }) => ({ type, attrs: masks.attrs(attrs) })),
    });
    const over = async (how: () => Promise<Ended>) => {
      if ((await note.end(how)) < large) return;
      // Where that fails, the note waits like others.
      await (await help()).takeInNotes(root).catch(() => {});
    };
    return {
      ref,
      sink: note,
      ended: (built) => over(() => endOf(built, masks)),
      failed: (error) => over(async () => ({ error: (await help()).encodedError(error, masks) })),
    };
  };
}

type Ended = Pick<NoteEnd, 'error' | 'response' | 'results' | 'documents' | 'predicates'>;

async function endOf(built: Built, masks: Masks): Promise<Ended> {
  const { metadata, result, descriptors, documents, predicates = [] } = built;
  const stated = [...predicates].map(
    async ([name, { predicateType, predicate }]) =>
      [name, predicateType, maskedJson(await predicate(), '', masks)] as const,
  );
  return {
    response: masks.attrs(exporterResponse(metadata, result.metadata ?? {})),
    results: [...descriptors],
    documents: documents.map((each) => each.toString('base64')),
    predicates: await Promise.all(stated),
  };
}

/** Hears of a build, and writes its note when it is over. A disk that takes no note fails no build. */
class BuildNote implements ProgressSink {
  readonly #file: NoteFile;
  readonly #masks: Masks;
  readonly #vertices = new Map<string, VertexEvent>();
  readonly #statuses = new Map<string, StatusEvent>();
  readonly #warnings: WarningEvent[] = [];
  readonly #places = new Map<Digest, SourceLocation>();
  readonly #usage = new Map<Digest, UsageEvent['usage']>();
  /** Output that is masked once more, with what comes after it. */
  #before: LogEvent[] = [];
  #current: LogEvent[] = [];
  #bytes = 0;
  #left = mostOutput;
  #broken = false;

  constructor(file: NoteFile, masks: Masks, head: NoteHead) {
    this.#file = file;
    this.#masks = masks;
    file.add(head);
  }

  vertex(event: VertexEvent): void {
    this.#vertices.set(event.digest, event);
  }

  status(event: StatusEvent): void {
    this.#statuses.set(`${event.vertex} ${event.id}`, event);
  }

  warning(event: WarningEvent): void {
    this.#warnings.push(event);
  }

  usage({ vertex, usage }: UsageEvent): void {
    this.#usage.set(vertex, usage);
  }

  sources({ places }: SourcesEvent): void {
    for (const [vertex, place] of places) this.#places.set(vertex, place);
  }

  log(event: LogEvent): void {
    if (this.#left <= 0) return;
    this.#left -= event.data.length;
    this.#bytes += event.data.length;
    this.#current.push(event);
    if (this.#bytes >= window) this.#writeOutput();
  }

  /** Ends the note. Gives its length; 0 when there is none. */
  async end(how: () => Promise<Ended>): Promise<number> {
    try {
      const ended = await how();
      this.#writeOutput();
      this.#writeOutput();
      const at = Date.now();
      const end: NoteEnd = { at, ...this.#seen(), ...ended };
      if (this.#broken) throw new Error('the note is not whole');
      this.#file.add(end);
      this.#file.finish(at);
      return this.#file.size;
    } catch {
      this.#file.abandon();
      return 0;
    }
  }

  #seen(): Omit<NoteEnd, 'at'> {
    const masks = this.#masks;
    const text = (value: string | undefined) => value && masks.text(value);
    return {
      vertices: [...this.#vertices.values()].map((each) => ({
        ...each,
        name: masks.text(each.name),
        error: text(each.error),
      })),
      statuses: [...this.#statuses.values()].map((each) => ({
        ...each,
        id: masks.text(each.id),
        name: masks.text(each.name),
      })),
      warnings: maskedJson(this.#warnings, '', masks) as WarningEvent[],
      details: keptDetails({ places: this.#places, usage: this.#usage }, masks),
    };
  }

  /** Writes the output before the current one, once it is masked together with that. */
  #writeOutput(): void {
    const all = [...this.#before, ...this.#current];
    const byStream = Map.groupBy(all.keys(), (i) => `${all[i]?.vertex} ${all[i]?.stream}`);
    for (const places of byStream.values()) {
      const pieces = places.map((i) => (all[i] as LogEvent).data);
      for (const [n, data] of maskedPieces(pieces, this.#masks).entries()) {
        const i = places[n] as number;
        all[i] = { ...(all[i] as LogEvent), data: Buffer.from(data.buffer, data.byteOffset, data.length) };
      }
    }
    const done = all.slice(0, this.#before.length);
    this.#before = all.slice(this.#before.length);
    [this.#current, this.#bytes] = [[], 0];
    try {
      for (const { vertex, stream, timestamp, data } of done)
        this.#file.add([vertex, stream, timestamp, data.toString('base64')]);
    } catch {
      [this.#broken, this.#left] = [true, 0];
    }
  }
}
