/** The web page: its first view, its longest tasks in large builds, and what pages that follow a build cost it. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import type { Browser, Page } from 'playwright-core';
import { type Bench, progress } from '../bench.ts';
import { freePort, serveBase } from '../kit/base.ts';
import { type FirstView, firstView, startBrowser } from '../kit/browser.ts';
import { type Daemon, startDrydock } from '../kit/daemons.ts';
import { ask, postBuild } from '../kit/engine-api.ts';
import { median } from '../kit/measure.ts';
import { type PageWork, scroll, show, taskTable } from '../kit/page-tasks.ts';
import { cpuOf } from '../kit/process.ts';
import { milliseconds, ratio, seconds, table } from '../kit/table.ts';
import { textTar } from '../kit/tar.ts';
import { longHistory, manyFiles } from './page-lists.ts';

const steps = 1000;
const lines = 1_000_000;
const followers = 20;
/** How many builds the list has at least. */
const listed = 40;

/** A Dockerfile of 25 stages beside each other, each with 40 steps. */
function manySteps(): string {
  const stages = Array.from({ length: 25 }, (_, stage) => [
    `FROM scratch AS s${stage}`,
    ...Array.from({ length: steps / 25 - 1 }, (_, i) => `COPY f /${stage}-${i}`),
  ]);
  const last = ['FROM scratch', ...stages.map((_, stage) => `COPY --from=s${stage} /${stage}-0 /`)];
  return [...stages, last].flat().join('\n');
}

interface Listed {
  builds: { ref: string; images: string[]; state: string }[];
}

async function listOf({ socket }: Daemon): Promise<Listed['builds']> {
  const { text } = await ask(socket, 'GET', '/ui/api/v1/builds');
  return (JSON.parse(text) as Listed).builds;
}

async function refOf(daemon: Daemon, image: string): Promise<string> {
  const found = (await listOf(daemon)).find(({ images }) => images.some((each) => each.includes(image)));
  if (found === undefined) throw new Error(`no build of ${image} is listed`);
  return found.ref;
}

export async function page(bench: Bench): Promise<string> {
  const base = await serveBase(bench);
  const port = await freePort();
  const flags = ['--host', `tcp://127.0.0.1:${port}`, '--insecure-tcp'];
  const daemon = await startDrydock(bench, 'local', 'daemon', { flags });
  const build = (image: string, dockerfile: string) =>
    postBuild(
      daemon.socket,
      { version: '2', t: `localhost/${image}` },
      textTar({ Dockerfile: dockerfile, f: 'f' }),
    );
  const wants = (name: string) => bench.only === undefined || name.includes(bench.only);
  const parts: string[] = [];
  if (wants('first view') || wants('tasks')) {
    await build('steps', manySteps());
    await build('lines', `FROM ${base}\nRUN seq ${lines} | sed 's/$/ lines of the output of a step/'\n`);
    for (let i = 0; i < listed; i++) await build(`small-${i}`, `FROM scratch\nCOPY f /f${i}\n`);
    const browser = await startBrowser(bench);
    const site = `http://127.0.0.1:${port}/ui/#/builds`;
    const large = await refOf(daemon, 'localhost/steps');
    const long = await refOf(daemon, 'localhost/lines');
    if (wants('first view')) parts.push(await firstViews(bench, browser, site, large));
    if (wants('tasks')) parts.push(await longestTasks(bench, browser, site, { large, long }));
  }
  if (wants('history')) parts.push(await longHistory(bench));
  if (wants('file tree')) parts.push(await manyFiles(bench));
  if (wants('followers')) parts.push(await followed(bench, daemon, base));
  return parts.join('\n\n');
}

async function firstViews(bench: Bench, browser: Browser, site: string, large: string): Promise<string> {
  const views = [
    { name: 'the list of builds', address: site, shown: '.build-row' },
    { name: `a build of ${steps} steps`, address: `${site}/${large}`, shown: '.slow' },
    { name: 'its steps', address: `${site}/${large}/steps`, shown: '.step-row' },
  ];
  const rows: string[][] = [];
  for (const { name, address, shown } of views) {
    const found: Record<'first' | 'again', FirstView[]> = { first: [], again: [] };
    for (let run = 0; run < bench.runs; run++) {
      const context = await browser.newContext();
      for (const time of ['first', 'again'] as const) {
        const page = await context.newPage();
        found[time].push(await firstView(page, address, shown));
        await page.close();
      }
      await context.close();
    }
    for (const time of ['first', 'again'] as const) {
      const of = (key: keyof FirstView) => milliseconds(median(found[time].map((each) => each[key])));
      rows.push([name, time === 'first' ? 'first visit' : 'again', of('firstPaint'), of('shown'), of('cpu')]);
      progress(rows.at(-1)?.join(', ') ?? '');
    }
  }
  return [
    'First view: from the navigation, on loopback.',
    table(['view', 'cache', 'first paint', 'content in sight', "CPU of the page's main thread"], rows),
  ].join('\n\n');
}

