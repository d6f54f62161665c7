/** Version 2: writes BuildKit's status messages in base64, and the image's ID. */
import { toBinary } from '@bufbuild/protobuf';
import type { BuildResult } from '../../../engine/index.ts';
import type { DrydockError } from '../../../errors/index.ts';
import { StatusResponseSchema } from '../../../pb/moby/buildkit/v1/status_pb.js';
import { StatusCollector } from '../../shared/status.ts';
import { buildMessage } from '../http/errors.ts';
import type { ObjectSink } from '../http/json-stream.ts';
import type { Teller } from './teller.ts';

/** How long events are gathered before they are written, in ms. */
const every = 50;

/** The teller of version 2. */
export class TraceTeller implements Teller {
  readonly sink: StatusCollector;
  readonly #stream: ObjectSink;
  readonly #logsErrors: boolean;
  #timer: NodeJS.Timeout | undefined;

  /** `logsErrors`: the message of an error has the step's last lines, for clients that do not read the trace. */
  constructor(stream: ObjectSink, options: { logsErrors: boolean }) {
    this.#stream = stream;
    this.#logsErrors = options.logsErrors;
    this.sink = new StatusCollector(() => this.#later());
    stream.start();
  }

  async finish(result: BuildResult): Promise<void> {
    await this.#stream.drained();
    this.#flush();
    const { imageId } = result;
    if (imageId !== undefined) this.#stream.write({ id: 'moby.image.id', aux: { ID: imageId } });
  }

  fail(error: DrydockError): string {
    this.#flush();
    return buildMessage(error, this.#logsErrors);
  }

  #later(): void {
    this.#timer ??= setTimeout(async () => {
      await this.#stream.drained();
      this.#flush();
    }, every);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const status of this.sink.take()) {
      const aux = Buffer.from(toBinary(StatusResponseSchema, status)).toString('base64');
      this.#stream.write({ id: 'moby.buildkit.trace', aux });
    }
  }
}
