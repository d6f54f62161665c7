/**
 * Puts a step's root filesystem and mounts together, in a mount namespace that nobody else has, and writes the
 * runtime's configuration. It runs on a worker thread. Other steps may be writing at this very moment to some of the
 * trees that are mounted here and that mount points lie in, such as a cache mount that steps share. Therefore each path
 * is walked once, from file descriptor to file descriptor, and the place it led to is mounted, and mounted on, by its
 * descriptor. The runtime has nothing left to look up in such a tree.
 */
import { existsSync, fstatSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DrydockError, errnoCode, fail, toDrydockError, withoutPaths } from '../errors/index.ts';
import { foldersIn } from '../fs/index.ts';
import {
  attachMount,
  cloneMount,
  closeFd,
  inNewMountNamespace,
  lsetxattr,
  MNT_DETACH,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_NODEV,
  MS_NOSUID,
  mapMount,
  mount,
  openIn,
  openPath,
  openRoot,
  restrictMount,
  umount,
} from '../linux/index.ts';
import { type OciMount, refuseBytes } from './oci-spec.ts';
import { forgetVolatile } from './overlay-mount.ts';
import { holdInMemory, mountSysfs, mountTree } from './own-mounts.ts';
import { type OpenRemap, ownerOf } from './remap.ts';

/** A tree or file to mount. The paths are of folders and files that no step can replace. */
export type Tree =
  | { type: 'path'; path: string }
  | { type: 'overlay'; options: readonly string[] }
  | { type: 'tmpfs'; options: string };

/** What does not work on a mount: set-user-id programs, devices, programs. */
export type MountFlag = 'nosuid' | 'nodev' | 'noexec';

/** Mounts of files of our own. */
export const plainFlags: readonly MountFlag[] = ['nosuid', 'nodev', 'noexec'];

const attributesOf: Record<MountFlag, number> = {
  nosuid: MOUNT_ATTR_NOSUID,
  nodev: MOUNT_ATTR_NODEV,
  noexec: MOUNT_ATTR_NOEXEC,
};

export interface AssemblyMount {
  /** Absolute path in the container. */
  dest: string;
  tree: Tree;
  /** A path inside the tree; it alone is mounted. */
  selector?: string;
  readonly: boolean;
  flags?: readonly MountFlag[];
}

/** Everything that `assemble` puts together for one container. */
export interface Assembly {
  /** The step's own folder, in which nobody else writes. The root filesystem comes to `root` in it. */
  bundle: string;
  root: Tree;
  /** The SELinux label of everything that is made for the container; undefined where there are none. */
  label?: string;
  /** The mounts, in order: a mount inside another one comes after it. */
  mounts: AssemblyMount[];
  /** The folder of a tmpfs that holds files in memory; it gets a folder `runtime` besides. Undefined: none is made. */
  memory: string | undefined;
  /** Mount points that are taken away in the new namespace. */
  hidden?: readonly string[];
  files: { path: string; data: Uint8Array; uid: number; gid: number; mode: number }[];
  /**
   * The runtime's configuration, and the file that it is written to. The mounts that are left to the runtime are added
   * to it.
   */
  config: { path: string; spec: { mounts: OciMount[]; root: { path: string } } };
  /** The user namespace of which the container is to be. Undefined: this process's own. */
  remap?: OpenRemap;
  /** A folder to mount a sysfs on, of a network namespace (its path); undefined: of this process's own. */
  sysfs?: { at: string; network?: string };
}

/** The system's own filesystems, which the runtime mounts after everything here. */
const system = ['/proc', '/dev', '/sys'];
/** The entries that the runtime makes in /dev, and later looks up by name. */
const devices = ['console', 'fd', 'full', 'null', 'ptmx', 'pts', 'random', 'stderr', 'stdin', 'stdout'];
const guarded = ['/dev', ...[...devices, 'tty', 'urandom', 'zero'].map((name) => `/dev/${name}`)];

/**
 * Assembles the mounts. Returns a file descriptor of the mount namespace, which the caller closes. Throws `not-found`
 * where a selector leads to nothing, `invalid` for a mount point that cannot be one, `unsupported` where the kernel is
 * too old.
 */
export function assemble(args: Assembly): number {
  try {
    if (args.remap !== undefined) {
      // This process could not make the mount points through mapped mounts, whose users it is none of.
      const { remap: _, sysfs: __, ...unmapped } = args;
      closeFd(inNewMountNamespace(() => new Assembler(unmapped).run()));
      for (const { tree } of [{ tree: args.root }, ...args.mounts]) {
        if (tree.type === 'overlay') forgetVolatile(tree.options);
      }
    }
    return inNewMountNamespace(() => new Assembler(args).run());
  } catch (err) {
    if (err instanceof DrydockError) throw err;
    if (errnoCode(err) === 'ENOSYS') {
      throw fail('unsupported', 'exec', 'this kernel is too old to run steps', {
        cause: err,
        hint: 'Linux 5.12 or later is needed.',
      });
    }
    const known = toDrydockError(err, 'exec');
    if (known.code !== 'internal') throw known;
    throw fail('internal', 'exec', `cannot mount the step's files: ${(err as Error).message}`, {
      cause: err,
      hint: '`drydock doctor` says what this machine lacks.',
    });
  }
}

