/** Finds users and groups by name in a tree's own /etc/passwd and /etc/group. */
import { fail } from '../errors/index.ts';
import type { OwnerId, OwnerSpec } from './actions.ts';
import { openView } from './open.ts';
import { readFileIn } from './read.ts';

/** An owner by numbers. */
export interface Ids {
  uid: number;
  gid: number;
}

/**
 * The numbers of an owner; undefined when no owner is named. A user without a group gets its own group from /etc/passwd
 * or, if it is given by number, the group of the same number. A group without a user gets user 0. Throws `not-found`
 * for a name that the tree does not have.
 */
export function resolveOwner(owner: OwnerSpec | undefined): Ids | undefined {
  if (owner?.user === undefined && owner?.group === undefined) return undefined;
  const ids: Ids = { uid: 0, gid: 0 };
  if (owner.user !== undefined) {
    if ('id' in owner.user) {
      ids.uid = owner.user.id;
      ids.gid = owner.user.id;
    } else {
      const fields = findName(owner.user, '/etc/passwd', 'user');
      ids.uid = number(fields[2], owner.user.name, 'user');
      ids.gid = number(fields[3], owner.user.name, 'user');
    }
  }
  if (owner.group !== undefined) {
    ids.gid =
      'id' in owner.group
        ? owner.group.id
        : number(findName(owner.group, '/etc/group', 'group')[2], owner.group.name, 'group');
  }
  return ids;
}

function findName(id: Extract<OwnerId, { name: string }>, file: string, what: 'user' | 'group'): string[] {
  const text = readFileIn(openView(id.in), file)?.toString('utf8') ?? '';
  for (const line of text.split('\n')) {
    const fields = line.trim().split(':');
    if (fields[0] === id.name && fields.length >= 3) return fields;
  }
  if (/^[0-9]+$/.test(id.name)) {
    const n = number(id.name, id.name, what);
    return [id.name, '', String(n), String(n)];
  }
  throw fail('not-found', 'file', `unable to find ${what} ${id.name}: no matching entries in ${file}`, {
    hint: `Create the ${what} in an earlier step, or give its number.`,
    details: { name: id.name },
  });
}

function number(text: string | undefined, name: string, what: string): number {
  const n = /^[0-9]+$/.test(text ?? '') ? Number(text) : Number.NaN;
  if (n <= 0xfffffffe) return n;
  throw fail('invalid', 'file', `the ${what} ${name} has no valid number: ${JSON.stringify(text ?? '')}`);
}
