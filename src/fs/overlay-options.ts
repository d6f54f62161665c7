/** The folders in an overlay's mount options. https://docs.kernel.org/filesystems/overlayfs.html Pure. */

const names = ['lowerdir', 'upperdir', 'workdir'] as const;
type FolderOption = (typeof names)[number];

/** What an option says of folders, topmost first; undefined when it is of something else. */
export function foldersIn(option: string): { name: FolderOption; folders: string[] } | undefined {
  const name = names.find((each) => option.startsWith(`${each}=`));
  if (name === undefined) return undefined;
  const value = option.slice(name.length + 1);
  const folders = name === 'lowerdir' ? value.split(/(?<!(?<!\\)(?:\\\\)*\\):/) : [value];
  return { name, folders: folders.map((folder) => folder.replaceAll(/\\(.)/g, '$1')) };
}

/** The option that says it. */
export function folderOption(name: FolderOption, folders: readonly string[]): string {
  return `${name}=${folders.map((folder) => folder.replaceAll(/[\\:,]/g, '\\$&')).join(':')}`;
}
