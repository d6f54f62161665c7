/** Parses a template of Go's text/template. https://pkg.go.dev/text/template */
import { fail } from '../errors/index.ts';
import { piecesOf, type Token, tokensOf } from './scan.ts';
import type { Node, Operand, Pipeline, Value } from './types.ts';

/** Deeper nesting is nobody's template. */
const deepest = 100;

/** The nodes of a template. `functions` are the names that it may call. Throws `invalid`. */
export function parse(text: string, functions: ReadonlySet<string>): Node[] {
  const refuse = (why: string) =>
    fail('invalid', 'client', `invalid template ${JSON.stringify(text)}: ${why}`, {
      hint: 'Templates are those of Go: {{.Field}}, {{json .}}, {{range .List}}…{{end}}.',
    });
  const parser = new Parser(functions, refuse);
  for (const piece of piecesOf(text, refuse)) {
    if ('text' in piece) parser.add({ kind: 'text', text: piece.text });
    else parser.action(piece.action, piece.at);
  }
  return parser.end();
}

/** An action that is not ended yet. */
interface Open {
  word: string;
  body: Node[];
  otherwise: Node[];
  inElse: boolean;
  /** How many more are ended with it: `{{else if}}` opens another one. */
  chained: number;
  variables: string[];
}

class Parser {
  readonly #functions: ReadonlySet<string>;
  readonly #refuse: (why: string) => Error;
  readonly #top: Node[] = [];
  readonly #open: Open[] = [];
  /** The variables that are known, outermost first. */
  readonly #known: string[][] = [['$']];

  constructor(functions: ReadonlySet<string>, refuse: (why: string) => Error) {
    this.#functions = functions;
    this.#refuse = refuse;
  }

  add(node: Node): void {
    const open = this.#open.at(-1);
    (open === undefined ? this.#top : open.inElse ? open.otherwise : open.body).push(node);
  }

  end(): Node[] {
    const open = this.#open.at(-1);
    if (open !== undefined) throw this.#refuse(`a {{${open.word}}} has no {{end}}`);
    return this.#top;
  }

  action(text: string, at: number): void {
    const tokens = new Tokens(tokensOf(text, at, this.#refuse));
    const first = tokens.peek();
    if (first === undefined) throw this.#refuse('an action is empty');
    const word = first.kind === 'word' ? first.text : '';
    if (['if', 'with', 'range'].includes(word)) this.#begin(tokens, 0);
    else if (word === 'else') this.#else(tokens);
    else if (word === 'end') this.#end(tokens);
    else if (word === 'break' || word === 'continue') this.#leave(word, tokens);
    else if (['define', 'template', 'block'].includes(word)) {
      throw this.#refuse(`{{${word}}} is not supported: there is one template`);
    } else this.#print(tokens);
    const rest = tokens.peek();
    if (rest !== undefined)
      throw this.#refuse(`${JSON.stringify(rest.text)} is unexpected in {{${text.trim()}}}`);
  }

  #leave(kind: 'break' | 'continue', tokens: Tokens): void {
    tokens.next();
    if (!this.#open.some(({ word, inElse }) => word === 'range' && !inElse))
      throw this.#refuse(`{{${kind}}} is outside of {{range}}`);
    this.add({ kind });
  }

  #begin(tokens: Tokens, chained: number): void {
    const word = tokens.next().text as 'if' | 'with' | 'range';
    if (this.#open.length >= deepest) throw this.#refuse('it is nested too deeply');
    const variables = this.#variables(tokens, word === 'range' ? 2 : 1);
    const pipeline = this.#pipeline(tokens);
    const open: Open = { word, body: [], otherwise: [], inElse: false, chained, variables };
    const { body, otherwise } = open;
    if (word === 'range') this.add({ kind: word, pipeline, variables, body, otherwise });
    else this.add({ kind: word, pipeline, variable: variables[0], body, otherwise });
    this.#open.push(open);
    this.#known.push([...variables]);
  }

  #else(tokens: Tokens): void {
    tokens.next();
    const open = this.#open.at(-1);
    if (open === undefined || open.inElse) throw this.#refuse('an {{else}} is where none can be');
    open.inElse = true;
    this.#known.pop();
    this.#known.push([...open.variables]);
    const word = tokens.peek()?.text;
    if (word === 'if' || word === 'with') this.#begin(tokens, open.chained + 1);
  }

  #end(tokens: Tokens): void {
    tokens.next();
    const open = this.#open.at(-1);
    if (open === undefined) throw this.#refuse('an {{end}} is where none can be');
    for (let i = 0; i <= open.chained; i++) {
      this.#open.pop();
      this.#known.pop();
    }
  }

  #print(tokens: Tokens): void {
    const [token, mark] = [tokens.peek(), tokens.peek(1)];
    if (token?.kind !== 'variable' || (mark?.text !== ':=' && mark?.text !== '=')) {
      this.add({ kind: 'print', pipeline: this.#pipeline(tokens) });
      return;
    }
    tokens.next();
    tokens.next();
    const declares = mark.text === ':=';
    if (!declares) this.#check(token);
    const pipeline = this.#pipeline(tokens);
    if (declares) this.#known.at(-1)?.push(token.text);
    this.add({ kind: 'print', pipeline, assign: { name: token.text, declares } });
  }

  /** `$x :=` and `$i, $x :=` before a pipeline. */
  #variables(tokens: Tokens, most: number): string[] {
    const [one, mark, two, then] = [0, 1, 2, 3].map((i) => tokens.peek(i));
    if (one?.kind !== 'variable') return [];
    const pair = most === 2 && mark?.text === ',' && two?.kind === 'variable' && then?.text === ':=';
    if (!pair && mark?.text !== ':=') return [];
    for (let i = 0; i < (pair ? 4 : 2); i++) tokens.next();
    return pair ? [one.text, two.text] : [one.text];
  }

  #pipeline(tokens: Tokens, depth = 0): Pipeline {
    if (depth > deepest) throw this.#refuse('it is nested too deeply');
    const commands: Operand[][] = [];
    do {
      const operands: Operand[] = [];
      for (
        let next = tokens.peek();
        next !== undefined && !['|', ')'].includes(next.text);
        next = tokens.peek()
      )
        operands.push(this.#operand(tokens, depth));
      const [head] = operands;
      if (head === undefined) throw this.#refuse('a value is missing');
      const isCall = head.kind === 'call';
      if (!isCall && operands.length > 1) throw this.#refuse('a value that is no function has arguments');
      if (!isCall && commands.length > 0) throw this.#refuse('a value that is no function is after |');
      commands.push(operands);
    } while (tokens.take('|'));
    return commands;
  }

  #operand(tokens: Tokens, depth: number): Operand {
    const token = tokens.next();
    const { at, text } = token;
    let operand: Operand;
    if (token.kind === 'field')
      operand = { at, kind: 'field', of: { at, kind: 'dot' }, names: [text.slice(1)] };
    else if (text === '.') operand = { at, kind: 'dot' };
    else if (token.kind === 'variable') {
      this.#check(token);
      operand = { at, kind: 'variable', name: text };
    } else if (text === '(') {
      const pipeline = this.#pipeline(tokens, depth + 1);
      if (!tokens.take(')')) throw this.#refuse('a ( is not closed');
      operand = { at, kind: 'group', pipeline };
    } else operand = this.#word(token);
    const names: string[] = operand.kind === 'field' ? [...operand.names] : [];
    const of = operand.kind === 'field' ? operand.of : operand;
    for (let next = tokens.peek(); next?.kind === 'field' && !next.apart; next = tokens.peek()) {
      if (operand.kind === 'literal' || operand.kind === 'call') throw this.#refuse(`${text} has no fields`);
      names.push(tokens.next().text.slice(1));
    }
    return names.length === 0 ? operand : { at, kind: 'field', of, names };
  }

