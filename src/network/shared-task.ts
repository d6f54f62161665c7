/**
 * What all processes of this host with one setting of the network have in common: the rules, and the interfaces that
 * forward for them. The first process sets them up, the last one takes them away; a process that was killed is found by
 * the lock that it no longer holds. The tasks run on worker threads, for they wait for locks and programs.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { toDrydockError } from '../errors/index.ts';
import { closeFd, openLock, tryLock, waitForLock } from '../linux/index.ts';
import { parseSubnet, type Subnet, subnetText } from './addresses.ts';
import { type FirewallTool, firewallTools, removeRules, setRules } from './firewall.ts';
import { type HostAccess, rulesVersion } from './rules.ts';
import { forwardUplinks, mayForwardV6, setting, unforwardUplinks } from './sysctls.ts';
import { freeSubnet, hostRoutes } from './uplinks.ts';

/** The setting of a network: processes with the same one share the rules. Networks are texts such as `10.0.0.0/8`. */
interface SharedSettings {
  /** The folder in which the processes of this host meet. */
  folder: string;
  /** The networks of steps that an operator wishes, one for each family; default: free ones. */
  subnets: readonly string[];
  denied: readonly string[];
  hostAccess: HostAccess;
  hostGateway?: readonly string[];
  tools?: readonly FirewallTool[];
}

/** What the processes share, as a process that joined it knows it. */
interface Shared {
  folder: string;
  key: string;
  subnet4: Subnet;
  subnet6: Subnet | undefined;
  /** This process's membership: a locked file. */
  member: { path: string; fd: number };
}

/** What is written down, so that the last process, or the next one after a kill, can take it away. */
interface Note {
  /** The network namespace that it is true of. */
  namespace: number;
  /** Undefined while the rules are being set. */
  tool?: FirewallTool;
  hasV6: boolean;
  hasGuard: boolean;
  subnet4: string;
  subnet6?: string;
}

/** Joins those that share a setting, setting everything up if nobody is there. Throws `unavailable`, EPERM, EROFS. */
export function joinShared(settings: SharedSettings): Shared {
  mkdirSync(settings.folder, { recursive: true, mode: 0o700 });
  const key = keyOf(settings);
  const folder = join(settings.folder, key);
  mkdirSync(join(folder, 'members'), { recursive: true, mode: 0o700 });
  return withLock(folder, () => {
    let note = readNote(folder);
    if (livingMembers(folder) === 0 || note?.tool === undefined) {
      clearDead(folder);
      if (note !== undefined) takeAway(folder, key, note);
      note = setUp(folder, key, settings);
    }
    const path = join(folder, 'members', randomUUID());
    const fd = openLock(path);
    tryLock(fd);
    const { subnet4, subnet6, hasV6 } = note;
    return {
      folder,
      key,
      subnet4: parseSubnet(subnet4, 'subnet'),
      subnet6: subnet6 === undefined || !hasV6 ? undefined : parseSubnet(subnet6, 'subnet'),
      member: { path, fd },
    };
  });
}

/** Leaves. The last one takes everything away. */
export function leaveShared({ folder, key, member }: Shared): void {
  withLock(folder, () => {
    rmSync(member.path, { force: true });
    closeFd(member.fd);
    const note = readNote(folder);
    if (livingMembers(folder) === 0 && note !== undefined) takeAway(folder, key, note);
  });
}

/** Takes away what killed processes with other settings have left, unless somebody is at it. */
function clearDead(folder: string): void {
  for (const { folder: other } of neighbours(folder)) {
    const fd = openLock(join(other, 'lock'));
    try {
      const note = tryLock(fd) && livingMembers(other) === 0 ? readNote(other) : undefined;
      if (note !== undefined) takeAway(other, basename(other), note);
    } finally {
      closeFd(fd);
    }
  }
}

/** Writes down interfaces that were made to forward after the set-up. */
export function noteForwarding(folder: string, files: readonly string[]): void {
  if (files.length > 0) appendFileSync(join(folder, 'forwarding'), `${files.join('\n')}\n`);
}

/**
 * The short name of a setting. The network namespace is part of it, for rules count within it alone, and so is the
 * folder, for processes that do not see each other's locks share nothing. Processes of other versions have other rules.
 */
function keyOf(settings: SharedSettings): string {
  const { dev, ino } = statSync(settings.folder);
  const { subnets, denied, hostAccess, hostGateway = [] } = settings;
  const rules = [subnets, denied, hostAccess, ...hostGateway];
  const text = JSON.stringify([rulesVersion, dev, ino, ownNamespace(), ...rules]);
  return createHash('sha256').update(text).digest('hex').slice(0, 4);
}

