/**
 * What buildkitd shows at its debug address of its own process, as far as Node has it: numbers as Go's expvar tells them,
 * and profiles of V8's, which Chrome's developer tools and speedscope read. Loaded when somebody asks.
 */
import { Session } from 'node:inspector/promises';
import { resourceUsage } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { collectAll } from '../workers/index.ts';

/** The answer to a request. */
export interface DebugAnswer {
  status: number;
  /** The media type of the body; default: plain text. */
  type?: string;
  /** The name under which the body is to be saved. */
  file?: string;
  body: string;
}

/** Go's default, and the most, for the length of a profile in seconds. */
const usualSeconds = 30;
const mostSeconds = 300;

const index = `/debug/vars                       numbers of this process
/debug/pprof/cmdline              its command line
/debug/pprof/profile?seconds=30   where its main thread spends its time (a .cpuprofile)
/debug/pprof/heap?seconds=30      what allocates memory in that time and keeps it (a .heapprofile)
/debug/gc                         collects garbage

Profiles are V8's: Chrome's developer tools and speedscope open them.
`;

/** Whether a profile is being made: two at a time would show each other. */
let isProfiling = false;

/** Answers a request for a page below `/debug/`. A profile ends early when the signal fires. */
export async function debugPage(
  path: string,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<DebugAnswer> {
  if (path === '/debug/pprof' || path === '/debug/pprof/') return { status: 200, body: index };
  if (path === '/debug/vars') {
    return { status: 200, type: 'application/json', body: `${JSON.stringify(variables(), null, 2)}\n` };
  }
  if (path === '/debug/pprof/cmdline') return { status: 200, body: process.argv.join('\0') };
  if (path === '/debug/gc') {
    collectAll();
    return { status: 200, body: '' };
  }
  const kind = /^\/debug\/pprof\/(profile|heap|allocs)$/.exec(path)?.[1];
  if (kind === undefined) return { status: 404, body: `there is no ${path} here, but\n\n${index}` };
  const text = query.get('seconds') ?? String(usualSeconds);
  const seconds = /^\d{1,3}(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (seconds <= 0 || seconds > mostSeconds) {
    return {
      status: 400,
      body: `seconds must be a number up to ${mostSeconds}, not ${JSON.stringify(text)}\n`,
    };
  }
  if (isProfiling) return { status: 409, body: 'a profile is being made; ask again when it has ended\n' };
  isProfiling = true;
  try {
    return await profile(kind === 'profile' ? 'cpu' : 'heap', seconds * 1000, signal);
  } finally {
    isProfiling = false;
  }
}

async function profile(kind: 'cpu' | 'heap', ms: number, signal: AbortSignal): Promise<DebugAnswer> {
  const session = new Session();
  session.connect();
  const wait = () => sleep(ms, undefined, { signal }).catch(() => {});
  try {
    if (kind === 'cpu') {
      await session.post('Profiler.enable');
      await session.post('Profiler.start');
      await wait();
      return saved('drydock.cpuprofile', (await session.post('Profiler.stop')).profile);
    }
    await session.post('HeapProfiler.startSampling');
    await wait();
    return saved('drydock.heapprofile', (await session.post('HeapProfiler.stopSampling')).profile);
  } finally {
    session.disconnect();
  }
}

const saved = (file: string, value: unknown): DebugAnswer => ({
  status: 200,
  type: 'application/json',
  file,
  body: JSON.stringify(value),
});

/** `cmdline` and `memstats` have the names of Go's, of those that V8 can fill. */
function variables(): object {
  const { heapUsed, heapTotal, rss, external, arrayBuffers } = process.memoryUsage();
  const { total_available_size, number_of_native_contexts } = getHeapStatistics();
  return {
    cmdline: process.argv,
    memstats: { HeapAlloc: heapUsed, HeapSys: heapTotal, HeapIdle: total_available_size, Sys: rss },
    node: {
      version: process.version,
      uptime: process.uptime(),
      external,
      arrayBuffers,
      contexts: number_of_native_contexts,
      resources: resourceUsage(),
      active: counted(process.getActiveResourcesInfo()),
    },
  };
}

/** How often each word is in a list. */
function counted(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}
