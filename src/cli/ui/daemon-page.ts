/** The page of a daemon behind a one-time link: requests go on to the daemon with the command's own identity. */
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Endpoint } from '../remote/endpoint.ts';
import { unreachable } from '../remote/endpoint.ts';

/** The headers of a browser's request that the daemon is told. Cookies and where the page is from are not its business. */
const passed = ['accept', 'accept-encoding', 'if-none-match', 'content-type', 'content-length'];

/** Answers a request for the page by asking the daemon. */
export function answerFrom(endpoint: Endpoint): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const headers: Record<string, string> = { ...endpoint.headers, host: 'localhost' };
    for (const name of passed) {
      const value = request.headers[name];
      if (typeof value === 'string') headers[name] = value;
    }
    const send = endpoint.tls ? httpsRequest : httpRequest;
    const { method, url } = request;
    const asked = send({ ...endpoint.options, method, path: url, headers, agent: false });
    asked.on('response', (answer) => {
      // A password is asked for by the command, not by the browser.
      const { connection, 'transfer-encoding': _, 'www-authenticate': __, ...rest } = answer.headers;
      response.writeHead(answer.statusCode ?? 502, rest);
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    asked.on('error', (err) => {
      if (response.headersSent) return void response.destroy();
      const { code, message, hint } = unreachable(endpoint, err);
      response.writeHead(502, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify({ error: { code, message, hint } })}\n`);
    });
    response.once('close', () => asked.destroy());
    request.pipe(asked);
  };
}
