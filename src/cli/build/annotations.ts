/** `--annotation [TYPE[\[PLATFORM\]],…:]KEY=VALUE`, as buildx has it. Pure. */
import { fail } from '../../errors/index.ts';

const types = ['manifest', 'index', 'manifest-descriptor', 'index-descriptor'];
const typePattern = new RegExp(`^(?:${types.join('|')})(?:\\[[A-Za-z0-9_/-]+\\])?$`);

/** The annotations as attributes of outputs (`annotation-index.KEY` …). Throws `invalid`. */
export function annotationAttrs(list: readonly string[]): Record<string, string> {
  const attrs: Record<string, string> = {};
  for (const item of list) {
    const equals = item.indexOf('=');
    if (equals < 1) {
      throw fail('invalid', 'client', `invalid annotation ${JSON.stringify(item)}, expected key=value`);
    }
    const left = item.slice(0, equals);
    const colon = left.indexOf(':');
    const places = colon < 0 ? [] : left.slice(0, colon).split(',');
    // A key may have colons of its own: only known types are before one.
    const typed = places.length > 0 && places.every((place) => typePattern.test(place));
    if (!typed && places.some((place) => place.includes('[') || types.includes(place))) {
      throw fail('invalid', 'client', `invalid annotation type in ${JSON.stringify(item)}`, {
        hint: `Types: ${types.join(', ')}, each with [OS/ARCH] if it is for one platform.`,
      });
    }
    const key = typed ? left.slice(colon + 1) : left;
    if (key === '' || /\s/.test(key)) {
      throw fail('invalid', 'client', `invalid annotation key in ${JSON.stringify(item)}`);
    }
    for (const place of typed ? places : ['manifest']) {
      attrs[`annotation-${place}.${key}`] = item.slice(equals + 1);
    }
  }
  return attrs;
}
