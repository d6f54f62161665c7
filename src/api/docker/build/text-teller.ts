/** Version 1: writes the text of docker's old builder, one step after the other, whatever runs at the same time. */
import { StringDecoder } from 'node:string_decoder';
import type { BuildResult } from '../../../engine/index.ts';
import type { DrydockError } from '../../../errors/index.ts';
import { isBare } from '../../../explain/index.ts';
import { type FrontendResult, parseDockerfile, parseInTurns } from '../../../frontend/index.ts';
import { loadGraphInTurns, type Vertex } from '../../../llb/index.ts';
import { digestOf } from '../../../oci/index.ts';
import type { Definition } from '../../../pb/solver/pb/ops_pb.js';
import type { ProgressSink } from '../../../progress/index.ts';
import { atOnce, inTurns, isDue, nextTurn } from '../../../workers/index.ts';
import { buildMessage } from '../http/errors.ts';
import type { ObjectSink } from '../http/json-stream.ts';
import { shortId } from '../http/progress.ts';
import { HeldOutput } from './held-output.ts';
import { asWarning, missingMessage, runMessage } from './old-messages.ts';
import { type BuildStep, stepsOf } from './steps.ts';
import type { MadeImage, Teller } from './teller.ts';

interface ToldVertex {
  /** Whether it runs or has run: it is then not from the cache. */
  started: boolean;
  done: boolean;
  /** Whether it was taken from the cache, or nobody needed it. */
  cached: boolean;
  failed: boolean;
  /** The line that says why it was not cached, with its end, until it is written. */
  why?: string;
  decoders: { 1: StringDecoder; 2: StringDecoder };
}

/** The longest Dockerfile that is parsed once more, to write the steps before a failed one. */
const maxParsed = 64 * 1024;
/** The most steps that are still written when one fails. */
const maxBefore = 1000;

interface TextOptions {
  /** The stage that is built; undefined: the last one. */
  target: string | undefined;
  /** Whether steps are not taken from the cache. */
  noCache: boolean;
  /** Whether the text says that the containers of steps are removed. */
  removes: boolean;
  /** Whether the image's ID is also written as an object. */
  wantsAux: boolean;
  /** The folder for output that waits for the client or for earlier steps; it lies in a file without a name. */
  folder: string;
}

export class TextTeller implements Teller {
  readonly sink: ProgressSink;
  readonly onPlan: (plan: FrontendResult) => Promise<void>;
  readonly #stream: ObjectSink;
  readonly #removes: boolean;
  readonly #wantsAux: boolean;
  readonly #states = new Map<string, ToldVertex>();
  readonly #inputs = new Map<string, string[]>();
  readonly #warnings: string[] = [];
  #steps: BuildStep[] = [];
  #at = 0;
  /** The stages in which a step before the current one was not from the cache. */
  readonly #made = new Set<number>();
  /** The output that is not written yet. */
  readonly #output: HeldOutput;
  /** Whether the current step's head is out; `#running` says whether its line about running is. */
  #headed = false;
  #running = false;
  readonly #noCache: boolean;
  readonly #target: string | undefined;
  #isPlanned = false;
  /** Whether the image was in the store already; undefined until the build is over. */
  #wasThere: boolean | undefined;
  #lastId = '';
  /** Resolves when the teller has gone on by itself: in another turn, or when the client has read more. */
  #later: Promise<void> | undefined;

  constructor(stream: ObjectSink, options: TextOptions) {
    this.#stream = stream;
    this.#removes = options.removes;
    this.#wantsAux = options.wantsAux;
    this.#noCache = options.noCache;
    this.#target = options.target;
    this.#output = new HeldOutput({ folder: options.folder });
    this.sink = {
      vertex: (event) => {
        const state = this.#state(event.digest);
        if (event.completed === undefined) {
          state.started = event.started !== undefined;
          if (state.started) this.#advance();
          return;
        }
        state.failed = event.error !== undefined;
        state.done = !state.failed;
        state.cached = event.cached === true;
        if (state.done) this.#settleInputs(event.digest);
        this.#advance();
      },
      status() {},
      log: (event) => {
        const state = this.#state(event.vertex);
        if (event.explains === true) {
          // What runs for the first time is known by its missing "Using cache".
          const line = event.data.toString();
          if (!isBare(line)) state.why = line;
          return;
        }
        const text = state.decoders[event.stream].write(event.data);
        // docker shows what goes to stderr in red.
        const shown = event.stream === 2 && text !== '' ? `\u001b[91m${text}\u001b[0m` : text;
        this.#output.add(event.vertex, shown);
        this.#settleInputs(event.vertex);
        this.#advance();
      },
      warning: (event) => this.#warnings.push(event.short),
    };
    this.onPlan = async (plan) => {
      this.#isPlanned = true;
      await this.#plan(plan);
    };
  }

