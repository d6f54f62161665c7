import { posix } from 'node:path';
import { fail } from '../../../errors/index.ts';
import {
  absolutePath,
  listExcess,
  mkdir,
  normalPath,
  type RunMount,
  type RunSecret,
  type RunSsh,
  type State,
  scratch,
} from '../../../llb/index.ts';
import type { InstructionOf, MountFlag } from '../ast.ts';
import { parseMount, parseSize } from '../parse/mount.ts';
import { own } from './args.ts';
import { type Conversion, expandIn } from './conversion.ts';
import type { StageCommand, StageState } from './stages.ts';

interface RunMounts {
  mounts: RunMount[];
  secrets: RunSecret[];
  ssh: RunSsh[];
}

/** Converts the `--mount` flags of a RUN. */
export function convertMounts(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'RUN'>,
  sources: StageCommand['sources'],
): RunMounts {
  const excess = listExcess({ mounts: instruction.mounts.length });
  if (excess !== undefined) throw fail('invalid', 'dockerfile', `RUN has ${excess}`);
  const result: RunMounts = { mounts: [], secrets: [], ssh: [] };
  instruction.mounts.forEach((written, i) => {
    const mount = parseMount(written.raw, (word) => expandIn(conversion, stage, word, instruction));
    if (mount.type === 'secret') result.secrets.push(secretOf(mount));
    else if (mount.type === 'ssh') result.ssh.push(sshOf(mount));
    else result.mounts.push(mountOf(conversion, stage, mount, sources[i]));
  });
  return result;
}

function ids(mount: MountFlag): { uid?: number; gid?: number; mode?: number } {
  return {
    uid: mount.uid === undefined ? undefined : Number(mount.uid),
    gid: mount.gid === undefined ? undefined : Number(mount.gid),
    mode: mount.mode === undefined ? undefined : Number.parseInt(mount.mode, 8),
  };
}

function secretOf(mount: MountFlag): RunSecret {
  const id = mount.source || mount.id || posix.basename(mount.target ?? '');
  const secret: RunSecret = { id, optional: !mount.required, ...ids(mount) };
  if (mount.target) secret.target = mount.target;
  else if (mount.env === undefined) secret.target = `/run/secrets/${posix.basename(id)}`;
  if (mount.env !== undefined) secret.env = mount.env;
  return secret;
}

function sshOf(mount: MountFlag): RunSsh {
  return { id: mount.id || 'default', target: mount.target, optional: !mount.required, ...ids(mount) };
}

function mountOf(
  conversion: Conversion,
  stage: StageState,
  mount: MountFlag,
  from: StageState | undefined,
): RunMount {
  // Without a target it is the working directory.
  const written = mount.target ?? '';
  const target = absolutePath(stage.state.values.dir, written);
  if (target === '/') throw fail('invalid', 'dockerfile', `invalid mount target ${JSON.stringify(written)}`);
  if (mount.type === 'tmpfs') {
    return { type: 'tmpfs', target, size: mount.size === undefined ? 0 : parseSize(mount.size) };
  }
  const path = absolutePath('/', mount.source ?? '');
  const isCache = mount.type === 'cache';
  let source: State = isCache ? scratch() : conversion.context;
  if (from !== undefined) {
    if (!from.dispatched) {
      throw fail(
        'invalid',
        'dockerfile',
        `cannot mount from stage ${JSON.stringify(mount.from)} to ${JSON.stringify(written)}, stage needs to be defined before current command`,
      );
    }
    source = from.state;
    from.paths.add(path);
  } else if (!isCache) stage.contextPaths.add(path);
  let selector = path === '/' ? '' : path;
  const { uid, gid, mode } = ids(mount);
  if (selector === '' && (uid !== undefined || gid !== undefined || mode !== undefined)) {
    source = source.file(mkdir('/cache', { mode: mode ?? 0o755, chown: `${uid ?? 0}:${gid ?? 0}` }), {
      name: '[internal] setting cache mount permissions',
    });
    selector = '/cache';
  }
  const common = { target, source, selector, readonly: mount.readonly ?? false };
  if (!isCache) return { ...common, output: common.readonly ? undefined : false };
  const sharing = mount.sharing === 'private' || mount.sharing === 'locked' ? mount.sharing : 'shared';
  const namespace = own(conversion.request.buildArgs, 'BUILDKIT_CACHE_MOUNT_NS') ?? '';
  return { ...common, type: 'cache', id: `${namespace}/${mount.id || normalPath(written)}`, sharing };
}
