/** A shell, or another command, in a container of a build. */
import { fail } from '../../errors/index.ts';
import { type DebugContainer, type ProcessIo, runProcess } from './container.ts';
import type { Place } from './place.ts';

/** Where images have their shells. */
const usual = ['/bin/bash', '/usr/bin/bash', '/bin/sh', '/usr/bin/sh', '/bin/ash', '/busybox/sh'];

/**
 * Runs a command in a container, '' being a shell, and returns its exit code. The shell is the step's own where that is
 * none of the usual ones, else bash, else sh. Throws `not-found` for an image without one.
 */
export async function runCommand(
  container: DebugContainer,
  place: Place,
  command: string,
  io: ProcessIo,
): Promise<number> {
  const isPlain = /^[\w./-]+$/.test(command);
  const args = isPlain
    ? [command]
    : [await shellOf(container, place), ...(command === '' ? [] : ['-c', command])];
  return runProcess(container, { ...place.process, Meta: { ...place.meta, args } }, io);
}

async function shellOf({ id, bridge, call }: DebugContainer, { container, shell }: Place): Promise<string> {
  const MountIndex = Math.max(
    0,
    container.Mounts.findIndex(({ dest }) => dest === '/'),
  );
  const own = shell !== undefined && !usual.includes(shell) ? [shell] : [];
  for (const Path of [...own, ...usual]) {
    if (!Path.startsWith('/')) return Path;
    const found = await bridge.statFileContainer({ Ref: id, Path, MountIndex }, call).catch((err) => {
      if (call.signal.aborted) throw err;
      return undefined;
    });
    if (found !== undefined) return Path;
  }
  throw fail('not-found', 'exec', 'there is no shell in the tree of this step', {
    hint: 'Another program of it is run by --invoke=PROGRAM; --on-error=export brings files out.',
  });
}
