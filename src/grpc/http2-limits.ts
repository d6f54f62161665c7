/** The limits for a peer on an HTTP/2 connection to us. https://www.rfc-editor.org/rfc/rfc9113#section-10.5 */
import type { Http2Server, ServerHttp2Session, ServerOptions, Settings } from 'node:http2';

/**
 * The limits before a peer was admitted: enough for the head of a request; the rest stays with the client. With fewer
 * than 100 streams, clients that begin before they have read this would be refused.
 */
const strangerSettings = { initialWindowSize: 16 << 10, maxConcurrentStreams: 128 };

/**
 * The limits afterwards: a build has two or three calls open, each target of a bake has them too, and contexts come as
 * streams.
 */
const knownSettings = { initialWindowSize: 8 << 20, maxConcurrentStreams: 1024, maxFrameSize: 1 << 20 };

/** The bytes that may be under way for all calls together. */
const connectionWindow = 16 << 20;

/** The bytes of a block of headers. Tokens, and the methods that a session serves, are the largest headers. */
const maxHeaderListSize = 128 << 10;

/** The number of settings that a peer may send in each second; clients send two or three in all. */
const settingsBurst = 100;

/**
 * The options of a server whose clients are unknown yet: the streams that they open, reset and break off, and the bytes
 * that they send ahead, are limited. A client that breaks off all calls of a large bake at once stays within the
 * limits.
 */
export const http2Limits = {
  settings: { ...strangerSettings, maxHeaderListSize } as Settings,
  streamResetBurst: 500,
  streamResetRate: 50,
  maxSettings: 32,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  maxSessionMemory: 256,
} satisfies ServerOptions;

/** Cuts off peers that change their settings without end. */
export function limitSettings(server: Http2Server): void {
  server.on('session', (session) => {
    let left = settingsBurst;
    let since = performance.now();
    session.on('remoteSettings', () => {
      const now = performance.now();
      if (now - since > 1000) [left, since] = [settingsBurst, now];
      if (--left === 0) session.destroy();
    });
  });
}

/** Gives a connection with an admitted peer the room that a build needs. */
export function widen(session: ServerHttp2Session): void {
  if (session.destroyed || session.closed) return;
  session.settings({ ...knownSettings, maxHeaderListSize });
  session.setLocalWindowSize(connectionWindow);
}

/** The number of calls that begin in one turn of the event loop; in a flood of them, other work runs in between. */
const perTurn = 16;

/** A queue in which calls wait for their turn, so that calls which are broken off at once cost nothing. */
export class Turns {
  #waiting: (() => void)[] = [];
  #going = false;

  /** Resolves at the caller's turn, which is never the turn of the event loop in which it asks. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#going) return;
      this.#going = true;
      setImmediate(this.#turn);
    });
  }

  readonly #turn = (): void => {
    for (const go of this.#waiting.splice(0, perTurn)) go();
    this.#going = this.#waiting.length > 0;
    if (this.#going) setImmediate(this.#turn);
  };
}
