/** Where the mounts of a step come from: folders in its bundle, the host, or overlays that are mounted in its namespace. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../errors/error.ts';
import { openView } from '../fs/open.ts';
import { resolvePath } from '../fs/resolve.ts';
import { specOfMounts } from '../fs/view.ts';
import { type DnsConfig, hostResolv, hostsFile, resolvFile } from './host-files.ts';
import type { Launch } from './launch.ts';
import type { OciMount } from './oci-spec.ts';
import type { ExecMount, ExecSpec } from './types.ts';

/** Where the root filesystem will be, mounted in the container's own namespace when it takes a mount. */
export function placeRoot(spec: ExecSpec, launch: Launch): string {
  const mount = spec.root.mounts[0];
  if (mount === undefined) {
    const path = join(launch.bundle, 'root');
    mkdirSync(path);
    return path;
  }
  if (mount.type === 'bind') return mount.source;
  return placeOverlay(launch, 'root', mount.options);
}

function placeOverlay(launch: Launch, name: string, options: string[]): string {
  const target = join(launch.bundle, name);
  mkdirSync(target);
  launch.overlays.push({ target, options });
  return target;
}

/** A step's mount as the runtime takes it. `hold` is given what must be in memory alone. */
export function placeMount(
  mount: ExecMount,
  index: number,
  launch: Launch,
  hold: (path: string, data: Buffer, owner: { uid: number; gid: number; mode: number }) => void,
): OciMount {
  const { dest: destination, source } = mount;
  const bind = (path: string): OciMount => ({
    destination,
    type: 'bind',
    source: path,
    options: ['rbind', 'rprivate', mount.readonly ? 'ro' : 'rw'],
  });
  switch (source.type) {
    case 'host':
      return bind(source.path);
    case 'file': {
      const path = join(launch.bundle, 'memory', `file${index}`);
      hold(path, source.data, source);
      return bind(path);
    }
    case 'tmpfs': {
      const options = ['nosuid', 'nodev', mount.readonly ? 'ro' : 'rw'];
      if (source.size > 0) options.push(`size=${source.size}`);
      if (source.mode !== undefined) options.push(`mode=${source.mode.toString(8)}`);
      return { destination, type: 'tmpfs', source: 'tmpfs', options };
    }
    case 'mounts': {
      const [first] = source.mounts;
      if (first === undefined) {
        const path = join(launch.bundle, `empty${index}`);
        mkdirSync(path);
        return bind(path);
      }
      const base =
        first.type === 'bind' ? first.source : placeOverlay(launch, `mount${index}`, first.options);
      if (source.selector === undefined || source.selector === '') return bind(base);
      const view = openView(specOfMounts(source.mounts));
      const inside = resolvePath(view, source.selector, { followLast: true });
      if (view.lstat(inside) === undefined) {
        throw fail('not-found', 'exec', `mount ${destination}: ${source.selector} is not in what is mounted`);
      }
      return bind(join(base, inside));
    }
  }
}

/** The host's files that a step sees: /etc/resolv.conf and /etc/hosts. */
export function hostFileMounts(spec: ExecSpec, bundle: string, dns?: DnsConfig): OciMount[] {
  const file = (destination: string, name: string, text: string): OciMount => {
    const source = join(bundle, name);
    writeFileSync(source, text, { mode: 0o644 });
    return {
      destination,
      type: 'bind',
      source,
      options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev', 'ro'],
    };
  };
  const hostname = spec.hostname || 'buildkitsandbox';
  return [
    file('/etc/resolv.conf', 'resolv.conf', resolvFile(hostResolv(), spec.network !== 'none', dns)),
    file('/etc/hosts', 'hosts', hostsFile(hostname, spec.extraHosts)),
  ];
}
