/** A bucket on loopback (s3rver). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, folderOf } from '../bench.ts';
import { startServer } from './servers.ts';
import { until } from './until.ts';

const program = new URL('../../node_modules/s3rver/bin/s3rver.js', import.meta.url).pathname;

/** Serves the bucket `caches` until the bench ends; gives the server's URL. */
export async function serveS3(bench: Bench): Promise<string> {
  const folder = folderOf(bench, 's3');
  const log = join(bench.folder, 's3.log');
  const args = ['-d', folder, '-a', '127.0.0.1', '-p', '0', '--configure-bucket', 'caches'];
  const server = await startServer(process.execPath, ['--openssl-legacy-provider', program, ...args], log);
  bench.atEnd(() => server.stop());
  let url = '';
  await until(async () => {
    const host = /listening on (127\.0\.0\.1:\d+)/.exec(readFileSync(log, 'utf8'))?.[1];
    if (host === undefined) throw new Error(server.log());
    url = `http://${host}`;
  });
  return url;
}

/** The attributes of a cache there. */
export function s3Attrs(url: string): string {
  return `type=s3,bucket=caches,region=us-east-1,endpoint_url=${url},use_path_style=true,access_key_id=S3RVER,secret_access_key=S3RVER`;
}
