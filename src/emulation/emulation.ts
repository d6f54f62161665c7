/** Which platforms' programs run in steps here, and what is to be done for one that does not. */
import { type DrydockError, fail } from '../errors/index.ts';
import { formatPlatform, hostPlatform, type Platform } from '../oci/index.ts';
import { isFor, markOf } from './elf.ts';
import { type Handler, handlerFor, handlerTexts, isFixed, parseHandlers } from './handlers.ts';
import { amd64Levels } from './levels.ts';
import { type Machine, machines } from './machines.ts';
import { probe } from './probe.ts';

/** What there is for a processor. */
export interface Support {
  machine: Machine;
  /** Its platforms, the plain one first, then its variants. */
  platforms: Platform[];
  /** Whether its programs run in a step, whatever root that has. */
  runs: boolean;
  /** What starts them; undefined where it is the processor itself, or nothing. */
  handler: Handler | undefined;
}

/**
 * How long what a probe has found counts, in ms, while the kernel shows the same handlers. In a container it shows none,
 * and has them.
 */
const keeps = 60_000;

interface Found {
  stamp: string;
  at: number;
  support: Promise<readonly Support[]>;
}

/**
 * Knows what runs here. Handlers come and go: the kernel's list is read whenever somebody asks, and programs are tried
 * again when it has changed. After a minute they are tried in any case, for those who ask later.
 */
export class Emulation {
  #found: Found | undefined;

  /** All processors that are known, this machine's first. `afresh`: programs are tried in any case. */
  support(options: { afresh?: boolean } = {}): Promise<readonly Support[]> {
    const texts = handlerTexts();
    const stamp = JSON.stringify(texts);
    const found = this.#found;
    const at = performance.now();
    const isKnown = options.afresh !== true && found?.stamp === stamp;
    if (isKnown && at - found.at < keeps) return found.support;
    const support = look(parseHandlers(texts));
    if (!isKnown) {
      this.#found = { stamp, at, support };
      return support;
    }
    found.at = at;
    void support.then(() => {
      if (this.#found === found) this.#found = { stamp, at, support };
    });
    return found.support;
  }

  /** The platforms whose programs run in steps, this machine's first. */
  async platforms(): Promise<Platform[]> {
    return (await this.support()).filter(({ runs }) => runs).flatMap(({ platforms }) => platforms);
  }

  /**
   * The reason why a program that begins with `head` does not run in a step, as an error that says what to do. Undefined
   * for what runs, and for what is no program of a known processor. `has` says whether the step's root has a file.
   */
  async refusal(head: Buffer, has: (path: string) => boolean): Promise<DrydockError | undefined> {
    const machine = machines.find((each) => isFor(each, head));
    if (machine === undefined || machine.architecture === hostPlatform().architecture) return undefined;
    const usable = ({ runs, handler }: Support) =>
      runs || (handler !== undefined && !isFixed(handler) && has(handler.interpreter));
    const of = async (afresh: boolean) =>
      (await this.support({ afresh })).find((each) => each.machine === machine);
    const known = await of(false);
    if (known === undefined || usable(known)) return undefined;
    const now = (await of(true)) ?? known;
    return usable(now) ? undefined : cannotRun(now);
  }
}

async function look(handlers: readonly Handler[]): Promise<readonly Support[]> {
  const host = hostPlatform().architecture;
  const ran = await probe(machines, host);
  const all = machines.map((machine): Support => {
    const handler = machine.architecture === host ? undefined : handlerFor(handlers, markOf(machine));
    // A handler that the kernel does not show here may still be there.
    const runs =
      ran === undefined ? handler !== undefined || machine.architecture === host : ran.has(machine);
    const platforms = platformsOf(machine, host);
    return { machine, platforms, runs: runs && (handler === undefined || isFixed(handler)), handler };
  });
  return [...all].sort(
    (a, b) => Number(b.machine.architecture === host) - Number(a.machine.architecture === host),
  );
}

function platformsOf({ architecture, variants }: Machine, host: string): Platform[] {
  const os = 'linux';
  if (variants !== undefined) return variants.map((variant) => ({ os, architecture, variant }));
  const levels = architecture === 'amd64' && host === 'amd64' ? amd64Levels() : [];
  return [{ os, architecture }, ...levels.map((variant) => ({ os, architecture, variant }))];
}

/** The error for a program of a processor whose programs do not run here. */
function cannotRun({ machine, platforms, handler }: Support): DrydockError {
  const [platform = { os: 'linux', architecture: machine.architecture }] = platforms;
  const name = formatPlatform(platform);
  return fail('unsupported', 'exec', `this machine cannot run programs for ${name}: ${whyNot(handler)}`, {
    hint: remedyFor(machine),
    details: { platform: name },
  });
}

/** Why programs do not run for which there is this handler, or none. */
export function whyNot(handler: Handler | undefined): string {
  if (handler === undefined) return 'it has no emulator for them';
  if (isFixed(handler)) return `their emulator ${handler.interpreter} does not work (${handler.name})`;
  return `steps do not find their emulator ${handler.interpreter} (${handler.name} has no flag F)`;
}

/** What to do so that a processor's programs run. */
export function remedyFor({ architecture }: Machine): string {
  return (
    `Install qemu-user-static (Debian) and run \`drydock binfmt install ${architecture}\` as root; or build on such a ` +
    'machine; or cross-compile in a stage `FROM --platform=$BUILDPLATFORM`, which runs here.'
  );
}
