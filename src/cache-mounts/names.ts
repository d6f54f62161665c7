/**
 * The names of cache mounts. A mount that is filled from a tree (`from=`, `uid=`, `mode=`) has that tree's digest in its
 * name, after the ID; a Dockerfile's ID has its namespace and a slash in front. Pure.
 */

/** The ID in a mount's name. */
export function idOf(name: string): string {
  return name.replace(/:sha256:[0-9a-f]{64}$/, '');
}

/** Whether a user means this mount by an ID: with or without the slash of an ID in no namespace. */
export function isNamed(name: string, id: string): boolean {
  const own = idOf(name);
  return name === id || own === id || own === `/${id}`;
}
