/** Worker tasks that read what is stated of a result from files: `attest.bundle` and `attest.predicate`. */
import { fail, prefixed, type Stopping } from '../errors/index.ts';
import {
  baseName,
  cleanPath,
  openView,
  readFileIn,
  resolvePath,
  stopper,
  type ViewSpec,
} from '../fs/index.ts';
import { type Digest, jsonExcess } from '../oci/index.ts';
import type { TaskContext } from '../workers/index.ts';
import { withLayerIds } from './layer-ids.ts';

/** The largest file of a statement or a predicate, in bytes. */
const maxFile = 40 << 20;
const maxFiles = 1000;
/** How deep and how large JSON may be: parsed, it takes many times its text. */
const most = { depth: 500, values: 5_000_000 };
/** The most bytes of all predicates of a bundle. */
const maxAll = 256 << 20;

/** A statement of a bundle. */
interface BundledStatement {
  filename: string;
  predicateType: string;
  subjects: { name: string; digest: Record<string, string> }[];
  /** The predicate as JSON. */
  predicate: Uint8Array;
}

/**
 * Reads the statements in a folder, one from each file. Throws `invalid`, with the file's name, for what is no regular
 * file, no statement, or of another type than `predicateType` ('' allows all), and `exhausted` for a file above 40 MiB.
 */
export function readBundle(
  { spec, path, predicateType }: { spec: ViewSpec; path: string; predicateType: string },
  ctx: TaskContext,
): BundledStatement[] {
  const view = openView(spec, undefined, stopper(ctx));
  const entries = view.readdir(resolvePath(view, cleanPath(path), { followLast: true }));
  if (entries.length > maxFiles) throw fail('exhausted', 'export', `it has more than ${maxFiles} files`);
  let all = 0;
  return entries.map((entry) => {
    try {
      if (entry.type !== 'file') throw fail('invalid', 'export', 'it is no regular file');
      const statement = statementIn(jsonOf(readFileIn(view, entry.path, maxFile) ?? Buffer.alloc(0)));
      if (predicateType !== '' && statement.predicateType !== predicateType) {
        const said = JSON.stringify(statement.predicateType);
        throw fail('invalid', 'export', `its predicate is of the type ${said} and not ${predicateType}`);
      }
      all += statement.predicate.length;
      if (all > maxAll) throw fail('exhausted', 'export', `the predicates have more than ${maxAll} bytes`);
      return { filename: entry.name, ...statement };
    } catch (err) {
      throw prefixed(err, entry.name);
    }
  });
}

function statementIn(value: unknown): Omit<BundledStatement, 'filename'> {
  const none = () => fail('invalid', 'export', 'it is no in-toto statement');
  if (!isObject(value)) throw none();
  const { predicateType, predicate, subject } = value;
  if (typeof predicateType !== 'string' || predicateType === '') throw none();
  const subjects = (Array.isArray(subject) ? subject : []).map((each) => {
    if (!isObject(each)) throw none();
    const digest = isObject(each.digest) ? each.digest : {};
    if (Object.values(digest).some((text) => typeof text !== 'string')) throw none();
    return { name: typeof each.name === 'string' ? each.name : '', digest: digest as Record<string, string> };
  });
  return { predicateType, subjects, predicate: Buffer.from(JSON.stringify(predicate ?? null)) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function jsonOf(bytes: Buffer): unknown {
  const text = bytes.toString('utf8');
  const excess = jsonExcess(text, most);
  if (excess !== undefined)
    throw fail('exhausted', 'export', `its JSON has more ${excess} than any statement needs`);
  try {
    return JSON.parse(text);
  } catch {
    throw fail('invalid', 'export', 'it is no JSON');
  }
}

/** Where a predicate is, and the image that an SPDX document gets the layers of its files from. */
interface PredicateArgs {
  /** A file of a tree, or its bytes. */
  from: { spec: ViewSpec; path: string } | { bytes: Uint8Array };
  layers?: { spec: ViewSpec; digests: Digest[]; tool: string };
}

/** Does the same as `readPredicate` on a thread. */
export function readPredicateTask(args: PredicateArgs, ctx: TaskContext): Uint8Array {
  return readPredicate(args, {
    get aborted() {
      return ctx.aborted();
    },
    reason: undefined,
  });
}

/**
 * Reads a predicate: JSON without the spaces between its parts, and no bytes for an empty file. With `layers` an SPDX
 * document says of each file which layer it is in. Throws `invalid` for what is no JSON or no file.
 */
export function readPredicate({ from, layers }: PredicateArgs, signal: Stopping): Uint8Array {
  const bytes = 'bytes' in from ? Buffer.from(from.bytes) : fileOf(from);
  if (bytes.length === 0) return bytes;
  const value = jsonOf(bytes);
  const told = layers === undefined || !isObject(value) ? value : withLayerIds(value, layers, signal);
  return Buffer.from(JSON.stringify(told));
}

function fileOf({ spec, path }: { spec: ViewSpec; path: string }): Buffer {
  const bytes = readFileIn(openView(spec), cleanPath(path), maxFile);
  if (bytes === undefined) throw fail('invalid', 'export', `there is no file ${baseName(path)}`);
  return bytes;
}
