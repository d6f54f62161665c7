import type { SessionPool } from '../api/shared/host.ts';

/** No sessions: whoever asks for one is told so. */
export function noSessions(): SessionPool {
  return {
    find: async () => undefined,
    upgrade(_request, socket) {
      const body = `${JSON.stringify({ message: 'sessions are not served by this daemon' })}\n`;
      socket.end(
        `HTTP/1.1 501 Not Implemented\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    },
  };
}
