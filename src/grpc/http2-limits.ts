/** What a peer may do on an HTTP/2 connection to us. https://www.rfc-editor.org/rfc/rfc9113#section-10.5 */
import type { Http2Server, ServerHttp2Session, ServerOptions, Settings } from 'node:http2';

/**
 * Before somebody was let in: enough for the head of a request, and what it sends stays with the client. Fewer streams
 * than 100 would be refused to clients that begin before they have read this.
 */
const strangerSettings = { initialWindowSize: 16 << 10, maxConcurrentStreams: 128 };

/** Then: a build has two or three calls open, each of a bake's targets has them, and contexts come as streams. */
const knownSettings = { initialWindowSize: 8 << 20, maxConcurrentStreams: 1024, maxFrameSize: 1 << 20 };

/** Bytes that may be on their way for all calls together. */
const connectionWindow = 16 << 20;

/** A block of headers, bytes: a token, and the methods that a session serves, are the largest. */
const maxHeaderListSize = 128 << 10;

/** Settings that a peer may send in its first second, and in each one after: clients send two or three in all. */
const settingsBurst = 100;

/**
 * Options of a server whose clients nobody knows yet: what they open, reset, break and send ahead is limited. A client
 * that breaks off all of a large bake's calls at once is within them.
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

/** Cuts off peers of a server that change their settings without end. */
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

/** Gives a connection on which somebody was let in the room that a build needs. */
export function widen(session: ServerHttp2Session): void {
  if (session.destroyed || session.closed) return;
  session.settings({ ...knownSettings, maxHeaderListSize });
  session.setLocalWindowSize(connectionWindow);
}

/** Calls that begin at each turn of the event loop; a flood of them leaves room for all else in between. */
const perTurn = 16;

/** A queue in which calls wait for their turn, so that those that are broken off at once cost nothing. */
export class Turns {
  #waiting: (() => void)[] = [];
  #going = false;

  /** Resolves when it is the caller's turn, never in the turn of the event loop in which it asks. */
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
