/** buildctl on a daemon that speaks BuildKit's API. */
import { execFileSync } from 'node:child_process';
import type { Daemon } from '../kit/daemons.ts';
import { measure, type Sample } from '../kit/measure.ts';

/** Flags that build a folder's Dockerfile. */
export function dockerfile(context: string): string[] {
  return ['--frontend=dockerfile.v0', `--local=context=${context}`, `--local=dockerfile=${context}`];
}

/** A daemon with buildctl. */
export class Buildctl {
  readonly name: string;
  readonly daemon: Daemon;
  readonly #binary: string;

  constructor(daemon: Daemon, binary: string) {
    this.name = daemon.name;
    this.daemon = daemon;
    this.#binary = binary;
  }

  /** Runs `buildctl build`. */
  build(args: readonly string[], input?: Uint8Array): Promise<Sample> {
    const command = [this.#binary, '--addr', `unix://${this.daemon.socket}`, 'build', '--progress=plain'];
    return measure([...command, ...args], { servers: this.daemon.servers, input });
  }

  /** Forgets all that is cached, the base image too. */
  forget(): void {
    const args = ['--addr', `unix://${this.daemon.socket}`, 'prune', '--all'];
    execFileSync(this.#binary, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  }
}
