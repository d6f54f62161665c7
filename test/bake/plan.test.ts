// biome-ignore-all lint/suspicious/noTemplateCurlyInString: templates of bake files
/** Bake files: what `--print` shows of them. The results are those of buildx. */
import { expect, test } from 'vitest';
import { readDefinitions } from '../../src/bake/files.ts';
import { readOverrides } from '../../src/bake/overrides.ts';
import { planOf } from '../../src/bake/plan.ts';
import { printed } from '../../src/bake/print.ts';

interface Printed {
  group: Record<string, { targets: string[] }>;
  target: Record<string, Record<string, unknown>>;
}

interface Asked {
  targets?: string[];
  set?: string[];
  env?: Record<string, string>;
}

/** The plan of files, as it is printed. */
function plan(files: string | Record<string, string>, asked: Asked = {}): Printed {
  return JSON.parse(planText(files, asked)) as Printed;
}

function planText(
  files: string | Record<string, string>,
  { targets = ['default'], set = [], env = {} }: Asked = {},
): string {
  const all = typeof files === 'string' ? { 'docker-bake.hcl': files } : files;
  const definitions = readDefinitions(
    Object.entries(all).map(([filename, text]) => ({ filename, text })),
    {
      builtins: new Map([['BAKE_CMD_CONTEXT', 'cwd://']]),
      lookup: (name) => env[name],
      env,
      readFile(path) {
        throw new Error(`no file ${path}`);
      },
    },
  );
  const overrides = readOverrides(set, [...definitions.targets.keys()], (name) => env[name]);
  return printed(planOf(definitions, targets, overrides));
}

test('a target has its attributes, and the defaults of those that it lacks', () => {
  const { target } = plan(`target "default" {
    args = { A = 1, B = null }
    tags = ["a", "a", "b"]
    output = ["out", { type = "image", push = "true" }]
    cache-from = ["user/app:cache", { type = "local", src = "c" }]
    secret = ["id=x,src=f", "type=env,id=y"]
    ssh = ["default", { id = "k", paths = ["a", "b"] }]
    attest = ["type=sbom", "type=provenance,mode=max", { type = "sbom", disabled = true }]
    resources = { memory = "2g", cpu-quota = 50000 }
    network = "host"
    labels = { l = "$\${x}" }
  }`);
  expect(target.default).toEqual({
    context: '.',
    dockerfile: 'Dockerfile',
    args: { A: '1' },
    tags: ['a', 'b'],
    output: [
      { type: 'local', dest: 'out' },
      { type: 'image', push: 'true' },
    ],
    'cache-from': [
      { type: 'registry', ref: 'user/app:cache' },
      { type: 'local', src: 'c' },
    ],
    secret: [{ id: 'x', src: 'f' }, { id: 'y' }],
    ssh: [{ id: 'default' }, { id: 'k', paths: ['a', 'b'] }],
    attest: [
      { type: 'sbom', disabled: true },
      { type: 'provenance', mode: 'max' },
    ],
    resources: { memory: '2g', 'cpu-quota': 50000 },
    network: 'host',
    entitlements: ['network.host'],
    labels: { l: '$${x}' },
  });
});

test('the JSON is as Go writes it: keys in the order of their texts, < > & escaped, secrets by id first', () => {
  const text = planText(`target "default" {
    context = "./web/../sub/"
    args = { "2" = "x\\u2028y", "10" = "a<b>&c" }
    secret = ["env=E,id=s", "src=f,id=t"]
  }`);
  expect(text).toBe(`{
  "group": {
    "default": {
      "targets": [
        "default"
      ]
    }
  },
  "target": {
    "default": {
      "context": "sub",
      "dockerfile": "Dockerfile",
      "args": {
        "10": "a\\u003cb\\u003e\\u0026c",
        "2": "x\\u2028y"
      },
      "secret": [
        {
          "id": "s",
          "env": "E"
        },
        {
          "id": "t",
          "src": "f"
        }
      ]
    }
  }
}`);
});

