// Takes the pictures of the web page in docs/ui: `node scripts/screenshots.mjs`, as root. Those of builds are of one that
// is told to the page, those of images and of the disk are of a daemon.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { shellContext } from '../test/kit/api-builds.ts';
import { startTestDaemon } from '../test/kit/daemon.ts';
import { tarOf } from '../test/kit/images.ts';
import { makePage } from '../test/kit/page.ts';
import { TestPage, ToldBuild } from '../test/kit/told-build.ts';

const folder = join(import.meta.dirname, '../docs/ui');
const dockerfile = `FROM debian:12 AS base
RUN apt-get update && apt-get install -y gcc make

FROM base AS build
COPY . /src
RUN make -C /src -j4

FROM base AS test
COPY --from=build /src /src
RUN make -C /src test

FROM debian:12-slim
COPY --from=build /src/app /usr/bin/app
`;

function told(site, name, { ends, changed }) {
  const build = new ToldBuild(site, name, {
    filename: 'Dockerfile',
    context: 'https://github.com/example/app.git',
  });
  build.now -= 61_000;
  const step = (text, inputs, took, more) => {
    const it = build.start(text, inputs);
    if (took !== undefined) build.done(it, took, more);
    return it;
  };
  const load = step('[internal] load build context', [], 900);
  const from = step('[base 1/2] FROM docker.io/library/debian:12', [], 2100);
  const apt = step(
    '[base 2/2] RUN apt-get update && apt-get install -y gcc make',
    [from],
    14_000,
    changed && { cached: true },
  );
  const copy = step('[build 1/2] COPY . /src', [apt, load], 300);
  const make = build.start('[build 2/2] RUN make -C /src -j4', [copy]);
  build.why(make, 'files of COPY . /src changed: M src/main.c, A src/net.c');
  for (let i = 1; i <= 240; i++) build.print(make, `cc -O2 -c src/part${i}.c -o build/part${i}.o\n`);
  build.print(
    make,
    '\u001b[1msrc/net.c:41:9:\u001b[0m \u001b[35;1mwarning:\u001b[0m unused variable ‘left’\n\u001b[32mlinked app\u001b[0m\n',
    2,
  );
  build.done(make, 26_000);
  const slim = step('[stage-3 1/2] FROM docker.io/library/debian:12-slim', [], 1700);
  const app = step('[stage-3 2/2] COPY --from=build /src/app /usr/bin/app', [slim, make], 200);
  const tested = step('[test 1/2] COPY --from=build /src /src', [make], 400);
  const test = build.start('[test 2/2] RUN make -C /src test', [tested]);
  const lines = [
    [from, 1],
    [apt, 2],
    [copy, 5],
    [make, 6],
    [tested, 9],
    [test, 10],
    [slim, 12],
    [app, 13],
  ];
  build.dockerfile(dockerfile, new Map(lines.map(([{ digest }, line]) => [digest, line])));
  build.print(test, 'test 1: ok\ntest 2: ok\n');
  if (ends) {
    build.done(test, 9000);
    step('exporting to image', [], 800);
    build.end(undefined, {
      packages: ['gcc', 'make', 'libc6'].map((each) => ({ name: each, versionInfo: '12' })),
    });
  }
  return build;
}

await makePage();
const site = await TestPage.open();
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  mkdirSync(folder, { recursive: true });
  const first = told(site, 'registry.example/app:1.0', { ends: true });
  const second = told(site, 'registry.example/app:1.1', { ends: true, changed: true });
  told(site, 'registry.example/app:1.2', { ends: false, changed: true });
  const page = await browser.newPage({ viewport: { width: 1080, height: 640 } });
  const shot = async (name, hash, ready, address = site.address) => {
    await page.goto(address + hash);
    await page.locator(ready).first().waitFor();
    await page.screenshot({ path: join(folder, `${name}.png`) });
  };
  const at = (tab) => `#/builds/${first.ref}/${tab}`;
  await shot('builds', '#/builds', '.build-row');
  await shot('steps', at('steps'), '.log-line .text >> text=cc');
  await shot('graph', at('graph'), '.node');
  await shot('timeline', at('timeline'), '.time-row');
  await shot('dockerfile', at('dockerfile'), '.code-line');
  await shot('compare', `#/compare/${first.ref}/${second.ref}`, '.pair');
  await page.emulateMedia({ colorScheme: 'dark' });
  await shot('overview-dark', at('overview'), '.slow');
  await page.emulateMedia({ colorScheme: 'light' });
  await ofDaemon(shot);
} finally {
  await browser.close();
  await site.close();
}

/** A daemon with an image of a few layers, one of which removes files of another. */
async function ofDaemon(shot) {
  const daemon = await startTestDaemon({
    imageStore: 'local',
    insecureTcp: true,
    hosts: ['tcp://127.0.0.1:0'],
  });
  try {
    const steps = [
      'RUN mkdir -p /opt/app/cache && head -c 4000000 /dev/zero > /opt/app/cache/packages',
      'RUN head -c 900000 /dev/zero > /opt/app/server && echo port=80 > /opt/app/config',
      'RUN rm -r /opt/app/cache && echo port=8080 > /opt/app/config',
    ].join('\n');
    const body = tarOf(shellContext(steps, {}, ['mkdir', 'head', 'rm', 'echo']));
    await daemon.ask('POST', '/build?version=2&t=registry.example/app:1.0', { body });
    const address = `${daemon.addresses.find((each) => each.startsWith('tcp:')).replace('tcp:', 'http:')}/ui/`;
    await shot('images', '#/images', '.image-link', address);
    await shot('image', '#/images/registry.example%2Fapp%3A1.0', 'text=later layers hide', address);
    await shot('disk', '#/disk', '.disk-row', address);
  } finally {
    await daemon.stop();
  }
}
