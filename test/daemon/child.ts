/** `child.ts ROOT ADDRESS`: a daemon in a process of its own; prints its addresses, ends on SIGTERM. */
import { startDaemon } from '../../src/daemon/daemon.ts';

const [root = '', host = ''] = process.argv.slice(2);
const daemon = await startDaemon({ root, hosts: [host], logLevel: 'error' });
process.stdout.write(`${JSON.stringify(daemon.addresses)}\n`);
process.on('SIGTERM', () => void daemon.stop(true).then(() => process.exit(0)));