test('a context of cwd:// is a folder here, and an empty one the working folder', () => {
  const { target } = plan('target "default" { context = "cwd://sub/" }\ntarget "e" { context = "" }', {
    targets: ['default', 'e'],
  });
  expect(target).toMatchObject({ default: { context: 'sub' }, e: { context: '.' } });
});

test('a group may have a target of its own name', () => {
  const { group, target } = plan(`group "default" { targets = ["a", "default"] }
    target "a" {}
    target "default" {}`);
  expect([group.default?.targets, Object.keys(target)]).toEqual([
    ['a', 'default'],
    ['a', 'default'],
  ]);
});

test('variables have defaults, types, checks, and values from outside', () => {
  const file = `
    variable "V" { default = "1" }
    variable "N" { default = 2 }
    variable "B" { default = false }
    variable "L" {
      type = list(number)
      default = [1]
      validation {
        condition = length(L) < 4
        error_message = "too many: \${length(L)}"
      }
    }
    variable "O" { type = object({ a = string }) }
    X = "top \${V}"
    target "default" {
      args = { v = V, n = N + 1, b = B, l = jsonencode(L), o = O == null ? "none" : O.a, x = X }
    }`;
  expect(plan(file).target.default?.args).toEqual({
    v: '1',
    n: '3',
    b: 'false',
    l: '[1]',
    o: 'none',
    x: 'top 1',
  });
  const env = { V: '9', N: '5', B: 'true', L: '7,8', O_JSON: '{"a":"z"}', X: 'ignored' };
  expect(plan(file, { env }).target.default?.args).toEqual({
    v: '9',
    n: '6',
    b: 'true',
    l: '[7,8]',
    o: 'z',
    x: 'top 9',
  });
  expect(() => plan(file, { env: { L: '1,2,3,4' } })).toThrow('Validation failed; too many: 4');
  expect(() => plan(file, { env: { N: 'x' } })).toThrow(
    'the value "x" of variable N is unsuitable: "x" is no number',
  );
  expect(() => plan(file, { env: { O: 'x' } })).toThrow('an object is given as JSON, in O_JSON');
  expect(() =>
    plan('variable "A" { default = B }\nvariable "B" { default = A }\ntarget "default" {}'),
  ).toThrow('variable cycle not allowed for A');
});

test('targets inherit, later parents over earlier ones; tags are replaced, args are merged', () => {
  const { target } = plan(
    `target "one" {
       tags = ["one"]
       args = { A = "1", B = "1" }
       annotations = ["a=1"]
     }
     target "two" { args = { B = "2" } }
     target "default" {
       inherits = ["one", "two"]
       args = { C = "3" }
       annotations = ["b=2"]
     }`,
  );
  expect(target.default).toMatchObject({
    tags: ['one'],
    args: { A: '1', B: '2', C: '3' },
    annotations: ['a=1', 'b=2'],
  });
});

test('a matrix makes a target of each combination, and a group of all', () => {
  const { group, target } = plan(
    `target "app" {
       name = "app-\${item.n}-\${replace(v, ".", "_")}"
       matrix = { item = [{ n = "x" }, { n = "y" }], v = ["1.0"] }
       args = { V = v }
     }`,
    { targets: ['app'] },
  );
  expect(group).toEqual({ app: { targets: ['app-x-1_0', 'app-y-1_0'] }, default: { targets: ['app'] } });
  expect(target['app-y-1_0']?.args).toEqual({ V: '1.0' });
  expect(() => plan('target "a" { matrix = { x = [1, 2] } }')).toThrow('duplicate name "a"');
  expect(() => plan('target "a" { name = "b" }')).toThrow('name requires matrix');
});

