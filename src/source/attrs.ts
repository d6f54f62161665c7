import { fail } from '../errors/index.ts';
import type { SourceOp } from '../pb/solver/pb/ops_pb.js';
import type { Vertex } from '../solver/index.ts';
import { parseBool } from '../words/index.ts';

/** The SourceOp of a vertex. */
export function sourceOf(vertex: Vertex): SourceOp {
  const { op } = vertex.op;
  if (op.case !== 'source') throw fail('invalid', 'llb', 'not a source op');
  if (vertex.inputs.length > 0) throw fail('invalid', 'llb', `the source ${op.value.identifier} has inputs`);
  return op.value;
}

/** Reads the attributes of a source by name, and notices those that nobody asked for. */
export interface AttrReader {
  text(name: string): string | undefined;
  /** True for `true`, `1` and the like; false when the attribute is missing. */
  flag(name: string): boolean;
  /** A whole number; it is octal when it begins with 0. */
  number(name: string): number | undefined;
  /** A JSON array of strings. */
  list(name: string): string[] | undefined;
  skip(...names: string[]): void;
  /**
   * Throws `unsupported` when attributes that belong to a kind of source are left over. Other attributes mean nothing.
   */
  done(): void;
}

/** Makes the reader of a source's attributes. */
export function attrReader(attrs: Record<string, string>, identifier: string): AttrReader {
  const left = new Set(Object.keys(attrs));
  const text = (name: string) => {
    left.delete(name);
    return attrs[name] === '' ? undefined : attrs[name];
  };
  const bad = (name: string, want: string) =>
    fail(
      'invalid',
      'llb',
      `the attribute ${name} of ${identifier} is not ${want}: ${JSON.stringify(attrs[name])}`,
    );
  return {
    text,
    flag(name) {
      const value = text(name);
      if (value === undefined) return false;
      const flag = parseBool(value);
      if (flag !== undefined) return flag;
      throw bad(name, 'true or false');
    },
    number(name) {
      const value = text(name);
      if (value === undefined) return undefined;
      if (/^0o?[0-7]+$/.test(value)) return Number.parseInt(value.replace(/^0o?/, ''), 8);
      if (/^\d{1,10}$/.test(value)) return Number(value);
      throw bad(name, 'a number');
    },
    list(name) {
      const value = text(name);
      if (value === undefined) return undefined;
      let parsed: unknown;
      try {
        parsed = JSON.parse(value);
      } catch {
        throw bad(name, 'JSON');
      }
      if (!Array.isArray(parsed) || !parsed.every((item) => typeof item === 'string')) {
        throw bad(name, 'a list of strings');
      }
      return parsed.length === 0 ? undefined : parsed;
    },
    skip(...names) {
      for (const name of names) left.delete(name);
    },
    done() {
      // A definition may say more of a source, as a policy's rule may; what is of a kind of source's own is known.
      const unknown = [...left].find((name) => /^(?:image|oci|git|http|local)\./.test(name));
      if (unknown === undefined) return;
      throw fail('unsupported', 'llb', `the source ${identifier} has the unknown attribute ${unknown}`);
    },
  };
}
