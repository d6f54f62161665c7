/**
 * Reads the reports of a test run (vitest's JSON) for scripts/test.sh.
 *
 * `failed REPORT` prints the files with failed tests, one in a line, and exits with 1 when there are none or more than three.
 * `sum ALL AGAIN` prints the unsteady tests, which failed in ALL and passed in AGAIN (which need not exist), and the
 * closing line `N passed, N failed`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

/** As many files may be run again. A change that breaks more is no matter of luck. */
const MOST = 3;

const read = (path) => JSON.parse(readFileSync(path, 'utf8')).testResults;
const title = (file, test) => `${relative(process.cwd(), file.name)} > ${test.fullName}`;
/** A file's failures: its failed tests, or itself where it failed before or after its tests. */
const failures = (file) => {
  if (file.status !== 'failed') return [];
  const tests = file.assertionResults.filter((test) => test.status === 'failed');
  return tests.length > 0 ? tests : [{ fullName: '(the file)', failureMessages: [file.message ?? ''] }];
};

function failed(report) {
  const files = read(report).filter((file) => failures(file).length > 0);
  for (const file of files) console.log(relative(process.cwd(), file.name));
  return files.length > 0 && files.length <= MOST ? 0 : 1;
}

function sum(all, again) {
  const first = read(all);
  const second = new Map(existsSync(again) ? read(again).map((file) => [file.name, file]) : []);
  const unsteady = [];
  let passed = 0;
  let failed = 0;
  for (const file of first) {
    const last = second.get(file.name) ?? file;
    passed += last.assertionResults.filter((test) => test.status === 'passed').length;
    failed += failures(last).length;
    const still = new Set(failures(last).map((test) => test.fullName));
    if (last === file) continue;
    for (const test of failures(file))
      if (!still.has(test.fullName)) unsteady.push([title(file, test), test]);
  }
  for (const [name, { failureMessages }] of unsteady) {
    console.log(`unsteady: ${name}\n  ${failureMessages.join('\n').split('\n').slice(0, 6).join('\n  ')}`);
  }
  console.log(`${passed} passed, ${failed} failed`);
}

const [command, ...reports] = process.argv.slice(2);
process.exitCode = command === 'failed' ? failed(...reports) : sum(...reports);
