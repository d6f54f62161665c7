/** The folders in an overlay's mount options. https://docs.kernel.org/filesystems/overlayfs.html Pure. */

const names = ['lowerdir', 'upperdir', 'workdir'] as const;
type FolderOption = (typeof names)[number];

/** The folders in a mount option, topmost first; undefined for an option about something else. */
export function foldersIn(option: string): { name: FolderOption; folders: string[] } | undefined {
  const name = names.find((each) => option.startsWith(`${each}=`));
  if (name === undefined) return undefined;
  const value = option.slice(name.length + 1);
  const folders = name === 'lowerdir' ? value.split(/(?<!(?<!\\)(?:\\\\)*\\):/) : [value];
  return { name, folders: folders.map((folder) => folder.replaceAll(/\\(.)/g, '$1')) };
}

/** The mount option that lists these folders. */
export function folderOption(name: FolderOption, folders: readonly string[]): string {
  return `${name}=${folders.map((folder) => folder.replaceAll(/[\\:,]/g, '\\$&')).join(':')}`;
}
