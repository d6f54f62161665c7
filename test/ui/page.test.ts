/** The page in a browser: a build from its start to its end, a failure, why steps ran, two builds, the keyboard, others' pages. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { canceled, DrydockError } from '../../src/errors/error.ts';
import { makePage } from '../kit/page.ts';
import { TestPage, ToldBuild } from '../kit/told-build.ts';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core'), 'utf8');

let site: TestPage;
let browser: Browser;
let context: BrowserContext;
let page: Page;
/** What the page complained of: requests that the policy refused, exceptions. */
const complaints: string[] = [];

beforeAll(async () => {
  await makePage();
  site = await TestPage.open();
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--host-resolver-rules=MAP evil.example 127.0.0.1'],
  });
  context = await browser.newContext({
    viewport: { width: 1200, height: 800 },
    acceptDownloads: true,
    bypassCSP: false,
  });
  context.setDefaultTimeout(30_000);
  page = await context.newPage();
  watch(page);
});
afterAll(async () => {
  await browser?.close();
  await site?.close();
});

function watch(it: Page): void {
  it.on('pageerror', (err) => complaints.push(err.message));
  it.on('console', (message) => {
    // A browser breaks off what is under way when an interface of the machine comes or goes; the page asks again.
    if (message.type() === 'error' && !/ERR_NETWORK_CHANGED/.test(message.text()))
      complaints.push(message.text());
  });
}

interface Found {
  violations: { id: string; nodes: { html: string }[] }[];
}

/** Finds nothing wrong for screen readers, in the light and in the dark. */
async function isAccessible(): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const violations = await page.evaluate(async (source) => {
      // What the browser's debugger runs is not held by the policy of the page.
      const run = new Function(`${source};return axe.run()`) as () => Promise<Found>;
      const { violations } = await run();
      return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
    }, axe);
    expect(violations, `${page.url()} ${colorScheme}`).toEqual([]);
  }
}

const go = (hash: string) => page.goto(site.address + hash);
const tab = (name: string) => page.click(`nav[aria-label="Parts of the build"] a:has-text("${name}")`);

const dockerfile = 'FROM scratch\nCOPY . /\nRUN make all\nRUN make test\n';

/** A build with four steps, up to the second RUN. */
function begun(name: string, why: string): { build: ToldBuild; test: ReturnType<ToldBuild['start']> } {
  const build = new ToldBuild(site, name, { filename: 'Dockerfile' });
  const load = build.start('[internal] load build context');
  build.done(load, 30);
  const copy = build.start('[stage-0 1/3] COPY . /', [load]);
  build.done(copy, 40, { cached: true });
  const make = build.start('[stage-0 2/3] RUN make all', [copy]);
  build.why(make, why);
  build.print(make, 'compiling\n\u001b[31mwarned\u001b[0m of much\n');
  build.done(make, 400);
  const test = build.start('[stage-0 3/3] RUN make test', [make]);
  build.dockerfile(
    dockerfile,
    new Map([
      [copy.digest, 2],
      [make.digest, 3],
      [test.digest, 4],
    ]),
  );
  return { build, test };
}