test('groups have targets and groups; patterns name several; unknown names are told with the nearest', () => {
  const file =
    'group "all" { targets = ["g", "c"] }\ngroup "g" { targets = ["a", "b"] }\ntarget "a" {}\ntarget "b" {}\ntarget "c" {}';
  expect(Object.keys(plan(file, { targets: ['all'] }).target)).toEqual(['a', 'b', 'c']);
  expect(Object.keys(plan(file, { targets: ['[ab]'] }).target)).toEqual(['a', 'b']);
  expect(() => plan(file, { targets: ['alll'] })).toThrow('failed to find target alll');
});

test('targets refer to attributes of other targets, not in a circle', () => {
  const { target } = plan(
    'target "a" { tags = ["x"] }\ntarget "default" { tags = concat(target.a.tags, ["y"]) }',
  );
  expect(target.default?.tags).toEqual(['x', 'y']);
  expect(() => plan('target "a" { tags = target.b.tags }\ntarget "b" { tags = target.a.tags }')).toThrow(
    'reference cycle not allowed for target.a.tags',
  );
});

test('targets are made from targets: those are built for it only, and not in a circle', () => {
  const file =
    'target "base" { entitlements = ["network.host"] }\ntarget "default" { contexts = { b = "target:base" } }';
  const { target } = plan(file);
  expect(target.base?.output).toEqual([{ type: 'cacheonly' }]);
  expect(target.default?.entitlements).toEqual(['network.host']);
  expect(() => plan('target "default" { contexts = { b = "target:default" } }')).toThrow(
    'target default cannot link to itself',
  );
  expect(() =>
    plan(
      'target "default" { contexts = { b = "target:b" } }\ntarget "b" { contexts = { d = "target:default" } }',
    ),
  ).toThrow('infinite loop from b to default');
});

test('--set overrides and adds, for patterns of targets', () => {
  const file =
    'target "a" { tags = ["x"] }\ntarget "b" {\n secret = ["id=s,src=f"]\n output = ["type=image"]\n}\ngroup "default" { targets = ["a", "b"] }';
  const set = [
    'a.tags+=y',
    '*.args.V=1',
    'b.output=type=local,dest=o',
    '*.platform=linux/amd64',
    '*.platform=linux/arm64',
    'b.secret.s=env=E',
    '*.pull=true',
    '*.args.FROM_ENV',
  ];
  const { target } = plan(file, { set, env: { FROM_ENV: 'e' } });
  expect(target.a).toMatchObject({
    tags: ['x', 'y'],
    args: { V: '1', FROM_ENV: 'e' },
    platforms: ['linux/amd64', 'linux/arm64'],
    pull: true,
  });
  expect(target.b).toMatchObject({ output: [{ type: 'local', dest: 'o' }], secret: [{ id: 's', env: 'E' }] });
  // With one += of a key all its values are added.
  const some = plan(file, { set: ['a.tags=y', 'a.tags+=z', 'a.args.V+=1'] }).target.a;
  expect([some?.tags, some?.args]).toEqual([['x', 'y', 'z'], { V: '1' }]);
  expect(plan(file, { set: ['*.push=true'] }).target.b?.output).toEqual([{ type: 'image', push: 'true' }]);
  expect(plan(file, { set: ['*.load=true'] }).target.a?.output).toEqual([{ type: 'docker' }]);
  expect(() => plan(file, { set: ['z.tags=1'] })).toThrow("could not find any target matching 'z'");
  expect(() => plan(file, { set: ['a.nothing=1'] })).toThrow('unknown key: nothing');
  expect(() => plan(file, { set: ['a.args=1'] })).toThrow('args requires name');
});

