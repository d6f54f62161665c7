/** Turns `user[:group]` into numbers, by the root filesystem's own /etc/passwd and /etc/group. */
import { fail } from '../errors/index.ts';
import { type FsView, readFileIn } from '../fs/index.ts';

export interface ProcessUser {
  uid: number;
  gid: number;
  /**
   * The supplementary groups, the process's own group first. If it were not in the list, a process could leave the
   * group by a set-group-id program, and then read files that are closed to that group alone.
   */
  groups: number[];
  /** The home folder in the passwd entry, if there is one. */
  home?: string;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/**
 * Looks up `user[:group]`, names or numbers; '' is root. A number needs no entry (its group is then 0); a user named
 * without a group gets the groups that list it. Throws `invalid` (hop `exec`) in docker's words for an unknown name.
 */
export function lookUpUser(view: FsView, spec: string): ProcessUser {
  const [userPart = '', groupPart] = splitOnce(spec);
  const passwd = parsePasswd(textOf(view, '/etc/passwd'));
  const number = userPart === '' ? 0 : idOf(userPart);
  const entry = passwd.find((e) => (number === undefined ? e.name === userPart : e.uid === number));
  if (entry === undefined && number === undefined) {
    const names = passwd.map((e) => e.name);
    throw fail('invalid', 'exec', `unable to find user ${userPart}: no matching entries in passwd file`, {
      hint:
        names.length === 0
          ? 'The image has no /etc/passwd: name the user by number.'
          : `The image knows ${names.slice(0, 12).join(', ')}${names.length > 12 ? ', …' : ''}; add the user in a RUN before, or name it by number.`,
    });
  }
  const uid = entry?.uid ?? number ?? 0;
  const gid = groupPart ? lookUpGroup(view, groupPart) : (entry?.gid ?? 0);
  const others = groupPart || entry === undefined ? [] : groupsOf(view, entry.name);
  return { uid, gid, groups: [...new Set([gid, ...others])], home: entry?.home };
}

function groupsOf(view: FsView, name: string): number[] {
  const groups = parseGroup(textOf(view, '/etc/group'));
  return groups.filter((g) => g.members.includes(name)).map((g) => g.gid);
}

function lookUpGroup(view: FsView, name: string): number {
  const number = idOf(name);
  if (number !== undefined) return number;
  const group = parseGroup(textOf(view, '/etc/group')).find((g) => g.name === name);
  if (group !== undefined) return group.gid;
  throw fail('invalid', 'exec', `unable to find group ${name}: no matching entries in group file`, {
    hint: 'Add the group in a RUN before, or name it by number.',
  });
}

function splitOnce(spec: string): [string, string | undefined] {
  const at = spec.indexOf(':');
  return at < 0 ? [spec, undefined] : [spec.slice(0, at), spec.slice(at + 1)];
}

function idOf(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= 0xfffffffe ? id : undefined;
}

function textOf(view: FsView, path: string): string {
  return readFileIn(view, path)?.toString('utf8') ?? '';
}

/** The entries of passwd(5). Lines that do not parse are passed over. */
function parsePasswd(text: string): PasswdEntry[] {
  return lines(text).flatMap((fields) => {
    const uid = idOf(fields[2] ?? '');
    const gid = idOf(fields[3] ?? '');
    const name = fields[0] ?? '';
    return name === '' || uid === undefined || gid === undefined
      ? []
      : [{ name, uid, gid, home: fields[5] ?? '' }];
  });
}

/** The entries of group(5). Lines that do not parse are passed over. */
function parseGroup(text: string): GroupEntry[] {
  return lines(text).flatMap((fields) => {
    const gid = idOf(fields[2] ?? '');
    const name = fields[0] ?? '';
    return name === '' || gid === undefined
      ? []
      : [{ name, gid, members: (fields[3] ?? '').split(',').filter((member) => member !== '') }];
  });
}

function lines(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}
