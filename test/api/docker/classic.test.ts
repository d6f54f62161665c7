/** What docker's builder of old (`POST /build`, version 1) takes and says that BuildKit does not. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ApiBuilds, shellContext } from '../../kit/api-builds.ts';
import { onStores } from '../../kit/stores.ts';

const v1 = 'version=1';

onStores('docker’s builder of old', (store) => {
  let builds: ApiBuilds;
  let id = '';
  beforeAll(async () => {
    builds = await ApiBuilds.open(store);
    const files = shellContext('RUN echo base > /base\nCMD ["/bin/sh"]', {}, ['cat']);
    id = (await builds.ok(files, `${v1}&t=base`)).imageId ?? '';
  });
  afterAll(async () => {
    expect(await builds.leftBehind()).toEqual([]);
    await builds.stop();
  });
  const config = async (image = '') =>
    (await builds.daemon.ask('GET', `/v1.44/images/${image}/json`)).json<{
      Config: { Cmd?: string[] | null };
    }>().Config;

  test.each([
    ['whole', (all: string) => all],
    ['without its algorithm', (all: string) => all.slice('sha256:'.length)],
    ['its beginning', (all: string) => all.slice('sha256:'.length, 'sha256:'.length + 12)],
  ])('an image is a base by its ID: %s', async (which, part) => {
    const built = await builds.ok(`FROM ${part(id)}\nRUN echo ${which} && cat /base\n`, v1);
    expect(built.log).toContain(`\n${which}\nbase\n`);
    const copied = await builds.ok(
      `FROM base\nCOPY --from=${part(id)} /base /copy\nRUN echo ${which} && cat /copy\n`,
      v1,
    );
    expect(copied.log).toContain(`\n${which}\nbase\n`);
  });

  test('also one without a name; a name that looks like an ID is a name', async () => {
    const { imageId = '' } = await builds.ok('FROM base\nRUN echo unnamed > /base\n', v1);
    expect((await builds.ok(`FROM ${imageId}\nRUN cat /base\n`, `${v1}&pull=1`)).log).toContain('unnamed');
    await builds.ok('FROM base\nRUN echo named > /base\n', `${v1}&t=${imageId.slice(7, 19)}`);
    expect((await builds.ok(`FROM ${imageId.slice(7, 19)}\nRUN cat /base\n`, v1)).log).toContain('named');
  });

  test('RUN [] does nothing, CMD [] is no command', async () => {
    const { imageId } = await builds.ok('FROM base\nRUN []\nCMD []\n', v1);
    expect((await config(imageId)).Cmd ?? null).toBeNull();
    expect(await builds.error('FROM base\nRUN []\n')).toContain('a run needs a command');
  });

  test('a build arg without a value is one that no ARG takes', async () => {
    const args = encodeURIComponent(JSON.stringify({ FOO9: null, BAR: null }));
    const { log } = await builds.ok('FROM base\nARG BAR\n', `${v1}&buildargs=${args}`);
    expect(log).toContain('[Warning] One or more build-args [FOO9] were not consumed');
  });

  test('its words for a file that is not there', async () => {
    const files = { Dockerfile: 'FROM base\nADD foo /\n', food: 'x' };
    const text = await builds.error(files, v1);
    expect(text).toContain(
      'ADD failed: file not found in build context or excluded by .dockerignore: stat foo: file does not exist',
    );
    expect(text).toContain('Did you mean /food?');
    expect(await builds.error('FROM base\nCOPY --from=base /none /\n', v1)).toContain(
      'COPY failed: stat none: file does not exist',
    );
  });

  test('a pattern that nothing matches is an error, at its own step; BuildKit copies nothing', async () => {
    const files = { Dockerfile: 'FROM base\nENV A=b\nCOPY fil*.txt /tmp/\n', other: 'x' };
    const { error, log } = await builds.build(files, v1);
    expect(log).toMatch(/Step 3\/3 : COPY fil\*\.txt \/tmp\/\n$/);
    expect(error).toContain('COPY failed: no source files were specified (Dockerfile:3)');
    await builds.ok(files);
    // One of several may match nothing.
    await builds.ok({ ...files, Dockerfile: 'FROM base\nCOPY fil*.txt other /tmp/\n' }, v1);
  });

  test.each([
    ['FROM base\nCOPY --from=localhost:1/foo foo bar\n', 'invalid from flag value localhost:1/foo: '],
    ['FROM base\nCOPY --from=0 foo bar\n', 'invalid from flag value 0: refers to current build stage'],
    ['FROM base AS 1\nCOPY --from=1 foo bar\n', 'invalid name for build stage'],
  ])('its words for a stage that there is not: %j', async (dockerfile, words) => {
    const { answer } = await builds.build(dockerfile, v1);
    expect(answer.text).toContain(words);
  });

  test('its words for a Dockerfile that is empty, or outside of the context', async () => {
    const empty = await builds.build({ Dockerfile: '', file: 'x' }, v1);
    expect(empty.answer.status).toBe(400);
    expect(empty.answer.text).toContain('the Dockerfile (Dockerfile) cannot be empty');
    const outside = await builds.build('FROM base\n', `${v1}&dockerfile=../Dockerfile`);
    expect(outside.answer.status).toBe(500);
    expect(outside.answer.text).toContain('forbidden path outside the build context: ../Dockerfile');
  });
});
