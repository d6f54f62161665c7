/** Requests to a daemon's Docker Engine API. */
import { request } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface Answer {
  status: number;
  text: string;
}

/** Sends one request on a connection of its own and reads the answer whole. */
export function ask(
  socket: string,
  method: string,
  path: string,
  body?: Buffer | AsyncIterable<Buffer>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({
      socketPath: socket,
      method,
      path,
      agent: false,
      headers: { host: 'docker', ...(body === undefined ? {} : { 'content-type': 'application/x-tar' }) },
    });
    sent.once('error', reject);
    sent.once('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }),
      );
    });
    if (body === undefined || Buffer.isBuffer(body)) sent.end(body);
    else pipeline(Readable.from(body, { objectMode: false }), sent).catch(reject);
  });
}

/** Builds a tar; rejects with the daemon's words when that fails. */
export async function postBuild(
  socket: string,
  parameters: Record<string, string>,
  context: Buffer | AsyncIterable<Buffer>,
): Promise<void> {
  const { status, text } = await ask(socket, 'POST', `/build?${new URLSearchParams(parameters)}`, context);
  const failed = text.split('\n').find((line) => line.includes('"error"'));
  if (status !== 200 || failed !== undefined)
    throw new Error(`the build failed (${status}): ${failed ?? text}`);
}

/** Digests of an image's layers, lowest first. */
export async function layersOf(socket: string, image: string): Promise<string[]> {
  const { status, text } = await ask(socket, 'GET', `/images/${image}/json`);
  if (status !== 200) throw new Error(`no image ${image}: ${text}`);
  return (JSON.parse(text) as { RootFS: { Layers: string[] } }).RootFS.Layers;
}

/** A counter or gauge of a Drydock daemon, summed over its labels that match. */
export async function metric(socket: string, name: string, labels = ''): Promise<number> {
  const { text } = await ask(socket, 'GET', '/metrics');
  let total = 0;
  for (const line of text.split('\n')) {
    const match = /^(\w+)(\{.*\})? (\S+)$/.exec(line);
    if (match?.[1] === name && (match[2] ?? '').includes(labels)) total += Number(match[3]);
  }
  return total;
}
