/** A failure that a frontend returned as the build's: told on to the client as it came. */
import { DrydockError } from '../../errors/index.ts';
import { CANCELLED, errorCodeOf } from '../../grpc/index.ts';
import type { Status } from '../../pb/google/rpc/status_pb.js';

export class FrontendFailure extends DrydockError {
  /** gRPC status with the typed details (sources, exit codes …) that it carried. */
  readonly status: Status;

  constructor(status: Status) {
    super(status.message, {
      code: status.code === CANCELLED ? 'canceled' : errorCodeOf(status.code),
      hop: 'frontend',
    });
    this.status = status;
  }
}
