/** Looks into a build as `--on-error` and `--invoke` say: by a shell, by a command, by files that are brought out. */
import { fromJson, type JsonObject } from '@bufbuild/protobuf';
import type { InspectedFailure, InspectedResult } from '../../engine/index.ts';
import { type DrydockError, fail, toDrydockError } from '../../errors/index.ts';
import { OpSchema } from '../../pb/solver/pb/ops_pb.js';
import { errorText } from '../error-text.ts';
import { placeBefore } from './before-step.ts';
import { type BuildCalls, withContainer } from './container.ts';
import { stepOfOp } from './definition.ts';
import { exportFiles } from './export.ts';
import { failedPlace, type Place, resultPlace, sourcesText } from './place.ts';
import { runCommand } from './shell.ts';
import { ownStreams } from './terminal.ts';
import type { DebugWishes } from './wishes.ts';

/** The screen, which is the build's progress at other times. */
export interface Screen {
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
  /** Clears the screen for others. */
  pause(): void;
  /** Takes the screen back. */
  resume(): void;
}

type Failure = InspectedFailure & { error: DrydockError };

/** Looks into a build, or into the first that fails of several, in this process or at a daemon. */
export class DebugInspector {
  readonly #wishes: DebugWishes;
  readonly #screen: Screen;
  #look: Promise<void> | undefined;
  /** The exit code of what ran in the result. */
  exitCode = 0;

  constructor(wishes: DebugWishes, screen: Screen) {
    this.#wishes = wishes;
    this.#screen = screen;
  }

  /** Whether the result is looked into. */
  get wantsResult(): boolean {
    return this.#wishes.invoke !== undefined;
  }

  /** Looks into a failed step. What goes wrong in that is told, and never hides the step's own failure. */
  async failed(failure: Failure, calls: BuildCalls): Promise<void> {
    const { shell, exports } = this.#wishes;
    // Of several builds that fail at once, the first is looked into: there is one terminal.
    if ((!shell && exports.length === 0) || this.#look !== undefined) return;
    this.#look = this.#lookInto(failure, calls);
    await this.#look;
  }

  /** Resolves when no failed step is looked into any more: until then other builds must not be stopped. */
  async over(): Promise<void> {
    await this.#look;
  }

  async #lookInto(failure: Failure, calls: BuildCalls): Promise<void> {
    const { shell, exports, invoke = '' } = this.#wishes;
    const { stderr } = this.#screen;
    let place = failure.step && failedPlace(failure.step);
    const where = place === undefined ? 'before' : 'in';
    try {
      // What comes before it may still have to be made, which is shown as the build's progress.
      if (place === undefined && shell) place = await this.#before(failure, calls);
    } catch (err) {
      this.#screen.pause();
      this.#tell(err);
      this.#screen.resume();
      return;
    }
    this.#screen.pause();
    try {
      if (place === undefined) {
        stderr.write('WARNING: --on-error: what failed has left no files that could be looked into\n');
        return;
      }
      await withContainer(calls, place, async (container) => {
        for (const { dest, paths } of exports) {
          for (const path of paths) {
            await this.#told(async () => {
              const { files } = await exportFiles(container, place, path, dest);
              const count = `${files} file${files === 1 ? '' : 's'}`;
              stderr.write(`Brought ${count} of ${path} of the failed step to ${dest}\n`);
            });
          }
        }
        if (!shell) return;
        stderr.write(errorText(failure.error));
        const what = invoke === '' ? 'A shell' : JSON.stringify(invoke);
        stderr.write(`\n${what} ${where} the failed step, in ${place.meta.cwd}; the build ends with it.\n`);
        stderr.write(sourcesText(place));
        const code = await this.#command(container, place, invoke);
        if (code !== 0) stderr.write(`It ended with exit code ${code}.\n`);
      });
    } catch (err) {
      this.#tell(err);
    } finally {
      this.#screen.resume();
    }
  }

  /** The place before a step that has left nothing: a COPY or ADD of what is not there. */
  async #before({ step, definitions }: Failure, calls: BuildCalls): Promise<Place | undefined> {
    if (step === undefined) return undefined;
    const op = fromJson(OpSchema, step.op as JsonObject, { ignoreUnknownFields: true });
    const found = stepOfOp(definitions, op);
    if (found?.step.op.op.case !== 'file') return undefined;
    return placeBefore(calls, found.definition, found.step);
  }

  /** Runs what `--invoke` names in the result. */
  async made(result: InspectedResult, calls: BuildCalls): Promise<void> {
    const { invoke } = this.#wishes;
    if (invoke === undefined) return;
    const place = resultPlace(result);
    if (place === undefined) throw fail('invalid', 'client', '--invoke: the result has no files');
    this.#screen.pause();
    try {
      this.exitCode = await withContainer(calls, place, (container) =>
        this.#command(container, place, invoke),
      );
    } finally {
      this.#screen.resume();
    }
  }

  #command(container: Parameters<typeof runCommand>[0], place: Place, command: string): Promise<number> {
    return runCommand(container, place, command, ownStreams(this.#streams()));
  }

  #streams() {
    return { stdin: process.stdin, stdout: this.#screen.stdout, stderr: this.#screen.stderr };
  }

  async #told(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (err) {
      this.#tell(err);
    }
  }

  #tell(err: unknown): void {
    this.#screen.stderr.write(errorText(toDrydockError(err), 'WARNING: --on-error: '));
  }
}
