import { expect, test } from 'vitest';
import { mapsOf, Struct, template } from '../../src/templates/index.ts';

const data = {
  name: 'app',
  n: 3,
  ok: true,
  none: null,
  tags: ['b', 'a'],
  empty: [],
  labels: { z: '1', 'a.b': '<2>' },
  list: [{ k: 'x' }, { k: 'y' }],
};

/** What Go 1.24's text/template makes of these with the data above, an object being a map. */
const cases: [string, string][] = [
  [
    '{{.name}}-{{.n}} {{.ok}} {{.none}} {{.missing}} {{.labels.nope}}',
    'app-3 true <no value> <no value> <no value>',
  ],
  ['{{.tags}} {{.labels}} {{.list}}', '[b a] map[a.b:<2> z:1] [map[k:x] map[k:y]]'],
  ['{{range .tags}}[{{.}}]{{else}}none{{end}}{{range .empty}}x{{else}}none{{end}}', '[b][a]none'],
  ['{{range $i, $x := .tags}}{{if $i}}, {{end}}{{$i}}={{$x}}{{end}}', '0=b, 1=a'],
  ['{{range $k, $v := .labels}}{{$k}}={{$v}} {{end}}', 'a.b=<2> z=1 '],
  ['{{range .list}}{{.k}}{{$.name}} {{end}}', 'xapp yapp '],
  ['{{range .tags}}{{if eq . "a"}}{{break}}{{end}}{{.}}{{end}}', 'b'],
  ['{{range .tags}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}', 'a'],
  ['{{if .none}}a{{else if .empty}}b{{else if .ok}}c{{else}}d{{end}}', 'c'],
  ['{{with .name}}<{{.}}>{{end}}{{with .none}}x{{else}}-{{end}}', '<app>-'],
  ['{{$x := "1"}}{{if true}}{{$x = "2"}}{{$y := "3"}}{{$y}}{{end}}{{$x}}', '32'],
  ['{{index .labels "a.b"}} {{index .tags 1}} {{(index .list 0).k}} {{len .labels}}', '<2> a x 2'],
  [
    '{{json .labels}} {{json .tags}} {{.labels | json | printf "%s!"}}',
    '{"a.b":"<2>","z":"1"} ["b","a"] {"a.b":"<2>","z":"1"}!',
  ],
  ['{{and .ok .name}} {{or .none "x"}} {{not .ok}} {{and .none .name.nope}}', 'app x false <no value>'],
  ['{{eq .name "x" "app"}} {{ne .name "x"}} {{lt "a" "b"}} {{ge "a" "b"}}', 'true true true false'],
  ['a  {{- /* gone */ -}}  b {{- " c" }} d\n{{- "e" -}}\n f', 'ab c def'],
  ['{{printf "%-5s|%5s|%q|%v|%%|%.2s" "ab" "cd" "e\\n" .ok "xyz"}}', 'ab   |   cd|"e\\n"|true|%|xy'],
  ['{{print "a" "b"}}{{println .ok "c"}}{{print .ok .ok}}', 'abtrue c\ntrue true'],
  [
    '{{html "<a>"}} {{urlquery "a b&c"}} {{slice "hello" 1 3}} {{`raw "q"`}} {{"}}"}}',
    '&lt;a&gt; a+b%26c el raw "q" }}',
  ],
  ['{{join (split "a,b" ",") "/"}} {{upper .name}}', 'a/b APP'],
];

test.each(cases)('%s', (text, expected) => {
  expect(template(text)(mapsOf(data))).toBe(expected);
});

test('a struct has its fields and no others, and its own JSON', () => {
  const image = new Struct(
    { OS: 'linux', Config: new Struct({ Env: ['A=1'] }, { Env: ['A=1'] }) },
    { os: 'linux' },
  );
  expect(template('{{.OS}} {{range .Config.Env}}{{.}}{{end}} {{json .}} {{.Config}}')(image)).toBe(
    'linux A=1 {"os":"linux"} {[A=1]}',
  );
  expect(() => template('{{.Os}}')(image)).toThrow('there is no field Os');
  expect(() => template('{{.OS.Name}}')(image)).toThrow('linux has no field Name');
});

test.each([
  ['{{.a', 'not closed'],
  ['{{if .a}}', '{{if}} has no {{end}}'],
  ['{{end}}', 'an {{end}} is where none can be'],
  ['{{nope .a}}', 'there is no function nope'],
  ['{{$x}}', 'there is no variable $x'],
  ['{{.a | .b}}', 'no function is after |'],
  ['{{break}}', 'outside of {{range}}'],
  ['{{template "x"}}', 'not supported'],
  ['{{}}', 'empty'],
  ['{{(.a}}', 'a ( is not closed'],
])('%s is refused', (text, why) => {
  expect(() => template(text)).toThrow(why);
});

test('nesting has a limit', () => {
  expect(() => template('{{if .}}'.repeat(200))).toThrow('nested too deeply');
  expect(() => template(`{{${'('.repeat(5000)}.}}`)).toThrow('nested too deeply');
});

test('what does not fit the values is refused when it is filled in', () => {
  const fill = (text: string) => () => template(text)(mapsOf(data));
  expect(fill('{{index .tags 7}}')).toThrow('index 7 of 2');
  expect(fill('{{len .n}}')).toThrow('is no list');
  expect(fill('{{range .name}}{{end}}')).toThrow('range cannot go over app');
  expect(fill('{{printf "%z" .n}}')).toThrow('%z');
  expect(fill('{{split "a"}}')).toThrow('split takes 2');
});
