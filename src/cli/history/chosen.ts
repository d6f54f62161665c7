/** Finds the build that a word means: a reference or the beginning of one, `^0` the newest, `^1` the one before. */
export function chosen<T extends { ref: string }>(builds: readonly T[], word: string): T | undefined {
  const back = /^\^(\d+)$/.exec(word);
  if (back !== null) return builds[Number(back[1])];
  const exact = builds.find(({ ref }) => ref === word);
  if (exact !== undefined) return exact;
  const fits = builds.filter(({ ref }) => ref.startsWith(word));
  return fits.length === 1 ? fits[0] : undefined;
}
