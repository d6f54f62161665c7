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
import { type NoteEnd, type NoteHead, type NoteProgress, notesFolder, noteVersion } from './note-format.ts';
import type { AskedBuild, RecordBuild } from './recording.ts';
import { exporterResponse } from './response.ts';

/** A build that takes so long is shown to others while it runs, in ms: a cached one has ended by then. */
const shownAfter = 250;
/** How often what has changed is written then, in ms. */
const shownEvery = 1000;
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
  return (asked) => {
    const { ref, note, masks } = begin(root, asked);
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

/** Makes the function that shows running builds to other processes. Their records are written otherwise. */
export function showBuild(root: string): RecordBuild {
  return (asked) => {
    const { ref, note } = begin(root, asked);
    return { ref, sink: note, ended: () => note.abandon(), failed: () => note.abandon() };
  };
}

function begin(
  root: string,
  { ref = randomUUID(), owner, frontend, options, outputs }: AskedBuild,
): { ref: string; note: BuildNote; masks: Masks } {
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
  return { ref, note, masks };
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

type State = VertexEvent | StatusEvent | WarningEvent;

/**
 * Hears of a build, and writes its note: what there is of it now and then, the rest when the build is over. A disk that
 * takes no note fails no build.
 */
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
  /** The states that the file has. */
  readonly #shown = new WeakSet<State>();
  #timer: NodeJS.Timeout;

  constructor(file: NoteFile, masks: Masks, head: NoteHead) {
    this.#file = file;
    this.#masks = masks;
    file.add(head);
    this.#timer = this.#showIn(shownAfter);
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

  /** Ends the note, of which nothing is left. */
  abandon(): void {
    clearTimeout(this.#timer);
    this.#file.abandon();
  }

  /** Ends the note. Gives its length; 0 when there is none. */
  async end(how: () => Promise<Ended>): Promise<number> {
    clearTimeout(this.#timer);
    try {
      const ended = await how();
      this.#writeOutput();
      this.#writeOutput();
      const at = Date.now();
      const details = keptDetails({ places: this.#places, usage: this.#usage }, this.#masks);
      const end: NoteEnd = { at, ...this.#progress(() => true), details, ...ended };
      if (this.#broken) throw new Error('the note is not whole');
      this.#file.add(end);
      this.#file.finish(at);
      return this.#file.size;
    } catch {
      this.#file.abandon();
      return 0;
    }
  }

  #showIn(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#show(), ms).unref();
  }

  /** Has others see how far the build is. */
  #show(): void {
    if (this.#broken) return;
    this.#timer = this.#showIn(shownEvery);
    if (this.#endsInLines()) this.#writeOutput();
    // The end of a step comes after its output.
    const talking = new Set([...this.#before, ...this.#current].map(({ vertex }) => vertex));
    const waits = (event: State) =>
      'digest' in event && event.completed !== undefined && talking.has(event.digest);
    const isNew = (event: State) => !this.#shown.has(event) && !waits(event);
    const states = [...this.#vertices.values(), ...this.#statuses.values(), ...this.#warnings].filter(isNew);
    try {
      if (states.length > 0) this.#file.add(this.#progress(isNew));
      this.#file.write();
    } catch {
      this.#giveUp();
    }
    for (const event of states) this.#shown.add(event);
  }

  /** The states that are chosen, without secrets. */
  #progress(chosen: (event: State) => boolean): NoteProgress {
    const masks = this.#masks;
    const text = (value: string | undefined) => value && masks.text(value);
    const vertices = [...this.#vertices.values()].filter(chosen);
    const statuses = [...this.#statuses.values()].filter(chosen);
    return {
      vertices: vertices.map((each) => ({ ...each, name: masks.text(each.name), error: text(each.error) })),
      statuses: statuses.map((each) => ({ ...each, id: masks.text(each.id), name: masks.text(each.name) })),
      warnings: maskedJson(this.#warnings.filter(chosen), '', masks) as WarningEvent[],
    };
  }

  /** Whether all output ends with a line, in the middle of which no secret is. */
  #endsInLines(): boolean {
    const last = new Map(
      this.#current.map(({ vertex, stream, data }) => [`${vertex} ${stream}`, data.at(-1)]),
    );
    return [...last.values()].every((byte) => byte === 0x0a || byte === 0x0d);
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
      this.#giveUp();
    }
  }

  #giveUp(): void {
    [this.#broken, this.#left] = [true, 0];
  }
}
