/**
 * Runs git as a build needs it: without prompts, with no configuration but Drydock's, and without credentials in
 * arguments or errors.
 */
import { spawn } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { canceled, DrydockError, type ErrorCode, fail, toDrydockError } from '../errors/index.ts';
import { movedTo } from './git-redirect.ts';
import { withoutCredentials } from './git-url.ts';

/** A remote, with the credentials for it. */
export interface GitAccess {
  /** The URL without credentials. */
  remote: string;
  /** The value of an Authorization header for an http(s) remote. It is a secret. */
  authorization?: string;
  /** Lines of known_hosts; undefined: any host key is taken. */
  knownHosts?: string;
  /** Connects to the client's ssh agent. */
  agent?: () => Promise<Duplex>;
  /** Git may use no protocol. */
  offline?: boolean;
}

/**
 * The protocols that git may use. Local files are allowed only by `DRYDOCK_GIT_ALLOW_FILE=1`: a client must not read
 * the daemon's disk.
 */
function protocols(): string {
  const allowFile = process.env.DRYDOCK_GIT_ALLOW_FILE === '1';
  return `http:https:ssh:git${allowFile ? ':file' : ''}`;
}

const passedOn = [
  'PATH',
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'all_proxy',
  'ALL_PROXY',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
];

/** A server may have git take all memory: it is ended before this process. */
const launch = 'umask 022; echo 500 >/proc/self/oom_score_adj; exec git "$@"';

interface RunOptions {
  env?: Record<string, string>;
  /** Whether what git says is not told to the build. */
  quiet?: boolean;
  /** The most bytes of its output; default 64 MiB. */
  most?: number;
}

/** Git with the credentials for one remote, during one operation. `close` removes the files that it put on the disk. */
export class Git {
  readonly #home: string;
  readonly #env: Record<string, string>;
  readonly #access: GitAccess;
  readonly #signal: AbortSignal;
  readonly #onOutput: (text: string) => void;
  readonly #closers: (() => void)[] = [];
  /** The place that the remote redirects to, once that was asked. */
  #place: Promise<string | undefined> | undefined;

