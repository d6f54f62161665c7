/** The format of a cache for others, and looking vertices up in it. No store, no registry. */
import { describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { type ChartVertex, chartOf } from '../../src/remote-cache/format/chart.ts';
import {
  contentRecord,
  encodeCacheConfig,
  outputRecord,
  parseCacheConfig,
  parseInlineRecords,
} from '../../src/remote-cache/format/config.ts';
import { inlineRecords } from '../../src/remote-cache/format/inline.ts';
import { KeyGraph } from '../../src/remote-cache/format/key-graph.ts';
import { atOnce } from '../../src/workers/turns.ts';

const graphOf = (records: Parameters<typeof KeyGraph.of>[0]) => atOnce(KeyGraph.of(records));

const [base, run, copy, other] = ['base', 'run', 'copy', 'other'].map(digestOf) as [
  `sha256:${string}`,
  `sha256:${string}`,
  `sha256:${string}`,
  `sha256:${string}`,
];
const blobs = ['b0', 'b1', 'b2'].map(digestOf);
const files = digestOf('files');

/** FROM base; RUN on it; COPY of files, known by their content alone, on that. */
const vertices: ChartVertex[] = [
  { op: base, isNamed: true, inputs: [], outputs: [undefined] },
  {
    op: run,
    isNamed: true,
    inputs: [{ from: { vertex: 0, output: 0, selector: '' } }],
    outputs: [blobs.slice(0, 2)],
  },
  { op: other, isNamed: false, inputs: [], outputs: [undefined] },
  {
    op: copy,
    isNamed: true,
    inputs: [
      { from: { vertex: 1, output: 0, selector: '' } },
      { from: { vertex: 2, output: 0, selector: '' }, content: files },
    ],
    outputs: [blobs],
  },
];
const config = chartOf(vertices);

const none = { records: [], selector: '', contents: [] };
const as = (records: number[]) => ({ records, selector: '', contents: [] });

describe('the config', () => {
  test('is read as it was written, and stacks share their layers', () => {
    const bytes = encodeCacheConfig(config);
    expect(JSON.parse(bytes.toString())).toEqual({
      layers: [{ blob: blobs[0], parent: -1 }, { blob: blobs[1] }, { blob: blobs[2], parent: 1 }],
      records: [
        { digest: outputRecord(base, 0) },
        {
          digest: outputRecord(run, 0),
          layers: [{ layer: 1, createdAt: '0001-01-01T00:00:00Z' }],
          inputs: [[{ link: 0 }]],
        },
        { digest: contentRecord(files) },
        {
          digest: outputRecord(copy, 0),
          layers: [{ layer: 2, createdAt: '0001-01-01T00:00:00Z' }],
          inputs: [[{ link: 1 }], [{ link: 2 }]],
        },
      ],
    });
    const read = parseCacheConfig(bytes);
    expect(read.layers).toEqual(config.layers);
    expect(encodeCacheConfig(read)).toEqual(bytes);
  });

  test('leaves out what is keyed by something without a name, and all on top of it', () => {
    const lost: ChartVertex[] = [
      { op: base, isNamed: false, inputs: [], outputs: [undefined] },
      {
        op: run,
        isNamed: true,
        inputs: [{ from: { vertex: 0, output: 0, selector: '' } }],
        outputs: [undefined],
      },
      {
        op: copy,
        isNamed: true,
        inputs: [{ from: { vertex: 1, output: 0, selector: '' } }],
        outputs: [undefined],
      },
    ];
    expect(chartOf(lost)).toEqual({ layers: [], records: [] });
  });

  test.each<[string, unknown]>([
    ['no JSON', '{'],
    ['no object', []],
    ['a layer without a digest', { layers: [{ parent: -1 }] }],
    ['a layer on one that is not there', { layers: [{ blob: blobs[0], parent: 7 }] }],
    [
      'layers in a circle',
      { layers: [{ blob: blobs[0], parent: 0 }], records: [{ digest: 'x', layers: [{ layer: 0 }] }] },
    ],
    ['a result of a layer that is not there', { records: [{ digest: 'x', layers: [{ layer: 3 }] }] }],
    ['a chain of a layer that is not there', { records: [{ digest: 'x', chains: [{ layers: [3] }] }] }],
    ['a link to nowhere', { records: [{ digest: 'x', inputs: [[{ link: 5 }]] }] }],
    [
      'records in a circle',
      {
        records: [
          { digest: 'x', inputs: [[{ link: 1 }]] },
          { digest: 'y', inputs: [[{ link: 0 }]] },
        ],
      },
    ],
    ['a record on itself', { records: [{ digest: 'x', inputs: [[{ link: 0 }]] }] }],
  ])('that does not hold together is corrupt: %s', (_, value) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    expect(() => parseCacheConfig(Buffer.from(text))).toThrow(expect.objectContaining({ code: 'corrupt' }));
  });

  test('as Go writes it: no list for an empty one, no parent for the first layer', () => {
    const text = JSON.stringify({
      layers: [{ blob: blobs[0], parent: -1 }, { blob: blobs[1] }],
      records: [
        { digest: 'random:x', layers: [{ layer: 1, createdAt: '2023-01-01T00:00:00.123456789Z' }] },
        { digest: 'y', inputs: null },
      ],
    });
    expect(parseCacheConfig(Buffer.from(text)).records[0]?.results).toEqual([[0, 1]]);
  });
});

