/** A connected client as a build's session. Each question is a gRPC call back to the client. */
import type { Duplex, Readable } from 'node:stream';
import type { GrpcChannel } from '../grpc/index.ts';
import type { RegistryCredentials } from '../oci/index.ts';
import type { CheckPolicyResponse } from '../pb/session/policy_pb.js';
import { CallMemory, CallsAhead } from './calls-ahead.ts';
import type { SessionInfo } from './headers.ts';
import { notServed, Peer } from './peer.ts';
import { registryCredentials } from './services/auth.ts';
import { clientContent } from './services/content.ts';
import { type ChosenExporter, finalizeExport, findExporters } from './services/exporter.ts';
import { clientOutput } from './services/file-send.ts';
import { diffCopyMethod, folderKey, syncedFolder } from './services/file-sync.ts';
import { checkPolicy, type PolicyQuestion } from './services/policy.ts';
import { getSecret } from './services/secrets.ts';
import { sshAgent } from './services/ssh.ts';
import { pullUpload } from './services/upload.ts';
import type { ClientContent, ClientOutput, ClientSession, LocalProvider } from './types.ts';

/**
 * The session over one client's connection. All its answers are `unavailable` (hop `session`) once the client is gone.
 */
export class ConnectedSession implements ClientSession {
  readonly info: SessionInfo;
  /** The one who opened it (`identityKey`); undefined when nobody knows. */
  readonly owner: string | undefined;
  readonly #channel: GrpcChannel;
  readonly #peer: Peer;
  readonly #closed = new AbortController();
  readonly #ahead: CallsAhead;

  /** `memory`: what builds have asked of clients' folders. */
  constructor(info: SessionInfo, channel: GrpcChannel, owner?: string, memory = new CallMemory()) {
    this.info = info;
    this.owner = owner;
    this.#channel = channel;
    const peer = new Peer(info, channel, owner);
    this.#peer = peer;
    this.#ahead = new CallsAhead(memory, folderKey(peer), async (metadata, signal) => {
      const call = await peer.open('its folders', diffCopyMethod, { metadata, signal });
      return call === notServed ? undefined : call;
    });
    void channel.closed.then((reason) => this.#closed.abort(reason));
  }

  get id(): string {
    return this.info.id;
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** Ends the connection. */
  close(): void {
    this.#channel.close();
  }

  async local(name: string): Promise<LocalProvider | undefined> {
    return syncedFolder(this.#peer, name, this.#ahead);
  }

  expect(purpose: string): () => void {
    return this.#ahead.expect(purpose);
  }

  upload(id: string): Promise<Readable | undefined> {
    return pullUpload(this.#peer, id);
  }

  secret(id: string): Promise<Buffer | undefined> {
    return getSecret(this.#peer, id);
  }

  ssh(id: string): Promise<(() => Promise<Duplex>) | undefined> {
    return sshAgent(this.#peer, id);
  }

  checkPolicy(question: PolicyQuestion): Promise<CheckPolicyResponse> {
    return checkPolicy(this.#peer, question);
  }

  findExporters(metadata: Record<string, Uint8Array>, refs: string[]): Promise<ChosenExporter[]> {
    return findExporters(this.#peer, metadata, refs);
  }

  finalizeExport(response: Record<string, string>): Promise<void> {
    return finalizeExport(this.#peer, response);
  }

  async content(id: string): Promise<ClientContent | undefined> {
    return clientContent(this.#peer, id);
  }

  credentials(host: string): Promise<RegistryCredentials | undefined> {
    return registryCredentials(this.#peer, host);
  }

  output(exporter?: number | string): ClientOutput {
    return clientOutput(this.#peer, exporter);
  }
}
