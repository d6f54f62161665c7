/** `drydock bake --check`: the checks of the targets, mended with `--fix`, and what is printed of them. */
import type { PlannedTarget } from '../../bake/index.ts';
import { fail } from '../../errors/index.ts';
import { parseCall } from '../build/call.ts';
import { checkForm, reportOf } from '../check/report.ts';
import {
  type Check,
  type Checked,
  isFaulty,
  localDockerfile,
  mendAll,
  outcomeOf,
  refuseWithoutCheck,
} from '../check/run.ts';
import { targetBuild } from './target-flags.ts';

interface CheckFlags {
  call: string | undefined;
  check: boolean | undefined;
  'check-format': string | undefined;
  fix: boolean | undefined;
}

/** The checks of one command. */
export class TargetChecks {
  readonly #flags: CheckFlags;
  readonly #targets: ReadonlyMap<string, PlannedTarget>;
  readonly #names: readonly string[];
  readonly #checked = new Map<string, Checked>();

  /** `names` are the targets that are asked for. Throws `invalid` for flags that do not fit them. */
  constructor(flags: CheckFlags, targets: ReadonlyMap<string, PlannedTarget>, names: readonly string[]) {
    this.#flags = flags;
    this.#targets = targets;
    this.#names = names;
    const check = flags.check || (flags.call !== undefined && parseCall(flags.call).method === 'check');
    refuseWithoutCheck({ check, fix: flags.fix, 'check-format': flags['check-format'] });
    if (!flags.fix) return;
    for (const name of names) {
      if (localDockerfile(this.#placeOf(name), 'Dockerfile') !== undefined) continue;
      throw fail('invalid', 'client', `target ${name}: --fix writes Dockerfiles of this machine`, {
        hint: 'This one is in the bake file or behind a URL. Leave out --fix, or name the other targets.',
      });
    }
  }

  /** Checks a target. Rejects as the build does, where the report has no place for what is wrong. */
  async run(name: string, find: Check['find']): Promise<void> {
    const told = this.#names.length === 1 ? undefined : name;
    const check: Check = { name: told, ...this.#placeOf(name), find };
    this.#checked.set(name, { check, outcome: await outcomeOf(check, this.#formOf(name)) });
  }

  /** With `--fix`, mends the Dockerfiles of all targets that were checked. */
  async mend(stderr: { write(text: string): unknown }): Promise<void> {
    if (!this.#flags.fix) return;
    const names = [...this.#checked.keys()];
    const left = await mendAll([...this.#checked.values()], checkForm(this.#flags['check-format']), stderr);
    for (const [i, name] of names.entries()) this.#checked.set(name, left[i] as Checked);
  }

  /** Prints what was found, in the targets' order, and returns the exit code. */
  report(stdout: { write(text: string): unknown }): number {
    const all = this.#names.flatMap((name) => this.#checked.get(name)?.outcome ?? []);
    if (all.length === 0) return 0;
    const { 'check-format': form } = this.#flags;
    if (form !== undefined) stdout.write(reportOf(checkForm(form), all));
    let code = 0;
    for (const name of this.#names) {
      const outcome = this.#checked.get(name)?.outcome;
      if (outcome === undefined) continue;
      if (form === undefined) stdout.write(reportOf(this.#formOf(name), [outcome]));
      if (isFaulty(outcome) && !this.#callOf(name).ignoreStatus) code = 1;
    }
    return code;
  }

  #formOf(name: string) {
    return checkForm(this.#flags['check-format'] ?? this.#callOf(name).format);
  }

  #callOf(name: string) {
    return parseCall(this.#targets.get(name)?.call ?? 'build');
  }

  #placeOf(name: string): Pick<Check, 'file' | 'context'> {
    const { context, flags, inline } = targetBuild(name, this.#targets.get(name) as PlannedTarget);
    // stdin stands for each Dockerfile that is no file here.
    return { context, file: inline === undefined ? flags.file : '-' };
  }
}
