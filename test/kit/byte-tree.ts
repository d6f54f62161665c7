/** Trees whose names are any bytes, made and looked at by their bytes alone. */
import {
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { type Arbitrary, array, oneof, uint8Array, uniqueArray } from 'fast-check';

/** A path by its bytes: Latin-1 characters stand for them. */
const at = (dir: string, path: string) =>
  Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(path, 'latin1')]);

/** A name of a file, one Latin-1 character a byte, most of them no UTF-8. */
export const byteName: Arbitrary<string> = oneof(
  uint8Array({ min: 1, minLength: 1, maxLength: 12 }),
  array(uint8Array({ min: 0x7e, max: 0xff, minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 }).map(
    (parts) => Buffer.concat(parts),
  ),
)
  .map((raw) => Buffer.from(raw).toString('latin1'))
  .filter((name) => !name.includes('/') && name !== '.' && name !== '..' && !name.startsWith('.wh.'));

/** Names for one tree. */
export const byteNames: Arbitrary<string[]> = uniqueArray(byteName, { minLength: 3, maxLength: 8 });

/**
 * Fills a folder: of the names, the first is a folder with all the others in it, the second a symlink to the third, which
 * is no file, and the others are files with their own names in them, the last with a second name in the folder.
 */
export function makeByteTree(dir: string, names: readonly string[]): void {
  mkdirSync(dir, { recursive: true });
  const [folder = '', link = '', target = '', ...files] = names;
  mkdirSync(at(dir, folder));
  symlinkSync(Buffer.from(target, 'latin1'), at(dir, link));
  symlinkSync(Buffer.from(`${target}/${link}`, 'latin1'), at(dir, `${folder}/${link}`));
  for (const name of files) {
    writeFileSync(at(dir, name), Buffer.from(name, 'latin1'));
    writeFileSync(at(dir, `${folder}/${name}`), Buffer.from(name, 'latin1'));
  }
  const last = files.at(-1);
  if (last !== undefined) linkSync(at(dir, last), at(dir, `${folder}/${target}`));
}

/** What is in a folder, by path: `/` for a folder, `-> target`, or a file's bytes; behind `/+` those of one with several names. */
export function readByteTree(dir: string, path = ''): Record<string, string> {
  const out: Record<string, string> = {};
  for (const raw of readdirSync(at(dir, path), 'buffer')) {
    const child = path === '' ? raw.toString('latin1') : `${path}/${raw.toString('latin1')}`;
    const stat = lstatSync(at(dir, child));
    if (stat.isDirectory()) Object.assign(out, { [child]: '/' }, readByteTree(dir, child));
    else if (stat.isSymbolicLink())
      out[child] = `-> ${readlinkSync(at(dir, child), 'buffer').toString('latin1')}`;
    else out[child] = (stat.nlink > 1 ? '/+' : '') + readFileSync(at(dir, child)).toString('latin1');
  }
  return out;
}