test('functions of the file take arguments, further ones too', () => {
  const file = `
    function "tag" {
      params = [name]
      variadic_params = rest
      result = "\${name}:\${join("-", rest)}"
    }
    function "twice" {
      params = [x]
      result = tag(x, x, x)
    }
    target "default" { tags = [tag("a", "1", "2"), twice("b")] }`;
  expect(plan(file).target.default?.tags).toEqual(['a:1-2', 'b:b-b']);
  const json =
    '{"function": {"f": {"params": ["x"], "result": "${upper(x)}"}}, "target": {"default": {"tags": ["${f("a")}"]}}}';
  expect(plan({ 'b.json': json.replace('f("a")', 'f(\\"a\\")') }).target.default?.tags).toEqual(['A']);
  expect(() =>
    plan('function "f" {\nparams = [x]\nresult = f(x)\n}\ntarget "default" { tags = [f("a")] }'),
  ).toThrow('function cycle not allowed for f');
});

test('files are merged: HCL, its JSON form, and compose files before them', () => {
  const { target } = plan({
    'docker-bake.json':
      '{"target": {"web": {"tags": ["json"], "args": {"J": "1"}}}, "variable": {"T": {"default": "t"}}}',
    'docker-bake.override.hcl': 'target "web" {\n tags = ["${T}"]\n}',
    'compose.yaml':
      'services:\n  web:\n    image: img\n    build:\n      context: ./web\n      args: [A=1, B]\n      target: ${STAGE:-last}\n  db: {image: x}\n',
  });
  expect(target).toEqual({
    web: {
      context: 'web',
      dockerfile: 'Dockerfile',
      args: { A: '1', J: '1' },
      tags: ['t'],
      target: 'last',
    },
  });
});

test('compose files have more: secrets, ssh, hosts, limits, x-bake, extends', () => {
  const { target } = plan({
    'compose.yaml': `
x-base: &base
  context: .
services:
  base.one:
    build:
      <<: *base
      labels: {a: "1"}
  app:
    extends: base.one
    build:
      additional_contexts: {b: "service:base.one", d: ./d}
      secrets: [tok]
      ssh: [default, key=./id]
      extra_hosts: ["h:1.2.3.4"]
      ulimits: {nofile: {soft: 10, hard: 20}, nproc: 5}
      shm_size: 64m
      sbom: true
      provenance: mode=max
      no_cache: true
      x-bake:
        tags: t1 t2
        output: ["type=tar,dest=o.tar"]
secrets:
  tok: {file: ./tok}
`,
  });
  expect(target.app).toEqual({
    context: '.',
    contexts: { b: 'target:base_one', d: 'd' },
    dockerfile: 'Dockerfile',
    labels: { a: '1' },
    tags: ['t1', 't2'],
    secret: [{ id: 'tok', src: 'tok' }],
    ssh: [{ id: 'default' }, { id: 'key', paths: ['./id'] }],
    output: [{ type: 'tar', dest: 'o.tar' }],
    attest: [{ type: 'sbom' }, { type: 'provenance', mode: 'max' }],
    'extra-hosts': { h: '1.2.3.4' },
    ulimits: ['nofile=10:20', 'nproc=5:5'],
    'shm-size': '64MiB',
    'no-cache': true,
  });
  expect(() => plan({ 'compose.yaml': 'services: [' })).toThrow(/^compose\.yaml:1,\d+-\d+: Invalid YAML;/);
  expect(() => plan({ 'compose.yaml': 'services: {a: {build: {context: "${X:?set it}"}}}' })).toThrow(
    'required variable X is missing a value: set it',
  );
});

test.each([
  ['target "default" { tag = ["x"] }', 'Unsupported argument; An argument named "tag" is not expected here.'],
  ['target "default" { tags = 5 }', 'Unsuitable value of "tags": list of string required, not number.'],
  ['target "a.b" {}', 'letters, digits, - and _ only'],
  ['targets "x" {}', 'Blocks of type "targets" are not expected here.'],
  ['target {}', 'A target has one label, its name.'],
  ['target "default" { output = [{ dest = "x" }] }', 'type required'],
  ['target "default" { secret = ["id=x,nothing=1"] }', "unexpected key 'nothing' in a secret"],
  ['group "g" {}', 'The argument "targets" is required'],
])('%s is refused', (text, message) => {
  expect(() => plan(text)).toThrow(message);
});
