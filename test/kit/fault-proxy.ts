/** A server in front of another one, which passes requests on or does to them what a test says. */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What happens to one request. */
export type Fault =
  /** It is answered in the server's place. */
  | { status: number; headers?: Record<string, string>; body?: string }
  /** The connection ends after so many bytes of the answer's body. */
  | { cutAfter: number }
  /** The connection ends after so many bytes of the request's body; the server sees none of it. */
  | { resetAfter: number }
  /** It is passed on when this settles. */
  | { until: Promise<void> }
  /** No answer comes. */
  | 'silence';

export interface FaultProxy {
  readonly host: string;
  /** Requests so far: `GET /path`. */
  readonly asked: string[];
  /** The bytes of answers' bodies so far. */
  sent: number;
  /** Faults for the next requests, or a function of each request. */
  fault: (request: IncomingMessage) => Fault | undefined;
  /** Lets the next requests that match have these faults, one each. */
  next(match: RegExp, ...faults: Fault[]): void;
  stop(): Promise<void>;
}

/** Starts one. Call `stop` in `afterAll`. */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const asked: string[] = [];
  const [hostname, port] = target.split(':');
  const server = createServer((req, res) => {
    asked.push(`${req.method} ${req.url}`);
    const fault = proxy.fault(req);
    if (fault === undefined) return pass(req, res);
    if (fault === 'silence') return;
    if ('until' in fault) return void fault.until.then(() => pass(req, res));
    if ('status' in fault) {
      req.resume();
      req.once('end', () => {
        res.writeHead(fault.status, fault.headers);
        res.end(req.method === 'HEAD' ? undefined : fault.body);
      });
      return;
    }
    if ('cutAfter' in fault) return pass(req, res, fault.cutAfter);
    let seen = 0;
    req.on('data', (chunk: Buffer) => {
      seen += chunk.length;
      if (seen >= fault.resetAfter) req.socket.resetAndDestroy();
    });
  });

  function pass(req: IncomingMessage, res: ServerResponse, cutAfter = Number.POSITIVE_INFINITY) {
    // The headers are signed, the host among them.
    const onward = request(
      { hostname, port, method: req.method, path: req.url, headers: req.headers },
      (back) => {
        res.writeHead(back.statusCode ?? 502, back.headers);
        let left = cutAfter;
        back.on('data', (chunk: Buffer) => {
          if (left <= 0) return;
          res.write(chunk.subarray(0, left));
          proxy.sent += Math.min(chunk.length, left);
          left -= chunk.length;
          if (left <= 0) setTimeout(() => res.socket?.destroy(), 20);
        });
        back.on('end', () => left > 0 && res.end());
      },
    );
    onward.on('error', () => res.destroy());
    req.pipe(onward);
  }

  const proxy: FaultProxy = {
    host: '',
    asked,
    sent: 0,
    fault: () => undefined,
    next(match, ...faults) {
      proxy.fault = (req) => (match.test(`${req.method} ${req.url}`) ? faults.shift() : undefined);
    },
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(proxy, { host: `127.0.0.1:${(server.address() as AddressInfo).port}` });
}