describe('a vertex is found', () => {
  const graph = graphOf(parseCacheConfig(encodeCacheConfig(config)).records);

  test('by what its inputs are, or by their content', () => {
    const from = graph.match(base, 0, []);
    expect(from).toEqual([0]);
    const ran = graph.match(run, 0, [as(from)]);
    expect(ran).toEqual([1]);
    expect(graph.match(copy, 0, [as(ran), { ...none, contents: [files] }])).toEqual([3]);
  });

  test('and not with another input, content, selector, output or number of inputs', () => {
    expect(graph.match(run, 0, [none])).toEqual([]);
    expect(graph.match(run, 1, [as([0])])).toEqual([]);
    expect(graph.match(run, 0, [{ ...as([0]), selector: 'x' }])).toEqual([]);
    expect(graph.match(run, 0, [as([0]), as([0])])).toEqual([]);
    expect(graph.match(copy, 0, [as([1]), { ...none, contents: [digestOf('changed')] }])).toEqual([]);
    expect(graph.match(other, 0, [])).toEqual([]);
  });
});

describe('an inline cache', () => {
  test("speaks of the image's layers by number, and of others not at all", () => {
    const bytes = inlineRecords(config, [blobs[0]!, blobs[1]!]) as Buffer;
    expect(JSON.parse(bytes.toString())).toMatchObject([{}, { layers: [{ layer: 1 }] }, {}, {}]);
    const records = parseInlineRecords(bytes, 2);
    expect(records.map(({ results }) => results)).toEqual([[], [[0, 1]], [], []]);
    expect(graphOf(records).match(run, 0, [as([0])])).toEqual([1]);
  });

  test('is none when no step made a layer of the image', () => {
    expect(inlineRecords(config, [digestOf('elsewhere')])).toBeUndefined();
  });

  test('of layers in another order names each of them', () => {
    const bytes = inlineRecords(config, [blobs[1]!, blobs[0]!]) as Buffer;
    expect(JSON.parse(bytes.toString())[1]).toMatchObject({ chains: [{ layers: [1, 0] }] });
    expect(parseInlineRecords(bytes, 2)[1]?.results).toEqual([[1, 0]]);
  });

  test('that names a layer which the image lacks is corrupt', () => {
    const text = Buffer.from(JSON.stringify([{ digest: 'x', layers: [{ layer: 2 }] }]));
    expect(() => parseInlineRecords(text, 2)).toThrow(expect.objectContaining({ code: 'corrupt' }));
  });
});
