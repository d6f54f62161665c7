/**
 * Two hosts on one machine, each a network namespace: `host`, on which steps run, and `other`, which it reaches by a
 * cable and by which it reaches everything else. `onHost` runs a program of `children` there.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const addresses = {
  host: '198.51.100.1',
  host6: '2001:db8:77::1',
  other: '198.51.100.2',
  other6: '2001:db8:77::2',
  metadata: '169.254.169.254',
  metadata6: 'fd00:ec2::254',
  /** The other host's on the cable. */
  otherLink: 'fe80::77',
};

const path = `${process.env.PATH}:/usr/sbin:/sbin`;
const children = join(import.meta.dirname, 'children');

export class TwoHosts {
  readonly dir = mkdtempSync(join(tmpdir(), 'drydock-hosts-'));
  readonly #host = `dd-host-${process.pid}`;
  readonly #other = `dd-other-${process.pid}`;
  readonly #server: ReturnType<typeof spawn>;

  constructor() {
    const { host, host6, other, other6, metadata, metadata6, otherLink } = addresses;
    for (const name of [this.#host, this.#other]) ip('netns', 'add', name);
    ip('-n', this.#host, ...'link add up0 type veth peer name up0 netns'.split(' '), this.#other);
    for (const [name, v4, v6] of [
      [this.#host, host, host6],
      [this.#other, other, other6],
    ] as const) {
      const at = (command: string) => ip('-n', name, ...command.split(' '));
      at('link set lo up');
      at('link set up0 up');
      at(`addr add ${v4}/24 dev up0`);
      at(`-6 addr add ${v6}/64 dev up0 nodad`);
    }
    ip('-n', this.#host, ...`route add default via ${other}`.split(' '));
    ip('-n', this.#host, ...`-6 route add default via ${other6}`.split(' '));
    ip('-n', this.#other, ...`addr add ${metadata}/32 dev lo`.split(' '));
    ip('-n', this.#other, ...`-6 addr add ${metadata6}/128 dev lo nodad`.split(' '));
    ip('-n', this.#other, ...`-6 addr add ${otherLink}/64 dev up0 nodad`.split(' '));
    // It would go on to steps by itself, if it were let.
    ip('-n', this.#other, ...`route add 10.0.0.0/8 via ${host}`.split(' '));
    // Whatever this machine does: a new namespace begins as its first one is.
    this.command('sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward');
    this.#server = this.#run(this.#other, 'web.ts', []);
  }

  #run(namespace: string, program: string, args: readonly string[], without?: string) {
    return spawn(
      'nsenter',
      [
        `--net=/run/netns/${namespace}`,
        ...(without === undefined ? [] : this.#hiding(without)),
        process.execPath,
        join(children, program),
        ...args,
      ],
      {
        env: { ...process.env, PATH: path },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
  }

  /** A command that runs another one where /usr/bin has not got a program. */
  #hiding(program: string): string[] {
    const at = mkdtempSync(join(this.dir, 'bin-'));
    const upper = join(at, 'upper');
    for (const folder of [upper, join(at, 'work')]) mkdirSync(folder);
    execFileSync('mknod', [join(upper, program), 'c', '0', '0']);
    const options = `lowerdir=/usr/bin,upperdir=${upper},workdir=${join(at, 'work')}`;
    const script = `mount -t overlay overlay -o ${options} /usr/bin && exec "$@"`;
    return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh'];
  }

  /** Runs a program on the host to its end and returns what it printed, as JSON. `killAt`: a line at which it is killed; `without`: a program that the host has not got. */
  async onHost(
    program: string,
    args: unknown,
    killAt?: string,
    { without }: { without?: string } = {},
  ): Promise<unknown> {
    const given = JSON.stringify({ dir: this.dir, ...(args as object) });
    const child = this.#run(this.#host, program, [given], without);
    let output = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk;
      if (killAt !== undefined && output.includes(killAt)) child.kill('SIGKILL');
    });
    const code = await new Promise((resolve) =>
      child.once('close', (code, signal) => resolve(code ?? signal)),
    );
    if (code !== 0 && killAt === undefined) throw new Error(`${program} ended with ${code}: ${output}`);
    return killAt === undefined ? JSON.parse(output) : output;
  }

  /** Runs a command on the host and returns what it prints. */
  command(...command: string[]): string {
    return execFileSync('nsenter', [`--net=/run/netns/${this.#host}`, ...command], {
      env: { ...process.env, PATH: path },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  }

  /** Everything that steps may have left on the host: links, rules, interfaces that forward. */
  traces(): string[] {
    const links = this.command('ip', '-br', 'link').match(/^dryd\S+/gm) ?? [];
    const rules = [
      this.command('nft', 'list', 'ruleset'),
      ...['iptables-legacy-save', 'ip6tables-legacy-save'].map((save) => this.command(save)),
    ].flatMap((text) => text.match(/drydock\S*/gi) ?? []);
    const forwarding = this.command('cat', '/proc/sys/net/ipv4/conf/up0/forwarding').trim();
    return [...links, ...new Set(rules), ...(forwarding === '0' ? [] : ['up0 forwards'])];
  }

  close(): void {
    this.#server.kill('SIGKILL');
    for (const name of [this.#host, this.#other]) ip('netns', 'delete', name);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { env: { ...process.env, PATH: path }, stdio: ['ignore', 'ignore', 'inherit'] });
}
