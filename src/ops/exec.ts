/** LLB's ExecOp: a process in a container, on snapshots. */

import { constants } from 'node:os';
import type { DeviceRegistry } from '../cdi/index.ts';
import { canceled, DrydockError, fail, toDrydockError } from '../errors/index.ts';
import { type ExecSpec, type Shortage, shortageHint, shortageText } from '../executor/index.ts';
import { checkLimits, networkNameOf, platformOf } from '../llb/index.ts';
import { defaultPath, hostPlatform } from '../oci/index.ts';
import type { ExecOp, LinuxResources, Meta, ProxyEnv } from '../pb/solver/pb/ops_pb.js';
import type { NetworkUse } from '../progress/index.ts';
import { keptName, leave, type OpContext } from '../solver/index.ts';
import { explainDisk, explainLazy, type Ref } from '../store/index.ts';
import type { OpDeps, OpMaker } from './deps.ts';
import { execCacheMap } from './exec/cache-map.ts';
import { checkRuns } from './exec/emulated.ts';
import { egressOf, modesOf } from './exec/modes.ts';
import { PreparedMounts } from './exec/mounts.ts';
import { execSpec, secretEnvironment } from './exec/spec.ts';
import { StepLog } from './exec/step-log.ts';
import { StepTime } from './exec/step-time.ts';

/** The exit code for a program that is there and cannot be run. */
const cannotExecute = 126;

/** Makes the op of an exec vertex. Throws `invalid` and `unsupported` (hop `llb`) for a malformed op. */
export const execOp: OpMaker = (vertex, deps) => {
  const { op } = vertex.op;
  if (op.case !== 'exec') throw fail('invalid', 'llb', 'not an exec op');
  const exec = op.value;
  const meta = checked(exec);
  const resources = resourcesOf(vertex.metadata?.linuxResources);
  return {
    async cacheMap() {
      const map = execCacheMap(exec, vertex.op.platform, vertex.inputs.length);
      const isNamed = resources === undefined && networkNameOf(vertex.metadata) === undefined;
      return isNamed ? map : { ...map, unnamed: 'things' };
    },
    expect: () => {
      const { network } = modesOf(exec, networkNameOf(vertex.metadata));
      // One that goes by a proxy has a namespace that is made for it.
      return deps.executor.expect(egressOf(exec) === undefined ? network : 'none');
    },
    exec: (inputs, ctx) => runExec({ op: exec, meta, resources }, inputs, deps, ctx),
  };
};

function checked(op: ExecOp): Meta {
  const { meta } = op;
  if (meta === undefined) throw fail('invalid', 'llb', 'invalid exec op with no meta');
  if (meta.args.length === 0) throw fail('invalid', 'llb', 'invalid exec op with no args');
  if (!meta.cwd.startsWith('/'))
    throw fail('invalid', 'llb', `invalid exec op: cwd ${JSON.stringify(meta.cwd)} is not absolute`);
  const roots = op.mounts.filter((mount) => mount.dest === '/');
  if (roots.length !== 1) throw fail('invalid', 'llb', 'invalid exec op: it needs one root mount');
  for (const mount of op.mounts) {
    if (mount.dest === '')
      throw fail('invalid', 'llb', `invalid mount destination ${JSON.stringify(mount.dest)}`);
  }
  modesOf(op);
  return meta;
}

interface CheckedExec {
  op: ExecOp;
  meta: Meta;
  resources: ExecSpec['resources'];
}

