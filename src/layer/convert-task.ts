/** The worker task `layer.convert`: gives a layer blob another compression; its tar stays the same, byte for byte. */
import { createReadStream, unlinkSync } from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import { canceled, toDrydockError } from '../errors/index.ts';
import { decompress } from '../tar/index.ts';
import { PortSender, receiveStream, type TaskContext } from '../workers/index.ts';
import { FileSink, type WrittenLayer } from './block-writer.ts';
import { layerWriter } from './layer-writer.ts';
import type { Compression } from './types.ts';

interface ConvertArgs {
  source: { path: string } | { port: MessagePort };
  compression: Compression;
  sink: { path: string } | { port: MessagePort };
}

export async function convert(args: ConvertArgs, ctx: TaskContext): Promise<WrittenLayer> {
  const { source, sink } = args;
  const file = 'path' in sink ? new FileSink(sink.path) : undefined;
  const sender = 'port' in sink ? new PortSender(sink.port) : undefined;
  const writer = layerWriter(
    args.compression,
    file ?? { write: (data) => sender?.write(new Uint8Array(data)) },
  );
  try {
    const blob =
      'path' in source
        ? createReadStream(source.path, { highWaterMark: 512 * 1024 })
        : receiveStream(source.port);
    for await (const chunk of decompress(blob, { hop: 'store' })) {
      if (ctx.aborted()) throw canceled();
      if (writer.put(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))) await writer.drain();
    }
    const written = await writer.finish();
    sender?.end();
    file?.close();
    return written;
  } catch (err) {
    const error = toDrydockError(err, 'store');
    await writer.abort();
    sender?.fail(error);
    file?.close();
    if ('path' in sink) unlinkSync(sink.path);
    throw error;
  }
}
