import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DeviceRegistry } from '../../cdi/index.ts';
import { Emulation, remedyFor, whyNot } from '../../emulation/index.ts';
import { containerdOf, stepRightsFromEnv } from '../../engine/index.ts';
import { fail, toDrydockError } from '../../errors/index.ts';
import { type Check, probeExecutor } from '../../executor/index.ts';
import { rootlessProblem, rootlessUser } from '../../linux/index.ts';
import { createNetwork } from '../../network/index.ts';
import { formatPlatform } from '../../oci/index.ts';
import { runTask } from '../../workers/index.ts';
import { type CommandContext, command } from '../command.ts';
import { errorText } from '../error-text.ts';
import { formatBytes } from '../units.ts';

const run = promisify(execFile);

export default command({
  usage: '',
  summary:
    'Say what this machine (or, with --host, the daemon there) has for building and what it lacks, with the remedy for each.',
  flags: {
    verify: {
      type: 'bool',
      help: 'Also read every blob of the store and check its digest, and every snapshot',
    },
  },
  operands: [0, 0],
  async run(flags, _args, ctx) {
    const remote = await ctx.remote();
    if (remote !== undefined) {
      if (flags.verify) {
        throw fail('unsupported', 'client', '--verify reads the store itself, not a daemon', {
          hint: 'Run it where the daemon runs, with its --root and without --host (DRYDOCK_HOST).',
        });
      }
      const { remoteChecks } = await import('../remote/doctor.ts');
      const found = await remoteChecks(remote);
      for (const check of found) ctx.stdout.write(line(check));
      return found.every(({ ok }) => ok) ? 0 : 1;
    }
    const checks = [
      ...(await steps(ctx)),
      ...(await rootFolder()),
      await git(),
      await threads(),
      await platforms(),
      ...(await devices(ctx)),
      user(),
      ...containerd(ctx),
      await lazyLayers(ctx),
      await store(ctx),
    ];
    for (const check of checks) ctx.stdout.write(line(check));
    let failed = checks.some(({ ok }) => !ok);
    if (flags.verify) failed = !(await verify(ctx)) || failed;
    return failed ? 1 : 0;
  },
});

function line({ ok, name, found, remedy }: Check): string {
  const what = ok || remedy === '' ? '' : `      ${''.padEnd(16)} ${remedy}\n`;
  return `${ok ? 'ok  ' : 'LACK'}  ${name.padEnd(16)} ${found}\n${what}`;
}

/**
 * The platforms whose programs run in steps. That others do not is no lack, but an emulator that is registered and does
 * not work is one.
 */
async function platforms(): Promise<Check> {
  const all = await new Emulation().support();
  const broken = all.find(({ runs, handler }) => !runs && handler !== undefined);
  const run = all.filter(({ runs }) => runs).flatMap((each) => each.platforms.map(formatPlatform));
  const more = all.every(({ runs, handler }) => !runs || handler === undefined);
  const hint = more ? ' (`drydock binfmt install` adds emulators of others)' : '';
  const found = `${run.join(', ')}${hint}`;
  const name = 'platforms';
  if (broken === undefined) return { ok: true, name, found, remedy: '' };
  const lack = `for linux/${broken.machine.architecture}, ${whyNot(broken.handler)}`;
  return { ok: false, name, found: `${found}; ${lack}`, remedy: remedyFor(broken.machine) };
}

/** The devices that steps can have; nothing where no file describes any. */
async function devices(ctx: CommandContext): Promise<Check[]> {
  const registry = new DeviceRegistry(stepRightsFromEnv(ctx.env).cdi);
  const found = await registry.list();
  const problems = await registry.problems();
  if (found.length === 0 && problems.length === 0) return [];
  const list = found.map(({ name }) => name).join(', ');
  const told = problems.length === 0 ? list : `${list === '' ? 'none' : list}; ${problems.join('; ')}`;
  const ok = problems.length === 0;
  return [{ ok, name: 'devices (CDI)', found: told, remedy: ok ? '' : 'Mend or remove the file.' }];
}

/** Whether this process is root, of the machine or of a namespace of the user's, and what else keeps it from that. */
function user(): Check {
  const name = 'user';
  const problem = rootlessProblem();
  if (problem !== undefined) {
    return { ok: false, name, found: `uid ${process.getuid?.()}; ${problem.why}`, remedy: problem.remedy };
  }
  const by = rootlessUser();
  if (by === undefined) return { ok: true, name, found: 'root', remedy: '' };
  return { ok: true, name, found: `uid ${by.uid}, root of a user namespace (rootless)`, remedy: '' };
}

/** What running steps needs. */
async function steps(ctx: CommandContext): Promise<Check[]> {
  const network = createNetwork(join(ctx.root, 'network'), ctx.network);
  try {
    const runtime = ctx.env.DRYDOCK_STEP_RUNTIME || undefined;
    return await probeExecutor({ runtime, tries: true, network });
  } finally {
    await network.close();
  }
}

