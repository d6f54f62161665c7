// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the substitutions are the Dockerfile's
/** The parser, as a manual: what each line of a Dockerfile becomes. */
import { describe, expect, test } from 'vitest';
import type { Instruction } from '../../../src/frontend/dockerfile/ast.ts';
import { detectSyntax } from '../../../src/frontend/dockerfile/parse/directives.ts';
import { parseDuration } from '../../../src/frontend/dockerfile/parse/healthcheck-duration.ts';
import { parseDevice, parseMount, parseSize } from '../../../src/frontend/dockerfile/parse/mount.ts';
import { parseDockerfile, parseInstruction } from '../../../src/frontend/dockerfile/parse/parse.ts';
import { exposedPorts } from '../../../src/frontend/dockerfile/parse/ports.ts';

const parse = (text: string | Buffer) => parseDockerfile(text, 'Dockerfile');
/** The one instruction behind FROM. */
const one = (line: string): Instruction => {
  const { instructions } = parse(`FROM x\n${line}`).stages[0]!;
  expect(instructions).toHaveLength(1);
  return instructions[0]!;
};

describe('lines', () => {
  test('a continuation joins lines; comments inside it vanish, spaces stay', () => {
    const run = one('RUN a \\\n  # not part of it\n  && b \\  \n&& c');
    expect(run).toMatchObject({
      kind: 'RUN',
      original: 'RUN a   && b && c',
      command: { args: ['a   && b && c'], exec: false },
      range: { start: { line: 2, character: 0 }, end: { line: 5, character: 4 } },
    });
  });

  test('a doubled escape at the end is no continuation', () => {
    const { instructions } = parse('FROM x\nRUN a \\\\\nRUN b').stages[0]!;
    expect(instructions.map((i) => i.original)).toEqual(['RUN a \\\\', 'RUN b']);
  });

  test('empty lines in a continuation are skipped, and found', () => {
    const file = parse('FROM x\nRUN a \\\n\n  b');
    expect(file.stages[0]!.instructions[0]!.original).toBe('RUN a   b');
    expect(file.findings).toMatchObject([{ rule: 'NoEmptyContinuation', range: { start: { line: 4 } } }]);
  });

  test('CRLF, a byte order mark, leading blanks, a missing end of line', () => {
    const file = parse(Buffer.from('\ufeff# escape=`\r\n\tFROM x\r\n  run a `\r\n  b\r\nUSER me'));
    expect(file.directives.escape).toBe('`');
    expect(file.stages[0]!.instructions.map((i) => i.original)).toEqual(['run a   b', 'USER me']);
    expect(file.stages[0]!.instructions[0]).toMatchObject({ kind: 'RUN', keyword: 'run' });
  });

  test('comments right above describe stages and args', () => {
    const file = parse(
      '# V is the version\nARG V=1\n\n# base builds it\n# check=skip=FromAsCasing\nFROM x AS Base\n# away\n\nARG Q',
    );
    expect(file.globalArgs[0]!.args[0]).toMatchObject({
      name: 'V',
      default: '1',
      description: 'is the version',
    });
    expect(file.stages[0]).toMatchObject({ name: 'base', nameWritten: 'Base', description: 'builds it' });
    expect(file.stages[0]!.from.check).toMatchObject({ skip: ['FromAsCasing'] });
    expect(file.stages[0]!.instructions[0]!.comments).toBeUndefined();
  });
});

