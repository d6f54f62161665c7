/**
 * Loads the command's bundle with what V8 compiled of it in runs before. Node's own compile cache keeps of a file what
 * is compiled when it is loaded; functions that are first called later are compiled anew in each run, which is a quarter
 * of a short build. Here a file is kept as it was when a run ended.
 *
 * All files' code is in one file: a line of JSON that says what is where, the code, and their CRC-32. It is written when
 * a run has loaded a file that was not in it, and in the next two runs, as each comes to call further functions.
 */
import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { Script } from 'node:vm';
import { crc32 } from 'node:zlib';

/** The name under which the command tells its threads the file that their code is kept in. */
export const codeOfThreads = 'drydock.code';
/** How many runs that load nothing new still write what was compiled. */
const furtherRuns = 2;
/** How long a thread loads nothing before it writes, ms. */
const pause = 200;
/** How long the code of another bundle is left in the folder, ms. */
const othersStay = 30 * 24 * 3600_000;

interface Entry {
  name: string;
  length: number;
}

interface Kept {
  files: Map<string, Buffer>;
  /** How many runs in a row have loaded nothing new. */
  runs: number;
}

/**
 * Loads a file of the bundle and what it needs, and gives its exports.
 * @param folder the bundle, with a slash at its end
 * @param place the file that code is kept in; where it cannot be read or written, all is compiled anew
 * @param when when to write: at the process's end, or, in a thread, whose end is not told, when it loads no more
 */
export function loadKept(folder: string, name: string, place: string, when: 'end' | 'pause'): unknown {
  const { files, runs } = read(place);
  const scripts = new Map<string, Script>();
  const modules = new Map<string, { exports: unknown }>();
  const outside = createRequire(`${folder}${name}`);
  let isNew = false;
  let timer: NodeJS.Timeout | undefined;

  function need(id: string): unknown {
    return id.startsWith('./') ? load(id.slice(2)) : outside(id);
  }
  function load(file: string): unknown {
    const known = modules.get(file);
    if (known !== undefined) return known.exports;
    const module = { exports: {} as unknown };
    modules.set(file, module);
    try {
      run(file, module);
    } catch (err) {
      // As Node does: the next one that needs it tries again, and is not given half a module.
      modules.delete(file);
      throw err;
    }
    return module.exports;
  }
  function run(file: string, module: { exports: unknown }): void {
    const filename = `${folder}${file}`;
    const cachedData = files.get(file);
    const source = readFileSync(filename, 'utf8');
    const script = new Script(`(function(exports,require,module,__filename){${source}\n})`, {
      filename,
      cachedData,
    });
    if (cachedData === undefined || script.cachedDataRejected) isNew = true;
    scripts.set(file, script);
    if (when === 'pause' && (isNew || runs < furtherRuns)) {
      timer ??= setTimeout(keep, pause).unref();
      timer.refresh();
    }
    script.runInThisContext()(module.exports, need, module, filename);
  }
  function keep(): void {
    if (!isNew && runs >= furtherRuns) return;
    // Others have written meanwhile.
    const all = read(place).files;
    if (all.size === 0) dropOthers(place);
    for (const [file, script] of scripts) all.set(file, script.createCachedData());
    write(place, { files: all, runs: isNew ? 0 : runs + 1 });
  }

  if (when === 'end') process.once('exit', keep);
  return load(name);
}

function read(place: string): Kept {
  const files = new Map<string, Buffer>();
  try {
    const all = readFileSync(place);
    const body = all.subarray(0, -4);
    if (crc32(body) !== all.readUInt32LE(body.length)) return { files, runs: 0 };
    let at = body.indexOf(10) + 1;
    const { entries, runs } = JSON.parse(body.toString('utf8', 0, at)) as { entries: Entry[]; runs: number };
    for (const { name, length } of entries) {
      files.set(name, body.subarray(at, at + length));
      at += length;
    }
    return { files, runs };
  } catch {
    return { files: new Map(), runs: 0 };
  }
}

/**
 * The file appears whole, so that a command that starts meanwhile reads the old one or the new one. Of two that write at
 * the same time one may take the other's; a mixture is told by its sum.
 */
function write(place: string, { files, runs }: Kept): void {
  const entries = [...files].map(([name, { length }]): Entry => ({ name, length }));
  const body = Buffer.concat([Buffer.from(`${JSON.stringify({ runs, entries })}\n`), ...files.values()]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(body));
  const beside = `${place}.new`;
  try {
    writeFileSync(beside, Buffer.concat([body, sum]), { mode: 0o600 });
    renameSync(beside, place);
  } catch {
    rmSync(beside, { force: true });
  }
}

/** Removes what bundles of long ago, and writers that were killed, have left. */
function dropOthers(place: string): void {
  const [kind] = basename(place).split('-');
  try {
    for (const name of readdirSync(dirname(place))) {
      const file = join(dirname(place), name);
      if (name.startsWith(`${kind}-`) && Date.now() - statSync(file).mtimeMs > othersStay) rmSync(file);
    }
  } catch {
    // Another run has removed it, or nothing can be: the code is kept without.
  }
}
