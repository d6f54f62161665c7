/** V8's garbage collection, asked for. Node shows V8's function to programs that are started with a flag for it. */

interface Options {
  /** minor: young objects alone. */
  type: 'minor' | 'major';
  /** last-resort: as when memory runs out; what is left is put together, so that whole pages go back. */
  flavor?: 'last-resort';
}

type Collect = (options: Options) => void;

let collect: Collect | undefined;

/** Frees the memory of this thread's young objects that nobody uses; it takes a fraction of a ms. */
export function collectYoung(): void {
  collect ??= collector();
  collect({ type: 'minor' });
}

/** Frees all memory of this thread that nobody uses, and gives it back to the system: for a thread that has nothing to do. */
export function collectAll(): void {
  collect ??= collector();
  collect({ type: 'major', flavor: 'last-resort' });
}

function collector(): Collect {
  try {
    // Few threads need them, and each would load them when it starts.
    const { setFlagsFromString } = process.getBuiltinModule('node:v8');
    const { runInNewContext } = process.getBuiltinModule('node:vm');
    setFlagsFromString('--expose-gc');
    const found: unknown = runInNewContext('gc');
    setFlagsFromString('--no-expose-gc');
    if (typeof found === 'function') return found as Collect;
  } catch {
    // Memory is freed as V8 likes.
  }
  return () => {};
}
