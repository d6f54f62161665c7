import { finished } from 'node:stream/promises';
import { canceled } from '../../errors/index.ts';
import { type Endpoint, unreachable } from '../remote/endpoint.ts';

/**
 * Joins this process's input and output to a connection with the daemon, byte for byte, and resolves when the daemon has
 * ended its side. The end of the input is passed on as the end of what is sent. buildx and buildctl run it in the
 * daemon's container. Rejects with `unavailable`, or with `canceled` when the signal fires.
 */
export async function dialStdio(
  endpoint: Endpoint,
  { input, output, signal }: { input: NodeJS.ReadStream; output: NodeJS.WriteStream; signal: AbortSignal },
): Promise<void> {
  const socket = endpoint.dial('h2');
  const onAbort = () => void socket.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  // A reader that is gone has nobody to tell.
  output.on('error', () => void socket.destroy());
  input.on('error', () => void socket.end());
  let answered = false;
  socket.once('data', () => (answered = true));
  input.pipe(socket);
  socket.pipe(output, { end: false });
  try {
    await finished(socket, { writable: false });
  } catch (err) {
    if (signal.aborted) throw canceled(signal.reason);
    if (!output.destroyed && !answered) throw unreachable(endpoint, err as Error);
  } finally {
    signal.removeEventListener('abort', onAbort);
    input.unpipe(socket);
    input.destroy();
    socket.destroy();
  }
}
