/** Joins an HTTP/2 stream, of a client or a server, to a worker task that speaks a protocol on its bytes. */
import type { Http2Stream } from 'node:http2';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { notePassed } from '../../workers/index.ts';
import { MainPipe } from './port.ts';

/**
 * Runs `task` with a port that carries the stream's bytes. `ended` settles when the peer sends nothing more; it rejects
 * with the peer's failure. Resolves with the task's result once all bytes of the task are out.
 */
export async function bridge<T>(
  stream: Http2Stream,
  ended: Promise<unknown>,
  onBytes: ((received: number, sent: number) => void) | undefined,
  task: (port: MessagePort) => Promise<T>,
): Promise<T> {
  const { port1, port2 } = new MessageChannel();
  let received = 0;
  let sent = 0;
  let writing = 0;
  let quiet: (() => void) | undefined;
  const pipe = new MainPipe(port1, {
    write(bytes, done) {
      writing++;
      const out = () => {
        sent += bytes.length;
        notePassed(bytes.length);
        onBytes?.(received, sent);
        done();
        if (--writing === 0) quiet?.();
      };
      if (stream.destroyed || stream.closed) out();
      else stream.write(bytes, out);
    },
    pause: () => stream.pause(),
    resume: () => stream.resume(),
  });
  const closed = new Promise<void>((resolve) => port1.once('close', () => resolve()));
  stream.on('data', (chunk: Buffer) => {
    received += chunk.length;
    pipe.push(chunk);
    notePassed(chunk.length);
    onBytes?.(received, sent);
  });
  ended.then(
    () => pipe.end(),
    (err) => pipe.fail(err),
  );
  try {
    return await task(port2);
  } finally {
    // A task that never started has not closed its end.
    setImmediate(() => port2.close());
    await closed;
    if (writing > 0 && !stream.destroyed) {
      await new Promise<void>((resolve) => {
        quiet = resolve;
        stream.once('close', resolve);
      });
    }
  }
}
