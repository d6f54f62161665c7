/** A build as its progress has told it: steps, files, warnings, logs. It is fed as a running build's follower is. */
import { explanationStart } from '../../explain/index.ts';
import type { LogEvent, ProgressSink, StatusEvent, VertexEvent, WarningEvent } from '../../progress/index.ts';
import { type BuildDetails, SourceFiles, type StepFacts, useOf } from '../../records/index.ts';
import { StepLog } from './step-log.ts';
import type { BuildChange, BuildDetail, BuildWarning, Place, SourceFile, Step, Transfer } from './types.ts';

/** The most transfers of a step that are told of. */
const mostTransfers = 200;
/** The most bytes of output that are shown of a build, as a record keeps. */
const mostOutput = 64 << 20;
const leftOut = '\n[output left out: the page shows 64 MiB of a build]\n';
/** The most warnings of a build that are told of. */
const mostWarnings = 1000;
/** The most lines that say more of a warning. */
const mostDetails = 100;
/** The longest name and error of a step, in characters, and the longest of other texts. */
const maxText = 16 << 10;
const maxShort = 1000;

export class BuildModel implements ProgressSink {
  readonly #steps = new Map<string, Step>();
  readonly #transfers = new Map<string, Map<string, Transfer>>();
  readonly #logs = new Map<string, StepLog>();
  readonly #sources = new SourceFiles();
  readonly #places = new Map<string, Place>();
  readonly #uses = new Map<string, Step['use']>();
  readonly #warnings: BuildWarning[] = [];
  readonly #changed = new Set<string>();
  #knownPlaces = 0;
  #logBytes = 0;
  #toldFiles = 0;
  #toldWarnings = 0;
  #ended = false;

  vertex(event: VertexEvent): void {
    const { digest, inputs, started, completed, cached, error, progressGroup } = event;
    const known = this.#step(digest);
    known.name = event.name.slice(0, maxText);
    known.inputs = [...new Set(inputs)];
    known.startedAt = started;
    known.completedAt = completed;
    known.cached = cached ? true : undefined;
    known.error = error?.slice(0, maxText);
    known.group = progressGroup?.name;
  }

  status({ vertex, id, current, total, started, completed }: StatusEvent): void {
    const step = this.#step(vertex);
    const transfers = this.#transfers.get(vertex) ?? new Map<string, Transfer>();
    this.#transfers.set(vertex, transfers);
    let transfer = transfers.get(id);
    if (transfer === undefined) {
      if (transfers.size >= mostTransfers) return;
      transfer = { id: id.slice(0, maxShort), current, total };
      transfers.set(id, transfer);
      step.transfers.push(transfer);
    }
    Object.assign(transfer, { current, total, startedAt: started, completedAt: completed });
  }

  log(event: LogEvent): void {
    const step = this.#step(event.vertex);
    if (event.explains) {
      step.why = event.data.toString('utf8').trim().replace(explanationStart, '').slice(0, maxText);
      return;
    }
    const log = this.#logs.get(event.vertex) ?? new StepLog();
    this.#logs.set(event.vertex, log);
    if (this.#logBytes > mostOutput) return;
    this.#logBytes += event.data.length;
    log.add(event);
    if (this.#logBytes > mostOutput) log.add({ ...event, stream: 2, data: Buffer.from(leftOut) });
  }

  warning({ vertex, short, detail, url, source }: WarningEvent): void {
    if (this.#warnings.length >= mostWarnings) return;
    const place = source && this.#sources.placeOf(source);
    this.#warnings.push({
      step: vertex,
      short: short.slice(0, maxText),
      detail: detail.slice(0, mostDetails).map((line) => line.slice(0, maxShort)),
      url: url?.slice(0, maxShort),
      place,
    });
  }

  /** Takes over what is known of the steps by now, and says whether anything is new. */
  addFacts({ places, usage }: StepFacts): boolean {
    const [knownPlaces, knownUses] = [this.#places.size, this.#uses.size];
    if (places.size > this.#knownPlaces) {
      for (const [vertex, location] of places) {
        const place = this.#places.has(vertex) ? undefined : this.#sources.placeOf(location);
        if (place === undefined) continue;
        this.#places.set(vertex, place);
        if (this.#steps.has(vertex)) this.#changed.add(vertex);
      }
      this.#knownPlaces = places.size;
    }
    for (const [vertex, used] of usage) {
      if (this.#uses.has(vertex)) continue;
      this.#uses.set(vertex, useOf(used));
      if (this.#steps.has(vertex)) this.#changed.add(vertex);
    }
    return this.#places.size > knownPlaces || this.#uses.size > knownUses;
  }

  end(): void {
    this.#ended = true;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Adds what was kept of an ended build. */
  add({ files, steps }: BuildDetails): void {
    for (const [vertex, { place, use }] of Object.entries(steps)) {
      const file = place && files[place.file];
      if (place !== undefined && file !== undefined)
        this.#places.set(vertex, { ...place, file: this.#fileOf(file) });
      if (use !== undefined) this.#uses.set(vertex, use);
    }
  }

  /** The place of a failure or of another location among the files. */
  placeOf(location: Parameters<SourceFiles['placeOf']>[0]): Place | undefined {
    return this.#sources.placeOf(location);
  }

  get steps(): Step[] {
    return [...this.#steps.keys()].map((digest) => this.#told(digest));
  }

  get counts(): { total: number; completed: number; cached: number } {
    const all = [...this.#steps.values()];
    return {
      total: all.length,
      completed: all.filter(({ completedAt }) => completedAt !== undefined).length,
      cached: all.filter(({ cached }) => cached).length,
    };
  }

  get parts(): Pick<BuildDetail, 'stepList' | 'files' | 'warningList'> {
    return { stepList: this.steps, files: this.#sources.files, warningList: this.#warnings };
  }

  logOf(digest: string): StepLog | undefined {
    return this.#logs.get(digest) ?? (this.#steps.has(digest) ? new StepLog() : undefined);
  }

  /** About how many bytes it takes in memory. */
  get size(): number {
    let size = this.#steps.size * 1000;
    for (const log of this.#logs.values()) size += log.bytes;
    return size;
  }

  /** What has changed since this was called last; undefined for nothing. */
  takeChange(): BuildChange | undefined {
    const { files } = this.#sources;
    const change: BuildChange = {};
    if (this.#changed.size > 0) change.steps = [...this.#changed].map((digest) => this.#told(digest));
    if (files.length > this.#toldFiles) change.files = files;
    if (this.#warnings.length > this.#toldWarnings) change.warnings = this.#warnings;
    this.#changed.clear();
    this.#toldFiles = files.length;
    this.#toldWarnings = this.#warnings.length;
    return Object.keys(change).length === 0 ? undefined : change;
  }

  #fileOf({ name, text }: SourceFile): number {
    const line = { line: 1, character: 0 };
    return this.#sources.placeOf({ filename: name, text, ranges: [{ start: line, end: line }] })?.file ?? 0;
  }

  #step(digest: string): Step {
    this.#changed.add(digest);
    let step = this.#steps.get(digest);
    if (step === undefined) {
      step = { digest, inputs: [], name: '', lines: 0, transfers: [] };
      this.#steps.set(digest, step);
    }
    return step;
  }

  #told(digest: string): Step {
    const step = this.#steps.get(digest) as Step;
    step.lines = this.#logs.get(digest)?.total ?? 0;
    step.place = this.#places.get(digest);
    step.use = this.#uses.get(digest);
    return step;
  }
}
