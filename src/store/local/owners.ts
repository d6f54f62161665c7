/**
 * Whose files a root holds. A user namespace makes the files of its root and its users those of others outside: seen
 * from there, or from another namespace, all layers would have other owners.
 */
import { fail } from '../../errors/index.ts';
import { ownIdMaps, rootlessProblem } from '../../linux/index.ts';
import type { Db } from './db.ts';

const name = 'owners';

/**
 * Notes the id mappings of this process for a root without layers. Throws `conflict` when the layers of the root were
 * made with other ones, and `denied` when they were made in a user namespace and this process could not enter one.
 * `maps` is in the form of `ownIdMaps`.
 */
export function claimOwners(db: Db, maps = ownIdMaps()): void {
  const noted = () => String(db.get('SELECT value FROM meta WHERE name = ?', name)?.value ?? '');
  if (noted() === maps) return;
  db.write(() => {
    if (noted() === maps) return;
    if (db.get('SELECT 1 FROM snapshots LIMIT 1') !== undefined) {
      throw withoutNamespace(noted()) ?? otherOwners(noted(), maps);
    }
    db.run('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)', name, maps);
  });
}

function withoutNamespace(noted: string) {
  const problem = noted === '' ? undefined : rootlessProblem();
  if (problem === undefined) return undefined;
  const message = `the layers in this root were made in a user namespace: ${problem.why}`;
  return fail('denied', 'store', message, { hint: problem.remedy });
}

function otherOwners(noted: string, maps: string) {
  const who = (map: string) => {
    const uid = /^0:(\d+):/.exec(map)?.[1];
    return map === ''
      ? 'root'
      : uid === undefined
        ? `the id mappings ${map}`
        : `user ${uid}'s rootless Drydock`;
  };
  if (who(noted) !== who(maps)) {
    return fail(
      'conflict',
      'store',
      `the layers in this root are ${who(noted)}'s, and this is ${who(maps)}`,
      {
        hint: 'Use it as it was made, or another --root.',
      },
    );
  }
  return fail('conflict', 'store', `the layers in this root were made with other id mappings: ${noted}`, {
    hint: `The ranges in /etc/subuid and /etc/subgid have changed (${maps} now). Change them back, or have root remove the root.`,
  });
}
