/** Serves BuildKit's gRPC services on any connection whose client speaks HTTP/2. */
import {
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import type { DescMethod } from '@bufbuild/protobuf';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { identityKey } from '../../auth/index.ts';
import { callValues, encodingErrors, lookAt, withMessages } from '../../engine/index.ts';
import { clip, DrydockError } from '../../errors/index.ts';
import {
  GrpcError,
  HeldBytes,
  http2Limits,
  limitSettings,
  maxMessage,
  refuseCall,
  statusOf,
  Turns,
  takeConnection,
  UNIMPLEMENTED,
  widen,
} from '../../grpc/index.ts';
import type { AdmitCall, GrpcAcceptor } from '../shared/grpc.ts';
import type { ApiHost } from '../shared/host.ts';
import { callerKey, methodRules } from './caller.ts';
import type { RawMethod } from './raw.ts';
import { type BuildkitOptions, type BuildkitServices, buildkitServices, sessionPath } from './services.ts';

/** Serves Control, LLBBridge, health, reflection and trace export. `close` ends the calls under way. */
export async function buildkitApi(host: ApiHost, options: BuildkitOptions = {}): Promise<GrpcAcceptor> {
  const services = await buildkitServices(host, options);
  return grpcServer(services);
}

/** A connection that is served. */
interface Served {
  readonly admit: AdmitCall;
  /** Whether somebody was let in on it. */
  wide: boolean;
}

/** A gRPC server of services that get their caller by `callerOf`. */
function grpcServer({
  routes,
  raw,
  record,
  buildsByResult,
  observed,
  close: onClose,
}: BuildkitServices): GrpcAcceptor {
  const turns = new Turns();
  const callers = new WeakMap<object, Awaited<ReturnType<AdmitCall>>>();
  const sessions = new Map<Http2Session, Served>();
  const held = new HeldBytes();
  const methods = new Map<string, DescMethod>();
  let rules: ReturnType<typeof methodRules> = new Map();
  const handler = connectNodeAdapter({
    routes(router) {
      routes(router);
      rules = methodRules(router.handlers.map(({ requestPath }) => requestPath));
      for (const { requestPath, method } of router.handlers) methods.set(requestPath, method);
    },
    grpcWeb: false,
    connect: false,
    readMaxBytes: maxMessage,
    acceptCompression: [],
    interceptors: [encodingErrors(), withMessages()],
    contextValues: (request) => callValues(request).set(callerKey, callers.get(request)),
  });
  const answer = async (request: Http2ServerRequest, response: Http2ServerResponse) => {
    await turns.next();
    if (request.stream.destroyed) return;
    const session = request.stream.session as ServerHttp2Session | undefined;
    const served = session && sessions.get(session);
    const rule = request.method === 'POST' ? rules.get(request.url) : undefined;
    if (rule === undefined) return refuse(response, unknownMethod(request.url));
    const { path, scopes, reads } = rule;
    // Clients on unix sockets name whatever they like; nothing here depends on it, but it must be part of a URL.
    request.headers[':authority'] = 'localhost';
    try {
      if (served === undefined) throw new Error('the connection is closing');
      const caller = await served.admit(request.headers, { endpoint: path, scopes, reads });
      if (scopes.length > 0 && !served.wide) {
        served.wide = true;
        widen(session as ServerHttp2Session);
      }
      const method = methods.get(path) as DescMethod;
      const owner = identityKey(caller.identity);
      if (Object.hasOwn(raw, path)) {
        // A session's bytes go on as they come: none of its messages is held.
        if (path !== sessionPath) {
          held.count(request.stream as ServerHttp2Stream, owner, method.methodKind !== 'bidi_streaming');
        }
        return await (raw[path] as RawMethod)(request, response, caller);
      }
      // A message to the methods that are open to all is 4 KiB at most.
      if (scopes.length > 0) lookAt(request, method, held, owner);
      callers.set(request, caller);
    } catch (err) {
      return refuse(response, err);
    }
    handler(request, response);
  };
  const server = createServer({ ...http2Limits }, (request, response) => void answer(request, response));
  limitSettings(server);
  let accepting: AdmitCall | undefined;
  server.on('session', (session) => {
    if (accepting !== undefined) sessions.set(session, { admit: accepting, wide: false });
    session.on('error', () => {}); // its calls tell
    session.once('close', () => sessions.delete(session));
  });
  server.on('sessionError', () => {});
  return {
    record,
    buildsByResult,
    observed,
    accept(socket: Duplex, admit: AdmitCall) {
      socket.on('error', () => {});
      // The session's event comes before this returns.
      accepting = admit;
      takeConnection(server, socket);
      accepting = undefined;
    },
    async close(signal) {
      const ended = Promise.all(
        [...sessions.keys()].map((session) => new Promise<void>((resolve) => session.close(resolve))),
      );
      const closed = onClose();
      const cut = Promise.withResolvers<void>();
      const destroy = () => {
        for (const session of sessions.keys()) session.destroy();
        cut.resolve();
      };
      if (signal.aborted) destroy();
      else signal.addEventListener('abort', destroy, { once: true });
      await Promise.race([ended, cut.promise]);
      await closed;
      signal.removeEventListener('abort', destroy);
    },
  };
}

/** The error that Go's servers give for a method that they do not have. */
function unknownMethod(path: string | undefined): GrpcError {
  return new GrpcError(UNIMPLEMENTED, `unknown method ${clip(path ?? '', 200)}`);
}

/** Ends a call before it has begun. */
function refuse({ stream }: Http2ServerResponse, err: unknown): void {
  const { code, message } = statusOf(err);
  const { hop, hint } = err instanceof DrydockError ? err : {};
  const where = err instanceof DrydockError && err.code === 'denied' ? ` (at hop: ${hop})` : '';
  refuseCall(stream, code, `${message}${where}${hint === undefined ? '' : `. ${hint}`}`);
}
