/** A real dockerd with folders and a socket of its own, without networks but the machine's. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { capabilitiesFor, ownBoundingSet } from '../../src/executor/capabilities.ts';
import { unmountBelow } from '../../src/store/shared/run-folder.ts';

export interface TestDockerd {
  /** `unix://…` */
  readonly host: string;
  /** A folder for whatever the test needs, removed by `stop`. */
  readonly dir: string;
  stop(): Promise<void>;
}

/** Starts one and waits until it serves. Containers that are left are killed by `stop`. */
export async function startDockerd(): Promise<TestDockerd> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-dockerd-'));
  const socket = join(dir, 'dockerd.sock');
  const at = (name: string) => join(dir, name);
  const folders = ['--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('pid')];
  const none = ['--bridge=none', '--iptables=false', '--ip6tables=false'];
  const runtime = ['--add-runtime', `capable=${runtimeIn(dir)}`, '--default-runtime', 'capable'];
  const dockerd = spawn('dockerd', [...folders, ...none, ...runtime, '-H', `unix://${socket}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  dockerd.stderr?.on('data', (chunk: Buffer) => {
    log = (log + chunk).slice(-4000);
  });
  const stop = async () => {
    await end(dockerd);
    unmountBelow(dir);
    rmSync(dir, { recursive: true, force: true });
  };
  for (let i = 0; !existsSync(socket); i++) {
    if (i > 300 || dockerd.exitCode !== null) {
      await stop();
      throw new Error(`dockerd does not start: ${log}`);
    }
    await sleep(100);
  }
  return { host: `unix://${socket}`, dir, stop };
}

async function end(dockerd: ChildProcess): Promise<void> {
  if (dockerd.exitCode !== null) return;
  dockerd.kill('SIGTERM');
  await new Promise((resolve) => dockerd.once('exit', resolve));
}

/**
 * runc for a machine that has not all capabilities itself: there old versions of runc start no privileged container. It is
 * not asked for those that the machine has not.
 */
function runtimeIn(dir: string): string {
  const all = capabilitiesFor('insecure', (1n << 64n) - 1n);
  const here = new Set(capabilitiesFor('insecure', ownBoundingSet()));
  const lacking = all.filter((name) => !here.has(name));
  const edit = lacking.map((name) => `-e 's/,"${name}"//g'`).join(' ');
  const file = join(dir, 'runtime');
  writeFileSync(
    file,
    `#!/bin/sh
before=
for arg; do
  case "$before" in --bundle | -b) file=$arg/config.json ;; --process | -p) file=$arg ;; esac
  before=$arg
done
[ -z "\${file:-}" ] || ${edit === '' ? 'true' : `sed -i ${edit} "$file"`}
exec runc "$@"
`,
  );
  chmodSync(file, 0o755);
  return file;
}
