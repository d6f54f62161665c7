/** An image with everything that a layer can have, for builds that must make the same of it. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxRoot } from './busybox.ts';

/** A root filesystem with everything that an ordinary user can usually not make. */
export function everyMarkTar(): Buffer {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-rootfs-'));
  try {
    busyboxRoot(dir);
    const sh = (script: string) => execFileSync('sh', ['-ec', script], { cwd: dir });
    mkdirSync(join(dir, 'dev'));
    sh(
      'mknod -m 620 dev/console c 5 1; mknod -m 660 dev/loop0 b 7 0; chown 0:6 dev/loop0; mkfifo -m 600 dev/pipe',
    );
    sh('cp bin/busybox bin/capable; setcap cap_net_raw+ep bin/capable; ln bin/capable bin/also-capable');
    sh(
      'echo x >nobody; chown 65534:65534 nobody; chmod 4711 nobody; mkdir -m 1777 sticky; chown 1000:10 sticky',
    );
    sh(
      'mkdir -p old/a old/b; echo 1 >old/a/1; echo 2 >old/b/2; echo 3 >old/3; setfattr -n user.mark -v here old/3',
    );
    return execFileSync('tar', ['--xattrs', '--xattrs-include=*', '--sort=name', '-c', '.'], {
      cwd: dir,
      maxBuffer: 1 << 26,
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Steps after which every mark that a layer can have is in some layer. */
export const everyMark = `FROM scratch AS base
ADD root.tar /
ENV PATH=/bin
FROM base AS worked
RUN rm -rf /old/a && mkdir /old/a && echo new >/old/a/new && mv /old/b /old/c && rm /old/3
RUN chown -R ann:ann /old/c && chown 65534:12345 /old && chmod 2750 /old && ln /nobody /somebody && ln -s nobody /link
RUN id >/id; echo $(cat /proc/self/uid_map | wc -l) lines >/dev/null; touch /tmp/x && rm /tmp/x
FROM base
COPY --from=worked --chown=ann /old /mine
COPY --from=base /dev/console /dev/loop0 /devices/
COPY --link --chmod=640 --chown=7:8 file /linked/
USER ann
WORKDIR /home/ann
RUN echo $(id) >mine && chmod 600 mine
USER root
RUN rm /devices/console && rmdir /sticky && mkdir /sticky
`;
