/** An HTTP server on a free port of localhost that answers as the test says. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TestServer {
  /** `127.0.0.1:41234` */
  readonly host: string;
  /** Requests so far, `GET /path`. */
  readonly asked: string[];
  stop(): Promise<void>;
}

export type Answers = (request: IncomingMessage, response: ServerResponse) => unknown;

/** Starts one. Call `stop` in `afterAll`. */
export async function startServer(answer: Answers): Promise<TestServer> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    void (async () => answer(request, response))().catch((err) => response.destroy(err as Error));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
