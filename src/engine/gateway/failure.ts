/** The failure that a frontend returned for its build. Clients are told of it as it came. */
import { DrydockError } from '../../errors/index.ts';
import { CANCELLED, errorCodeOf } from '../../grpc/index.ts';
import type { Status } from '../../pb/google/rpc/status_pb.js';

/** The error with which a frontend has ended its build. */
export class FrontendFailure extends DrydockError {
  /** The gRPC status, with its typed details (sources, exit codes …). */
  readonly status: Status;

  constructor(status: Status) {
    super(status.message, {
      code: status.code === CANCELLED ? 'canceled' : errorCodeOf(status.code),
      hop: 'frontend',
    });
    this.status = status;
  }
}
