/** Build records as `buildx history` and `buildctl debug` read them: events, filters, and the blobs that they name. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { Code, createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeStatus } from '../../../src/api/buildkit/history/status-blob.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { Content } from '../../../src/pb/containerd/content_pb.js';
import { StatusSchema } from '../../../src/pb/google/rpc/status_pb.js';
import type { BuildHistoryRecord } from '../../../src/pb/moby/buildkit/v1/control_pb.js';
import type { StatusResponse } from '../../../src/pb/moby/buildkit/v1/status_pb.js';
import { busyboxRoot } from '../../kit/busybox.ts';
import { ControlKit, failure } from './control-kit.ts';

describe('build records', () => {
  let kit: ControlKit;
  const refs: Record<'good' | 'bad', string> = { good: '', bad: '' };
  const dockerfile = (text: string) => {
    const dir = kit.folder({ Dockerfile: text, 'hello.txt': 'hello' });
    return { dirs: { context: dir, dockerfile: dir } };
  };
  const records = async (filter: string[] = [], ref = ''): Promise<BuildHistoryRecord[]> => {
    const found: BuildHistoryRecord[] = [];
    const request = { EarlyExit: true, Filter: filter, Ref: ref };
    for await (const { record } of kit.control.listenBuildHistory(request)) {
      if (record !== undefined) found.push(record);
    }
    return found;
  };
  const only = async (ref: string) => {
    const [record] = await records([], ref);
    if (record === undefined) throw new Error(`no record of ${ref}`);
    return record;
  };
  /** A blob as containerd's proxy store reads it: Info, then Read of all of it. */
  const blob = async (descriptor: { digest: string; size: bigint } | undefined): Promise<Buffer> => {
    if (descriptor === undefined) throw new Error('the record does not name it');
    const content = createClient(Content, kit.transport);
    const { info } = await content.info({ digest: descriptor.digest });
    expect(info?.size).toBe(descriptor.size);
    const chunks: Uint8Array[] = [];
    for await (const { data } of content.read({ digest: descriptor.digest, size: descriptor.size })) {
      chunks.push(data);
    }
    const bytes = Buffer.concat(chunks);
    expect(digestOf(bytes)).toBe(descriptor.digest);
    return bytes;
  };

  beforeAll(async () => {
    kit = await ControlKit.start({});
    const exporter = { Type: 'image', Attrs: { name: 'example.com/app:1' } };
    const request = { Frontend: 'dockerfile.v0', Exporters: [exporter] };
    const options = { 'vcs:source': 'https://example.com/app.git' };
    const built = await kit.solve(
      { ...request, FrontendAttrs: options },
      dockerfile('FROM scratch\nCOPY hello.txt /\n'),
    );
    refs.good = built.ref;
    const failed = kit.solve({ ...request, Ref: 'bad' }, dockerfile('FROM scratch\nCOPY missing /\n'));
    await failure(failed);
    refs.bad = 'bad';
  });
  afterAll(() => kit.daemon.stop());

  test('how the results came to be is attached, whatever the build asked for, without its secrets', async () => {
    const text =
      'FROM scratch\nARG NPM_TOKEN\nENV NPM_TOKEN=$NPM_TOKEN\nCOPY hello.txt /\n# hunter22 is in here\n';
    const options = { 'build-arg:NPM_TOKEN': 'hunter22', 'build-arg:WORD': 'hello' };
    const request = { Frontend: 'dockerfile.v0', FrontendAttrs: options };
    const { ref } = await kit.solve(request, dockerfile(text));
    const { Result } = await only(ref);
    expect(Result?.Attestations).toHaveLength(1);
    const [attached] = Result?.Attestations ?? [];
    expect(attached).toMatchObject({
      mediaType: 'application/vnd.in-toto+json',
      annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v1' },
    });
    const json = (await blob(attached)).toString();
    const { buildDefinition, runDetails } = JSON.parse(json);
    expect(buildDefinition.externalParameters.request.args).toEqual({
      'build-arg:NPM_TOKEN': 'xxxxx',
      'build-arg:WORD': 'hello',
    });
    const { data } = runDetails.metadata.buildkit_metadata.source.infos[0];
    expect(Buffer.from(data, 'base64').toString()).toContain('# xxxxx');
    expect(json).not.toContain('hunter22');
    const several = await kit.solve(
      {
        ...request,
        FrontendAttrs: { platform: 'linux/amd64,linux/arm64', 'attest:provenance': 'builder-id=me' },
      },
      dockerfile(text),
    );
    const { Results } = await only(several.ref);
    expect(Object.keys(Results).sort()).toEqual(['linux/amd64', 'linux/arm64']);
    for (const { Attestations } of Object.values(Results)) {
      const recorded = JSON.parse((await blob(Attestations[0])).toString());
      expect(recorded.runDetails.builder.id).toBe('me');
      // As BuildKit's: with what the machine did, whether the build asked for it or not.
      expect(recorded.runDetails.metadata.buildkit_metadata.sysUsage.length).toBeGreaterThan(0);
    }
    const failed = await only(refs.bad);
    expect(failed.Result?.Attestations ?? []).toEqual([]);
    for (const Ref of [ref, several.ref]) await kit.control.updateBuildHistory({ Ref, Delete: true });
  });

  test('the progress is a blob that holds what Status told', async () => {
    const record = await only(refs.good);
    expect(record.logs?.mediaType).toBe('application/vnd.buildkit.status.v0');
    const names = [...decodeStatus(await blob(record.logs))].flatMap(({ vertexes }) =>
      vertexes.map(({ name }) => name),
    );
    expect(names).toContain('[1/1] COPY hello.txt /');
    expect(record.numTotalSteps).toBe(new Set(names).size);
    expect(record.numCompletedSteps).toBe(record.numTotalSteps);
  });

  test('nothing of a long output is left out, while the build runs and afterwards; secrets in it are', async () => {
    const dir = kit.folder({ Dockerfile: 'FROM scratch\nCOPY root /\nARG TOKEN\nRUN say "$TOKEN" 200000\n' });
    busyboxRoot(join(dir, 'root'));
    const say = '#!/bin/sh\nyes "the token is $1, this is written again and again" | head -n $2\n';
    writeFileSync(join(dir, 'root/bin/say'), say, { mode: 0o755 });
    const { ref, status } = await kit.solve(
      { Frontend: 'dockerfile.v0', FrontendAttrs: { 'build-arg:TOKEN': 'hunter22' } },
      { dirs: { context: dir, dockerfile: dir } },
    );
    const outputOf = (messages: readonly StatusResponse[]) =>
      Buffer.concat(messages.flatMap(({ logs }) => logs.map(({ msg }) => msg))).toString();
    const line = 'the token is hunter22, this is written again and again\n';
    expect(outputOf(status).split(line)).toHaveLength(200_001);
    const { logs } = await only(ref);
    const kept = outputOf([...decodeStatus(await blob(logs))]);
    expect(kept.match(/this is written again and again\n/g)).toHaveLength(200_000);
    expect(kept).not.toContain('hunter22');
    const past: StatusResponse[] = [];
    for await (const message of kit.control.status({ Ref: ref })) past.push(message);
    expect(outputOf(past) === kept).toBe(true);
    await kit.control.updateBuildHistory({ Ref: ref, Delete: true });
  });

  test('the trace has a span for the build and one for each step in it', async () => {
    const { trace } = await only(refs.good);
    expect(trace?.mediaType).toBe('application/vnd.buildkit.otlp.json.v0');
    const spans = (await blob(trace))
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const [build, ...steps] = spans;
    expect(build.Parent.SpanID).toBe('0'.repeat(16));
    expect(build.ChildSpanCount).toBe(steps.length);
    expect(steps.every(({ Parent }) => Parent.SpanID === build.SpanContext.SpanID)).toBe(true);
    expect(new Set(spans.map(({ SpanContext }) => SpanContext.TraceID)).size).toBe(1);
    const copy = steps.find(({ Name }) => Name.includes('COPY'));
    expect(Date.parse(copy.EndTime)).toBeGreaterThanOrEqual(Date.parse(copy.StartTime));
    expect(copy.Attributes[0]).toEqual({
      Key: 'vertex',
      Value: { Type: 'STRING', Value: expect.stringMatching(/^sha256:/) },
    });
  });

  test('what each output made is named, and can be read', async () => {
    const { Result, ExporterResponse } = await only(refs.good);
    expect(Result?.Results['0']?.digest).toBe(ExporterResponse['containerimage.digest']);
    expect(Result?.ResultDeprecated).toEqual(Result?.Results['0']);
    expect(JSON.parse((await blob(Result?.Results['0'])).toString()).config.digest).toBe(
      ExporterResponse['containerimage.config.digest'],
    );
  });

  test('the error is short in the record; its details are in a blob', async () => {
    const { error, externalError } = await only(refs.bad);
    expect(error?.message).toContain('/missing');
    expect(error?.details).toEqual([]);
    const status = fromBinary(StatusSchema, await blob(externalError));
    const source = status.details.find(({ typeUrl }) => typeUrl.includes('errdefs.Source'));
    expect(JSON.parse(Buffer.from(source?.value ?? []).toString()).ranges[0].start.line).toBe(2);
    // Where in Drydock it arose, for reports of faults.
    const stack = status.details.find(
      ({ typeUrl }) => typeUrl === 'github.com/moby/buildkit/stack.Stack+json',
    );
    const { frames } = JSON.parse(Buffer.from(stack?.value ?? []).toString());
    expect(frames[0]).toEqual({
      Name: expect.any(String),
      File: expect.stringMatching(/^\//),
      Line: expect.any(Number),
    });
  });

  test('deleting a record deletes its blobs', async () => {
    await failure(
      kit.solve(
        { Ref: 'doomed', Frontend: 'dockerfile.v0' },
        dockerfile('FROM scratch\nCOPY missing /doomed\n'),
      ),
    );
    const { externalError } = await only('doomed');
    await blob(externalError);
    await kit.control.updateBuildHistory({ Ref: 'doomed', Delete: true });
    expect((await failure(blob(externalError))).code).toBe(Code.NotFound);
  });

  test('filters: containerd’s on ref, status and repository, comparisons of times; a comma is “and”', async () => {
    const found = async (...filter: string[]) => (await records(filter)).map(({ Ref }) => Ref);
    expect(await found('status==completed')).toEqual([refs.good]);
    expect(await found('status==error')).toEqual([refs.bad]);
    expect(await found(`ref~=^${refs.good.slice(0, 8)}`)).toEqual([refs.good]);
    expect(await found('repository~=example.com/app')).toEqual([refs.good]);
    expect(await found('status==error,repository~=example')).toEqual([]);
    expect(new Set(await found('status==error', 'repository~=example'))).toEqual(
      new Set(Object.values(refs)),
    );
    expect(await found('startedAt<1h')).toEqual([]);
    expect((await found('startedAt>=1h', 'completedAt<2001-01-01T00:00:00Z')).length).toBe(2);
    expect(await found('duration>1h')).toEqual([]);
    expect(await found('"status==completed","duration<1h"')).toEqual([refs.good]);
    expect((await failure(found('duration<soon'))).rawMessage).toContain('invalid duration soon');
    expect((await failure(found('status='))).rawMessage).toContain('failed to parse filter');
  });

  test('events come as builds start and end; clients learn our clock', async () => {
    const stop = new AbortController();
    let clock = '';
    const events = kit.control.listenBuildHistory(
      { Ref: 'live' },
      {
        signal: stop.signal,
        onHeader: (headers) => {
          clock = headers.get('buildkit-current-timestamp') ?? '';
        },
      },
    );
    const seen: number[] = [];
    const listening = (async () => {
      for await (const { type } of events) {
        seen.push(type);
        if (type === 1) stop.abort();
      }
    })().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    await kit.solve({ Ref: 'live', Frontend: 'dockerfile.v0' }, dockerfile('FROM scratch\nCOPY . /live\n'));
    await listening;
    expect(seen).toEqual([0, 1]);
    expect(Date.parse(clock)).not.toBeNaN();
  });
});
