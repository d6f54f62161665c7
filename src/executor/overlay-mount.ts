/** Mounts overlays, of deep stacks too. */
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fail } from '../errors/index.ts';
import { folderOption, foldersIn } from '../fs/index.ts';
import { asFileOwner, changeFolder, closeFd, mount, openPath } from '../linux/index.ts';

/** The most bytes of options that mount(2) takes: one page, with a NUL at its end. */
const optionBytes = 4095;
/** The most lower folders that the kernel takes (OVL_MAX_STACK in its sources). */
const mostLower = 500;
/** The option against a sync of the whole disk when the step ends. Kernels before 5.10 do not know it. */
const volatile = 'volatile';

/** Folders with mapped owners, of which an overlay is made. */
export interface MappedFolders {
  /** The folder that is to be taken in the place of a folder of layers. */
  folder(path: string): string;
  /** Who has root's number in them. */
  owner: { uid: number; gid: number };
}

/**
 * Mounts an overlay at a folder. The paths of a deep stack's folders are too long for one mount(2). Its folders are
 * then named relative to the folder that all of them are in, and the thread's working folder is that one for the time.
 * With `mapped` they are always. Throws `unsupported`
 * when there are still too many, and Node-style errors.
 */
export function mountOverlay(target: string, options: readonly string[], mapped?: MappedFolders): void {
  const writable = options.some((option) => option.startsWith('upperdir='));
  const fits = (all: readonly string[]) =>
    Buffer.byteLength([...all, ...(writable ? [volatile] : [])].join(',')) <= optionBytes;
  const { folder, words } =
    fits(options) && mapped === undefined ? { folder: undefined, words: options } : relative(options);
  const lower = options.flatMap((option) => {
    const found = foldersIn(option);
    return found?.name === 'lowerdir' ? found.folders : [];
  });
  if (lower.length > mostLower || !fits(words)) {
    const count = lower.length + (writable ? 1 : 0);
    throw fail('unsupported', 'exec', `${count} layers are more than one overlay mount can stack`, {
      hint: 'Join RUN steps, or start a new stage and COPY --from the old one.',
    });
  }
  const before = folder === undefined ? undefined : openPath('.');
  try {
    if (folder !== undefined) changeFolder(mapped?.folder(folder) ?? folder);
    const tries = writable ? [[...words, volatile], words] : [words];
    const all = () => mountFirst(target, tries);
    if (mapped === undefined) all();
    // Who mounts it makes files in it, and must be a user of the mapped folders.
    else asFileOwner(mapped.owner, all);
  } finally {
    if (before !== undefined) {
      changeFolder(before);
      closeFd(before);
    }
  }
}

/** Mounts with the first of these options that the kernel takes. */
function mountFirst(target: string, [options = [], ...others]: readonly (readonly string[])[]): void {
  try {
    mount('overlay', target, 'overlay', 0, options.join(','));
  } catch (err) {
    if (others.length === 0) throw err;
    mountFirst(target, others);
  }
}

/** The options with their folders named relative to the deepest folder that all of them are in. */
function relative(options: readonly string[]): { folder: string | undefined; words: readonly string[] } {
  let common: string[] | undefined;
  for (const option of options) {
    for (const path of foldersIn(option)?.folders ?? []) {
      const parts = dirname(path).split('/');
      common ??= parts;
      const differs = common.findIndex((part, i) => part !== parts[i]);
      if (differs >= 0) common = common.slice(0, differs);
    }
  }
  const folder = common?.join('/');
  if (folder === undefined || folder === '') return { folder: undefined, words: options };
  const words = options.map((option) => {
    const found = foldersIn(option);
    if (found === undefined) return option;
    const below = found.folders.map((path) => path.slice(folder.length + 1));
    return folderOption(found.name, below);
  });
  return { folder, words };
}

/** Removes the mark that a volatile overlay leaves, which forbids to mount the snapshot again. */
export function forgetVolatile(options: readonly string[]): void {
  for (const option of options) {
    const found = foldersIn(option);
    if (found?.name !== 'workdir') continue;
    rmSync(join(found.folders[0] as string, 'work', 'incompat'), { recursive: true, force: true });
  }
}
