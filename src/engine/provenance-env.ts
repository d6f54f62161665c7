/** Facts about the environment that an operator adds to every provenance, as buildkitd's provenanceEnvDir. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode, fail } from '../errors/index.ts';

/** The fields that a provenance has anyway. */
const ofOurs = ['buildConfig', 'builderPlatform', 'dockerfileVersion', 'platform'];
const maxFile = 1 << 20;

/**
 * Reads the JSON objects in a folder's `*.json`, in the order of their names; a later one's fields win. None when there
 * is no such folder. Throws `invalid` (hop `host`) for a file that holds no object, more than 1 MiB, or a field of the
 * provenance's own.
 */
export function readProvenanceEnv(dir: string): Record<string, unknown> {
  let names: string[];
  try {
    names = readdirSync(dir).filter((name) => name.endsWith('.json'));
  } catch (err) {
    if (errnoCode(err) === 'ENOENT') return {};
    throw fail('invalid', 'host', `${dir}: the provenance's environment cannot be read`, { cause: err });
  }
  const env: Record<string, unknown> = {};
  for (const name of names.sort()) Object.assign(env, objectIn(join(dir, name)));
  const own = ofOurs.find((name) => Object.hasOwn(env, name));
  if (own === undefined) return env;
  throw fail('invalid', 'host', `${dir}: the field ${JSON.stringify(own)} is the provenance's own`, {
    hint: 'Give it another name.',
  });
}

function objectIn(path: string): object {
  const bad = (why: string, cause?: unknown) => fail('invalid', 'host', `${path}: ${why}`, { cause });
  let value: unknown;
  try {
    const text = readFileSync(path, 'utf8');
    if (text.length > maxFile) throw bad(`it has more than ${maxFile} characters`);
    value = JSON.parse(text);
  } catch (err) {
    throw bad('it is no JSON', err);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw bad('it is no JSON object');
}
