/**
 * Answers DNS queries in a step's namespace by asking the host's resolvers, which the step cannot reach itself. The
 * messages are handed on as they are (RFC 1035: by UDP one a datagram, by TCP one after its length).
 */
import { createSocket, type Socket as Datagrams, type RemoteInfo } from 'node:dgram';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { ipFamily } from '../words/index.ts';

/** So many queries of a step wait for answers at one time; what comes above that is dropped, and asked again. */
const mostQueries = 128;
const mostConnections = 32;
/** How long a resolver may take before the next one is asked, ms. */
const patience = 3000;
const port = 53;

/** Forwards queries from sockets of a namespace until it is closed. */
export class Forwarder {
  readonly #servers: readonly string[];
  readonly #datagrams: Datagrams;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  readonly #queries = new Set<Datagrams>();

  /** Takes the descriptors over. `servers` are asked in their order. */
  constructor({ udp, tcp }: { udp: number; tcp: number }, servers: readonly string[]) {
    this.#servers = servers;
    this.#datagrams = createSocket('udp4');
    this.#datagrams.on('error', () => {});
    this.#datagrams.on('message', (query, from) => this.#ask(query, from, 0));
    this.#datagrams.bind({ fd: udp });
    this.#server = createServer((client) => this.#pass(client));
    this.#server.maxConnections = mostConnections;
    this.#server.on('error', () => {});
    this.#server.listen({ fd: tcp });
    this.#datagrams.unref();
    this.#server.unref();
  }

  /** Asks the resolver of a number, and the next one when it does not answer. */
  #ask(query: Buffer, from: RemoteInfo, number: number): void {
    const server = this.#servers[number];
    if (server === undefined || this.#queries.size >= mostQueries) return;
    const socket = createSocket(ipFamily(server.replace(/%.*$/, '')) === 6 ? 'udp6' : 'udp4');
    this.#queries.add(socket);
    const end = () => {
      clearTimeout(timer);
      if (this.#queries.delete(socket)) socket.close();
    };
    const next = () => {
      end();
      this.#ask(query, from, number + 1);
    };
    const timer = setTimeout(next, patience);
    timer.unref();
    socket.on('error', next);
    socket.on('message', (answer) => {
      // Another one's answer: the numbers of query and answer are the first two bytes.
      if (answer.length < 2 || !answer.subarray(0, 2).equals(query.subarray(0, 2))) return;
      end();
      this.#send(answer, from);
    });
    // A connected socket takes answers of this resolver alone, and hears at once when nobody listens there.
    socket.connect(port, server, () => {
      if (this.#queries.has(socket)) socket.send(query);
    });
    socket.unref();
  }

  #send(answer: Buffer, { port, address }: RemoteInfo): void {
    try {
      this.#datagrams.send(answer, port, address, () => {});
    } catch {
      // It was closed meanwhile.
    }
  }

  #pass(client: Socket): void {
    this.#connections.add(client);
    client.setTimeout(60_000, () => client.destroy());
    client.on('error', () => {});
    const attempt = (number: number) => {
      const server = this.#servers[number];
      if (server === undefined || client.destroyed) return void client.destroy();
      const upstream = connect({ host: server, port });
      upstream.setTimeout(patience, () => upstream.destroy(new Error('no answer')));
      upstream.once('connect', () => {
        upstream.setTimeout(60_000);
        client.pipe(upstream).pipe(client);
      });
      let isOpen = false;
      upstream.once('connect', () => {
        isOpen = true;
      });
      upstream.on('error', () => {
        if (isOpen) client.destroy();
        else attempt(number + 1);
      });
      client.once('close', () => upstream.destroy());
    };
    client.once('close', () => this.#connections.delete(client));
    attempt(0);
  }

  /** Closes the sockets, and gives up what is under way. */
  close(): void {
    for (const socket of this.#queries) socket.close();
    this.#queries.clear();
    this.#datagrams.close();
    this.#server.close();
    for (const each of this.#connections) each.destroy();
  }
}
