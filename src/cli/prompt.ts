/** Questions to somebody at a terminal. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { fail } from '../errors/index.ts';

interface PromptOptions {
  stderr: NodeJS.WriteStream;
  signal: AbortSignal;
  /** Whether the answer is not shown. */
  hidden: boolean;
}

/** Asks at the terminal, on stderr, and returns the line. Throws `invalid` where stdin is no terminal. */
export async function askFor(question: string, { stderr, signal, hidden }: PromptOptions): Promise<string> {
  if (!process.stdin.isTTY) {
    throw fail('invalid', 'client', 'cannot ask for a name or a password: stdin is no terminal', {
      hint: 'Give --username and --password-stdin.',
    });
  }
  stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: hidden ? nowhere : stderr, terminal: true });
  try {
    return (await lines.question('', { signal })).trim();
  } finally {
    lines.close();
    if (hidden) stderr.write('\n');
  }
}
