/** The page's files for daemons that run from the sources, made once for all tests that need them. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

let made: Promise<unknown> | undefined;

/** Bundles the page into dist/ui. */
export async function makePage(): Promise<void> {
  const root = join(import.meta.dirname, '../..');
  made ??= promisify(execFile)(process.execPath, [join(root, 'scripts/page.mjs')], { cwd: root });
  await made;
}
