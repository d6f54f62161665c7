/** The page with long lists: a history of thousands of builds, and an image of tens of thousands of files. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, progress } from '../bench.ts';
import { freePort } from '../kit/base.ts';
import { startBrowser } from '../kit/browser.ts';
import { startDrydock } from '../kit/daemons.ts';
import { postBuild } from '../kit/engine-api.ts';
import { fillBuilds } from '../kit/fill-root.ts';
import { type PageWork, scroll, show, taskTable } from '../kit/page-tasks.ts';
import { textTar } from '../kit/tar.ts';

const builds = 5000;
const files = 50_000;

/** The list of a long history: it is opened, scrolled, searched, and builds go on in it. */
export async function longHistory(bench: Bench): Promise<string> {
  const config = join(bench.folder, 'history.json');
  writeFileSync(config, JSON.stringify({ builder: { history: { maxEntries: 100_000 } } }));
  const port = await freePort();
  const flags = ['--config', config, '--host', `tcp://127.0.0.1:${port}`, '--insecure-tcp'];
  const daemon = await startDrydock(bench, 'local', 'daemon', { kind: 'drydock-history', flags });
  progress(`filling the history with ${builds} builds`);
  await fillBuilds(join(bench.folder, 'drydock-history-daemon-local/data'), builds);
  const site = `http://127.0.0.1:${port}/ui/#/builds`;
  const all = `${builds.toLocaleString('en')} builds`;
  const works: PageWork[] = [
    {
      name: `opening a list of ${builds} builds, until all are there`,
      async work(page) {
        await show(page, site, '.build-row');
        await page.locator('.filters .note', { hasText: all }).waitFor();
      },
    },
    { name: 'the list scrolled to its end', work: (page) => scroll(page, '.rows') },
    {
      name: 'a search in it, letter by letter',
      async work(page) {
        await page.locator('.filters input').pressSequentially('app-49', { delay: 100 });
        await page.locator('.build-row .name', { hasText: 'app-49' }).first().waitFor();
        await page.locator('.filters input').fill('');
        await page.locator('.filters .note', { hasText: all }).waitFor();
      },
    },
    {
      name: 'the list in another order',
      work: (page) => page.locator('.filters select').last().selectOption('longest'),
    },
    {
      name: 'a build that begins and ends while the list is open',
      async work(page) {
        const image = `localhost/now-${Date.now()}`;
        await postBuild(
          daemon.socket,
          { version: '2', t: image },
          textTar({ Dockerfile: `FROM scratch\nCOPY f /${Date.now()}\n`, f: '' }),
        );
        await page.locator('.filters select').last().selectOption('begun');
        await page.evaluate("document.querySelector('.rows').scrollTo(0, 0)");
        await page.locator('.build-row .name', { hasText: image }).waitFor();
      },
    },
  ];
  return taskTable(bench, await startBrowser(bench), works);
}

/** The files of a large layer: a folder of very many, and folders in folders. */
export async function manyFiles(bench: Bench): Promise<string> {
  const port = await freePort();
  const flags = ['--host', `tcp://127.0.0.1:${port}`, '--insecure-tcp'];
  const daemon = await startDrydock(bench, 'local', 'daemon', { kind: 'drydock-files', flags });
  const texts: Record<string, string> = { Dockerfile: 'FROM scratch\nCOPY tree /\n' };
  for (let i = 0; i < files / 2; i++) texts[`tree/flat/file-${i}`] = '';
  for (let i = 0; i < files / 2; i++) texts[`tree/deep/${i % 50}/${i % 1000}/file-${i}`] = '';
  progress(`building an image of ${files} files`);
  await postBuild(daemon.socket, { version: '2', t: 'localhost/files' }, textTar(texts));
  const image = `http://127.0.0.1:${port}/ui/#/images/localhost%2Ffiles%3Alatest/files?layer=0`;
  const works: PageWork[] = [
    { name: `the file tree of ${files} files`, work: (page) => show(page, image, '.file-row .step-name') },
    {
      name: `a folder of ${files / 2} files, scrolled to its end`,
      async work(page) {
        await page.locator('.file-row a', { hasText: 'flat/' }).click();
        await page.locator('.file-row', { hasText: 'file-0' }).first().waitFor();
        await scroll(page, '.virtual');
        await page.locator('.file-row', { hasText: 'file-9999' }).first().waitFor();
      },
    },
    {
      name: 'folders in folders, opened one after the other',
      async work(page) {
        await show(page, image, '.file-row .step-name');
        for (const folder of ['deep/', '1/', '1/']) {
          await page.locator('.file-row a').getByText(folder, { exact: true }).click();
          await page.locator('.crumbs a[aria-current]').getByText(folder, { exact: true }).waitFor();
        }
        await page.locator('.file-row', { hasText: 'file-' }).first().waitFor();
      },
    },
  ];
  return taskTable(bench, await startBrowser(bench), works);
}
