/** Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
import type { ServerResponse } from 'node:http';

/** How often a stream says that it is still there, in ms: who is gone is noticed by it. */
const aliveMs = 20_000;

/** An event with its data as JSON, which has no line ends in it. */
export function eventText(event: string, data: unknown): string {
  return `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Begins an answer that is a stream of events. */
export function beginEvents(response: ServerResponse): void {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
  });
  response.write(': \n\n');
  const timer = setInterval(() => response.write(': \n\n'), aliveMs);
  timer.unref();
  response.once('close', () => clearInterval(timer));
}
