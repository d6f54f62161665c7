/** Version 2: writes BuildKit's status messages in base64, and the image's ID. */
import type { BuildResult } from '../../../engine/index.ts';
import type { DrydockError } from '../../../errors/index.ts';
import { Deframer } from '../../../grpc/index.ts';
import { BuildLog } from '../../shared/build-log.ts';
import { buildMessage } from '../http/errors.ts';
import type { ObjectSink } from '../http/json-stream.ts';
import type { Teller } from './teller.ts';

interface TraceOptions {
  /** The message of an error has the step's last lines, for clients that do not read the trace. */
  logsErrors: boolean;
  /** The folder for output that the client is too slow for; it lies in a file without a name. */
  folder: string;
}

/** The teller of version 2. */
export class TraceTeller implements Teller {
  readonly sink: BuildLog;
  readonly #stream: ObjectSink;
  readonly #logsErrors: boolean;
  /** Resolves when all that has happened is written. */
  readonly #told: Promise<void>;

  constructor(stream: ObjectSink, { logsErrors, folder }: TraceOptions) {
    this.#stream = stream;
    this.#logsErrors = logsErrors;
    this.sink = new BuildLog({ folder });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#told = promise;
    const following = this.sink.follow({
      write: (frames) => {
        for (const message of new Deframer().push(frames)) {
          const aux = Buffer.from(message.buffer, message.byteOffset, message.length).toString('base64');
          stream.write({ id: 'moby.buildkit.trace', aux });
        }
        if (!stream.isBlocked) return true;
        void stream.drained().then(() => following.ready());
        return false;
      },
      end: resolve,
    });
    stream.start();
  }

  async finish(result: BuildResult): Promise<void> {
    await this.#end();
    const { imageId } = result;
    if (imageId !== undefined) this.#stream.write({ id: 'moby.image.id', aux: { ID: imageId } });
  }

  async fail(error: DrydockError): Promise<string> {
    await this.#end();
    return buildMessage(error, this.#logsErrors);
  }

  #end(): Promise<void> {
    this.sink.end();
    return this.#told;
  }
}