function ownNamespace(): number {
  return statSync('/proc/thread-self/ns/net').ino;
}

function withLock<T>(folder: string, body: () => T): T {
  const fd = openLock(join(folder, 'lock'));
  try {
    waitForLock(fd);
    return body();
  } finally {
    closeFd(fd);
  }
}

/** Counts the members that live, and forgets the others. */
function livingMembers(folder: string): number {
  let living = 0;
  for (const name of readdirSync(join(folder, 'members'))) {
    const path = join(folder, 'members', name);
    const fd = openLock(path);
    if (tryLock(fd)) rmSync(path, { force: true });
    else living++;
    closeFd(fd);
  }
  return living;
}

function readNote(folder: string): Note | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'note.json'), 'utf8')) as Note;
  } catch {
    return undefined;
  }
}

function setUp(folder: string, key: string, settings: SharedSettings): Note {
  const { taken, uplinks } = hostRoutes();
  const wished = settings.subnets.map((text) => parseSubnet(text, 'network-subnet'));
  const subnetFor = (family: 4 | 6) =>
    wished.find((subnet) => subnet.family === family) ?? freeSubnet(family, [...taken, ...others(folder)]);
  const subnet4 = subnetFor(4);
  if (subnet4 === undefined) throw new Error('all networks that steps could have are in use on this host');
  const wantsV6 = uplinks.some(({ family }) => family === 6) && mayForwardV6();
  const subnet6 = wantsV6 ? subnetFor(6) : undefined;
  const note: Note = {
    namespace: ownNamespace(),
    hasV6: subnet6 !== undefined,
    hasGuard: true,
    subnet4: subnetText(subnet4),
    subnet6: subnet6 && subnetText(subnet6),
  };
  const write = () => writeFileSync(join(folder, 'note.json'), JSON.stringify(note), { mode: 0o600 });
  write();
  try {
    const forwarding = forwardUplinks(subnet6 !== undefined);
    noteForwarding(folder, forwarding);
    const guarded = guardedIn(forwarding);
    note.hasGuard = guarded.length > 0;
    const denied = settings.denied.map((text) => parseSubnet(text, 'network-deny'));
    const { hostAccess, hostGateway = [] } = settings;
    const plan = { key, subnet4, subnet6, denied, hostAccess, hostGateway, guarded };
    Object.assign(note, setRules(plan, settings.tools));
    write();
    return note;
  } catch (err) {
    takeAway(folder, key, note);
    throw toDrydockError(err, 'exec');
  }
}

/** The interfaces that forward from now on, on a host that forwarded nothing before. */
function guardedIn(forwarding: readonly string[]): string[] {
  if (setting('/proc/sys/net/ipv4/conf/all/forwarding') === '1') return [];
  return forwarding.flatMap((file) => /ipv4\/conf\/([^/]+)\/forwarding$/.exec(file)?.[1] ?? []);
}

/** What those that share other settings have on this host. */
function neighbours(folder: string): { folder: string; note: Note }[] {
  const parent = join(folder, '..');
  return readdirSync(parent)
    .map((name) => join(parent, name))
    .flatMap((path) => {
      const note = path === folder ? undefined : readNote(path);
      return note?.namespace === ownNamespace() ? [{ folder: path, note }] : [];
    });
}

/** The networks of those that share other settings. */
function others(folder: string): Subnet[] {
  return neighbours(folder)
    .flatMap(({ note }) => [note.subnet4, note.subnet6])
    .flatMap((text) => (text === undefined ? [] : [parseSubnet(text, 'subnet')]));
}

function takeAway(folder: string, key: string, { tool, hasV6, hasGuard }: Note): void {
  // It is not known which tool was at work when the process was killed.
  for (const each of tool === undefined ? firewallTools : [tool]) {
    try {
      removeRules({ key, tool: each, hasV6, hasGuard });
    } catch {
      // This host has not got the tool.
    }
  }
  const forwarding = join(folder, 'forwarding');
  if (existsSync(forwarding)) {
    const files = readFileSync(forwarding, 'utf8').trim().split('\n');
    // Others may rely on it by now: then it is theirs to take back.
    const [heir] = neighbours(folder);
    if (heir === undefined) unforwardUplinks(files);
    else noteForwarding(heir.folder, files);
  }
  rmSync(forwarding, { force: true });
  rmSync(join(folder, 'note.json'), { force: true });
}
