/** The worker task `lazy.serve`: answers the kernel, until the filesystem is unmounted. It has a thread of its own. */
import { readSync, writeSync } from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import { errnoCode } from '../errors/index.ts';
import type { TaskContext } from '../workers/index.ts';
import { readRequest, requestSize } from './fuse-protocol.ts';
import type { KernelMessage } from './messages.ts';
import { Skeleton } from './skeleton.ts';

interface ServeArgs {
  /** The open /dev/fuse. */
  fd: number;
  /** The folder of all layers. */
  folder: string;
  /** To the thread that fetches contents. */
  contents: MessagePort;
}

export function serve({ fd, folder, contents }: ServeArgs, ctx: TaskContext): void {
  const tell = (message: KernelMessage) => contents.postMessage(message);
  const skeleton = new Skeleton(folder, {
    read: (read) => tell({ read }),
    interrupt: (unique) => tell({ interrupt: unique }),
  });
  const buffer = Buffer.allocUnsafe(requestSize);
  ctx.post('ready');
  for (;;) {
    let length: number;
    try {
      length = readSync(fd, buffer);
    } catch (err) {
      const code = errnoCode(err);
      // ENOENT: the request was taken back before it was read.
      if (code === 'EINTR' || code === 'EAGAIN' || code === 'ENOENT') continue;
      return; // ENODEV: unmounted
    }
    const answer = skeleton.handle(readRequest(buffer.subarray(0, length)));
    if (answer !== undefined) send(fd, answer);
  }
}

/** Sends an answer. One that nobody waits for any more, or whose filesystem is gone, is no error. */
export function send(fd: number, answer: Buffer): void {
  try {
    writeSync(fd, answer);
  } catch (err) {
    const code = errnoCode(err);
    if (code !== 'ENOENT' && code !== 'ENODEV' && code !== 'EBADF') throw err;
  }
}