async function longestTasks(
  bench: Bench,
  browser: Browser,
  site: string,
  { large, long }: { large: string; long: string },
): Promise<string> {
  const works: PageWork[] = [
    {
      name: `opening a build of ${steps} steps`,
      work: (page) => show(page, `${site}/${large}`, '.slow'),
    },
    ...[
      ['graph', '.node', '.graph-box'],
      ['timeline', '.time-row', '.timeline .virtual'],
      ['steps', '.step-row', '.step-list .virtual'],
      ['dockerfile', '.code-line', '.dockerfile .virtual'],
    ].map(([tab = '', shown = '', box = '']) => ({
      name: `its ${tab}, scrolled to the end`,
      async work(page: Page) {
        await show(page, `${site}/${large}/${tab}`, shown);
        await scroll(page, box);
      },
    })),
    {
      name: `a log of ${lines} lines, scrolled to the end`,
      async work(page) {
        await show(page, `${site}/${long}/steps`, '.log-line');
        await scroll(page, '.log-lines');
        await page.locator('.log-line', { hasText: `${lines} lines of` }).waitFor();
      },
    },
    {
      name: 'a search in it',
      async work(page) {
        await page.fill('input[placeholder="Search in the log"]', '99999');
        await page.locator('.log-line.current').waitFor();
        for (let i = 0; i < 10; i++) await page.keyboard.press('Enter');
      },
    },
  ];
  return taskTable(bench, browser, works);
}

/** A program that follows builds, a reference a line. */
class Followers {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;

  constructor(bench: Bench, { socket }: Daemon) {
    const program = new URL('../kit/followers.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, [program, socket, String(followers)]);
    child.stderr.pipe(process.stderr);
    bench.atEnd(() => void child.kill());
    this.#child = child;
    const answers: Interface = createInterface({ input: child.stdout });
    this.#answers = answers[Symbol.asyncIterator]();
  }

  async open(ref: string): Promise<void> {
    this.#child.stdin.write(`${ref}\n`);
    await this.#said('open');
  }

  ended(): Promise<void> {
    return this.#said('ended');
  }

  async #said(word: string): Promise<void> {
    const { value } = await this.#answers.next();
    if (value !== word) throw new Error(`the followers say ${value} in place of ${word}`);
  }
}

interface Built {
  wall: number;
  /** Of the daemon and all its steps, in s. */
  cpu: number;
}

async function followed(bench: Bench, daemon: Daemon, base: string): Promise<string> {
  const pages = new Followers(bench, daemon);
  const kinds = {
    '60 steps that print 200 lines each': (run: string) => [
      `FROM ${base}`,
      ...Array.from({ length: 60 }, (_, i) => `RUN seq 200 # ${run} ${i}`),
    ],
    '500 steps without a process': (run: string) => [
      'FROM scratch',
      ...Array.from({ length: 500 }, (_, i) => `COPY f /${run}-${i}`),
    ],
    'a step of 200,000 lines': (run: string) => [`FROM ${base}`, `RUN seq 200000 # ${run}`],
  };
  const rows: string[][] = [];
  for (const [name, dockerfile] of Object.entries(kinds)) {
    const found: Record<'alone' | 'followed', Built[]> = { alone: [], followed: [] };
    // The first pair warms the daemon up.
    for (let run = 0; run <= bench.runs; run++) {
      for (const how of ['alone', 'followed'] as const) {
        const text = dockerfile(`${run}-${how}`).join('\n');
        const built = await once(daemon, text, how === 'followed' ? pages : undefined);
        if (run > 0) found[how].push(built);
        progress(`${name}, ${how}: ${seconds(built.wall)}, CPU ${seconds(built.cpu)}`);
      }
    }
    const of = (how: 'alone' | 'followed', key: keyof Built) => median(found[how].map((each) => each[key]));
    rows.push([
      name,
      seconds(of('alone', 'wall')),
      seconds(of('followed', 'wall')),
      ratio(of('followed', 'wall'), of('alone', 'wall')),
      seconds(of('alone', 'cpu')),
      seconds(of('followed', 'cpu')),
      ratio(of('followed', 'cpu'), of('alone', 'cpu')),
    ]);
  }
  const head = ['build', 'alone', 'followed', 'time', 'CPU alone', 'CPU followed', 'CPU'];
  return [
    `A build alone, and followed by ${followers} open pages: its time, and the processor time of the daemon and its steps.`,
    table(head, rows),
  ].join('\n\n');
}

/** Builds, with pages that are open before it begins in earnest. */
async function once(daemon: Daemon, dockerfile: string, pages: Followers | undefined): Promise<Built> {
  const released = Promise.withResolvers<void>();
  const context = textTar({ Dockerfile: dockerfile, f: 'f' });
  async function* body() {
    yield context.subarray(0, 512);
    await released.promise;
    yield context.subarray(512);
  }
  const done = postBuild(daemon.socket, { version: '2', nocache: '1' }, body());
  let ref: string | undefined;
  while (ref === undefined) ref = (await listOf(daemon)).find(({ state }) => state === 'running')?.ref;
  await pages?.open(ref);
  const [started, before] = [performance.now(), cpuOf(daemon.servers)];
  released.resolve();
  await done;
  const built = { wall: (performance.now() - started) / 1000, cpu: cpuOf(daemon.servers) - before };
  await pages?.ended();
  return built;
}
