/**
 * A program that follows builds as open pages do: `followers.ts SOCKET COUNT`. It reads references of builds, a line
 * each, and says `open` once all its pages have a build's state and listen, and `ended` once all have heard its end.
 */
import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';

const [socketPath = '', count = ''] = process.argv.slice(2);

function open(path: string): Promise<{ request: ClientRequest; response: IncomingMessage }> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path, agent: false, headers: { host: 'localhost' } }, (response) => {
      if (response.statusCode === 200) resolve({ request, response });
      else reject(new Error(`${path}: ${response.statusCode}`));
    });
    request.once('error', reject);
  });
}

async function whole(path: string): Promise<void> {
  const { response } = await open(path);
  await new Promise((resolve) => response.resume().once('end', resolve));
}

/** What a page asks for, from its first question to the end of the build. */
async function follow(ref: string, opened: () => void): Promise<void> {
  const at = `/ui/api/v1/builds/${ref}`;
  await whole('/ui/');
  await whole(at);
  const { response } = await open(`${at}/events`);
  response.once('data', opened);
  await new Promise((resolve) => response.resume().once('end', resolve));
  await whole(at);
}

for await (const ref of createInterface({ input: process.stdin })) {
  const pages = Array.from({ length: Number(count) }, () => {
    const opened = Promise.withResolvers<void>();
    const ended = follow(ref, opened.resolve);
    ended.catch(opened.reject);
    return { opened: opened.promise, ended };
  });
  await Promise.all(pages.map(({ opened }) => opened));
  console.log('open');
  await Promise.all(pages.map(({ ended }) => ended));
  console.log('ended');
}
