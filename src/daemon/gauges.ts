/** The parts of the daemon's state that are numbers. */
import { statfs } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Builds } from '../api/index.ts';
import type { Engine } from '../engine/index.ts';
import { version } from '../version.ts';
import type { Connections } from './connections.ts';
import type { Metrics } from './metrics.ts';

interface Observed {
  engine: Engine;
  builds: Builds;
  sessions: { readonly size: number };
  connections: Connections;
}

/** Adds the gauges of a daemon. */
export function daemonGauges(metrics: Metrics, { engine, builds, sessions, connections }: Observed): void {
  const startedAt = Date.now() / 1000 - process.uptime();
  metrics.count('drydock_info', 'What runs here; the value is always 1.', {
    version,
    store: engine.store.kind,
    snapshotter: engine.store.snapshotter,
  });
  metrics.gauge('drydock_builds_running', 'Builds that run now.', () => builds.size);
  metrics.gauge('drydock_sessions', 'Client sessions that are connected.', () => sessions.size);
  metrics.gauge('drydock_connections', 'Open connections.', () => connections.size);
  metrics.counter(
    'drydock_steps_run_total',
    'Steps that were run, not found in the cache or shared with an equal one.',
    () => engine.solver.stepsRun,
  );
  metrics.gauge('drydock_cache_bytes', 'What the build cache takes.', () => engine.cache.totalSize());
  metrics.gauge('drydock_images', 'Names of images in the store.', async () => {
    return (await engine.store.images.list()).length;
  });
  metrics.gauge('drydock_store_free_bytes', 'Free space where the store is.', async () => {
    const { bavail, bsize } = await statfs(engine.store.root);
    return bavail * bsize;
  });
  metrics.gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  metrics.counter('process_cpu_seconds_total', 'Processor time used.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.gauge('process_start_time_seconds', 'When it started, since the epoch.', () => startedAt);
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  metrics.gauge('nodejs_eventloop_lag_p99_seconds', 'Lateness of the event loop since the last look.', () => {
    const lag = delay.count === 0 ? 0 : delay.percentile(99) / 1e9;
    delay.reset();
    return lag;
  });
}
