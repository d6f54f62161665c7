import { canceled, fail } from '../errors/error.ts';
import type { TaskContext } from './tasks.ts';

/**
 * The pool's own check (`drydock doctor` runs it too): gives its text back, after `spinMs` of blocking work, or
 * throws it when `error` is set.
 */
export function echo(
  args: { text: string; spinMs?: number; error?: boolean; exit?: boolean },
  ctx: TaskContext,
): string {
  if (args.exit) process.exit(3);
  const until = performance.now() + (args.spinMs ?? 0);
  while (performance.now() < until) if (ctx.aborted()) throw canceled();
  ctx.post({ said: args.text });
  if (args.error) {
    throw fail('corrupt', 'store', args.text, {
      hint: 'Say it again.',
      details: { times: 1 },
      cause: new Error('why'),
    });
  }
  return args.text;
}