describe('parser directives', () => {
  test.each([
    [
      '# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=A, B;error=true\n',
      { syntax: 'docker/dockerfile:1', escape: '`' },
    ],
    ['#SYNTAX = a/b  and more\n', { syntax: 'a/b' }],
    ['# a comment first\n# escape=`\n', { escape: '\\' }],
    ['\n# escape=`\n', { escape: '\\' }],
    ['# unknown=1\n# escape=`\n', { escape: '\\' }],
    [
      '# check=skip=all;experimental=A,B\n',
      { check: { skipAll: true, experimental: ['A', 'B'], error: false } },
    ],
  ])('%j', (head, directives) => {
    expect(parse(`${head}FROM x`).directives).toMatchObject(directives);
  });

  test.each([
    ['# escape=x\nFROM x', "invalid escape token 'x' does not match ` or \\", 1],
    ['# escape=`\n# escape=`\nFROM x', 'only one escape parser directive can be used', 2],
    ['# syntax=a\n# check=nonsense\nFROM x', 'invalid check option "nonsense"', 2],
    ['# check=error=perhaps\nFROM x', 'failed to parse check option "error=perhaps"', 1],
  ])('%j: %s', (text, message, line) => {
    expect(() => parse(text)).toThrow(
      expect.objectContaining({
        message: expect.stringContaining(message),
        source: expect.objectContaining({
          ranges: [expect.objectContaining({ start: { line, character: 0 } })],
        }),
      }),
    );
  });

  test.each([
    ['# syntax=a/b\n', 'a/b'],
    ['#!/usr/bin/env x\n# syntax=a/b\n', 'a/b'],
    ['// syntax=a/b\n', 'a/b'],
    ['{"syntax":"a/b"}', 'a/b'],
    ['FROM x\n# syntax=a/b', undefined],
    ['{', undefined],
  ])('detectSyntax(%j) is %s', (text, syntax) => {
    expect(detectSyntax(text)).toBe(syntax);
  });
});

describe('heredocs', () => {
  test.each([
    [
      'RUN <<EOF\na\n b\nEOF',
      [{ name: 'EOF', content: 'a\n b\n', expand: true, chomp: false, fileDescriptor: 0 }],
    ],
    ['RUN <<-EOF\n\t\ta\n\tEOF', [{ name: 'EOF', content: 'a\n', chomp: true }]],
    ['RUN <<"EOF"\n$x\nEOF', [{ name: 'EOF', content: '$x\n', expand: false }]],
    ["RUN <<E'O'F cat\nEOF", [{ name: 'EOF', content: '', expand: false }]],
    [
      'RUN 3<<EOF 4<<X cat\na\nEOF\nb\nX',
      [
        { fileDescriptor: 3, content: 'a\n' },
        { fileDescriptor: 4, content: 'b\n' },
      ],
    ],
    ['RUN cat << EOF\na\r\nEOF\r', [{ name: 'EOF', content: 'a\r\n' }]],
    ['RUN <<EOF\n# no comment \\\n\nEOF', [{ content: '# no comment \\\n\n' }]],
    // not heredocs
    ["RUN echo '<<EOF'", []],
    ['RUN cat <<<EOF', []],
    ['RUN x=$((1<<2))', []],
    ["RUN it's <<EOF", []],
    ['RUN ["a", "<<EOF"]', []],
  ])('%j', (line, heredocs) => {
    expect(one(line)).toMatchObject({ kind: 'RUN', command: { heredocs } });
  });

  test('are files for COPY and ADD', () => {
    expect(one('COPY <<a.txt b <<-"c" /x/\nA\na.txt\n\tC\nc')).toMatchObject({
      sources: [
        { heredoc: { name: 'a.txt', content: 'A\n' } },
        'b',
        { heredoc: { name: 'c', expand: false, content: 'C\n' } },
      ],
      dest: '/x/',
    });
  });

  test('travel with ONBUILD and come back with parseInstruction', () => {
    const onbuild = one('ONBUILD RUN <<EOF\na\nEOF');
    expect(onbuild).toMatchObject({ kind: 'ONBUILD', expression: 'RUN <<EOF\na\nEOF' });
    expect(parseInstruction('RUN <<EOF\na\nEOF', '\\')).toMatchObject({
      kind: 'RUN',
      command: { heredocs: [{ content: 'a\n' }] },
    });
  });
});

