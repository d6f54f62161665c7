import { type DrydockError, fail } from '../errors/index.ts';
import type { Place } from './types.ts';

/**
 * An error of a file: `invalid`, hop `client`, with the place. It reads as HCL's own diagnostics do:
 *
 *     bake.hcl:2,31-41: Unknown variable; There is no variable named "BASE".
 */
export function hclError(place: Place, summary: string, detail: string, hint?: string): DrydockError {
  const { file, range } = place;
  const { start, end } = range;
  const columns =
    start.line === end.line
      ? `${start.line},${start.character + 1}-${end.character + 1}`
      : `${start.line},${start.character + 1}-${end.line},${end.character + 1}`;
  return fail('invalid', 'client', `${file.filename}:${columns}: ${summary}; ${detail}`, {
    source: { ...file, ranges: [range], language: 'hcl' },
    hint,
  });
}
