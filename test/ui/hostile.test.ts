/** The page on builds whose names, Dockerfiles and output were made to harm who looks at them. */
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BuildDetail } from '../../src/api/ui/types.ts';
import { DrydockError } from '../../src/errors/error.ts';
import { makePage } from '../kit/page.ts';
import { TestPage, ToldBuild, type ToldStep } from '../kit/told-build.ts';

let site: TestPage;
let browser: Browser;
let page: Page;
/** What ran that should not have: dialogs, exceptions, what the policy had to refuse. */
const complaints: string[] = [];

/** Turns text round, and would be markup, a template, an escape sequence. */
const turned = '\u202egnp.exe\u2066';
const evil = `${turned}<img src=x onerror=alert(1)><script>alert(2)</script>\n\u0000\u001b[31m"'\`{{7*7}}`;

let build: ToldBuild;
let steps: Record<'named' | 'bomb' | 'long' | 'odd', ToldStep>;

beforeAll(async () => {
  await makePage();
  site = await TestPage.open();
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  page.on('dialog', (dialog) => {
    complaints.push(dialog.message());
    void dialog.dismiss();
  });
  page.on('pageerror', (err) => complaints.push(err.message));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  told();
});
afterAll(async () => {
  await browser?.close();
  await site?.close();
});

function told(): void {
  build = new ToldBuild(site, evil, {
    filename: evil,
    context: `javascript:alert(3)//${evil}`,
    target: 'x'.repeat(100_000),
    'vcs:source': 'javascript:alert(4)',
    'label:x': evil,
    'build-arg:Y': evil,
  });
  const named = build.start(`[a 1/4] RUN ${evil}`);
  const bomb = build.start(`[a 2/4] RUN ${'W'.repeat(100_000)}`, [named]);
  build.print(bomb, `${'\u001b[31mX\u001b[1mY\u001b[38;2;1;2;3mZ'.repeat(700)}\n`.repeat(300));
  const long = build.start('[a 3/4] RUN long', [named]);
  build.print(long, `${'W'.repeat(1_000_000)}\n`.repeat(10));
  const odd = build.start('[a 4/4] RUN odd', [named]);
  const data = Buffer.from([0xff, 0xfe, 0x80, 0x0a, 0xed, 0xa0, 0x80, 0x0a]);
  build.log.log({ vertex: odd.digest, stream: 1, data, timestamp: build.now });
  const links = '\u001b]8;;javascript:alert(5)\u0007link\u001b]8;;\u0007\u001b[2J\u001b[99999999999999;1H';
  build.print(odd, `${evil}\n${links}\u001b[${'1;'.repeat(20_000)}\n`);
  build.why(odd, evil);
  build.dockerfile(`FROM x\nRUN ${evil}\n# ${'c'.repeat(900_000)}\n`, new Map([[named.digest, 2]]));
  for (let i = 0; i < 3000; i++) {
    const warning = {
      vertex: named.digest,
      level: 1,
      short: evil,
      detail: [evil],
      url: 'javascript:alert(6)',
    };
    build.log.warning(warning);
  }
  for (const each of [named, bomb, long]) build.done(each, 100);
  build.done(odd, 100, { error: evil + 'e'.repeat(100_000) });
  build.end(new DrydockError(evil, { code: 'failed', hint: evil }));
  steps = { named, bomb, long, odd };
}

/** The text of the page, as it is shown. */
const text = () => page.evaluate('document.body.textContent') as Promise<string>;

const go = (path: string) => page.goto(`${site.address}#/builds${path}`);

test('names, labels, sources and warnings are text, and turn nothing round', async () => {
  for (const [path, shown] of [
    ['', '.build-row'],
    [`/${build.ref}/overview`, '.warnings li'],
    [`/${build.ref}/steps?step=${steps.named.digest}`, '.step-row'],
    [`/${build.ref}/graph`, '.node'],
    [`/${build.ref}/timeline`, '.time-row'],
    [`/${build.ref}/dockerfile`, '.code-line'],
  ] as const) {
    await go(path);
    await page.locator(shown).first().waitFor();
    const found = await text();
    expect(found, path).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/);
    expect(found, path).toContain('\ufffdgnp.exe\ufffd');
    expect(await page.locator('img, [href^="javascript"], [title*="\u202e"]').count(), path).toBe(0);
  }
  expect(complaints).toEqual([]);
});

test('output of any bytes is lines of text, and no more of it than rows can show', async () => {
  await go(`/${build.ref}/steps?step=${steps.odd.digest}`);
  await page.locator('.log-line', { hasText: 'link' }).waitFor();
  const lines = await page.locator('.log-line .text').allTextContents();
  expect(lines[0]).toBe('\ufffd\ufffd\ufffd\n');
  expect(lines[2]).toMatch(/^\ufffdgnp\.exe\ufffd<img .*<\/script>\n$/);
  expect(await page.locator('.log a:not(.number):not([download])').count()).toBe(0);
  await go(`/${build.ref}/steps?step=${steps.bomb.digest}`);
  await page.locator('.log-line', { hasText: 'XYZ' }).first().waitFor();
  expect(await page.locator('.log-line').first().locator('.text span').count()).toBeLessThan(100);
  await go(`/${build.ref}/steps?step=${steps.long.digest}`);
  const line = page.locator('.log-line', { hasText: 'WWW' }).first();
  await line.waitFor();
  expect((await line.textContent())?.length).toBeLessThan(3000);
  await go(`/${build.ref}/dockerfile`);
  const comment = page.locator('.code-line', { hasText: '# ccc' });
  await comment.waitFor();
  expect((await comment.textContent())?.length).toBeLessThan(3000);
  expect(complaints).toEqual([]);
});

test('the text of a node ends with it', async () => {
  await go(`/${build.ref}/graph`);
  const node = page.locator('.node', { hasText: 'WWW' });
  await node.waitFor();
  const clip = await page.evaluate("getComputedStyle(document.querySelector('.node text')).clipPath");
  expect(clip).toBe('url("#in-node")');
  const [room, width] = await Promise.all(
    ['#in-node rect', '.node rect'].map((each) => page.locator(each).first().getAttribute('width')),
  );
  expect(Number(room)).toBeLessThan(Number(width));
});

test('one build makes neither the list nor its own data endless', async () => {
  const list = await (await fetch(`${site.address}api/v1/builds`)).text();
  expect(list.length).toBeLessThan(20_000);
  const answer = await fetch(`${site.address}api/v1/builds/${build.ref}`);
  const { warningList, target } = (await answer.json()) as BuildDetail;
  expect(warningList).toHaveLength(1000);
  expect(target).toHaveLength(1000);
});
