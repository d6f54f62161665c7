/** The command that mounts an overlay. Pure. */
import { dirname } from 'node:path';
import { fail } from '../errors/error.ts';
import { folderOption, foldersIn } from '../fs/overlay-options.ts';

/** Bytes of options that mount(2) takes: one page, with a NUL at its end. */
const optionBytes = 4095;
/** Lower folders that the kernel takes (OVL_MAX_STACK in its sources). */
const mostLower = 500;
/** No sync of the whole disk when the step ends. Kernels before 5.10 do not know it. */
const volatile = 'volatile';

/**
 * A command of sh. Folders are named relative to the one that all are in where their full paths would not do: those
 * of a deep stack do not go into one mount(2). Throws `unsupported` when there are still too many.
 */
export function overlayCommand(target: string, options: readonly string[]): string {
  const writable = options.some((option) => option.startsWith('upperdir='));
  const fits = (all: readonly string[]) =>
    Buffer.byteLength([...all, ...(writable ? [volatile] : [])].join(',')) <= optionBytes;
  const isPlain = fits(options) && !options.some((option) => option.includes('\\'));
  const { folder, words } = isPlain ? { folder: undefined, words: options } : relative(options);
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
  const mount = (all: readonly string[]) =>
    `mount -i -t overlay -o ${quote(all.join(','))} overlay ${quote(target)}`;
  const command = writable ? `{ ${mount([...words, volatile])} || ${mount(words)}; }` : mount(words);
  return folder === undefined ? command : `( cd ${quote(folder)} && ${command} )`;
}

/** The options with folders relative to the deepest one that all are in. */
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

/** A text as one word of sh. */
export function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
