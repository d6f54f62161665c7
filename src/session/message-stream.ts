/** A session whose bytes come and go as messages of a call: `moby.buildkit.v1.Control/Session`. */
import type { IncomingHttpHeaders } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import type { ClientSession } from './types.ts';

/** A `BytesMessage`. */
export interface Bytes {
  data: Uint8Array;
}

/**
 * Makes a session of a call that carries its HTTP/2 bytes both ways; yields what goes to the client, until the session
 * is over on either side. `headers`: the call's metadata, in lower case; what was repeated may be joined by commas.
 * `owner`: who calls (`identityKey`). Throws before the first message, `invalid` without an ID, `conflict` when the ID is in use. The session ends when
 * the caller stops reading, when `signal` fires, and when `received` ends or fails.
 */
export async function* sessionOverMessages(
  sessions: { accept(stream: Duplex, headers: IncomingHttpHeaders, owner?: string): ClientSession },
  headers: IncomingHttpHeaders,
  received: AsyncIterable<Bytes>,
  signal?: AbortSignal,
  owner?: string,
): AsyncGenerator<Bytes, void, undefined> {
  const [ours, theirs] = duplexPair();
  const session = sessions.accept(ours, headers, owner);
  const end = () => theirs.destroy();
  theirs.on('error', () => {}); // the session's end tells
  session.closed.addEventListener('abort', end, { once: true });
  signal?.addEventListener('abort', end, { once: true });
  if (signal?.aborted) end();
  void pump(received, theirs).finally(end);
  try {
    for await (const data of theirs) yield { data: data as Buffer };
  } catch (err) {
    // Ended from our side, or the client's: both are an end.
    if (!theirs.destroyed) throw err;
  } finally {
    signal?.removeEventListener('abort', end);
    ours.destroy();
    theirs.destroy();
  }
}

async function pump(received: AsyncIterable<Bytes>, to: Duplex): Promise<void> {
  try {
    for await (const { data } of received) {
      if (to.destroyed) return;
      if (data.length === 0 || to.write(data)) continue;
      await new Promise<void>((resolve) => {
        const go = () => {
          to.off('drain', go);
          to.off('close', go);
          resolve();
        };
        to.on('drain', go);
        to.on('close', go);
      });
    }
  } catch {
    // The call broke off, and the session with it.
  }
}