  async finish(result: BuildResult, { tags, wasThere }: MadeImage): Promise<void> {
    // What nobody looked at was not needed: a later step came from the cache.
    for (const { all } of this.#steps) for (const { digest } of all) this.#settle(digest);
    this.#wasThere = wasThere;
    const id = result.imageId;
    this.#advance(id);
    while (this.#later !== undefined) {
      await this.#later;
      this.#advance(id);
    }
    this.#output.close();
    for (const warning of this.#warnings) this.#say(`${asWarning(warning)}\n`);
    if (id === undefined) return;
    if (this.#wantsAux) this.#stream.write({ aux: { ID: id } });
    this.#say(`Successfully built ${shortId(id)}\n`);
    for (const tag of tags) this.#say(`Successfully tagged ${tag}\n`);
  }

  async fail(error: DrydockError): Promise<string> {
    while (this.#later !== undefined) await this.#later;
    this.#wasThere = false;
    if (!this.#isPlanned) this.#upTo(error);
    const culprit = this.#steps.findIndex(({ all }) =>
      all.some(({ digest }) => this.#states.get(digest)?.failed),
    );
    // Steps that were running beside it are left out.
    const from = Math.max(this.#at, culprit - maxBefore);
    while (this.#at < from) this.#next();
    for (; this.#at < culprit; this.#next()) {
      const step = this.#steps[this.#at] as BuildStep;
      if (!this.#isDone(step)) continue;
      this.#head(step);
      await this.#tellAll(step);
      this.#tail(step);
    }
    const step = this.#steps[this.#at];
    if (step !== undefined && this.#at === culprit) {
      this.#head(step);
      await this.#tellAll(step);
    }
    this.#output.close();
    return runMessage(error) ?? missingMessage(error) ?? buildMessage(error, false);
  }

  async #plan({ targets, dockerfile }: FrontendResult): Promise<void> {
    const definitions = targets.map(({ definition }) => definition);
    const vertices = new Map<string, Vertex>();
    for (const definition of definitions) {
      const graph = await loadGraphInTurns(definition);
      for (const vertex of graph.vertices) {
        vertices.set(vertex.digest, vertex);
        this.#inputs.set(
          vertex.digest,
          vertex.inputs.map((input) => input.vertex.digest),
        );
      }
    }
    const file = dockerfile ?? sourceOf(definitions);
    if (file === undefined) return;
    const parsed = await parseInTurns(file.text, file.filename);
    this.#steps = await inTurns(stepsOf(parsed, this.#target, [...vertices.values()], file.triggers));
    this.#advance();
  }

  /** Writes the heads of all steps up to the line at which the frontend failed (a base image that is not there). */
  #upTo({ source, hop }: DrydockError): void {
    const line = source?.ranges[0]?.start.line;
    if (source === undefined || line === undefined || hop === 'dockerfile') return;
    if (source.text.length > maxParsed) return;
    this.#steps = atOnce(stepsOf(parseDockerfile(source.text, source.filename), this.#target, []));
    const last = this.#steps.findIndex((step) => step.line === line);
    for (const step of this.#steps.slice(0, last + 1)) {
      this.#head(step);
      this.#headed = false;
      this.#at++;
    }
  }

  /** Writes all that can be written: finished steps in order, and the output of the first unfinished one. */
  #advance(imageId?: string): void {
    if (this.#later !== undefined) return;
    for (let step = this.#steps[this.#at]; step !== undefined; step = this.#steps[this.#at]) {
      if (isDue()) {
        this.#goOnAfter(nextTurn());
        return;
      }
      const isLast = this.#at === this.#steps.length - 1;
      this.#head(step);
      if (!this.#tell(step)) {
        this.#goOnAfter(this.#hasRoom());
        return;
      }
      const isSettled = this.#isDone(step) && this.#isCached(step) !== undefined;
      if (!isSettled || (isLast && imageId === undefined)) return;
      this.#tail(step, isLast ? imageId : undefined);
      this.#next();
    }
  }

  #goOnAfter(turn: Promise<void>): void {
    this.#later = turn.then(() => {
      this.#later = undefined;
      this.#advance();
    });
  }

  #next(): void {
    const step = this.#steps[this.#at];
    if (step !== undefined && step.vertices.length > 0 && this.#isFromCache(step) === false) {
      this.#made.add(step.stage);
    }
    this.#at++;
    this.#headed = false;
    this.#running = false;
  }

  #isDone({ all }: BuildStep): boolean {
    return all.every(({ digest }) => this.#states.get(digest)?.done);
  }

  /**
   * Whether a step's result was there before this build; undefined while that is not known. A step that only changes the
   * config was there if the next built step on top of it was, or, with none on top, if the image was.
   */
  #isCached(step: BuildStep): boolean | undefined {
    if (step.kind === 'arg' || (step.kind === 'from' && step.triggers === 0)) return false;
    if (step.vertices.length > 0) return this.#isFromCache(step);
    if (this.#noCache) return false;
    if (this.#made.has(step.stage)) return false;
    return step.above === undefined ? this.#wasThere : this.#isFromCache(step.above);
  }

  /** The same for a step that something is built for. */
  #isFromCache({ vertices }: BuildStep): boolean | undefined {
    const states = vertices.map(({ digest }) => this.#states.get(digest));
    if (states.some((state) => state?.failed || (state?.started && !state.cached))) return false;
    if (!states.every((state) => state?.done)) return undefined;
    return !this.#noCache && states.every((state) => state?.cached);
  }

  #head(step: BuildStep): void {
    if (this.#headed) return;
    this.#headed = true;
    this.#say(`Step ${this.#at + 1}/${this.#steps.length} : ${step.text}\n`);
    if (step.triggers === 1) this.#say('# Executing 1 build trigger\n');
    else if (step.triggers > 1) this.#say(`# Executing ${step.triggers} build triggers\n`);
  }

  /** Writes output of a step, as long as the client reads. Returns whether that was all of it. */
  #tell(step: BuildStep): boolean {
    for (const { digest } of step.vertices) {
      while (this.#output.has(digest)) {
        if (this.#stream.isBlocked) return false;
        this.#run(step);
        this.#say(this.#output.take(digest) ?? '');
      }
    }
    return true;
  }

  /** Says once that the step runs. */
  #run(step: BuildStep): void {
    if (this.#running) return;
    this.#running = true;
    if (hasContainer(step)) this.#say(` ---> Running in ${containerId(step)}\n`);
    this.#tellWhy(step);
  }

  /** Writes why the step was not cached, once, if that is known. It looks like the other lines about a step. */
  #tellWhy({ vertices }: BuildStep): void {
    for (const { digest } of vertices) {
      const state = this.#states.get(digest);
      if (state?.why === undefined) continue;
      this.#say(` ---> ${state.why}`);
      delete state.why;
    }
  }

  async #tellAll(step: BuildStep): Promise<void> {
    while (!this.#tell(step)) await this.#hasRoom();
  }

  /** Resolves when the client has read more; when it is gone, in turns with other work. */
  async #hasRoom(): Promise<void> {
    await this.#stream.drained();
    if (isDue()) await nextTurn();
  }

