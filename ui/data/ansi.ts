/** Text with the colours of terminals (SGR, ECMA-48) → pieces with their style. Pure. */

import { straight } from './plain.ts';

export interface Span {
  text: string;
  /** Classes: `fg1`, `bg12`, `bold`. */
  classes: string;
  /** Colours that no class has. */
  color?: string;
  background?: string;
}

interface Style {
  fg?: number | string;
  bg?: number | string;
  flags: Set<string>;
}

const flagOf: Record<number, string> = {
  1: 'bold',
  2: 'dim',
  3: 'italic',
  4: 'underline',
  7: 'inverse',
  9: 'struck',
};
const endOf: Record<number, string[]> = {
  22: ['bold', 'dim'],
  23: ['italic'],
  24: ['underline'],
  27: ['inverse'],
  29: ['struck'],
};

/** The escape sequences of terminals, of which only colours are shown; the others are left out. */
const escapes =
  /\u001b(?:\[([0-9;:]*)([@-~])|\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_]|[()][A-Z0-9])/g;

/** The most characters and pieces of a line that are shown: a browser takes seconds for rows of thousands. */
const mostText = 2000;
const mostSpans = 64;

/**
 * The pieces of a line. What a carriage return overwrites is left out, as on a terminal. A line's colours end with it,
 * and a line of very many colours loses those behind the first.
 */
export function spansOf(line: string): Span[] {
  const shown = overwritten(line);
  if (!shown.includes('\u001b')) return cut([{ text: withoutControls(shown), classes: '' }]);
  const spans: Span[] = [];
  const style: Style = { flags: new Set() };
  let at = 0;
  const put = (text: string) => {
    const clean = withoutControls(text);
    if (clean !== '') spans.push({ text: clean, ...styled(style) });
  };
  for (const match of shown.matchAll(escapes)) {
    put(shown.slice(at, match.index));
    at = match.index + match[0].length;
    if (spans.length >= mostSpans) {
      spans.push({ text: withoutControls(shown.slice(at).replace(escapes, '')), classes: '' });
      return cut(spans);
    }
    if (match[2] === 'm') apply(style, match[1] ?? '');
  }
  put(shown.slice(at));
  return cut(spans);
}

/** The pieces as far as a row has room. */
function cut(spans: Span[]): Span[] {
  let left = mostText;
  for (const [i, span] of spans.entries()) {
    if (span.text.length > left) {
      const more = spans.slice(i).reduce((sum, { text }) => sum + text.length, -left);
      return [
        ...spans.slice(0, i),
        { ...span, text: `${span.text.slice(0, left)}… [${more} more characters]` },
      ];
    }
    left -= span.text.length;
  }
  return spans;
}

function overwritten(line: string): string {
  const text = line.endsWith('\r') ? line.slice(0, -1) : line;
  const last = text.lastIndexOf('\r');
  return last < 0 ? text : text.slice(last + 1);
}

function withoutControls(text: string): string {
  return straight(text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, ''));
}

function apply(style: Style, parameters: string): void {
  const codes = parameters.split(/[;:]/).map((each) => Number(each || 0));
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] as number;
    if (code === 0) {
      style.fg = style.bg = undefined;
      style.flags.clear();
    } else if (flagOf[code] !== undefined) style.flags.add(flagOf[code] as string);
    else if (endOf[code] !== undefined) for (const flag of endOf[code] ?? []) style.flags.delete(flag);
    else if (code >= 30 && code <= 37) style.fg = code - 30;
    else if (code >= 90 && code <= 97) style.fg = code - 82;
    else if (code >= 40 && code <= 47) style.bg = code - 40;
    else if (code >= 100 && code <= 107) style.bg = code - 92;
    else if (code === 39) style.fg = undefined;
    else if (code === 49) style.bg = undefined;
    else if (code === 38 || code === 48) {
      const [color, used] = extended(codes.slice(i + 1));
      i += used;
      if (code === 38) style.fg = color;
      else style.bg = color;
    }
  }
}

/** A colour of 256 (`5;n`) or of its parts (`2;r;g;b`), and how many numbers it took. */
function extended([kind, ...rest]: number[]): [number | string | undefined, number] {
  if (kind === 2) {
    const [r = 0, g = 0, b = 0] = rest.map((each) => Math.min(255, each));
    return [`rgb(${r} ${g} ${b})`, 4];
  }
  const n = rest[0] ?? 0;
  if (kind !== 5) return [undefined, 0];
  if (n < 16) return [n, 2];
  if (n >= 232) {
    const grey = 8 + (n - 232) * 10;
    return [`rgb(${grey} ${grey} ${grey})`, 2];
  }
  const part = (value: number) => (value === 0 ? 0 : 55 + value * 40);
  const index = n - 16;
  return [`rgb(${part(Math.floor(index / 36))} ${part(Math.floor(index / 6) % 6)} ${part(index % 6)})`, 2];
}

function styled({ fg, bg, flags }: Style): Omit<Span, 'text'> {
  const classes = [...flags];
  if (typeof fg === 'number') classes.push(`fg${fg}`);
  if (typeof bg === 'number') classes.push(`bg${bg}`);
  return {
    classes: classes.join(' '),
    ...(typeof fg === 'string' && { color: fg }),
    ...(typeof bg === 'string' && { background: bg }),
  };
}
