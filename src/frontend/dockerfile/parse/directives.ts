/** Parser directives: `# syntax=`, `# escape=`, `# check=` in the first lines of a Dockerfile. */
import { invalid } from './errors.ts';
import { trimStart } from './space.ts';

const DIRECTIVES = new Set(['syntax', 'escape', 'check']);

export interface Directive {
  name: string;
  value: string;
}

/** Takes the lines of a file one by one. From the first line on that is no directive, no line is one. */
export class DirectiveReader {
  private readonly seen = new Set<string>();
  private readonly mark: string;
  private done = false;

  constructor(mark = '#') {
    this.mark = mark;
  }

  /** The directive on this line, or undefined. Throws `invalid` when one is repeated. */
  read(line: string): Directive | undefined {
    if (this.done) return undefined;
    this.done = true;
    if (!line.startsWith(this.mark)) return undefined;
    const body = trimStart(line.slice(this.mark.length));
    const match = /^([a-zA-Z][a-zA-Z0-9]*)\s*=/.exec(body);
    if (match === null) return undefined;
    const name = match[1]!.toLowerCase();
    const value = body.slice(match[0].length).trim();
    if (value === '' || !DIRECTIVES.has(name)) return undefined;
    if (this.seen.has(name))
      throw invalid(`only one ${name} parser directive can be used`, `Remove the second "# ${name}=" line.`);
    this.seen.add(name);
    this.done = false;
    return { name, value };
  }
}

/** The value of `escape`. Throws `invalid` unless it is a backslash or a backtick. */
export function parseEscape(value: string): '\\' | '`' {
  if (value === '\\' || value === '`') return value;
  throw invalid(`invalid escape token '${value}' does not match \` or \\`, 'Write # escape=\\ or # escape=`');
}

function findSyntax(lines: string[], mark: string): string | undefined {
  const reader = new DirectiveReader(mark);
  try {
    for (const line of lines) {
      const directive = reader.read(line);
      if (directive === undefined) return undefined;
      if (directive.name === 'syntax') return directive.value.split(' ', 1)[0];
    }
  } catch {
    return undefined; // a repeated directive: parsing says so
  }
  return undefined;
}

/**
 * The frontend image that a file asks for, whatever language the file is written in: by `# syntax=`, `// syntax=` or
 * the member `syntax` of a JSON object; a `#!` line may come first. Undefined when it asks for none.
 */
export function detectSyntax(text: string): string | undefined {
  let body = text.startsWith('\ufeff') ? text.slice(1) : text;
  if (body.startsWith('#!')) {
    const end = body.indexOf('\n');
    body = end < 0 ? '' : body.slice(end + 1);
  }
  const lines = body.slice(0, 64 * 1024).split('\n');
  const found = findSyntax(lines, '#') ?? findSyntax(lines, '//');
  if (found !== undefined || !trimStart(body).startsWith('{')) return found;
  try {
    const json: unknown = JSON.parse(body);
    if (typeof json === 'object' && json !== null && 'syntax' in json && typeof json.syntax === 'string')
      return json.syntax;
  } catch {
    // not JSON
  }
  return undefined;
}
