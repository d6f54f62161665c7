/**
 * The project whose caches `caches.json` has, as buildkitd wrote them: each once, by
 *
 *     buildctl build --frontend dockerfile.v0 --opt build-arg:BASE=… --secret id=npmrc,src=… \
 *       --export-cache type=local,dest=…,mode=max --local context=… --local dockerfile=…
 *
 * Its base image has a program of its own for a shell, so that the image is the same, byte for byte, on all machines.
 */
import type { Files } from '../kit/builds.ts';
import { imageOf, type TestImage, tarOf } from '../kit/images.ts';

/** A program for Linux on amd64 that makes the folder that its last argument names, whatever comes of it. */
function maker(): Buffer {
  const head = Buffer.alloc(120);
  head.write('7f454c46020101', 'hex');
  for (const [at, value] of [
    [16, 2],
    [18, 62],
    [52, 64],
    [54, 56],
    [56, 1],
  ] as const)
    head.writeUInt16LE(value, at);
  for (const [at, value] of [
    [20, 1],
    [64, 1],
    [68, 5],
  ] as const)
    head.writeUInt32LE(value, at);
  // rdi = argv[argc - 1]; mkdir(rdi, 0755); exit(0)
  const code = Buffer.from('488b0c24488b3cccbeed0100006a53580f056a3c5831ff0f05', 'hex');
  for (const [at, value] of [
    [24, 0x400078],
    [32, 64],
    [72, 0],
    [80, 0x400000],
    [88, 0x400000],
    [96, 120 + code.length],
    [104, 120 + code.length],
    [112, 0x1000],
  ] as const)
    head.writeBigUInt64LE(BigInt(value), at);
  return Buffer.concat([head, code]);
}

export function projectBase(): TestImage {
  const tar = tarOf({
    bin: { dir: true },
    'bin/sh': { data: maker(), mode: 0o755 },
    etc: { dir: true },
    'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/:/bin/sh\n',
    'etc/group': 'root:x:0:\nann:x:1001:\n',
    tmp: { dir: true, mode: 0o1777 },
  });
  return imageOf([tar], { config: { Env: ['PATH=/usr/bin:/bin'] }, uncompressed: true });
}

export const projectFiles: Files = {
  'package.json': '{"name":"app"}\n',
  'package-lock.json': '{}\n',
  '.dockerignore': '*.log\n',
  'debug.log': 'ignored\n',
  'src/index.js': 'console.log("<a&b>")\n',
  'src/lib/util.js': '',
  'bin/run': ['#!/bin/sh\n', 0o755],
  main: '-> src/index.js',
};

export const projectText = `
ARG BASE
FROM \${BASE} AS deps
ENV MODE=production PATH=/opt/bin:$PATH
WORKDIR /app
COPY package*.json ./
ARG VERSION=1
RUN --mount=type=cache,target=/root/.npm --mount=type=secret,id=npmrc /app/node_modules

FROM deps AS build
COPY . .
RUN --mount=type=bind,source=src,target=/mnt --network=none /app/dist
RUN <<X
/app/<script>
X

FROM \${BASE}
LABEL a=b
WORKDIR /srv
COPY --from=build --chown=1000:1001 /app/dist /app/package.json ./
COPY --link --from=deps /app/node_modules /srv/linked/
ADD --chmod=644 src/ src/
COPY --chown=ann:ann src/lib/*.js main lib/
COPY <<EOT config.txt
key=$MODE
EOT
USER ann
RUN ["/bin/sh", "/tmp/<&>"]
CMD ["sh"]
`;
