/** Steps whose programs are for another processor: what runs is run, what cannot run is refused before it starts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { probeProgram } from '../../src/emulation/elf.ts';
import { Emulation } from '../../src/emulation/emulation.ts';
import { amd64Levels } from '../../src/emulation/levels.ts';
import { hostPlatform } from '../../src/oci/platform.ts';
import { ApiBuilds, shellContext } from '../kit/api-builds.ts';
import { onLocal } from '../kit/stores.ts';

const host = hostPlatform().architecture;
const known = await new Emulation().support();
/** A processor that this machine has no emulator for; undefined where it has all. */
const foreign = known.find(({ runs, handler }) => !runs && handler === undefined)?.machine;
const arch = foreign?.architecture ?? '';
const refused = `this machine cannot run programs for linux/${arch === 'arm' ? 'arm/v7' : arch}: it has no emulator`;

onLocal('programs for another processor', (store) => {
  let api: ApiBuilds;
  beforeAll(async () => {
    api = await ApiBuilds.open(store);
  });
  afterAll(() => api.stop());

  describe.skipIf(foreign === undefined)('that has no emulator', () => {
    const program = foreign && probeProgram(foreign);
    const files = { 'usr/bin/app': { data: program as Buffer, mode: 0o755 }, sh: { link: '/usr/bin/app' } };
    const image = 'FROM scratch\nCOPY usr /usr\nCOPY sh /bin/sh\n';

    test.each([
      ['by a shell that is a link', 'RUN true'],
      ['by its path', 'RUN ["/usr/bin/app"]'],
      ['by its name, on the PATH', 'ENV PATH=/nowhere:/usr/bin\nRUN ["app"]'],
      ['by a path from the working folder', 'WORKDIR /usr\nRUN ["bin/app"]'],
    ])('a step that starts one is refused: %s', async (_how, run) => {
      const error = await api.error({ ...files, Dockerfile: image + run }, `platform=linux/${arch}`);
      expect(error).toContain(refused);
      expect(error).toContain(`drydock binfmt install ${arch}`);
    });

    test('an image that says that it is for this machine is refused alike', async () => {
      const context = { ...files, Dockerfile: `${image}RUN ["/usr/bin/app"]` };
      expect(await api.error(context)).toContain(refused);
    });

    test('of several platforms the one that runs does not hide the other', async () => {
      const context = shellContext(`COPY $TARGETARCH /\nRUN ["/bin/app"]`, {
        [`${host}/bin/app`]: { link: 'sh' },
        [`${arch}/bin/app`]: { data: program as Buffer, mode: 0o755 },
      });
      context.Dockerfile = (context.Dockerfile as string).replace('\n', '\nARG TARGETARCH\n');
      const error = await api.error(context, `platform=linux/${host},linux/${arch}&t=several`);
      expect(error).toContain(refused);
      expect(await api.tags()).not.toContain('several:latest');
    });

    test('a program for this machine runs, whatever platform the image says', async () => {
      const built = await api.ok(shellContext('ENV PATH=/bin\nRUN echo ran'), `platform=linux/${arch}`);
      expect(built.log).toContain('ran');
    });

    test('a program of a mount is not looked for in the root below it', async () => {
      const context = shellContext('ENV PATH=/bin', files);
      const mounted = 'RUN --mount=from=tools,source=/bin,target=/bin echo ran';
      const tools = (context.Dockerfile as string).replace('scratch', 'scratch AS tools');
      context.Dockerfile = `${tools}${image}${mounted}`;
      const built = await api.ok(context, `platform=linux/${arch}`);
      expect(built.log).toContain('ran');
    });

    test('nothing is left behind', async () => {
      expect(await api.leftBehind()).toEqual([]);
    });
  });

  test('a program that is not there, or is no program, is the runtime’s to tell of', async () => {
    const other = `platform=linux/${arch || 'mips64'}`;
    const none = await api.error({ Dockerfile: 'FROM scratch\nCOPY Dockerfile /\nRUN ["/none"]' }, other);
    expect(none).toContain('exit code: 127');
    const text = await api.error(
      {
        Dockerfile: 'FROM scratch\nCOPY text /\nRUN ["/text"]',
        text: { data: Buffer.from('hi'), mode: 0o755 },
      },
      other,
    );
    expect(text).toContain('exec format error');
  });
});

test('a processor’s level is the highest of which it has all', () => {
  const v2 = 'fpu cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3';
  const v3 = `${v2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave`;
  const levels = (flags: string) => amd64Levels(`processor\t: 0\nflags\t\t: ${flags}\nbugs\t\t: avx2\n`);
  expect(levels('fpu cx16')).toEqual([]);
  expect(levels(v2)).toEqual(['v2']);
  expect(levels(`${v2} avx avx2`)).toEqual(['v2']);
  expect(levels(v3)).toEqual(['v2', 'v3']);
  expect(levels(`${v3} avx512f avx512bw avx512cd avx512dq avx512vl`)).toEqual(['v2', 'v3', 'v4']);
  expect(amd64Levels('')).toEqual([]);
});
