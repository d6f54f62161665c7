import { describe, expect, it } from 'vitest';
import { convert } from './fake-host.ts';

const on = (lines: string, changes = {}, world = {}) => convert(`FROM alpine:3\n${lines}`, changes, world);
const action = (result: Awaited<ReturnType<typeof on>>, name: RegExp | string = /^\[2\/2\]/) =>
  result.op(name, 'file').actions[0]?.action.value;
/** The first action of the op that everything leads to. */
const lastAction = (result: Awaited<ReturnType<typeof on>>) => {
  const op = result.vertices.at(-1)?.op.op;
  return op?.case === 'file' ? op.value.actions[0]?.action.value : undefined;
};

describe('COPY', () => {
  it('copies contents of folders, follows links, takes wildcards and makes the destination', async () => {
    const result = await on('ENV D=/dst\nCOPY a* ./b $D/\n');
    const { actions } = result.op('[2/2] COPY a* ./b /dst/', 'file');
    expect(actions.map(({ action: { value } }) => value)).toMatchObject([
      {
        src: '/a*',
        dest: '/dst/',
        mode: -1,
        followSymlink: true,
        dirCopyContents: true,
        createDestPath: true,
        allowWildcard: true,
        allowEmptyWildcard: true,
        attemptUnpackDockerCompatibility: false,
        timestamp: -1n,
      },
      { src: '/b' },
    ]);
    expect(result.history.at(-1)).toBe('COPY a* ./b /dst/ # buildkit');
  });

  it('relative destinations are below WORKDIR', async () => {
    for (const [dest, want] of [
      ['.', '/srv/'],
      ['x', '/srv/x'],
      ['x/.', '/srv/x/.'],
      ['/y', '/y'],
    ]) {
      const result = await on(`WORKDIR /srv\nCOPY a ${dest}\n`);
      expect(action(result, /COPY/)).toMatchObject({ dest: want });
    }
  });

  it('asks the client only for what it copies', async () => {
    const attrs = async (lines: string) =>
      (
        await on(
          lines,
          {},
          { trees: { 'local://context': { '.dockerignore': '# c\n/node_modules/\n!keep \n' } } },
        )
      ).op('[internal] load build context', 'source').attrs;
    expect(await attrs('COPY b/ a.txt /x/\nADD c https://h/u /y/\n')).toEqual({
      'local.excludepatterns': '["node_modules","!keep"]',
      'local.followpaths': '["a.txt","b","c"]',
      'local.sharedkeyhint': 'context',
    });
    expect((await attrs('COPY . /x\n'))['local.followpaths']).toBeUndefined();
  });

  it('--chown, --chmod (octal and symbolic), --exclude', async () => {
    const result = await on('ARG U=app\nCOPY --chown=$U:2 --chmod=0640 --exclude=*.md --exclude=tmp a /\n');
    expect(action(result)).toMatchObject({
      mode: 0o640,
      excludePatterns: ['*.md', 'tmp'],
      owner: {
        user: { user: { case: 'byName', value: { name: 'app', input: 0n } } },
        group: { user: { case: 'byID', value: 2 } },
      },
    });
    expect(result.history.at(-1)).toBe('COPY --chown=app:2 --chmod=0640 a / # buildkit');
    expect(action(await on('COPY --chmod=u=rwX,go=rX a /\n'))).toMatchObject({
      mode: 0,
      modeStr: 'u=rwX,go=rX',
    });
    await expect(on('COPY --chmod=999 a /\n')).rejects.toThrow("invalid chmod parameter: '999'");
    await expect(on('COPY --chmod=what a /\n')).rejects.toThrow("invalid chmod parameter: 'what'");
  });

  it('--parents keeps folders, from a pivot on', async () => {
    expect(action(await on('COPY --parents x/y/f /d/\n'))).toMatchObject({
      src: '/',
      includePatterns: ['x/y/f'],
      requiredPaths: ['/x/y/f'],
    });
    expect(action(await on('COPY --parents x/./y/*.c /d/\n'))).toMatchObject({
      src: '/x',
      includePatterns: ['y/*.c'],
      requiredPaths: [],
    });
  });

  it('--link copies onto scratch and merges', async () => {
    const result = await on('COPY --link a /d/\n');
    const merge = result.vertex('[2/2] LINK COPY --link a /d/');
    expect(merge.op.op.case).toBe('merge');
    expect(merge.inputs).toHaveLength(2);
    const copy = result.vertex('[2/2] COPY --link a /d/');
    expect(result.op(copy.name, 'file').actions[0]?.input).toBe(-1n);
    expect(copy.metadata?.progressGroup).toMatchObject({ name: '[2/2] COPY --link a /d/', weak: true });
  });

  it('--link on scratch keeps the stage’s environment', async () => {
    const result = await convert('FROM scratch\nENV A=1\nCOPY --link a /d/\nRUN ["x"]\n');
    expect(result.op(/RUN/, 'exec').meta?.env).toContain('A=1');
    expect(result.names).not.toContain('[1/2] LINK COPY --link a /d/');
  });

  it('heredocs are files, with variables unless the name is quoted', async () => {
    const result = await on('ENV V=1\nCOPY <<a <<"b" /d/\nv=$V "q"\na\nv=$V\nb\n');
    const files = result.vertices
      .filter(({ name }) => name === '[internal] preparing inline document')
      .map(({ op }) => (op.op.case === 'file' ? op.op.value.actions[0]?.action.value : undefined));
    expect(files).toMatchObject([
      { path: '/a', data: new Uint8Array(Buffer.from('v=1 "q"\n')) },
      { path: '/b', data: new Uint8Array(Buffer.from('v=$V\n')) },
    ]);
    expect(result.history.at(-1)).toBe('COPY <<a <<b /d/ # buildkit');
  });

  it('takes no URLs, git repositories or checksums', async () => {
    await expect(on('COPY https://h/f /\n')).rejects.toThrow("source can't be a URL for COPY");
    await expect(on('COPY https://h/f.git /\n')).rejects.toThrow("source can't be a git ref for COPY");
  });
});

