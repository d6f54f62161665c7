/** A unix socket for a step, through which the step reaches the client's ssh agent. */
import { randomUUID } from 'node:crypto';
import { chmodSync, closeSync, constants, mkdirSync, openSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { lchownSync } from '../../linux/index.ts';

interface ForwardedSocket {
  /** The path of the socket on this host, to be mounted. */
  path: string;
  close(): void;
}

/** Opens a socket under `runDir`. Each of its connections is joined to a new one from `dial`. */
export async function forwardSocket(
  runDir: string,
  dial: () => Promise<Duplex>,
  owner: { uid: number; gid: number; mode: number },
): Promise<ForwardedSocket> {
  const dir = join(runDir, `ssh-${randomUUID()}`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  // A socket's path is 107 bytes at most, which this folder's may be longer than.
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  const open = new Set<Duplex>();
  const server = createServer((step: Socket) => {
    open.add(step);
    step.on('error', () => step.destroy());
    step.once('close', () => open.delete(step));
    dial().then(
      (agent) => {
        open.add(agent);
        agent.on('error', () => step.destroy());
        agent.once('close', () => {
          open.delete(agent);
          step.destroy();
        });
        step.once('close', () => agent.destroy());
        step.pipe(agent).pipe(step);
      },
      () => step.destroy(),
    );
  });
  const close = () => {
    for (const stream of open) stream.destroy();
    server.close();
    closeSync(fd);
    rmSync(dir, { recursive: true, force: true });
  };
  const path = join(dir, 'agent.sock');
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(`/proc/self/fd/${fd}/agent.sock`, resolve);
    });
    lchownSync(path, owner.uid, owner.gid);
    chmodSync(path, owner.mode);
  } catch (err) {
    close();
    throw err;
  }
  return { path, close };
}