describe('instructions', () => {
  test.each<[string, object]>([
    [
      'ADD --checksum=sha256:00 --unpack=false --keep-git-dir https://x/y /z',
      {
        flags: { checksum: 'sha256:00', unpack: false, keepGitDir: true },
        sources: ['https://x/y'],
        dest: '/z',
      },
    ],
    [
      'ARG a b=1 c="x y" d=',
      {
        args: [
          { name: 'a', default: undefined },
          { name: 'b', default: '1' },
          { name: 'c', default: '"x y"' },
          { name: 'd', default: '' },
        ],
      },
    ],
    ['CMD ["a", "b c"]', { command: { args: ['a', 'b c'], exec: true } }],
    ['CMD a  b', { command: { args: ['a  b'], exec: false } }],
    ["CMD ['a']", { command: { args: ["['a']"], exec: false } }],
    ['CMD []', { command: { args: [], exec: true } }],
    [
      'COPY --from=b --chown=1:2 --chmod=u+x --link --parents --exclude=*.a --exclude=b c d e',
      {
        flags: { from: 'b', chown: '1:2', chmod: 'u+x', link: true, parents: true, excludes: ['*.a', 'b'] },
        sources: ['c', 'd'],
        dest: 'e',
      },
    ],
    ['COPY --link=false a b', { flags: { link: false } }],
    ['COPY ["a b", "c"]', { sources: ['a b'], dest: 'c' }],
    ['ENTRYPOINT exec a', { command: { args: ['exec a'], exec: false } }],
    [
      'ENV a=1 b="x y" c=d\\ e',
      {
        pairs: [
          { key: 'a', value: '1' },
          { key: 'b', value: '"x y"' },
          { key: 'c', value: 'd\\ e' },
        ],
      },
    ],
    ['ENV a x  y=z', { pairs: [{ key: 'a', value: 'x  y=z', legacy: true }] }],
    ['EXPOSE 90 80/udp', { values: ['80/udp', '90'] }],
    [
      'HEALTHCHECK --interval=5m --timeout=3s --start-period=1s --start-interval=2s --retries=3 CMD a b',
      {
        command: { args: ['a b'], exec: false },
        interval: '5m',
        timeout: '3s',
        startPeriod: '1s',
        startInterval: '2s',
        retries: '3',
      },
    ],
    ['HEALTHCHECK none', {}],
    ['LABEL "a.b"="c d"', { pairs: [{ key: '"a.b"', value: '"c d"' }] }],
    ['MAINTAINER Me <me@x>', { value: 'Me <me@x>' }],
    ['ONBUILD COPY . /app', { expression: 'COPY . /app' }],
    [
      'RUN --network=none --security=insecure --device=v/c=n,required a',
      { network: 'none', security: 'insecure', devices: ['v/c=n,required'], command: { args: ['a'] } },
    ],
    ['RUN -- --mount a', { mounts: [], command: { args: ['--mount a'] } }],
    ['SHELL ["bash", "-c"]', { shell: ['bash', '-c'] }],
    ['STOPSIGNAL SIGINT', { value: 'SIGINT' }],
    ['USER $u:g', { value: '$u:g' }],
    ['VOLUME /a  /b', { values: ['/a', '/b'] }],
    ['VOLUME ["/a b"]', { values: ['/a b'] }],
    ['WORKDIR /a b', { value: '/a b' }],
  ])('%s', (line, fields) => {
    expect(one(line)).toMatchObject({ kind: line.split(' ')[0], ...fields });
  });

  test('HEALTHCHECK NONE has no command', () => {
    expect(one('HEALTHCHECK NONE')).not.toHaveProperty('command');
  });

  test('FROM opens a stage', () => {
    const { stages } = parse('ARG V\nFROM --platform=$P a:$V AS One\nRUN x\nfrom One');
    expect(stages).toMatchObject([
      {
        name: 'one',
        nameWritten: 'One',
        asKeyword: 'AS',
        base: 'a:$V',
        platform: '$P',
        instructions: [{ kind: 'RUN' }],
      },
      { name: '', base: 'One', from: { keyword: 'from', original: 'from One' } },
    ]);
  });
});