test('a build from its start to its end', async () => {
  await go('#/builds');
  await page.getByText('No build is known yet').waitFor();
  const { build, test: step } = begun('docker.io/library/app:1', 'it was never built here');
  await page.click('.build-link:has-text("app:1")');
  await page.getByRole('heading', { name: 'running' }).waitFor();
  await tab('Steps');
  build.print(step, Array.from({ length: 3000 }, (_, i) => `test ${i} passed\n`).join(''));
  await page.getByText('3,000 lines').waitFor();
  // It follows the end of the log.
  await page.getByText('test 2999 passed').waitFor();
  await tab('Dockerfile');
  expect(await page.locator('.code-line', { hasText: 'make all' }).textContent()).toContain('400 ms');
  await tab('Graph');
  await page.locator('.node.running', { hasText: 'RUN make test' }).waitFor();
  build.done(step, 900);
  await page.locator('.node.critical.done', { hasText: 'RUN make test' }).waitFor();
  const packages = ['zlib', 'openssl', 'busybox'].map((name) => ({ name, versionInfo: '1.2' }));
  build.end(undefined, { packages });
  await page.getByRole('heading', { name: 'completed' }).waitFor();
  await isAccessible();
  await tab('Timeline');
  await page.locator('.time-row', { hasText: 'RUN make test' }).locator('.time-bar.done').waitFor();
  await isAccessible();
  await tab('Attestations');
  await page.fill('input[placeholder="Search packages"]', 'SSL');
  await page.getByText('1 package of 3').waitFor();
  expect(await page.locator('.package').allInnerTexts()).toEqual([expect.stringContaining('openssl')]);
  expect(page.url()).toContain('find=SSL');
  await isAccessible();
  expect(complaints).toEqual([]);
});

test('a log is searched, and a link leads to its line', async () => {
  await go('#/builds');
  await page.locator('.build-link').first().click();
  await tab('Steps');
  await page.click('.step-row a:has-text("make test")');
  await page.fill('input[placeholder="Search in the log"]', 'test 17');
  await page.getByText('1 of 111').waitFor();
  await page.locator('.log-line.current', { hasText: 'test 17 passed' }).waitFor();
  await page.keyboard.press('Enter');
  await page.locator('.log-line.current', { hasText: 'test 170 passed' }).waitFor();
  await page.click('.log-line.current .number');
  const link = page.url();
  expect(link).toContain('line=171');
  await page.goto('about:blank');
  await page.goto(link);
  await page.locator('.log-line.current', { hasText: 'test 170 passed' }).waitFor();
});

test('an archive opens elsewhere, and asks nobody for anything', async () => {
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.click('text=Download as an archive'),
  ]);
  const file = join(tmpdir(), `drydock-archive-${process.pid}.html`);
  await download.saveAs(file);
  const elsewhere = await context.newPage();
  watch(elsewhere);
  const asked: string[] = [];
  elsewhere.on('request', (request) => asked.push(request.url()));
  await elsewhere.goto(`file://${file}`);
  await elsewhere.getByRole('heading', { name: 'completed' }).waitFor();
  await elsewhere.click('nav[aria-label="Parts of the build"] a:has-text("Steps")');
  await elsewhere.click('.step-row a:has-text("make all")');
  await elsewhere.locator('.log-line .fg1', { hasText: 'warned' }).waitFor();
  expect(asked.filter((url) => !url.startsWith('data:'))).toEqual([`file://${file}`]);
  await elsewhere.close();
  rmSync(file);
  expect(complaints).toEqual([]);
});

test('a failure: what went wrong, where, and what to do next', async () => {
  const { build, test: step } = begun('docker.io/library/app:2', 'files of COPY . / changed: M main.c');
  build.print(step, 'all is well\nassertion failed\n', 2);
  build.done(step, 300, { error: 'exit code: 2' });
  build.end(
    new DrydockError('RUN make test: exit code: 2', {
      ...{ code: 'failed', hop: 'store', hint: 'Run it in a shell.', exitCode: 2, vertex: step.digest },
      source: {
        filename: 'Dockerfile',
        text: dockerfile,
        ranges: [{ start: { line: 4, character: 0 }, end: { line: 4, character: 13 } }],
      },
    }),
  );
  await go('#/builds?state=failed');
  await page.click('.build-link');
  const box = page.getByRole('alert');
  for (const text of ['exit code: 2', 'assertion failed', 'at hop: store', 'Run it in a shell.'])
    await box.getByText(text).first().waitFor();
  await box.getByRole('link', { name: 'Dockerfile:4' }).click();
  await page.locator('.code-line.wrong', { hasText: 'RUN make test' }).locator('.inline-error').waitFor();
  await tab('Overview');
  await page.getByText('not cached: files of COPY . / changed: M main.c').waitFor();
  await isAccessible();
  expect(complaints).toEqual([]);
});

