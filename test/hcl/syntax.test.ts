// biome-ignore-all lint/suspicious/noTemplateCurlyInString: templates of bake files
/** HCL as text: bodies, blocks, heredocs, comments, and what is wrong with the place where it is. */
import { expect, test } from 'vitest';
import { DrydockError } from '../../src/errors/index.ts';
import { evaluate } from '../../src/hcl/evaluate.ts';
import { functions } from '../../src/hcl/functions/index.ts';
import { parseHcl } from '../../src/hcl/parse.ts';
import { parseJsonHcl } from '../../src/hcl/parse-json.ts';
import type { Body, Value } from '../../src/hcl/types.ts';

const file = (text: string, filename = 'bake.hcl') => ({ filename, text });
const scope = {
  variable: (name: string): Value | undefined => (name === 'N' ? 5 : undefined),
  function: (name: string) => functions.get(name),
};
const values = ({ attributes }: Body) =>
  Object.fromEntries(attributes.map(({ name, expression }) => [name, evaluate(expression, scope)]));

test('blocks have labels, attributes and blocks; comments of three kinds are passed over', () => {
  const body = parseHcl(
    file(
      '# one\n// two\n/* three\n*/ a = 1 # end\ntarget "app" {\n  tags = [\n    "x", # first\n    "y",\n  ]\n  inner label {}\n}\nb = "2"',
    ),
  );
  expect(values(body)).toEqual({ a: 1, b: '2' });
  expect(body.blocks.map(({ type, labels }) => [type, labels])).toEqual([['target', ['app']]]);
  expect(values(body.blocks[0]!.body)).toEqual({ tags: ['x', 'y'] });
  expect(body.blocks[0]!.body.blocks.map(({ type, labels }) => [type, labels])).toEqual([
    ['inner', ['label']],
  ]);
});

test('heredocs keep their lines; with a dash they lose the indentation that all lines have', () => {
  const text = 'a = <<EOT\n  x ${N}\n\n    y\nEOT\nb = <<-EOT\n    x\n\n      y\\n\n    EOT\n';
  expect(values(parseHcl(file(text)))).toEqual({ a: '  x 5\n\n    y\n', b: 'x\n\n  y\\n\n' });
});

test('a ~ takes spaces of its own line only, and what follows it on the next line keeps its indentation', () => {
  const text = `a = <<-EOT
    FROM x
      RUN "\${N}" %{ if true }yes%{ else }no%{ endif }
    %{ for x in ["a", "b"] ~}
    RUN \${x}
    %{ endfor ~}
    $\${N}
  EOT
b = <<EOT
x %{~ if true } y %{ endif ~} z
  \${~ "t" ~}${'  '}
EOT
`;
  expect(values(parseHcl(file(text)))).toEqual({
    a: 'FROM x\n  RUN "5" yes\n    RUN a\n    RUN b\n    ${N}\n',
    b: 'x y z\nt',
  });
});

test('expressions in brackets go on in the next line, others do not', () => {
  expect(values(parseHcl(file('a = (\n 1 +\n 2\n)\nb = {\n  x = 1\n  "y" : 2,\n}\n')))).toEqual({
    a: 3,
    b: new Map([
      ['x', 1],
      ['y', 2],
    ]),
  });
  expect(() => parseHcl(file('a = 1 +\n2\n'))).toThrow(/^bake\.hcl:1,8-2,1: Invalid expression;/);
});

test.each([
  [
    'a = 1 b = 2',
    'bake.hcl:1,7-8: Missing newline after argument; An argument definition must end with a newline.',
  ],
  ['a = 1\na = 2\n', 'bake.hcl:2,1-2: Attribute redefined; The argument "a" was already set.'],
  [
    'target "a" {\n',
    'bake.hcl:1,1-2,1: Unclosed configuration block; The block target has no "}" at its end.',
  ],
  ['a = "x\n"', 'bake.hcl:1,5-7: Unterminated string; A quoted string ends in the line in which it begins.'],
  [
    'a = "\\q"',
    'bake.hcl:1,6-8: Invalid escape sequence; The symbol "q" is not a valid escape sequence selector.',
  ],
  [
    'a = <<EOT\nx\n',
    'bake.hcl:1,5-3,1: Unterminated template string; No line is the word EOT that ends the heredoc.',
  ],
  ['a = "%{ if true }x"', 'Unterminated template directive; The directive "if" has no end.'],
  ['a = "%{ endif }x"', 'Unexpected template directive; A template directive "endif" has no beginning here.'],
  ['b { a = 1\n}', 'A block whose argument is on its first line ends on that line'],
  ['b { a = 1, }', 'A block whose argument is on its first line ends on that line'],
  ['b { c {}\n}', 'A block on a single line can contain only a single argument.'],
  ['b {\n a = 1 }', 'Missing newline after argument'],
  ['= 1', 'Argument or block definition required'],
  [`a = ${'['.repeat(5000)}`, 'Too many levels'],
  [`a = ${'!'.repeat(5000)}true`, 'Too many levels'],
])('a mistake is refused with its place (%#)', (text, message) => {
  expect(() => parseHcl(file(text))).toThrow(message);
});

test('an error has the line for an excerpt', () => {
  try {
    values(parseHcl(file('a = 1\nb = "x${none}"\n')));
    expect.unreachable();
  } catch (err) {
    expect(err).toBeInstanceOf(DrydockError);
    expect((err as DrydockError).source).toMatchObject({
      filename: 'bake.hcl',
      ranges: [{ start: { line: 2, character: 8 }, end: { line: 2, character: 12 } }],
    });
  }
});

test('the JSON form: known blocks by their labels, texts as templates, "//" as comments', () => {
  const schema = new Map([['target', { labels: 1 }]]);
  const body = parseJsonHcl(
    file(
      '{"//": "x", "a": "n${N}", "target": {"x": {"tags": ["t${N}"]}, "y": [{"tags": null}]}}',
      'bake.json',
    ),
    schema,
  );
  expect(values(body)).toEqual({ a: 'n5' });
  expect(body.blocks.map(({ labels, body: inner }) => [labels, values(inner)])).toEqual([
    [['x'], { tags: ['t5'] }],
    [['y'], { tags: null }],
  ]);
  expect(() => parseJsonHcl(file('{"a": }', 'bake.json'), schema)).toThrow(
    /^bake\.json:1,\d+-\d+: Invalid JSON;/,
  );
  expect(() => parseJsonHcl(file('{"target": {"x": 1}}', 'bake.json'), schema)).toThrow(
    'A JSON object is required here.',
  );
});
