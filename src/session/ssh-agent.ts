/** SSH agents that a build's steps may use: the user's own, or one that was started for given key files. */
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { errnoCode, fail } from '../errors/index.ts';

/**
 * The value of `--ssh default` or `--ssh id=path[,path]`: a socket, or private keys. Without paths it is
 * $SSH_AUTH_SOCK.
 */
export interface SshSource {
  id: string;
  paths: string[];
}

interface Agent {
  socket: string;
  stop(): Promise<void>;
}

const run = promisify(execFile);

/** Finds or starts the agents of one client. `close` ends the agents that were started. */
export class SshAgents {
  readonly #sources: Map<string, SshSource>;
  readonly #agents = new Map<string, Promise<Agent>>();

  readonly #runDir: string | undefined;

  /** `runDir` is the folder for sockets; default: the system's temp folder. */
  constructor(sources: readonly SshSource[], runDir?: string) {
    this.#runDir = runDir;
    this.#sources = new Map(sources.map((source) => [source.id, source]));
  }

  /** A function that connects to the agent of this id; undefined when the client offers none. */
  async connector(id: string): Promise<(() => Promise<Socket>) | undefined> {
    const source = this.#sources.get(id || 'default');
    if (source === undefined) return undefined;
    let agent = this.#agents.get(source.id);
    if (agent === undefined) {
      agent = openAgent(source, this.#runDir);
      this.#agents.set(source.id, agent);
    }
    const { socket } = await agent;
    return () => dial(socket);
  }

  async close(): Promise<void> {
    const agents = await Promise.allSettled(this.#agents.values());
    this.#agents.clear();
    for (const agent of agents) if (agent.status === 'fulfilled') await agent.value.stop();
  }
}

async function openAgent({ id, paths }: SshSource, runDir: string | undefined): Promise<Agent> {
  const own = process.env.SSH_AUTH_SOCK;
  const first = paths[0] ?? own;
  if (first === undefined) {
    throw fail('invalid', 'client', `ssh ${id}: no agent: SSH_AUTH_SOCK is not set`, {
      hint: 'Start an agent (`eval $(ssh-agent) && ssh-add`), or name a key with --ssh default=PATH.',
    });
  }
  const stats = await stat(first).catch((err) => {
    throw fail('not-found', 'client', `ssh ${id}: ${first} cannot be opened`, {
      cause: err,
      hint: 'Name an agent socket or a private key with --ssh.',
    });
  });
  if (stats.isSocket()) {
    if (paths.length > 1) throw fail('invalid', 'client', `ssh ${id}: only one socket may be given`);
    return { socket: first, stop: async () => {} };
  }
  return startAgent(id, paths, runDir);
}

/** The longest path of a run folder, so that a unix socket's path still fits below it. */
const maxRunDir = 107 - '/drydock-ssh-XXXXXX/agent.sock.1234567890'.length;

async function startAgent(id: string, keys: readonly string[], runDir: string | undefined): Promise<Agent> {
  const parent = runDir !== undefined && runDir.length <= maxRunDir ? runDir : tmpdir();
  const folder = await mkdtemp(join(parent, 'drydock-ssh-'));
  const socket = join(folder, 'agent.sock');
  // -D keeps it our child; setpriv has the kernel end it should we be killed.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'ssh-agent', '-D', '-a', socket], {
    stdio: 'ignore',
  });
  const stop = async () => {
    child.kill();
    await rm(folder, { recursive: true, force: true });
  };
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  try {
    await Promise.race([waitFor(socket), failed]);
    await Promise.race([
      run('ssh-add', [...keys], {
        env: { ...process.env, SSH_AUTH_SOCK: socket, SSH_ASKPASS_REQUIRE: 'never' },
      }),
      failed,
    ]);
  } catch (err) {
    await stop();
    const missing = errnoCode(err) === 'ENOENT';
    throw fail('invalid', 'client', `ssh ${id}: cannot load ${keys.join(', ')} into an agent`, {
      cause: err,
      hint: missing
        ? 'Install the openssh client programs (Debian: apt-get install openssh-client).'
        : 'A key with a passphrase needs your own agent: `ssh-add KEY`, then --ssh default.',
    });
  }
  child.unref();
  return { socket, stop };
}

async function waitFor(socket: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if ((await stat(socket).catch(() => undefined))?.isSocket()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('ssh-agent did not open its socket within 2 s');
}

function dial(socket: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const connection = connect(socket);
    connection.once('connect', () => {
      connection.off('error', reject);
      resolve(connection);
    });
    connection.once('error', reject);
  });
}