describe('RUN --mount', () => {
  test.each<[string, object]>([
    ['target=/a', { type: 'bind', target: '/a', readonly: true }],
    ['type=bind,from=b,source=/c,dst=/d,rw', { from: 'b', source: '/c', target: '/d', readonly: false }],
    [
      'type=cache,destination=/c,id=i,sharing=locked,uid=1,gid=2,mode=0755',
      { type: 'cache', id: 'i', sharing: 'locked', uid: '1', gid: '2', mode: '0755', readonly: false },
    ],
    ['type=cache,target=/c,ro=true', { readonly: true }],
    ['type=tmpfs,target=/t,size=64m', { type: 'tmpfs', size: '64m' }],
    ['type=secret,id=s,required,env=TOKEN', { type: 'secret', id: 's', required: true, env: 'TOKEN' }],
    ['type=ssh,required=false', { type: 'ssh', required: false }],
    ['"target=/with,comma"', { target: '/with,comma' }],
    // variables wait for the converter
    ['type=cache,target=$HOME/.c,mode=$M,ro=$R', { target: '$HOME/.c', mode: '$M', readonly: false }],
  ])('%s', (raw, mount) => {
    expect(parseMount(raw)).toMatchObject({ raw, ...mount });
  });

  test('is read again with the variables expanded', () => {
    const expand = (word: string) => word.replace('$T', 'cache').replace('$M', '9');
    expect(parseMount('type=$T,target=/x,sharing=shared', expand)).toMatchObject({
      type: 'cache',
      readonly: false,
    });
    expect(() => parseMount('type=$T,target=/x,mode=$M', expand)).toThrow('invalid value 9 for mode');
  });

  test.each([
    ['type=cach', 'unsupported mount type "cach" (did you mean cache?)'],
    ['type=bind,traget=/x', "unexpected key 'traget' in 'traget=/x' (did you mean target?)"],
    ['target', "invalid field 'target' must be a key=value pair"],
    ['whatever', "invalid field 'whatever' must be a key=value pair"],
    ['from=$X,target=/x', "'from' doesn't support variable expansion, define alias stage instead"],
    ['type=bind,size=1', "unexpected key 'size' for mount type 'bind'"],
    ['required', "unexpected key 'required' for mount type 'bind'"],
    ['type=cache,sharing=share', 'unsupported sharing value "share" (did you mean shared?)'],
    ['type=ssh,sharing=shared', 'invalid cache sharing set for ssh mount'],
    ['type=tmpfs,target=/x,uid=1', 'uid not allowed for "tmpfs" type mounts'],
    ['type=cache,uid=4294967296', 'invalid value 4294967296 for uid'],
    ['type=secret', 'invalid secret mount. one of source, target required'],
    ['type=secret,id=a,src=b', "both source and id can't be set"],
    ['type=secret,id=a,from=b', 'secret mount should not have a from'],
    ['ro=maybe', 'invalid value for ro: maybe'],
    ['"target=/x', 'failed to parse csv'],
  ])('%s: %s', (raw, message) => {
    expect(() => one(`RUN --mount=${raw.replaceAll('"', '\\"')} x`)).toThrow(message);
  });
});

test.each([
  ['1024', 1024],
  ['64m', 64 << 20],
  ['1.5KiB', 1536],
  ['1gb', 2 ** 30],
])('the size %s is %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each([
  ['1m30s', 90e9],
  ['1.5s', 1.5e9],
  ['300ms', 3e8],
  ['0', 0],
  ['-2h', -7200e9],
])('the duration %s is %d ns', (text, nanoseconds) => {
  expect(parseDuration(text)).toBe(nanoseconds);
});

test('devices', () => {
  expect(parseDevice('vendor.com/class=name')).toEqual({ name: 'vendor.com/class=name', required: false });
  expect(parseDevice('name=x,required')).toEqual({ name: 'x', required: true });
  expect(() => parseDevice('x,requird=1')).toThrow(
    "unexpected key 'requird' in 'requird=1' (did you mean required?)",
  );
});

describe('ports of EXPOSE', () => {
  const range = { start: { line: 1, character: 0 }, end: { line: 1, character: 0 } };
  test.each([
    ['80', ['80/tcp'], []],
    ['80/UDP', ['80/udp'], ['ExposeProtoCasing']],
    ['8000-8002/sctp', ['8000/sctp', '8001/sctp', '8002/sctp'], []],
    ['127.0.0.1:90:80', ['80/tcp'], ['ExposeInvalidFormat']],
    ['[::1]:90:80', ['80/tcp'], ['ExposeInvalidFormat']],
  ])('%s', (word, ports, findings) => {
    const result = exposedPorts([word], range);
    expect(result.ports).toEqual(ports);
    expect(result.findings.map((f) => f.rule)).toEqual(findings);
  });

  test.each([
    ['70000', 'invalid containerPort: 70000'],
    ['9-8', 'invalid containerPort: 9-8'],
    ['80/xyz', 'invalid proto: xyz'],
    ['/tcp', 'no port specified'],
    ['1.2.3:80:80', 'invalid IP address: 1.2.3'],
    ['x:80', 'invalid hostPort: x'],
  ])('%s: %s', (word, message) => {
    expect(() => exposedPorts([word], range)).toThrow(message);
  });
});
