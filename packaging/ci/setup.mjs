// setup-drydock: installs the command, starts the daemon in the background, and tells later steps where it is.
import { chmodSync, copyFileSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { addPath, failed, flag, input, keep, run, say, setOutput, setVariable, works } from './runner.mjs';

const home = join(process.env.RUNNER_TEMP ?? '/tmp', 'drydock');

/** Installs what the inputs name; the path of the command. */
async function install() {
  const named = input('package');
  if (named !== '' && !/\.tgz$/.test(named) && /^(https?:|\.{0,2}\/)/.test(named)) return oneFile(named);
  const spec =
    named === '' ? `drydock@${input('version')}` : /^\.{0,2}\//.test(named) ? resolve(named) : named;
  run('npm', 'install', '--global', '--prefix', home, '--no-audit', '--no-fund', '--ignore-scripts', spec);
  return join(home, 'bin/drydock');
}

/** Puts the one file that is the whole program in its place. */
async function oneFile(place) {
  const file = join(home, 'bin/drydock');
  mkdirSync(join(home, 'bin'), { recursive: true });
  if (/^https?:/.test(place)) {
    const answer = await fetch(place);
    if (!answer.ok) throw new Error(`${place} answered ${answer.status}`);
    writeFileSync(file, Buffer.from(await answer.arrayBuffer()));
  } else copyFileSync(resolve(place), file);
  chmodSync(file, 0o755);
  return file;
}

/** The runner's own engine, if it is to be used and there. */
function engine() {
  const named = input('engine');
  if (named !== 'auto') return named;
  const socket = '/var/run/docker.sock';
  return existsSync(socket) && statSync(socket).isSocket() ? `unix://${socket}` : '';
}

/** How the daemon is started: as root where that asks for no password. */
function asRoot() {
  if (process.getuid() === 0 || flag('rootless') || !works('sudo', '-n', 'true')) return [];
  const kept = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy', 'PATH'];
  const cloud = Object.keys(process.env).filter((name) => /^(AWS|AZURE|OTEL|DRYDOCK)_/.test(name));
  return ['sudo', '-n', `--preserve-env=${[...kept, ...cloud].join(',')}`];
}

/** Starts it; the address. */
function start(command) {
  const root = input('root') || join(home, 'root');
  const host = `unix://${join(home, 'drydock.sock')}`;
  const before = asRoot();
  const args = ['--root', root, 'daemon', '--detach', '--host', host, '--group', run('id', '-gn')];
  if (input('config') !== '') {
    writeFileSync(join(home, 'daemon.json'), input('config'));
    args.push('--config', join(home, 'daemon.json'));
  }
  if (input('shared-cache') !== '') args.push('--shared-cache', input('shared-cache'));
  if (engine() !== '') args.push('--engine', engine());
  // The end of the job finds what was begun, also when a step in between fails.
  keep('command', JSON.stringify([...before, command, '--root', root]));
  const [program, ...rest] = [...before, command, ...args];
  run(program, ...rest);
  return host;
}

/** Makes a builder of buildx where there is buildx; its name. */
function builder(host) {
  const name = input('builder');
  if (name === '') return '';
  if (!works('docker', 'buildx', 'version')) {
    say('notice', 'there is no buildx here, so no builder is made; docker build works by DOCKER_HOST');
    return '';
  }
  // One of the same name may be left from an earlier job of a runner that is used again.
  works('docker', 'buildx', 'rm', name);
  run('docker', 'buildx', 'create', '--name', name, '--driver', 'remote', host);
  keep('builder', name);
  return name;
}

try {
  mkdirSync(home, { recursive: true });
  const command = await install();
  const host = start(command);
  const name = builder(host);
  addPath(join(home, 'bin'));
  if (flag('docker-host'))
    for (const variable of ['DOCKER_HOST', 'BUILDKIT_HOST', 'DRYDOCK_HOST']) setVariable(variable, host);
  if (name !== '') setVariable('BUILDX_BUILDER', name);
  if (flag('gha-cache')) {
    for (const [variable, value] of Object.entries(process.env))
      if (/^ACTIONS_(RUNTIME_TOKEN|RESULTS_URL|CACHE_URL|CACHE_SERVICE_V2)$/.test(variable))
        setVariable(variable, value);
  }
  setOutput('host', host);
  setOutput('builder', name);
  setOutput('version', run(command, '--version').replace(/^drydock /, ''));
} catch (err) {
  failed(err);
}