async function runExec(
  { op, meta, resources }: CheckedExec,
  inputs: readonly Ref[],
  deps: OpDeps,
  ctx: OpContext,
): Promise<Ref[]> {
  const prepared = new PreparedMounts(deps, ctx);
  const log = new StepLog(ctx.progress, deps.stepLog);
  const time = new StepTime(deps.stepTimeout, ctx.signal);
  const proxy = proxyFor(op, meta, ctx);
  const since = Date.now();
  try {
    await prepared.prepare(op.mounts, inputs, meta.cwd);
    if (prepared.root === undefined) throw fail('internal', 'exec', 'the step has no root');
    const { root, mounts } = prepared;
    const env = environment(meta);
    const check = () => checkRuns({ args: meta.args, cwd: meta.cwd, env }, { root, mounts }, deps.emulation);
    const { architecture: machine } = platformOf(ctx.vertex.op.platform);
    if (machine !== hostPlatform().architecture) await check();
    const spec = execSpec('exec', meta, {
      root,
      mounts,
      env,
      secretEnv: await secretEnvironment(op.secretenv, ctx),
      ...modesOf(op, networkNameOf(ctx.vertex.metadata)),
      ...(proxy === undefined ? {} : { network: { proxy: proxy.request } }),
      machine,
      resources,
      devices: await deviceEdits(op, deps.devices),
    });
    const io = {
      stdout: (chunk: Buffer) => log.write(1, chunk),
      stderr: (chunk: Buffer) => log.write(2, chunk),
      started: () => time.start(),
    };
    const { exitCode, shortage, usage, cleared } = await deps.executor.run(spec, io, time.signal);
    // The build ends when that has.
    if (ctx.onRelease === undefined || proxy !== undefined) await cleared;
    else ctx.onRelease(() => cleared);
    if (usage !== undefined) ctx.progress.used?.(usage);
    if (proxy !== undefined) tellRequests(proxy.use(), ctx, log);
    const valid = meta.validExitCodes.length > 0 ? meta.validExitCodes : [0];
    if (!valid.includes(exitCode)) {
      // An image may say that it is for this machine and be for another.
      if (exitCode === cannotExecute || log.tail().some(isFormatError)) await check();
      // Looked at while the step's files are still there.
      const failed = stepFailed(meta.args, exitCode, shortage, log.tail(), ctx);
      const error = toDrydockError(await explainDisk(failed, deps.store), 'exec');
      const what = { op: ctx.vertex.op, inputs: op.mounts.map(({ input }) => inputs[Number(input)]) };
      if (!ctx.signal.aborted) {
        await leave(error, deps.store, what, (lease) => prepared.keep(op.mounts, lease));
      }
      throw error;
    }
    if (shortage !== undefined) {
      log.write(2, Buffer.from(`warning: ${shortageText(shortage)}, and the step went on without it\n`));
    }
    return await prepared.commit(keptName(ctx.vertex));
  } catch (err) {
    if (ctx.signal.aborted) throw canceled(ctx.signal.reason);
    if (time.isUp) throw withStep(time.tooLong(meta.args, log.tail()), ctx);
    throw withStep(toDrydockError(explainLazy(err, deps.store, since, prepared.all), 'exec'), ctx);
  } finally {
    time.stop();
    await prepared.release();
  }
}

/** What the executor is told of a step's proxy. */
type ProxyRequest = Extract<ExecSpec['network'], { proxy: unknown }>['proxy'];

/** What a step that goes by a proxy asks of its network, and what it has asked for once that was released. */
function proxyFor(op: ExecOp, meta: Meta, ctx: OpContext) {
  const egress = egressOf(op);
  if (egress === undefined) return undefined;
  let use: NetworkUse = { requests: [], materials: [], incomplete: [] };
  const request: ProxyRequest = {
    egress,
    hosts: meta.extraHosts.map(({ Host, IP }) => ({ host: Host, ip: IP })),
    variables: environment(meta),
    check: async (url) => ctx.judgeUrl?.(url) ?? url,
    reached: (found) => {
      use = found;
    },
  };
  return { request, use: () => use };
}

/** So many requests are listed in a step's output. */
const mostListed = 500;

/** Tells what a step has asked for, in BuildKit's form. */
function tellRequests(use: NetworkUse, ctx: OpContext, log: StepLog): void {
  ctx.progress.reached?.(use);
  const { requests } = use;
  if (requests.length === 0) return;
  const lines = requests
    .slice(0, mostListed)
    .map(({ method, url, status }) => `- ${method} ${url} -> ${status}`);
  if (requests.length > mostListed) lines.push(`- and ${requests.length - mostListed} more`);
  log.write(2, Buffer.from(`proxy network requests:\n${lines.join('\n')}\n`));
}