  #word({ kind, text, at }: Token): Operand {
    const literal = (value: Value): Operand => ({ at, kind: 'literal', value });
    if (kind === 'number') return literal(Number(text));
    if (kind === 'string') return literal(text.startsWith('`') ? text.slice(1, -1) : this.#unquoted(text));
    if (kind === 'char') return literal(this.#unquoted(`"${text.slice(1, -1)}"`).codePointAt(0) ?? 0);
    if (text === 'true' || text === 'false') return literal(text === 'true');
    if (text === 'nil') return literal(null);
    if (kind !== 'word') throw this.#refuse(`${JSON.stringify(text)} is unexpected`);
    if (!this.#functions.has(text)) throw this.#refuse(`there is no function ${text}`);
    return { at, kind: 'call', name: text };
  }

  #unquoted(text: string): string {
    const simple: Record<string, string> = {
      a: '\x07',
      b: '\b',
      f: '\f',
      n: '\n',
      r: '\r',
      t: '\t',
      v: '\v',
    };
    return text
      .slice(1, -1)
      .replace(
        /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))/g,
        (whole, x?: string, u?: string, c?: string) => {
          const code = x ?? u;
          if (code !== undefined) return String.fromCodePoint(Number.parseInt(code, 16));
          if (c !== undefined && '\\"\''.includes(c)) return c;
          const found = c === undefined ? undefined : simple[c];
          if (found === undefined) throw this.#refuse(`${whole} in a string`);
          return found;
        },
      );
  }

  #check({ text }: Token): void {
    if (!this.#known.some((names) => names.includes(text)))
      throw this.#refuse(`there is no variable ${text}`);
  }
}

/** Tokens, taken one after the other. */
class Tokens {
  readonly #list: readonly Token[];
  #at = 0;

  constructor(list: readonly Token[]) {
    this.#list = list;
  }

  peek(further = 0): Token | undefined {
    return this.#list[this.#at + further];
  }

  /** The next token, of which `peek` has told. */
  next(): Token {
    return this.#list[this.#at++] as Token;
  }

  take(text: string): boolean {
    const found = this.peek()?.text === text;
    if (found) this.#at++;
    return found;
  }
}