  #tail(step: BuildStep, imageId?: string): void {
    if (step.kind === 'arg') return;
    if (!hasContainer(step)) this.#tellWhy(step);
    for (let left = step.kind === 'from' ? step.triggers : 1; left > 0; left--) {
      if (this.#isCached(step)) this.#say(' ---> Using cache\n');
      else if (hasContainer(step)) {
        this.#run(step);
        if (this.#removes) this.#say(` ---> Removed intermediate container ${containerId(step)}\n`);
        this.#running = false;
      }
    }
    // docker shows no ID of nothing.
    const isNothing = /^from\s+scratch\b/i.test(step.text) && imageId === undefined;
    this.#say(` ---> ${isNothing ? '' : shortId(imageId ?? this.#stepId(step))}\n`);
  }

  #settle(digest: string): void {
    const state = this.#state(digest);
    if (state.done) return;
    state.done = true;
    state.cached = true;
  }

  /** Marks the inputs of a vertex as done: a vertex that has begun, or is done, has all of its inputs. */
  #settleInputs(digest: string): void {
    const queue = [...(this.#inputs.get(digest) ?? [])];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (this.#states.get(next)?.done) continue;
      this.#settle(next);
      queue.push(...(this.#inputs.get(next) ?? []));
    }
  }

  #state(digest: string): ToldVertex {
    let state = this.#states.get(digest);
    if (state === undefined) {
      const decoders = { 1: new StringDecoder('utf8'), 2: new StringDecoder('utf8') };
      state = {
        started: false,
        done: false,
        cached: false,
        failed: false,
        decoders,
      };
      this.#states.set(digest, state);
    }
    return state;
  }

  /** An ID that stands for the step with all steps written before it. */
  #stepId({ text, all }: BuildStep): string {
    this.#lastId = digestOf(`${this.#lastId}\n${text} ${all[0]?.digest ?? ''}`);
    return this.#lastId;
  }

  #say(text: string): void {
    this.#stream.write({ stream: text });
  }
}

/** The first file that definitions name as their source. */
function sourceOf(definitions: readonly Definition[]): FrontendResult['dockerfile'] {
  const info = definitions.flatMap(({ Source }) => Source?.infos ?? [])[0];
  return info && { text: Buffer.from(info.data).toString('utf8'), filename: info.filename };
}

function hasContainer({ kind, triggers }: BuildStep): boolean {
  return kind === 'run' || triggers > 0;
}

/** Old clients show the container in which a step runs; this ID stands for the step itself. */
function containerId(step: BuildStep): string {
  return shortId(
    digestOf(`container ${step.line} ${step.text} ${step.vertices.map(({ digest }) => digest).join(' ')}`),
  );
}