describe('ADD', () => {
  it('unpacks local tars unless told otherwise; files from URLs only when told', async () => {
    expect(action(await on('ADD a.tar /\n'))).toMatchObject({ attemptUnpackDockerCompatibility: true });
    expect(action(await on('ADD --unpack=false a.tar /\n'))).toMatchObject({
      attemptUnpackDockerCompatibility: false,
    });
    const result = await on('ADD --unpack https://h/p/a.tar?x=1 /d/\n');
    expect(lastAction(result)).toMatchObject({ src: '/a.tar', attemptUnpackDockerCompatibility: true });
    const plain = await on('ADD https://h/a.tar /d/\n');
    expect(lastAction(plain)).toMatchObject({ attemptUnpackDockerCompatibility: false });
  });

  it('a URL with a checksum', async () => {
    const checksum = `sha256:${'0'.repeat(64)}`;
    const result = await on(`ADD --checksum=${checksum} https://h/f /\n`);
    expect(
      result.vertices.find(({ op }) => op.op.case === 'source' && op.op.value.identifier === 'https://h/f')
        ?.op.op.value,
    ).toMatchObject({
      attrs: { 'http.checksum': checksum, 'http.filename': 'f' },
    });
    await expect(on('ADD --checksum=sha256:1 https://h/f /\n')).rejects.toThrow('invalid digest');
    await expect(on('ADD --checksum=md5:1 https://h/f /\n')).rejects.toThrow(
      'unsupported digest algorithm md5',
    );
    const longer = `sha512:${'0'.repeat(128)}`;
    const other = await on(`ADD --checksum=${longer} https://h/f /\n`);
    const sources = other.vertices.flatMap(({ op }) => (op.op.case === 'source' ? [op.op.value.attrs] : []));
    expect(sources).toContainEqual({ 'http.checksum': longer, 'http.filename': 'f' });
    await expect(on(`ADD --checksum=${checksum} f /\n`)).rejects.toThrow(
      'checksum requires HTTP(S) or Git sources',
    );
    await expect(on(`ADD --checksum=${checksum} https://h/f g /\n`)).rejects.toThrow('multiple sources');
  });

  it('a git repository', async () => {
    const result = await on('ADD --keep-git-dir --checksum=abc https://h/r.git?tag=v1&subdir=s /d\n');
    const [, git] = result.vertices;
    expect(git?.op.op.value).toMatchObject({
      identifier: 'git://h/r.git#refs/tags/v1:s',
      attrs: { 'git.keepgitdir': 'true', 'git.checksum': 'abc', 'git.fullurl': 'https://h/r.git' },
    });
    await expect(on('ADD https://h/r.git?x=1 /\n')).rejects.toThrow('unexpected query "x"');
    await expect(on('ADD --checksum=a https://h/r.git?checksum=b /\n')).rejects.toThrow(
      'checksum mismatch "a" != "b"',
    );
  });
});