class Assembler {
  readonly #args: Assembly;
  readonly #open: number[] = [];
  /** The mounts inside the system's filesystems; the runtime puts them in their places. */
  readonly #mapped = new Map<string, string>();
  readonly #late: { dest: string; at: string; readonly: boolean }[] = [];

  constructor(args: Assembly) {
    this.#args = args;
  }

  run(): void {
    const { bundle, hidden = [], label, memory, files, config, remap, sysfs } = this.#args;
    try {
      if (sysfs !== undefined) mountSysfs(sysfs);
      for (const point of hidden) umount(point, MNT_DETACH);
      if (memory !== undefined) holdInMemory(memory, files, label, remap);
      if (remap === undefined) {
        const top = join(bundle, 'root');
        mkdirSync(top);
        this.#build(top, join(bundle, 'mount'));
      } else {
        config.spec.root.path = visibleRoot(this.#args);
        this.#build(config.spec.root.path, join(bundle, 'mapped'));
      }
      config.spec.mounts.push(...this.#late.map(lateMount));
      writeFileSync(config.path, JSON.stringify(config.spec), { mode: 0o600 });
    } finally {
      for (const fd of this.#open.splice(0)) closeFd(fd);
    }
  }

  /** Puts the root together at a folder. `at` is the beginning of the names of the mounts' own folders. */
  #build(top: string, at: string): void {
    const { root, label, mounts } = this.#args;
    if (root.type === 'path') {
      const tree = this.#hold(cloneMount(this.#hold(openRoot(root.path))));
      this.#mapOwners(tree, root.path);
      attachMount(tree, this.#hold(openRoot(top)));
    } else this.#mountTree(root, top, label);
    const rootFd = this.#hold(openRoot(top));
    for (const folder of system) this.#checkSystem(rootFd, folder);
    for (const [i, one] of mounts.entries()) this.#place(rootFd, one, `${at}${i}`);
  }

  #mountTree(tree: Exclude<Tree, { type: 'path' }>, at: string, label: string | undefined): void {
    const map = this.#args.remap;
    mountTree(tree, at, label, map && { owner: ownerOf(map), folder: (path) => this.#mappedFolder(path) });
  }

  /** A folder with mapped owners, of which overlays are made. */
  #mappedFolder(path: string): string {
    const known = this.#mapped.get(path);
    if (known !== undefined) return known;
    const at = join(this.#args.bundle, `owners${this.#mapped.size}`);
    mkdirSync(at);
    const tree = this.#hold(cloneMount(this.#hold(openRoot(path))));
    this.#mapOwners(tree, path);
    attachMount(tree, this.#hold(openRoot(at)));
    this.#mapped.set(path, at);
    return at;
  }

  /** Maps the owners of a tree, if the container is of another user namespace. */
  #mapOwners(tree: number, path: string): void {
    const { remap } = this.#args;
    if (remap === undefined) return;
    try {
      mapMount(tree, remap.fd);
    } catch (err) {
      throw fail(
        'unsupported',
        'exec',
        `owners cannot be mapped on the filesystem of ${path} (${errnoCode(err)})`,
        {
          cause: err,
          hint: 'Steps in a user namespace of their own (userns-remap) need idmapped mounts: Linux 5.19 and ext4, xfs or btrfs.',
        },
      );
    }
  }

  #hold(fd: number): number {
    this.#open.push(fd);
    return fd;
  }

  /** Checks a folder that the runtime will mount on by its name: that name must not lead it to another mount. */
  #checkSystem(rootFd: number, folder: string): void {
    const { fd, path } = openIn(rootFd, folder, { make: 'folder' });
    const isFolder = fd !== undefined && fstatSync(this.#hold(fd)).isDirectory();
    if (path !== folder || !isFolder) {
      throw fail('invalid', 'exec', `${folder} of the root filesystem is no folder`, {
        hint: `A step needs ${folder} as an ordinary folder: remove what is there in its stead.`,
      });
    }
  }

  #place(rootFd: number, one: AssemblyMount, at: string): void {
    const tree = this.#hold(this.#treeOf(one, at));
    const attributes = (one.flags ?? []).reduce(
      (all, flag) => all | attributesOf[flag],
      one.readonly ? MOUNT_ATTR_RDONLY : 0,
    );
    if (attributes !== 0) restrictMount(tree, attributes);
    const make = fstatSync(tree).isDirectory() ? 'folder' : 'file';
    const found = this.#target(rootFd, one.dest, make);
    refuseGuarded(one.dest, found.path);
    if (found.fd !== undefined) {
      attachMount(tree, this.#hold(found.fd));
      return;
    }
    const late = `${at}-late`;
    if (make === 'folder') mkdirSync(late);
    else writeFileSync(late, '');
    attachMount(tree, this.#hold(openPath(late)));
    this.#late.push({ dest: found.path, at: late, readonly: one.readonly });
  }

  /**
   * The place of a mount. It has no descriptor when it lies in one of the system's filesystems, which are not there
   * yet.
   */
  #target(rootFd: number, dest: string, make: 'folder' | 'file') {
    try {
      const found = openIn(rootFd, dest, { make, until: (path) => system.includes(path) });
      if (found.fd !== undefined) return found;
      const around = this.#late.findLast((late) => found.path.startsWith(`${late.dest}/`));
      if (around === undefined) return found;
      const base = this.#hold(openPath(around.at));
      const inside = openIn(base, found.path.slice(around.dest.length), { make });
      return { fd: inside.fd, path: found.path };
    } catch (err) {
      const why: Record<string, string> = {
        EROFS: 'it is not there, and what is around it is mounted read-only',
        ENOTDIR: 'a part on the way to it is no folder',
        ELOOP: 'too many levels of symbolic links',
        EINVAL: 'it leads into /proc, /dev or /sys and up again',
        ENAMETOOLONG: 'a name in it is longer than the file system takes',
      };
      const known = why[errnoCode(err) ?? ''];
      if (known === undefined) throw err;
      throw fail('invalid', 'exec', `mount ${dest}: ${known}`, { cause: withoutPaths(err) });
    }
  }

  /** The detached mount of a tree, with its owners mapped. */
  #treeOf(one: AssemblyMount, at: string): number {
    const tree = this.#cloneOf(one, at);
    // Files in memory have the right owners already.
    const { memory } = this.#args;
    if (one.tree.type === 'path' && !(memory !== undefined && one.tree.path.startsWith(`${memory}/`))) {
      this.#mapOwners(tree, one.tree.path);
    }
    return tree;
  }

  #cloneOf({ dest, tree, selector }: AssemblyMount, at: string): number {
    let base: number;
    const { bundle, label } = this.#args;
    if (tree.type === 'path') {
      // A file of our own; others keep the labels that they have.
      if (label !== undefined && dirname(tree.path) === bundle) {
        lsetxattr(tree.path, 'security.selinux', Buffer.from(`${label}\0`));
      }
      base = openPath(tree.path);
    } else {
      mkdirSync(at);
      this.#mountTree(tree, at, this.#args.label);
      base = openRoot(at);
    }
    this.#hold(base);
    if (selector === undefined || selector === '') return cloneMount(base);
    try {
      return cloneMount(this.#hold(openIn(base, selector).fd as number));
    } catch (err) {
      if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoCode(err) ?? '')) throw err;
      throw fail('not-found', 'exec', `mount ${dest}: ${selector} is not in what is mounted`, { cause: err });
    }
  }
}

