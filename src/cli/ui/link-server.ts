/** A server on loopback for the browser of a command's user, behind a one-time link. */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errnoCode, fail } from '../../errors/index.ts';
import { LinkGuard } from './link-guard.ts';

export interface LinkServer {
  /** The one-time link. */
  readonly link: string;
  /** Whether somebody has followed it. */
  readonly opened: boolean;
  close(): void | Promise<void>;
}

interface LinkOptions {
  /** The port, for a tunnel to it; 127.0.0.1 is then the address. Default: an address and a port of its own. */
  port?: number;
  /** The part of the page's address behind the `#`. */
  at?: string;
  /** Answers what is asked below /ui by who may. */
  answer(request: IncomingMessage, response: ServerResponse): void;
}

/** Opens a server. Throws `conflict` for a port that is taken. */
export async function openLink({ port, at = '', answer }: LinkOptions): Promise<LinkServer> {
  const address = port === undefined ? ownAddress() : '127.0.0.1';
  let guard: LinkGuard | undefined;
  let opened = false;
  const server = createServer((request, response) => {
    const { method = '', url = '', headers } = request;
    const verdict = guard?.judge({ method, path: url, headers });
    if (verdict?.kind === 'pass') return answer(request, response);
    request.resume();
    if (verdict?.kind === 'welcome') {
      opened = true;
      response.setHeader('set-cookie', verdict.cookie);
      return say(
        response,
        200,
        `<meta http-equiv="refresh" content="0;url=/ui/${escaped(at)}"><p>Opening …</p>`,
      );
    }
    const why = verdict?.kind === 'refused' ? verdict.why : '';
    say(response, verdict?.status ?? 503, `<p>Refused: ${why}.</p>`);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (err) =>
      reject(
        fail(
          'conflict',
          'client',
          `cannot listen on ${address}:${port ?? 0} (${errnoCode(err) ?? err.message})`,
          {
            cause: err,
            hint: 'Choose another port with --port.',
          },
        ),
      ),
    );
    server.listen({ host: address, port: port ?? 0 }, resolve);
  });
  const bound = (server.address() as { port: number }).port;
  guard = new LinkGuard(address, bound);
  return {
    link: `http://${address}:${bound}${guard.path}`,
    get opened() {
      return opened;
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** An address of loopback that no other program is likely to have: its cookies go nowhere else. */
function ownAddress(): string {
  return `127.${randomInt(1, 255)}.${randomInt(0, 256)}.${randomInt(1, 255)}`;
}

function say(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  });
  response.end(`<!doctype html><html lang="en"><title>Drydock</title>${body}</html>\n`);
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`);
}

/**
 * Has the user's browser follow a link, where there is a screen. The link is handed over in a file that only the user
 * can read: command lines can be read by everybody. Returns a function that removes the file.
 */
export function showLink(link: string, env: NodeJS.ProcessEnv): () => void {
  if (!env.DISPLAY && !env.WAYLAND_DISPLAY) return () => {};
  const folder = mkdtempSync(join(tmpdir(), 'drydock-ui-'));
  const file = join(folder, 'open.html');
  writeFileSync(file, `<!doctype html><meta http-equiv="refresh" content="0;url=${escaped(link)}">\n`, {
    mode: 0o600,
  });
  const child = spawn('xdg-open', [file], { stdio: 'ignore', detached: true });
  child.on('error', () => {});
  child.unref();
  return () => rmSync(folder, { recursive: true, force: true });
}