test('two builds side by side', async () => {
  await go('#/builds');
  await page.locator('.build-row', { hasText: 'app:1' }).getByRole('button').click();
  await page.locator('.build-row', { hasText: 'app:2' }).getByRole('link', { name: 'with this' }).click();
  const pair = page.locator('.pair', { hasText: 'RUN make test' });
  expect(await pair.textContent()).toMatch(/900 ms[\s\S]*300 ms[\s\S]*−600 ms/);
  await page.getByText('not cached: files of COPY . / changed').waitFor();
  await isAccessible();
  await page.getByLabel('only those that differ').check();
  await expect.poll(() => page.locator('.pair').count()).toBe(1);
});

test('a build is cancelled, its record pinned and removed, by the keyboard', async () => {
  const { build } = begun('docker.io/library/gone:1', 'it was never built here');
  site.cancels.set(build.ref, () => build.end(canceled(new Error('the build was cancelled'))));
  await go(`#/builds?open=${build.ref}`);
  const button = (name: string) => page.getByRole('button', { name, exact: true });
  await button('Cancel the build').focus();
  await page.keyboard.press('Enter');
  // It asks once more, and Escape leaves everything as it was, the keyboard's place as well.
  await page.keyboard.press('Escape');
  expect(await page.evaluate('document.activeElement.textContent')).toBe('Cancel the build');
  await page.keyboard.press('Enter');
  await button('Yes, cancel it').waitFor();
  await isAccessible();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'canceled' }).waitFor();
  await button('Pin the record').press('Space');
  await page.getByText('The record is pinned.').waitFor();
  await button('Unpin the record').waitFor();
  await isAccessible();
  await button('Remove the record').press('Enter');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Builds' }).waitFor();
  await page.getByText('2 builds', { exact: true }).waitFor();
  expect(complaints).toEqual([]);
});

test('the builds of one command are shown by themselves', async () => {
  const [one, two] = [1, 2].map((i) => new ToldBuild(site, `docker.io/library/baked:${i}`));
  await go(`#/builds?only=${one!.ref}.${two!.ref}`);
  await page.getByText('2 builds', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Show all builds' }).click();
  await page.getByText('4 builds', { exact: true }).waitFor();
  for (const each of [one, two]) {
    each!.end();
    await site.history.settled();
    site.history.delete({ owner: 'anonymous', all: false }, each!.ref);
  }
  await page.getByText('2 builds', { exact: true }).waitFor();
});

test('by the keyboard alone, on a phone', async () => {
  await page.setViewportSize({ width: 380, height: 720 });
  await go('#/builds');
  await page.locator('.build-row').first().waitFor();
  await isAccessible();
  const press = async (key: string, until: () => Promise<boolean>) => {
    for (let tries = 0; tries < 60; tries++) {
      if (await until()) return;
      await page.keyboard.press(key);
    }
    throw new Error(`${key} does not lead there`);
  };
  const focused = (text: string) => async () => {
    const at = "document.activeElement.matches('a, button') ? document.activeElement.textContent : ''";
    return String(await page.evaluate(at)).includes(text);
  };
  await press('Tab', focused('Skip to the content'));
  await page.keyboard.press('Enter');
  await press('Tab', focused('app:2'));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'failed' }).waitFor();
  await press('Tab', focused('Steps'));
  await page.keyboard.press('Enter');
  await press('Tab', focused('make all'));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'RUN make all' }).waitFor();
  await isAccessible();
  const wide = await page.evaluate('document.documentElement.scrollWidth > innerWidth');
  expect(wide).toBe(false);
  await page.setViewportSize({ width: 1200, height: 800 });
});

