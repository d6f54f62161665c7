/** `mounts=` of a cache's attributes: which cache mounts travel with it. Pure. */
import { isNamed } from '../../cache-mounts/index.ts';
import { fail } from '../../errors/index.ts';
import { parseBool } from '../../words/index.ts';

/** All that a build is about, none, or those of these IDs. */
export type MountChoice = 'all' | 'none' | readonly string[];

/** Reads `true`, `false`, or IDs with semicolons between them. Throws `invalid` (hop `cache`). */
export function readChoice(text: string | undefined, otherwise: MountChoice): MountChoice {
  if (text === undefined) return otherwise;
  const value = text === '' ? true : parseBool(text);
  if (value !== undefined) return value ? 'all' : 'none';
  const ids = text.split(';').map((id) => id.trim());
  if (ids.every((id) => id !== '')) return [...new Set(ids)];
  throw fail('invalid', 'cache', `invalid value ${JSON.stringify(text)} for mounts`, {
    hint: 'mounts=true, or the IDs of cache mounts with semicolons between them: mounts=npm;apt.',
  });
}

/** Whether a mount is one of those that are chosen. */
export function isChosen(choice: MountChoice, name: string): boolean {
  if (choice === 'all') return true;
  return choice !== 'none' && choice.some((id) => isNamed(name, id));
}
