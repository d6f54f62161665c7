/** Ctrl-C: the containers stop at once, nothing stays, and the next build goes on. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cli, outputOf } from '../kit/cli.ts';

let cli: Cli;

beforeAll(async () => {
  cli = new Cli();
  await cli.makeBase();
});
afterAll(() => cli?.close());

/** Command lines of running processes with this word in them. */
function processesWith(word: string): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      const command = /^\d+$/.test(pid) ? readFileSync(`/proc/${pid}/cmdline`, 'latin1') : '';
      return command.includes(word) ? [command] : [];
    } catch {
      return []; // ended
    }
  });
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await sleep(20);
  expect(condition()).toBe(true);
}

test.each(['SIGINT', 'SIGTERM'] as const)('%s ends steps that will not listen', async (signal) => {
  const seconds = signal === 'SIGINT' ? '98761' : '98762';
  const dir = cli.files(signal, {
    Dockerfile: `FROM base AS a\nRUN trap "" INT TERM HUP; sleep ${seconds}\nFROM base\nRUN trap "" INT TERM; sleep ${seconds}; true\nCOPY --from=a / /\n`,
  });
  const out = join(cli.dir, `${signal}.tar`);
  const child = cli.start([
    'build',
    '--progress=plain',
    '-t',
    'never',
    '-o',
    `type=oci,dest=${out}`,
    '--load',
    dir,
  ]);
  const ended = outputOf(child);
  await until(() => processesWith(`sleep\0${seconds}`).length === 2);
  child.kill(signal);
  const { code, stderr } = await ended;
  expect(code).toBe(130);
  expect(stderr).toContain('CANCELED');
  expect(stderr).toMatch(/ERROR: canceled\n$/);
  expect(processesWith(seconds)).toEqual([]);
  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(cli.root);
  expect(readdirSync(join(cli.root, 'run'))).toEqual([]);
  expect(existsSync(out)).toBe(false);
  expect(readdirSync(cli.dir).filter((name) => name.endsWith('.part'))).toEqual([]);
  expect((await cli.ok(['images', '-q', 'never'])).stdout).toBe('');
  await cli.ok(['build', '-q', cli.files(`${signal}-next`, { Dockerfile: 'FROM base\nRUN true\n' })]);
  expect((await cli.ok(['doctor', '--verify'])).stdout).toContain('all is well');
});

test('a reader that goes away ends the build', async () => {
  const dir = cli.files('pipe', { Dockerfile: 'FROM base\nRUN dd if=/dev/zero of=/big bs=1M count=64\n' });
  const child = cli.start(['build', '-q', '-o', '-', dir]);
  child.stdout?.once('data', () => child.stdout?.destroy());
  const code = await new Promise((resolve) => child.once('exit', resolve));
  expect(code).not.toBe(0);
  expect(readdirSync(join(cli.root, 'run'))).toEqual([]);
});