/**
 * Whether this process is in a chroot. The mounts of steps are made in a mount namespace that is entered, and who enters
 * one is at its root, where the folders of a chroot have other paths.
 */
async function rootFolder(): Promise<Check[]> {
  const { dev, ino } = await stat('/');
  const inside = ['--mount=/proc/self/ns/mnt', 'stat', '-c', '%d %i', '/'];
  const there = await run('nsenter', inside).catch(() => undefined);
  if (there === undefined || there.stdout.trim() === `${dev} ${ino}`) return [];
  return [
    {
      ok: false,
      name: 'root folder',
      found: 'this is a chroot, in which steps cannot be run',
      remedy: 'Make the folder the root of a mount namespace (pivot_root) or of a container.',
    },
  ];
}

async function git(): Promise<Check> {
  try {
    return { ok: true, name: 'git', found: (await run('git', ['--version'])).stdout.trim(), remedy: '' };
  } catch {
    const remedy = 'Install it (Debian: apt-get install git); git contexts and ADD of repositories need it.';
    return { ok: false, name: 'git', found: 'not installed', remedy };
  }
}

async function threads(): Promise<Check> {
  try {
    await runTask('test.echo', { text: 'doctor' });
    return { ok: true, name: 'worker threads', found: `run, on Node ${process.version}`, remedy: '' };
  } catch (err) {
    const remedy = 'Reinstall the package: its files are not whole.';
    return { ok: false, name: 'worker threads', found: toDrydockError(err).message, remedy };
  }
}

/**
 * Whether the other store could be used. (The check `store` is about the one in use.) To have no other store is no
 * lack.
 */
function containerd(ctx: CommandContext): Check[] {
  if (ctx.imageStore === 'containerd') return [];
  const { address } = containerdOf(ctx);
  const found = existsSync(address)
    ? `has a socket at ${address}; --image-store=containerd keeps images there`
    : `no socket at ${address}; only --image-store=containerd needs it`;
  return [{ ok: true, name: 'containerd', found, remedy: '' }];
}

/** Whether bases can be read lazily (`--snapshotter=stargz`). That they cannot is a lack where that was asked for. */
async function lazyLayers(ctx: CommandContext): Promise<Check> {
  const name = 'lazy bases';
  try {
    const { lazy } = (await ctx.engine()).store;
    if (lazy === undefined) {
      const found = "served by containerd's remote snapshotter, where it is set up (--snapshotter=stargz)";
      return { ok: true, name, found, remedy: '' };
    }
    const problem = await lazy.problem();
    const asked = lazy.wanted ? '' : '; --snapshotter=stargz turns them on';
    if (problem === undefined) return { ok: true, name, found: `FUSE works${asked}`, remedy: '' };
    const { message, hint } = problem;
    return { ok: !lazy.wanted, name, found: `layers are fetched whole: ${message}`, remedy: hint ?? '' };
  } catch (err) {
    return { ok: true, name, found: `not tried: ${toDrydockError(err).message}`, remedy: '' };
  }
}

async function store(ctx: CommandContext): Promise<Check> {
  try {
    const { store: opened } = await ctx.engine();
    const { bavail, bsize } = await statfs(opened.root);
    const free = bavail * bsize;
    const { address, namespace } = containerdOf(ctx);
    const where =
      opened.kind === 'local'
        ? opened.root
        : `containerd at ${address}, namespace ${namespace}, beside ${opened.root}`;
    return {
      ok: free > 1e9,
      name: 'store',
      found: `${where}, ${opened.snapshotter} snapshots, ${formatBytes(free)} free`,
      remedy: 'Free disk space (`drydock prune`), or choose another place with --root.',
    };
  } catch (err) {
    const error = toDrydockError(err);
    return {
      ok: false,
      name: 'store',
      found: `${ctx.imageStore ?? 'local'} store, ${ctx.root}: ${error.message}`,
      remedy: error.hint ?? 'Choose another place with --root.',
    };
  }
}

async function verify(ctx: CommandContext): Promise<boolean> {
  try {
    const { blobs, snapshots, problems } = await (await ctx.engine()).store.verify((done, total) => {
      if (ctx.stderr.isTTY) ctx.stderr.write(`\rverifying ${done}/${total}${done === total ? '\n' : ''}`);
    });
    for (const problem of problems) ctx.stdout.write(`BAD   ${problem}\n`);
    ctx.stdout.write(
      `verified ${blobs} blobs and ${snapshots} snapshots: ${problems.length === 0 ? 'all is well' : `${problems.length} problems`}\n`,
    );
    return problems.length === 0;
  } catch (err) {
    ctx.stdout.write(errorText(toDrydockError(err)));
    return false;
  }
}