/** What a step gets for its devices, which the build's rules have found and allowed. */
async function deviceEdits({ cdiDevices }: ExecOp, registry: DeviceRegistry): Promise<ExecSpec['devices']> {
  if (cdiDevices.length === 0) return undefined;
  const found = await Promise.all(cdiDevices.map((device) => registry.find(device)));
  return registry.edits([...new Set(found.flat().map(({ name }) => name))]);
}

/**
 * The limits that the definition sets for a step. They are no part of the step's cache key. Throws `invalid` (hop `llb`)
 * for limits that cannot be.
 */
function resourcesOf(limits: LinuxResources | undefined): ExecSpec['resources'] {
  if (limits === undefined) return undefined;
  const number = (value: bigint) => (value === 0n ? undefined : Number(value));
  return checkLimits({
    memory: number(limits.memory),
    memorySwap: number(limits.memorySwap),
    cpuShares: number(limits.cpuShares),
    cpuPeriod: number(limits.cpuPeriod),
    cpuQuota: number(limits.cpuQuota),
    cpusetCpus: limits.cpusetCpus || undefined,
    cpusetMems: limits.cpusetMems || undefined,
  });
}

/** Names the step in an error that names none. */
function withStep(err: DrydockError, { vertex }: OpContext): DrydockError {
  err.step ??= vertex.name;
  err.source ??= vertex.source;
  return err;
}

function stepFailed(
  args: readonly string[],
  exitCode: number,
  shortage: Shortage | undefined,
  logTail: string[],
  { vertex }: OpContext,
): DrydockError {
  const command = JSON.stringify(args.join(' '));
  const memory = shortage === undefined ? undefined : `cannot allocate memory (${shortageText(shortage)})`;
  return new DrydockError(
    `process ${command} did not complete successfully: exit code: ${exitCode}${memory === undefined ? '' : `: ${memory}`}`,
    {
      code: 'failed',
      hop: 'exec',
      exitCode,
      logTail,
      step: vertex.name,
      source: vertex.source,
      details: { command: args.join(' '), ...(memory === undefined ? {} : { memory }) },
      hint: hintFor(exitCode, shortage, logTail),
    },
  );
}

/** What the kernel says of a program for another processor, in the words of runtimes and shells. */
function isFormatError(line: string): boolean {
  return /exec format error/i.test(line);
}

function hintFor(
  exitCode: number,
  shortage: Shortage | undefined,
  logTail: readonly string[],
): string | undefined {
  if (shortage !== undefined) return shortageHint(shortage);
  if (logTail.some(isFormatError)) {
    return 'A program is made for another platform than this machine (`drydock binfmt` says which run), or is a script without #! line.';
  }
  switch (exitCode) {
    case cannotExecute:
      return 'The program was found but cannot be run: is it executable, and does its interpreter exist?';
    case 127:
      return 'A program was not found: is it installed in this stage, and on the PATH?';
    case 137:
      return 'It was killed with SIGKILL, most often for want of memory.';
    default:
      return signalHint(exitCode);
  }
}

/**
 * The hint for a process that a signal has ended. A shell and the runtime give it the exit code 128 and the signal's
 * number.
 */
function signalHint(exitCode: number): string | undefined {
  const found = Object.entries(constants.signals).find(([, number]) => number === exitCode - 128);
  return found && `A process in it was ended by signal ${found[1]} (${found[0]}).`;
}

function environment(meta: Meta): string[] {
  const env = [...meta.env, ...proxies(meta.proxyEnv)];
  return env.some((entry) => entry.startsWith('PATH=')) ? env : [...env, `PATH=${defaultPath('linux')}`];
}

function proxies(proxy: ProxyEnv | undefined): string[] {
  if (proxy === undefined) return [];
  const values: [string, string][] = [
    ['HTTP_PROXY', proxy.httpProxy],
    ['HTTPS_PROXY', proxy.httpsProxy],
    ['FTP_PROXY', proxy.ftpProxy],
    ['NO_PROXY', proxy.noProxy],
    ['ALL_PROXY', proxy.allProxy],
  ];
  return values.flatMap(([name, value]) =>
    value === '' ? [] : [`${name}=${value}`, `${name.toLowerCase()}=${value}`],
  );
}
