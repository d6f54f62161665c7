import type { MessagePort } from 'node:worker_threads';
import { canceled, fail } from '../errors/index.ts';
import type { TaskContext } from './task.ts';

/**
 * The pool's own check, which `drydock doctor` runs too. It returns its text after `spinMs` of blocking work and after
 * a message has come on the port `after`; with `error` set it throws the text.
 */
export async function echo(
  args: { text: string; spinMs?: number; error?: boolean; exit?: boolean; after?: MessagePort },
  ctx: TaskContext,
): Promise<string> {
  if (args.exit) process.exit(3);
  const { after } = args;
  if (after !== undefined) await new Promise((resolve) => after.once('message', resolve));
  after?.close();
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
