/** Compares the platforms that a build was asked for with those that its frontend made. Pure. */
import { DrydockError } from '../../errors/index.ts';
import { formatPlatform, type Platform, parsePlatform } from '../../oci/index.ts';

/**
 * A sentence for each mismatch, in BuildKit's words; none when all is well. `asked` is the frontend's option
 * `platform`, `made` the platforms of the result, and `isList` says whether the result is a list of trees.
 */
export function platformMismatch(asked: string, made: readonly Platform[], isList: boolean): string[] {
  const wanted: string[] = [];
  const wrong: string[] = [];
  for (const text of asked.split(',')) {
    const name = formatted(text);
    if (name instanceof DrydockError) {
      wrong.push(`Invalid platform result requested ${JSON.stringify(text)}: ${name.message}`);
    } else if (wanted.includes(name)) {
      wrong.push(`Duplicate platform result requested ${JSON.stringify(text)}`);
    } else wanted.push(name);
  }
  if (wrong.length > 0) return wrong;
  const names = made.map(formatPlatform);
  if (wanted.length === 1 && names.length === 1) {
    const [only] = made as [Platform];
    const plain = formatPlatform({ ...only, 'os.version': undefined });
    if (wanted[0] === names[0] || wanted[0] === plain) return [];
    return [
      `Requested platform ${JSON.stringify(asked)} does not match result platform ${JSON.stringify(names[0])}`,
    ];
  }
  if (!isList && wanted.length > 1) return ['Multiple platforms requested but result is not multi-platform'];
  if (wanted.length === names.length && names.every((name) => wanted.includes(name))) return [];
  const list = (all: readonly string[]) => [...all].sort().join(',');
  return [`Requested platforms ${list(wanted)} do not match result platforms ${list(names)}`];
}

function formatted(text: string): string | DrydockError {
  try {
    return formatPlatform(parsePlatform(text));
  } catch (err) {
    if (err instanceof DrydockError) return err;
    throw err;
  }
}
