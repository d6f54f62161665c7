/** Templates of Go's text/template, as docker's commands take them in `--format`. Pure. */
import { fail, nearest } from '../errors/index.ts';
import { functions, isTrue } from './functions.ts';
import { parse } from './parse.ts';
import { printed, sorted } from './print.ts';
import { type Node, type Operand, type Pipeline, Struct, type Value } from './types.ts';

type Call = (args: readonly Value[]) => Value;

/**
 * Parses a template, and returns the function that fills it in. It knows the functions of Go's templates and of
 * docker's; `own` are others, or other ones. Throws `invalid` for a template that cannot be, and, when it is filled in,
 * for fields that a value does not have.
 *
 *     template('{{range .Tags}}{{upper .}} {{end}}')(new Struct({ Tags: ['a', 'b'] })) // 'A B '
 */
export function template(text: string, own: Readonly<Record<string, Call>> = {}): (data: Value) => string {
  const nodes = parse(text, new Set([...Object.keys(functions), ...Object.keys(own)]));
  return (data) => {
    const filling = new Filling(text, own, data);
    filling.fill(nodes, data);
    return filling.out;
  };
}

type Left = 'break' | 'continue' | undefined;

/** One filling in of a template. */
class Filling {
  out = '';
  readonly #text: string;
  readonly #own: Readonly<Record<string, Call>>;
  /** The variables, innermost last. */
  readonly #scopes: Map<string, Value>[];

  constructor(text: string, own: Readonly<Record<string, Call>>, data: Value) {
    this.#text = text;
    this.#own = own;
    this.#scopes = [new Map([['$', data]])];
  }

  /** Writes nodes; tells whether a `{{break}}` or `{{continue}}` ended them. */
  fill(nodes: readonly Node[], dot: Value): Left {
    for (const node of nodes) {
      const left = this.#node(node, dot);
      if (left !== undefined) return left;
    }
    return undefined;
  }

  #node(node: Node, dot: Value): Left {
    switch (node.kind) {
      case 'text':
        this.out += node.text;
        return undefined;
      case 'break':
      case 'continue':
        return node.kind;
      case 'print': {
        const value = this.#pipeline(node.pipeline, dot);
        if (node.assign === undefined) this.out += printed(value, true);
        else this.#assign(node.assign, value);
        return undefined;
      }
      case 'range':
        return this.#range(node, dot);
      default: {
        const value = this.#pipeline(node.pipeline, dot);
        const variables: [string, Value][] = node.variable === undefined ? [] : [[node.variable, value]];
        const on = isTrue(value);
        return this.#within(variables, () =>
          this.fill(on ? node.body : node.otherwise, on && node.kind === 'with' ? value : dot),
        );
      }
    }
  }

  #range(node: Extract<Node, { kind: 'range' }>, dot: Value): Left {
    const entries = this.#entries(this.#pipeline(node.pipeline, dot));
    if (entries.length === 0) return this.#within([], () => this.fill(node.otherwise, dot));
    for (const [key, value] of entries) {
      const [one, two] = node.variables;
      const variables: [string, Value][] = [];
      if (one !== undefined) variables.push([one, two === undefined ? value : key]);
      if (two !== undefined) variables.push([two, value]);
      if (this.#within(variables, () => this.fill(node.body, value)) === 'break') break;
    }
    return undefined;
  }

  #entries(value: Value): [Value, Value][] {
    if (value instanceof Map) return sorted(value);
    if (Array.isArray(value)) return value.map((each, i) => [i, each]);
    if (value === null || value === undefined) return [];
    if (typeof value === 'number') {
      if (value > 100_000) throw this.#refuse(`range over ${value}`);
      return Array.from({ length: Math.max(0, value) }, (_, i) => [i, i]);
    }
    throw this.#refuse(`range cannot go over ${printed(value)}`);
  }

  #within<T>(variables: readonly [string, Value][], work: () => T): T {
    this.#scopes.push(new Map(variables));
    try {
      return work();
    } finally {
      this.#scopes.pop();
    }
  }

  #assign({ name, declares }: { name: string; declares: boolean }, value: Value): void {
    const scope = declares ? this.#scopes.at(-1) : this.#scopes.findLast((each) => each.has(name));
    scope?.set(name, value);
  }

  #pipeline(pipeline: Pipeline, dot: Value): Value {
    let last: Value[] = [];
    for (const command of pipeline) last = [this.#command(command, last, dot)];
    return last[0];
  }

  #command([head, ...operands]: readonly Operand[], last: readonly Value[], dot: Value): Value {
    if (head === undefined) return undefined;
    if (head.kind !== 'call') return this.#operand(head, dot);
    if (head.name === 'and' || head.name === 'or') {
      // The arguments after the one that decides are not looked at.
      for (const operand of operands) {
        const value = this.#operand(operand, dot);
        if (isTrue(value) === (head.name === 'or')) return value;
        if (operand === operands.at(-1) && last.length === 0) return value;
      }
      if (last.length > 0) return last[0];
    }
    return this.#call(head.name, [...operands.map((each) => this.#operand(each, dot)), ...last]);
  }

  #call(name: string, args: readonly Value[]): Value {
    const own = Object.hasOwn(this.#own, name) ? this.#own[name] : undefined;
    if (own !== undefined) return own(args);
    const [least, most, call] = functions[name] as (typeof functions)[string];
    if (args.length < least || args.length > most) {
      throw this.#refuse(
        `${name} takes ${least === most ? least : `${least} or more`} arguments, not ${args.length}`,
      );
    }
    return call(args, (why) => this.#refuse(`${name}: ${why}`));
  }

  #operand(operand: Operand, dot: Value): Value {
    switch (operand.kind) {
      case 'dot':
        return dot;
      case 'literal':
        return operand.value;
      case 'variable':
        return this.#scopes.findLast((scope) => scope.has(operand.name))?.get(operand.name);
      case 'call':
        return this.#call(operand.name, []);
      case 'group':
        return this.#pipeline(operand.pipeline, dot);
      case 'field':
        return operand.names.reduce<Value>(
          (value, name) => this.#field(value, name),
          this.#operand(operand.of, dot),
        );
    }
  }

  #field(of: Value, name: string): Value {
    if (of instanceof Map) return of.get(name);
    if (of === null || of === undefined) return undefined;
    if (!(of instanceof Struct)) throw this.#refuse(`${printed(of)} has no field ${name}`);
    if (Object.hasOwn(of.fields, name)) return of.fields[name];
    const names = Object.keys(of.fields);
    const like = nearest(name, names);
    throw this.#refuse(
      `there is no field ${name}`,
      like === undefined ? `Fields: ${names.join(', ')}.` : `Did you mean .${like}?`,
    );
  }

  #refuse(why: string, hint?: string): Error {
    return fail(
      'invalid',
      'client',
      `the template ${JSON.stringify(this.#text)} cannot be filled in: ${why}`,
      {
        hint,
      },
    );
  }
}