  private constructor(
    home: string,
    access: GitAccess,
    signal: AbortSignal,
    onOutput: (text: string) => void,
  ) {
    this.#home = home;
    this.#access = access;
    this.#signal = signal;
    this.#onOutput = onOutput;
    const env: Record<string, string> = {};
    for (const name of passedOn) {
      const value = process.env[name];
      if (value !== undefined) env[name] = value;
    }
    this.#env = Object.assign(env, {
      HOME: home,
      XDG_CONFIG_HOME: home,
      LC_ALL: 'C',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: '/bin/false',
      SSH_ASKPASS: '/bin/false',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      // A remote or a bundle says with refs/replace/* that a commit has other files than its name stands for.
      GIT_NO_REPLACE_OBJECTS: '1',
      GIT_ALLOW_PROTOCOL: access.offline ? '' : protocols(),
    });
  }

  /** `onOutput` gets the text that git prints for people (progress, warnings). */
  static async open(
    access: GitAccess,
    runDir: string,
    signal: AbortSignal,
    onOutput: (text: string) => void,
  ): Promise<Git> {
    const home = await mkdtemp(join(runDir, 'git-'));
    const git = new Git(home, access, signal, onOutput);
    try {
      await git.#prepare();
    } catch (err) {
      await git.close();
      throw err;
    }
    return git;
  }

  async #prepare(): Promise<void> {
    const { remote, authorization, knownHosts, agent } = this.#access;
    const config: [string, string][] = [
      ['protocol.allow', 'never'],
      // Ownership of a store's folders is the store's affair.
      ['safe.directory', '*'],
      ['core.hooksPath', '/dev/null'],
      ['core.fsmonitor', 'false'],
      ['advice.detachedHead', 'false'],
      ['gc.auto', '0'],
      ['init.defaultBranch', 'main'],
    ];
    for (const protocol of protocols().split(':')) config.push([`protocol.${protocol}.allow`, 'always']);
    if (authorization !== undefined) {
      // Only for this origin: a submodule elsewhere must not see it. Git itself would take it along to wherever its
      // first request is redirected, so that redirects are followed by `movedTo`.
      const { origin } = new URL(remote);
      config.push([`http.${origin}/.extraheader`, `Authorization: ${authorization}`]);
      config.push([`http.${origin}/.followRedirects`, 'false']);
    }
    this.#env.GIT_CONFIG_COUNT = String(config.length);
    for (const [i, [key, value]] of config.entries()) {
      this.#env[`GIT_CONFIG_KEY_${i}`] = key;
      this.#env[`GIT_CONFIG_VALUE_${i}`] = value;
    }
    const ssh = ['ssh', '-F', '/dev/null', '-o', 'BatchMode=yes'];
    if (knownHosts === undefined) {
      ssh.push(
        '-o',
        'StrictHostKeyChecking=no',
        '-o',
        'UserKnownHostsFile=/dev/null',
        '-o',
        'LogLevel=ERROR',
      );
    } else {
      const file = join(this.#home, 'known_hosts');
      await writeFile(file, knownHosts.endsWith('\n') ? knownHosts : `${knownHosts}\n`, { mode: 0o600 });
      ssh.push('-o', 'StrictHostKeyChecking=yes', '-o', `UserKnownHostsFile=${file}`);
    }
    this.#env.GIT_SSH_COMMAND = ssh.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    if (agent !== undefined) this.#env.SSH_AUTH_SOCK = await this.#serveAgent(agent);
  }

  /** The place that the remote redirects to; undefined when there is none. */
  #moved(): Promise<string | undefined> {
    const { remote, authorization } = this.#access;
    if (authorization !== undefined) {
      this.#place ??= movedTo(remote, authorization, this.#signal).catch(() => undefined);
    }
    return this.#place ?? Promise.resolve(undefined);
  }

  async #serveAgent(agent: () => Promise<Duplex>): Promise<string> {
    const path = join(this.#home, 'agent.sock');
    const open = new Set<Duplex>();
    const server = createServer((socket) => {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => open.delete(socket));
      agent().then(
        (peer) => {
          open.add(peer);
          peer.on('error', () => socket.destroy());
          peer.on('close', () => socket.destroy());
          socket.on('close', () => peer.destroy());
          socket.pipe(peer);
          peer.pipe(socket);
        },
        () => socket.destroy(),
      );
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    await chmod(path, 0o600);
    this.#closers.push(() => {
      server.close();
      for (const stream of open) stream.destroy();
    });
    return path;
  }

  /** A path for a temporary file, which `close` removes. */
  temp(name: string): string {
    return join(this.#home, name);
  }

  /** Runs one command as `bytes` does, and returns its output as text. */
  async run(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return (await this.bytes(args, options)).toString();
  }

  /**
   * Runs one command and returns its standard output. Throws for a non-zero status, with git's own words and a code for
   * their kind; throws `canceled` when the signal has fired, after all of git's processes are gone.
   */
  async bytes(args: readonly string[], options: RunOptions = {}): Promise<Buffer> {
    const signal = this.#signal;
    if (signal.aborted) throw canceled(signal.reason);
    // The mode bits of what is checked out must not hang on our own umask.
    const child = this.#start(args, options.env);
    const kill = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has just ended.
      }
    };
    signal.addEventListener('abort', kill, { once: true });
    const { most = 64 << 20 } = options;
    const out: Buffer[] = [];
    let size = 0;
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > most) kill();
      else out.push(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      const text = this.#clean(chunk.toString());
      said = (said + text).slice(-8192);
      if (!options.quiet) this.#onOutput(text);
    });
    try {
      const status = await new Promise<number | string>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code, name) => resolve(code ?? name ?? 'an unknown end'));
      });
      if (signal.aborted) throw canceled(signal.reason);
      if (size > most) {
        throw fail(
          'exhausted',
          'git',
          `git has printed more than ${most >> 20} MiB: the repository has too many refs or files of that name`,
        );
      }
      if (status === 0) return Buffer.concat(out);
      if (redirected.test(said) && args.includes(this.#access.remote)) {
        const place = await this.#moved();
        const there = args.map((arg) => (arg === this.#access.remote ? (place ?? arg) : arg));
        if (place !== undefined) return await this.bytes(there, options);
      }
      throw status === 127 ? missing() : gitError(args, said, status, this.#access.remote);
    } catch (err) {
      if (err instanceof DrydockError) throw err;
      throw fail('internal', 'git', `git cannot be started: ${String(err)}`, { cause: err });
    } finally {
      signal.removeEventListener('abort', kill);
    }
  }

  #start(args: readonly string[], env: Record<string, string> = {}) {
    try {
      return spawn('sh', ['-c', launch, 'git', ...args], {
        env: { ...this.#env, ...env },
        cwd: this.#home,
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      });
    } catch (err) {
      // A remote's URL or a ref may be of any length.
      throw toDrydockError(err, 'git');
    }
  }

  #clean(text: string): string {
    const secret = this.#access.authorization;
    const clean = text.replace(/:\/\/[^\s/@'"]*@/g, '://');
    return secret === undefined ? clean : clean.replaceAll(secret, '***');
  }

  async close(): Promise<void> {
    for (const closer of this.#closers.splice(0)) closer();
    await rm(this.#home, { recursive: true, force: true });
  }
}

const redirected = /returned error: 30[12378]\b/;

function missing(): DrydockError {
  return fail('unsupported', 'git', 'git is not installed on the machine that builds', {
    hint: 'Install it: apt-get install git',
  });
}

const kinds: [RegExp, ErrorCode, string?][] = [
  [
    /Authentication failed|could not read (Username|Password)|terminal prompts disabled|returned error: 40[13]|Permission denied/i,
    'unauthenticated',
    'Give credentials: --secret id=GIT_AUTH_TOKEN,env=… for https, --ssh default for ssh.',
  ],
  [
    redirected,
    'denied',
    'The remote redirects to what is no repository, or in circles: name the URL it leads to.',
  ],
  [/Host key verification failed/i, 'denied', "The server's host key is not among the known ones."],
  [/transport '\w+' not allowed/i, 'denied', 'Only http, https, ssh and git remotes are allowed.'],
  [
    /could not resolve host|timed out|connection refused|unable to access|early EOF|connection reset|network is unreachable/i,
    'unavailable',
    'Check the host name and the network, and try again.',
  ],
  [
    /repository .*not found|does not exist|does not appear to be a git repository|couldn't find remote ref|not our ref/i,
    'not-found',
    'Check the URL and the branch, tag or commit after #.',
  ],
];

function gitError(
  args: readonly string[],
  said: string,
  status: number | string,
  remote: string,
): DrydockError {
  const verb = args.find((arg) => /^[a-z]+(-[a-z]+)*$/.test(arg)) ?? 'git';
  const lines = said
    .split(/[\r\n]+/)
    .filter((line) => /^(fatal|error|remote|ssh)\b|denied|failed/i.test(line));
  const text = (lines.length > 0 ? lines : said.trim().split('\n').slice(-3)).slice(-5).join('; ');
  const [, code = 'failed', hint] = kinds.find(([pattern]) => pattern.test(said)) ?? [];
  const where = withoutCredentials(remote);
  return fail(
    code as ErrorCode,
    'git',
    `git ${verb} of ${where} failed (status ${status}): ${text || 'no message'}`,
    {
      hint,
      details: { remote: where },
    },
  );
}
