import { chown, readFile, stat } from 'node:fs/promises';
import { fail } from '../../errors/index.ts';
import { fixDockerfile, type LintWarning } from '../../frontend/index.ts';
import { rawName } from '../../linux/index.ts';
import { writeOutput } from '../output-file.ts';

/**
 * Mends what can be mended of a Dockerfile on this machine, and returns the findings that were. The file appears as a
 * whole, with its mode and owner. Throws `conflict` for a file that is not the one that was checked.
 */
export async function fixFile(path: string, found: readonly LintWarning[]): Promise<LintWarning[]> {
  if (found.length === 0) return [];
  const bytes = await readFile(rawName(path));
  const text = bytes.toString('utf8');
  const same = (other: string) => other.replace(/^\uFEFF/, '') === text.replace(/^\uFEFF/, '');
  const isText = Buffer.from(text).equals(bytes);
  if (!isText || found.some(({ location }) => !same(location.text))) {
    throw fail('conflict', 'client', `--fix: ${path} is not the text that was checked`, {
      hint: isText ? 'It was changed meanwhile: check it again.' : 'It is not UTF-8: mend it by hand.',
    });
  }
  const { text: next, fixed } = fixDockerfile(text, found);
  if (fixed.length === 0) return [];
  const { uid, gid } = await stat(rawName(path));
  await writeOutput(path, next);
  // Who may not give files away has made one of their own.
  await chown(rawName(path), uid, gid).catch(() => {});
  return fixed;
}
