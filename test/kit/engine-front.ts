/** A daemon in front of a real dockerd (`--engine`). */
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import type { ApiHost } from '../../src/api/shared/host.ts';
import { startTestDaemon, type TestDaemon } from './daemon.ts';
import { startDockerd, type TestDockerd } from './dockerd.ts';
import type { OneStore } from './stores.ts';

export interface EngineFront {
  readonly daemon: TestDaemon;
  readonly dockerd: TestDockerd;
  /** Runs docker's CLI at the daemon; what it prints, without the last line's end. Throws with its stderr. */
  docker(args: string[], options?: { input?: string; cli?: string }): Promise<string>;
  /** The images that were handed over so far: name and how many layers the engine had. */
  handedOver(): [image: string, leftOut: number][];
  /** How many layers were here already of each image that was taken over from the engine. */
  takenOver(): number[];
  stop(): Promise<void>;
}

/** Starts both. Containers that are left are killed by `stop`. */
export async function startEngineFront(store: OneStore): Promise<EngineFront> {
  const dockerd = await startDockerd();
  const config = { ...store.options(), engine: dockerd.host, grpc: (host: ApiHost) => buildkitApi(host) };
  const daemon = await startTestDaemon(config).catch(async (err) => {
    await dockerd.stop();
    throw err;
  });
  return {
    daemon,
    dockerd,
    async docker(args, options) {
      const { code, stdout, stderr } = await daemon.docker(args, options);
      if (code !== 0) throw new Error(`docker ${args.join(' ')}: ${code}: ${stderr}`);
      return stdout.trimEnd();
    },
    handedOver: () =>
      daemon
        .log()
        .filter(({ msg, message }) => `${msg ?? message}`.includes('handed over'))
        .map(({ image, leftOut }) => [image as string, leftOut as number]),
    takenOver: () =>
      daemon
        .log()
        .filter(({ msg, message }) => `${msg ?? message}`.includes('taken over from'))
        .map(({ leftOut }) => leftOut as number),
    async stop() {
      await daemon.stop();
      await dockerd.stop();
    },
  };
}