function refuseGuarded(dest: string, path: string): void {
  const isGuarded =
    path === '/' ||
    path === '/proc' ||
    path.startsWith('/proc/') ||
    guarded.some((one) => path === one || (one !== '/dev' && path.startsWith(`${one}/`)));
  if (!isGuarded) return;
  const where = path === dest ? dest : `${dest} (${path})`;
  throw fail('invalid', 'exec', `mount ${where}: nothing can be mounted over what the system has there`, {
    hint: 'Mount it elsewhere.',
  });
}

function lateMount({ dest, at, readonly }: { dest: string; at: string; readonly: boolean }): OciMount {
  refuseBytes(dest);
  const options = ['rbind', 'rprivate', readonly ? 'ro' : 'rw'];
  return { destination: dest, type: 'bind', source: at, options };
}

/** A folder that every user may reach, in which a root can be mounted. Only this mount namespace has it. */
function visibleRoot({ bundle, root, mounts }: Assembly): string {
  const used = [root, ...mounts.map(({ tree }) => tree)].flatMap((tree) => {
    if (tree.type === 'path') return [tree.path];
    return tree.type === 'overlay' ? tree.options.flatMap((option) => foldersIn(option)?.folders ?? []) : [];
  });
  // It hides what is below it.
  const at = ['/mnt', '/srv', '/media', '/opt', '/tmp'].find(
    (path) => existsSync(path) && ![bundle, ...used].some((each) => `${each}/`.startsWith(`${path}/`)),
  );
  if (at === undefined)
    throw fail('unsupported', 'exec', 'this machine has none of /mnt, /srv, /media, /opt and /tmp');
  mount('tmpfs', at, 'tmpfs', MS_NOSUID | MS_NODEV, 'mode=0711,size=4k');
  const top = join(at, 'root');
  mkdirSync(top, 0o755);
  return top;
}
