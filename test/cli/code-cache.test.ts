/** The compiled code of the command's bundle, kept from run to run. */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

let dir: string;
let place: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-code-'));
  mkdirSync(join(dir, 'kept'));
  place = join(dir, 'kept/bundle-one');
  writeFileSync(
    join(dir, 'main.cjs'),
    `exports.name = 'main'; const { join } = require('node:path'); const lazy = require('./lazy.cjs');
    if (process.argv[1] === 'late') console.log(require('./late.cjs').late());
    console.log(join('a', lazy.ofMain()), __filename, process.argv[1] === 'call' ? lazy.called(2) : '');`,
  );
  writeFileSync(
    join(dir, 'lazy.cjs'),
    `const main = require('./main.cjs'); exports.ofMain = () => main.name;
    exports.called = function (n) { ${'n = n * 3 % 1000; '.repeat(400)} return n; };`,
  );
  writeFileSync(join(dir, 'late.cjs'), `exports.late = () => 'late';`);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** One run of the bundle; gives what it wrote. One that writes at a pause goes on until it has. */
function run(arg = '', at = place, when = 'end'): string {
  const code = `
    import { renameSync, statSync } from 'node:fs';
    import { loadKept } from ${JSON.stringify(join(import.meta.dirname, '../../src/cli/code-cache.ts'))};
    const at = ${JSON.stringify(at)};
    loadKept(${JSON.stringify(`${dir}/`)}, 'main.cjs', at, '${when}');
    if (process.argv[1] === 'back') renameSync(at + '.aside', at);
    const { ino } = statSync(at, { throwIfNoEntry: false }) ?? {};
    const wait = setInterval(() => {
      if ('${when}' === 'end' || statSync(at, { throwIfNoEntry: false })?.ino !== ino) clearInterval(wait);
    }, 10);`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code, arg], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return stdout.trim();
}

test('is written until the runs bring nothing new, with the functions that they called', () => {
  const plain = `a/main ${dir}/main.cjs`;
  expect(run()).toBe(plain);
  const { length } = readFileSync(place);
  const called = run('call');
  expect(called).toMatch(new RegExp(`^${plain} \\d+$`));
  // The second run had the code of the first, and has added the function.
  expect(readFileSync(place).length).toBeGreaterThan(length + 1000);
  expect(run()).toBe(plain);
  const { ino } = statSync(place);
  expect(run('call')).toBe(called);
  expect(statSync(place).ino).toBe(ino);
  // A run that needs another file keeps that one, too.
  expect(run('late')).toBe(`late\n${plain}`);
  expect(statSync(place).ino).not.toBe(ino);
  expect(readFileSync(place, 'latin1').split('\n')[0]).toContain('"late.cjs"');
  expect(readdirSync(join(dir, 'kept'))).toEqual(['bundle-one']);
});

test('a thread writes when it loads no more, and keeps what others have written meanwhile', () => {
  const plain = run('late', place, 'pause');
  expect(readFileSync(place, 'latin1').split('\n')[0]).toContain('"late.cjs"');
  // The next one finds nothing when it begins, and what the first has written when it ends.
  renameSync(place, `${place}.aside`);
  expect(run('back', place, 'pause')).toBe(plain.replace('late\n', ''));
  expect(readFileSync(place, 'latin1').split('\n')[0]).toContain('"late.cjs"');
  expect(readdirSync(join(dir, 'kept'))).toEqual(['bundle-one']);
});

test('is made anew where it is damaged, and done without where it cannot be', () => {
  const said = run();
  const bytes = readFileSync(place);
  for (const damage of [bytes.subarray(0, 100), Buffer.alloc(0), flipped(bytes)]) {
    writeFileSync(place, damage);
    expect(run()).toBe(said);
    expect(readFileSync(place).length).toBeGreaterThan(bytes.length / 2);
  }
  const nowhere = join(dir, 'not-there/bundle-one');
  expect(run('', nowhere)).toBe(said);
  expect(existsSync(nowhere)).toBe(false);
  mkdirSync(join(dir, 'is-a-folder'));
  expect(run('', join(dir, 'is-a-folder'))).toBe(said);
  expect(readdirSync(join(dir, 'is-a-folder'))).toEqual([]);
});

test('the code of bundles of long ago is removed, and nothing else', () => {
  const kept = join(dir, 'kept');
  const longAgo = new Date(Date.now() - 60 * 24 * 3600_000);
  for (const name of ['bundle-old', 'bundle-new', 'other']) writeFileSync(join(kept, name), 'x');
  for (const name of ['bundle-old', 'other']) utimesSync(join(kept, name), longAgo, longAgo);
  run();
  expect(readdirSync(kept).sort()).toEqual(['bundle-new', 'bundle-one', 'other']);
  expect(statSync(place).mode & 0o777).toBe(0o600);
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const at = copy.length >> 1;
  copy[at] = (copy[at] ?? 0) ^ 0xff;
  return copy;
}

test('a file that cannot be loaded now is loaded when it is needed again', () => {
  writeFileSync(
    join(dir, 'main.cjs'),
    `const { renameSync } = require('node:fs');
    const told = () => { try { return require('./two.cjs').text; } catch (err) { return err.code; } };
    const first = told();
    renameSync(__dirname + '/aside.cjs', __dirname + '/three.cjs');
    console.log(first, told());`.replaceAll('__dirname', JSON.stringify(dir)),
  );
  writeFileSync(join(dir, 'two.cjs'), `exports.early = 1; exports.text = require('./three.cjs').text;`);
  writeFileSync(join(dir, 'aside.cjs'), `exports.text = 'three';`);
  expect(run()).toBe('ENOENT three');
});
