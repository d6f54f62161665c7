/** `drydock build --watch`: builds, and builds again whenever something that the build reads has changed. */
import { fail, toDrydockError } from '../../errors/index.ts';
import { isRemoteUrl } from '../../words/index.ts';
import type { BuildFlags } from '../build/prepare.ts';
import type { CommandContext } from '../command.ts';
import { errorText } from '../error-text.ts';
import type { WatchedPlace } from './places.ts';
import { watchFolder } from './watch-folder.ts';

/** A change is waited out for so long, in ms: editors and compilers write several files. */
const quietMs = 150;
/** Changes that do not end are not waited for longer than this. */
const longestMs = 2000;

/** Throws `invalid` for what cannot be watched, and for flags of builds that are looked into. */
export function refuseWatchFlags(flags: BuildFlags, context: string): void {
  const elsewhere = context === '-' || isRemoteUrl(context) ? context : undefined;
  const file =
    flags.file !== undefined && (flags.file === '-' || isRemoteUrl(flags.file)) ? flags.file : undefined;
  const what = elsewhere ?? file;
  if (what !== undefined) {
    throw fail(
      'invalid',
      'client',
      `--watch watches folders of this machine: not ${what === '-' ? 'stdin' : what}`,
    );
  }
  if (flags['on-error'].length > 0 || flags.invoke !== undefined) {
    throw fail('invalid', 'client', '--watch does not go with --on-error and --invoke', {
      hint: 'Leave one of them out.',
    });
  }
  if (flags.output.some((text) => text === '-' || /(?:^|,)dest=-(?:,|$)/.test(text))) {
    throw fail('invalid', 'client', '--watch writes no archive to stdout: there would be several');
  }
}

/**
 * Runs `build` now and after each change in `places`, until the signal of `ctx` fires. A build that runs while something changes is
 * given up; what it has finished is kept. A build that fails is told, and the next change is waited for. Returns 0.
 */
export async function watchAndBuild(
  places: () => WatchedPlace[],
  ctx: CommandContext,
  build: (ctx: CommandContext) => Promise<number>,
): Promise<number> {
  while (!ctx.signal.aborted) {
    const round = new Round(places(), ctx.signal);
    try {
      await build({ ...ctx, signal: AbortSignal.any([ctx.signal, round.signal]) });
    } catch (err) {
      const error = toDrydockError(err);
      const gaveUp = error.code === 'canceled' && (round.signal.aborted || ctx.signal.aborted);
      if (!gaveUp) ctx.stderr.write(errorText(error));
    }
    try {
      if (!ctx.signal.aborted && !round.signal.aborted)
        ctx.stderr.write('\nWatching for changes; Ctrl-C ends it.\n');
      const path = await round.changed();
      if (path !== undefined) ctx.stderr.write(`\nChanged: ${path}\n\n`);
    } finally {
      round.close();
    }
  }
  return 0;
}

/** The watch during one build and after it. */
class Round {
  readonly #change = new AbortController();
  readonly #outer: AbortSignal;
  readonly #stops: (() => void)[] = [];
  #first: string | undefined;
  #firstAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #failure: Error | undefined;
  #woken: () => void = () => {};

  constructor(places: readonly WatchedPlace[], outer: AbortSignal) {
    this.#outer = outer;
    outer.addEventListener('abort', this.#wake);
    try {
      for (const { dir, ignore } of places) {
        const changed = (path: string) => this.#heard(path === '' ? dir : path);
        this.#stops.push(watchFolder(dir, { ignore, changed, failed: (err) => this.#fail(err) }));
      }
    } catch (err) {
      this.close();
      throw err;
    }
  }

  /** Fires when something has changed and the changes have come to an end. */
  get signal(): AbortSignal {
    return this.#change.signal;
  }

  /** Waits for a change, and returns the path of the first; undefined when the command is over. Throws what ended it. */
  async changed(): Promise<string | undefined> {
    while (!this.#change.signal.aborted && !this.#outer.aborted && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#woken = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.#outer.aborted ? undefined : this.#first;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#wake);
    for (const stop of this.#stops) stop();
  }

  readonly #wake = () => this.#woken();

  #heard(path: string): void {
    const now = Date.now();
    if (this.#first === undefined) {
      this.#first = path;
      this.#firstAt = now;
    }
    clearTimeout(this.#timer);
    const wait = Math.max(0, Math.min(quietMs, this.#firstAt + longestMs - now));
    this.#timer = setTimeout(() => {
      this.#change.abort(new Error('changed'));
      this.#wake();
    }, wait);
  }

  #fail(err: Error): void {
    this.#failure ??= err;
    this.#wake();
  }
}
