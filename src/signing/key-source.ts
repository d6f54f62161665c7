/** Finds a key by what a user writes: a file, or `env://NAME`. */
import { open } from 'node:fs/promises';
import { errnoCode, fail } from '../errors/index.ts';

/** The largest file with a key, a token or a trusted root, in bytes. */
const maxFile = 4 << 20;

/** The text that `--key` names. Throws `not-found`, and `unsupported` for key services. */
export async function keyText(spec: string, env: NodeJS.ProcessEnv): Promise<string> {
  const scheme = /^([a-z0-9+]+):\/\//i.exec(spec)?.[1];
  if (scheme === undefined) return readSmallFile(spec, 'the key');
  if (scheme !== 'env') {
    throw fail('unsupported', 'client', `keys of ${scheme}:// are not supported: ${JSON.stringify(spec)}`, {
      hint: 'Give a file, or env://NAME for a variable that has the key.',
    });
  }
  const name = spec.slice('env://'.length).replace(/^\[(.*)\]$/, '$1');
  const text = env[name];
  if (text) return text;
  throw fail('not-found', 'client', `the key ${spec} is not there: the variable ${name} is not set`);
}

/** The text of a small file. `what` names it in errors. Throws `not-found`, and `invalid` when it is too large. */
export async function readSmallFile(path: string, what: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const stat = await file.stat();
      if (stat.isDirectory() || stat.size > maxFile) {
        throw fail('invalid', 'client', `${what} ${path} is no file of at most ${maxFile >> 20} MiB`);
      }
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (errnoCode(cause) === undefined) throw cause;
    const why = errnoCode(cause) === 'ENOENT' ? 'is not there' : `cannot be read: ${errnoCode(cause)}`;
    throw fail('not-found', 'client', `${what} ${path} ${why}`, { cause });
  }
}
