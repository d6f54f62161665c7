/** Docker's and buildx's groups of commands: `docker image ls` is `drydock images`. Pure. */

const groups: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  buildx: {
    ...{ b: 'build', bake: 'bake', build: 'build', debug: 'debug', du: 'du', f: 'bake', history: 'history' },
    ...{ imagetools: 'imagetools', prune: 'prune', version: 'version' },
  },
  builder: { build: 'build', prune: 'prune' },
  image: {
    ...{ build: 'build', history: 'history', inspect: 'inspect', list: 'images', load: 'load', ls: 'images' },
    ...{ pull: 'pull', push: 'push', remove: 'rmi', rm: 'rmi', save: 'save', tag: 'tag' },
  },
};

/** The words of a group of commands; none for another word. */
export function groupWords(name: string): string[] {
  return Object.hasOwn(groups, name) ? Object.keys(groups[name] ?? {}) : [];
}

/**
 * The command and its arguments that a command line means.
 *
 *     grouped('image', ['ls', '-q']) // ['images', ['-q']]
 */
export function grouped(name: string, args: readonly string[]): [name: string, args: readonly string[]] {
  const group = Object.hasOwn(groups, name) ? groups[name] : undefined;
  const [word = '', ...rest] = args;
  const meant = group !== undefined && Object.hasOwn(group, word) ? group[word] : undefined;
  return meant === undefined ? [name, args] : [meant, rest];
}