test('thousands of builds, a thousand steps, a log of many lines', async () => {
  const build = new ToldBuild(site, 'docker.io/library/large:1');
  let before = [build.start('[internal] load build definition')];
  for (let layer = 0; layer < 40; layer++) {
    const beside = Array.from({ length: 25 }, (_, i) =>
      build.start(`[s${i} ${layer + 1}/40] RUN step ${layer}`, [before[i % before.length]!]),
    );
    for (const each of before) build.done(each, 5);
    before = beside;
  }
  const [last] = before;
  const lines = Array.from({ length: 10_000 }, (_, i) => `this is line ${i}\n`).join('');
  for (let i = 0; i < 10; i++) build.print(last!, lines);
  for (const each of before) build.done(each, 5);
  build.end();
  for (let i = 0; i < 300; i++) new ToldBuild(site, `docker.io/library/many:${i}`).end();
  await go('#/builds?q=library');
  await page.getByText('303 builds').waitFor();
  // Those in sight are made, and no more.
  expect(await page.locator('.build-row').count()).toBeLessThan(60);
  await page.fill('input[placeholder^="Search"]', 'large');
  await page.getByText('1 build', { exact: true }).waitFor();
  await page.click('.build-link');
  await tab('Graph');
  await page.locator('.node').first().waitFor();
  expect(await page.locator('.node').count()).toBeLessThan(300);
  await tab('Steps');
  await page.getByText('100,000 lines').waitFor();
  await page.getByRole('log').evaluate((box) => box.scrollTo(0, box.scrollHeight));
  await page.locator('.log-line', { hasText: 'this is line 9999' }).waitFor();
  expect(await page.locator('.log-line').count()).toBeLessThan(120);
  expect(complaints).toEqual([]);
});

test('a running build that its daemon knows no more, as it was killed, is told as over', async () => {
  const { build } = begun('docker.io/library/lost:1', 'x');
  await go(`#/builds/${build.ref}`);
  await page.getByRole('heading', { name: 'running' }).waitFor();
  const error = { code: 'not-found', message: 'there is no such build' };
  await page.route(new RegExp(`/builds/${build.ref}(/events)?$`), (route) =>
    route.fulfill({ status: 404, body: JSON.stringify({ error }) }),
  );
  // The stream is begun anew when the page is seen again.
  for (const hidden of [true, false]) {
    await page.evaluate(`
      Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));`);
  }
  await page.getByText('The daemon does not know this build any more').waitFor();
  await page.getByRole('heading', { name: 'canceled' }).waitFor();
  expect(await page.getByRole('button', { name: 'Cancel the build' }).count()).toBe(0);
  await tab('Steps');
  await page.locator('.step-row.canceled, .step-row:has(.canceled)', { hasText: 'make test' }).waitFor();
  await page.unrouteAll();
  build.end();
  expect(complaints.splice(0).filter((each) => !/404/.test(each))).toEqual([]);
});

test("another page gets at nothing, nor does another name of the page's address", async () => {
  const evil = await context.newPage();
  const foreign = await evil.goto(`http://evil.example:${site.port}/ui/`);
  expect(foreign?.status()).toBe(403);
  expect(await evil.content()).not.toContain('app-');
  const file = join(tmpdir(), `drydock-evil-${process.pid}.html`);
  writeFileSync(file, '<title>evil</title>');
  await evil.goto(`file://${file}`);
  const got = await evil.evaluate(`(async (address) => {
    const read = await fetch(address + 'api/v1/builds').then((answer) => String(answer.status), () => 'failed');
    const frame = document.createElement('iframe');
    frame.src = address;
    document.body.append(frame);
    await new Promise((resolve) => frame.addEventListener('load', resolve));
    return [read, frame.contentDocument === null ? 'shut' : frame.contentDocument.body.textContent];
  })(${JSON.stringify(site.address)})`);
  expect(got).toEqual(['failed', 'shut']);
  await evil.close();
  rmSync(file);
});
