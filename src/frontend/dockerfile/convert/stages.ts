/** The stages of one conversion: the stages that each one needs, and its state so far. */
import { fail, type SourceRange } from '../../../errors/index.ts';
import { type State, scratch, Variables } from '../../../llb/index.ts';
import type { ImageConfig, Platform } from '../../../oci/index.ts';
import type { Base, Dockerfile, Instruction, Stage } from '../ast.ts';
import { didYouMean } from '../parse/suggest.ts';
import { type Grown, nothingGrown } from './grown.ts';
import { emptyImage } from './image.ts';
import { locationOf } from './located.ts';
import type { NamedContext } from './named-contexts.ts';

/** An instruction with the stages that it reads from; undefined: the build context. */
export interface StageCommand {
  instruction: Instruction;
  sources: (StageState | undefined)[];
  onBuild: boolean;
}

/** A stage, or an image or context that an instruction names in the place of one. */
export interface StageState {
  /** The name in lower case; '' when it has none. */
  name: string;
  /** The name that progress shows: its own, `stage-1`, or '' when there is only one stage. */
  shownName: string;
  /** The base image or stage, with variables expanded. */
  baseName: string;
  /** The hint for a base whose name turns out wrong: it names the variables that are not set. */
  baseHint?: string;
  /** The place in the Dockerfile. */
  from: Base;
  /** The stage in the file; undefined for images that COPY --from and the like name. */
  stage?: Stage;
  base?: StageState;
  platform?: Platform;
  namedContext?: NamedContext;
  commands: StageCommand[];
  /** The stages that it reads from, with the places where it does. */
  deps: Map<StageState, SourceRange>;
  state: State;
  image: ImageConfig;
  /** The reference of the image that it builds on. */
  baseRef?: string;
  /** The config of that image. */
  baseConfig?: ImageConfig;
  /** Whether its base has been looked up. */
  resolved: boolean;
  dispatched: boolean;
  onBuildDone: boolean;
  ignoreCache: boolean;
  /** The number of steps that progress shows, and how many of them have names so far. */
  total: number;
  index: number;
  onBuildNow: boolean;
  /** The parts of the image's config that grow. They are taken out of `image` when the stage is converted. */
  grown: Grown;
  /** Whether the variables of the image's config are the last ones of `state`, in the same order. */
  imageEnvLast: boolean;
  /** The ARGs in effect, in order, with the values that they were given last. */
  buildArgs: Variables;
  /** The paths that it reads from the build context. */
  contextPaths: Set<string>;
  /** The paths of its base that others, or its own instructions, read. Stages built on it share the set. */
  paths: Set<string>;
  workdirSet: boolean;
  cmdSet: boolean;
}

/** A stage on which nothing was done yet. */
export function newStage(baseName: string, from: Base, target: Platform): StageState {
  return {
    name: '',
    shownName: '',
    baseName,
    from,
    commands: [],
    deps: new Map(),
    state: scratch(),
    image: emptyImage(target),
    resolved: false,
    dispatched: false,
    onBuildDone: false,
    ignoreCache: false,
    total: 0,
    index: 0,
    onBuildNow: false,
    grown: nothingGrown(),
    imageEnvLast: false,
    buildArgs: Variables.of(),
    contextPaths: new Set(),
    paths: new Set(),
    workdirSet: false,
    cmdSet: false,
  };
}

/** All stages, by their order and by name. A name that is given twice means the later stage, for stages after it. */
export class StageTable {
  readonly list: StageState[] = [];
  readonly #byName = new Map<string, StageState>();
  /** The images and contexts that instructions name in the place of stages. */
  readonly #images = new Map<string, StageState>();
  /** How many of them are stages of the Dockerfile. */
  #declared = 0;

  /** Adds a stage. Its base is the stage of that name before it, if there is one. */
  add(stage: StageState): void {
    this.list.push(stage);
    if (stage.stage !== undefined) this.#declared++;
    else this.#images.set(stage.baseName, stage);
    if (stage.namedContext === undefined) stage.base = this.#byName.get(stage.baseName.toLowerCase());
    if (stage.name !== '') this.#byName.set(stage.name, stage);
  }

  byName(name: string): StageState | undefined {
    return this.#byName.get(name.toLowerCase());
  }

  /** The image or context that an instruction has named in the place of a stage. */
  image(name: string): StageState | undefined {
    return this.#images.get(name);
  }

  /** The stage of a number. Throws `invalid`. */
  byIndex(index: number): StageState {
    const stage = index < this.#declared ? this.list[index] : undefined;
    if (stage === undefined) {
      throw fail('invalid', 'dockerfile', `invalid stage index ${index}`, {
        hint: `The stages are numbered 0 to ${this.#declared - 1}.`,
      });
    }
    return stage;
  }

  names(): string[] {
    return this.list.map((stage) => stage.name).filter((name) => name !== '');
  }

  last(): StageState {
    const stage = this.list[this.#declared - 1];
    if (stage === undefined) throw fail('invalid', 'dockerfile', 'dockerfile contains no stages to build');
    return stage;
  }

  /** The stage to build, by name or number; the last one by default. Throws `not-found` with the stages there are. */
  target(name: string | undefined): StageState {
    if (name === undefined || name === '') return this.last();
    const found = this.byName(name) ?? (/^\d+$/.test(name) ? this.list[Number(name)] : undefined);
    if (found?.stage !== undefined) return found;
    const names = this.names();
    const message = `target stage ${JSON.stringify(name)} could not be found${didYouMean(name, names, false)}`;
    const hint =
      names.length > 0
        ? `The stages are: ${names.join(', ')}.`
        : 'No stage has a name; add AS <name> to its FROM.';
    throw fail('not-found', 'dockerfile', message, { hint });
  }
}

/** The stage, and all stages that it needs. */
export function reachableFrom(target: StageState): Set<StageState> {
  const found = new Set<StageState>([target]);
  for (const stage of found) {
    if (stage.base !== undefined) found.add(stage.base);
    for (const dep of stage.deps.keys()) found.add(dep);
  }
  return found;
}

/** Throws `invalid`, with the instructions of a circle, when stages read from each other. */
export function checkCircles(file: Dockerfile, stages: readonly StageState[]): void {
  const done = new Set<StageState>();
  for (const root of stages) {
    if (done.has(root)) continue;
    const path: { stage: StageState; deps: Iterator<[StageState, SourceRange]>; range?: SourceRange }[] = [
      { stage: root, deps: root.deps[Symbol.iterator]() },
    ];
    const onPath = new Set([root]);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const next = top.deps.next();
      if (next.done) {
        path.pop();
        onPath.delete(top.stage);
        done.add(top.stage);
        continue;
      }
      const [dep, range] = next.value;
      if (onPath.has(dep)) {
        const start = path.findIndex((entry) => entry.stage === dep);
        const ranges = path.slice(start + 1).flatMap((entry) => (entry.range ? [entry.range] : []));
        const name = dep.shownName || '0';
        throw fail('invalid', 'dockerfile', `circular dependency detected on stage: ${name}`, {
          source: { ...locationOf(file, range), ranges: [...ranges, range] },
          hint: 'A stage can only read from stages above it.',
        });
      }
      if (done.has(dep)) continue;
      onPath.add(dep);
      path.push({ stage: dep, deps: dep.deps[Symbol.iterator](), range });
    }
  }
}
