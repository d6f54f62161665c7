/** Answers that show Drydock and the engine behind it as one. */
import { toDrydockError } from '../../../errors/index.ts';
import { boundedLines } from '../../../words/index.ts';
import { type Behind, besideMs } from './behind.ts';
import type { EngineSummary } from './images-there.ts';

type Json = Record<string, unknown>;

/** The longest line of the engine's events, in bytes. */
const longestEvent = 16 << 20;

/** The parts of `/info` that the engine knows, as its containers are meant. */
const engineFacts = [
  'Containers',
  'ContainersRunning',
  'ContainersPaused',
  'ContainersStopped',
  'Plugins',
  'MemoryLimit',
  'SwapLimit',
  'CpuCfsPeriod',
  'CpuCfsQuota',
  'CPUShares',
  'CPUSet',
  'PidsLimit',
  'OomKillDisable',
  'IPv4Forwarding',
  'LoggingDriver',
  'CgroupDriver',
  'CgroupVersion',
  'Runtimes',
  'DefaultRuntime',
  'Swarm',
  'LiveRestoreEnabled',
  'Isolation',
  'InitBinary',
  'ContainerdCommit',
  'RuncCommit',
  'InitCommit',
  'SecurityOptions',
  'DefaultAddressPools',
  'FirewallBackend',
] as const;

/** `/info` of both: images, store and builder are ours, containers and what runs them the engine's. */
export async function mergedInfo(
  ours: Json & { Warnings: string[] },
  behind: Behind,
  signal: AbortSignal,
): Promise<Json> {
  try {
    const theirs = (await behind.json<Json>('/info', signal, besideMs)) ?? {};
    const facts = engineFacts.flatMap((name) => (theirs[name] === undefined ? [] : [[name, theirs[name]]]));
    const warnings = Array.isArray(theirs.Warnings) ? (theirs.Warnings as string[]) : [];
    return { ...ours, ...Object.fromEntries(facts), Warnings: [...ours.Warnings, ...warnings] };
  } catch (err) {
    const { message, hint } = toDrydockError(err);
    return { ...ours, Warnings: [...ours.Warnings, hint === undefined ? message : `${message}. ${hint}`] };
  }
}

/** The engine's components for `/version`; none while it cannot be reached. */
export async function engineComponents(behind: Behind, signal: AbortSignal): Promise<object[]> {
  const theirs = await behind
    .json<{ Components?: { Name?: string }[] }>('/version', signal, besideMs)
    .catch(() => undefined);
  const components = Array.isArray(theirs?.Components) ? theirs.Components : [];
  return components.map((each) =>
    each.Name === 'Engine' ? { ...each, Name: 'Docker Engine (behind)' } : each,
  );
}

/** The engine's containers and volumes for `/system/df`; undefined while it cannot be reached. */
export async function engineUsage(behind: Behind, signal: AbortSignal): Promise<EngineUsage | undefined> {
  // Later versions tell of them in another form.
  const path = await behind.pathAt('1.51', '/system/df');
  return behind.json<EngineUsage>(path, signal).catch(() => undefined);
}

/** What the engine keeps. */
interface EngineUsage {
  Images?: EngineSummary[] | null;
  Containers?: { ImageID?: string; State?: string; SizeRw?: number }[] | null;
  Volumes?: { UsageData?: { Size?: number; RefCount?: number } | null }[] | null;
}

/** How many containers of the engine use each image, by the image's ID; none while the engine cannot be reached. */
export async function imagesInUse(behind: Behind, signal: AbortSignal): Promise<Map<string, number>> {
  const listed = await behind
    .json<{ ImageID?: string }[]>('/containers/json?all=1', signal)
    .catch(() => undefined);
  const counts = new Map<string, number>();
  for (const { ImageID = '' } of Array.isArray(listed) ? listed : [])
    counts.set(ImageID, (counts.get(ImageID) ?? 0) + 1);
  return counts;
}

/**
 * Tells of the engine's events as long as the signal does not fire, each as the line that the engine sent, with its time
 * in ms since the epoch; ends when the engine has no more to tell. Those of images and of builds are left out. An engine that goes away has no more to tell; it is not an error here.
 */
export async function engineEvents(
  behind: Behind,
  url: string,
  signal: AbortSignal,
  tell: (line: string, time: number) => void,
): Promise<void> {
  try {
    const answer = await behind.send('GET', url, { signal });
    if (answer.statusCode !== 200) return void answer.resume();
    for await (const line of boundedLines(answer, longestEvent)) {
      if (line === '') continue;
      const { Type, timeNano = 0 } = JSON.parse(line) as { Type?: string; timeNano?: number };
      if (Type !== 'image' && Type !== 'builder') tell(line, timeNano / 1e6);
    }
  } catch {
    // The client's connection ends by its own rules.
  }
}
