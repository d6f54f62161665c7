/** A web server on all addresses of its host: each answer says who asked. */
import { createServer } from 'node:http';

createServer((request, response) => response.end(`other, asked by ${request.socket.remoteAddress}`)).listen(
  80,
  '::',
);
