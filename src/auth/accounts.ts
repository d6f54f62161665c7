/** Names of users and groups, from `/etc/passwd` and `/etc/group`, read again when they change. */
import { readFileSync, statSync } from 'node:fs';

/** The users and groups of a machine. */
export interface Accounts {
  userName(uid: number): string | undefined;
  uidOf(user: string): number | undefined;
  gidOf(group: string): number | undefined;
  /** The groups that the files put a user into, without the primary one. */
  groupsOf(user: string): number[];
}

interface Row {
  name: string;
  id: number;
  members: string[];
}

/** The accounts of this machine. A file that cannot be read counts as empty. */
export function systemAccounts(passwd = '/etc/passwd', group = '/etc/group'): Accounts {
  const users = table(passwd);
  const groups = table(group);
  return {
    userName: (uid) => users().find(({ id }) => id === uid)?.name,
    uidOf: (user) => users().find(({ name }) => name === user)?.id,
    gidOf: (wanted) => groups().find(({ name }) => name === wanted)?.id,
    groupsOf: (user) =>
      groups()
        .filter(({ members }) => members.includes(user))
        .map(({ id }) => id),
  };
}

function table(path: string): () => Row[] {
  let key = '';
  let rows: Row[] = [];
  return () => {
    try {
      const { mtimeMs, size, ino } = statSync(path);
      const now = `${mtimeMs} ${size} ${ino}`;
      if (now !== key) {
        rows = parse(readFileSync(path, 'utf8'));
        key = now;
      }
    } catch {
      rows = [];
      key = '';
    }
    return rows;
  };
}

/** Reads the lines of either file: the name is first and the id third; in group(5) the members are fourth. */
function parse(text: string): Row[] {
  return text.split('\n').flatMap((line) => {
    const [name, , id, members = ''] = line.split(':');
    if (!name || id === undefined || !/^\d+$/.test(id)) return [];
    return [{ name, id: Number(id), members: members.split(',') }];
  });
}
