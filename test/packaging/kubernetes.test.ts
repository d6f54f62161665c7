/** packaging/kubernetes: the chart and the kustomize folders are right by the APIs' schemas, and say the same. */
import { describe, expect, test } from 'vitest';
import { parsePolicy } from '../../src/auth/policy-text.ts';
import buildkitd from '../../src/cli/commands/buildkitd.ts';
import { parseFlags } from '../../src/cli/flags.ts';
import { readBuildkitdToml } from '../../src/daemon/buildkitd-config.ts';
import { daemonGauges } from '../../src/daemon/gauges.ts';
import { Metrics } from '../../src/daemon/metrics.ts';
import { settings } from '../../src/daemon/settings.ts';
import { faults, kubeTools, kustomized, type Manifest, renderedChart } from '../kit/kube-manifests.ts';

const everything = ['autoscaling.enabled=true', 'tls.certManager.enabled=true', 'sharedCache.place=dir:/x'];
const variants = [
  ['service', ['mode=service']],
  ['builder', ['mode=builder']],
  ['overlays/service-user-namespace', ['mode=service', 'security=user-namespace']],
  ['overlays/builder-user-namespace', ['mode=builder', 'security=user-namespace']],
] as const;

const byName = (manifests: Manifest[]) =>
  new Map(manifests.map((each) => [`${each.kind} ${each.metadata.name}`, each] as const));

/** A manifest without what a tool adds: labels of the chart, sums of settings in names. */
function bare(manifest: Manifest): Manifest {
  const { labels, ...metadata } = manifest.metadata;
  const text = JSON.stringify({ ...manifest, metadata }).replaceAll(/"drydock-[a-z0-9]{10}"/g, '"drydock"');
  const copy = JSON.parse(text) as Manifest;
  delete copy.spec?.template?.metadata.annotations['drydock/settings'];
  return copy;
}

/** The variables, settings and metrics that a manifest of ours may name. */
const variables = new Set([
  ...Object.keys(settings).map((name) => `DRYDOCK_${name.toUpperCase().replaceAll('-', '_')}`),
  'BUILDKIT_HOST',
  'XDG_CONFIG_HOME',
]);

describe.skipIf(!kubeTools)('packaging/kubernetes', () => {
  test.each(variants)('%s is right by the schemas, and the chart says the same', async (folder, values) => {
    const [own, chart] = [kustomized(folder), renderedChart(...values)];
    for (const manifest of [...own, ...chart]) expect(await faults(manifest)).toEqual([]);
    const names = (manifests: Manifest[]) => [...byName(manifests.map(bare)).keys()].sort();
    expect(names(own)).toEqual(names(chart));
    const charts = byName(chart.map(bare));
    for (const manifest of own.map(bare)) {
      if (manifest.kind === 'ConfigMap') continue;
      expect(manifest).toEqual(charts.get(`${manifest.kind} ${manifest.metadata.name}`));
    }
  });

  test('everything at once, and the overlay for production', async () => {
    const chart = renderedChart(...everything);
    const own = kustomized('overlays/production');
    for (const manifest of [...own, ...chart]) expect(await faults(manifest)).toEqual([]);
    const kinds = (manifests: Manifest[]) => new Set(manifests.map(({ kind }) => kind));
    expect(kinds(own)).toEqual(kinds(chart));
    expect(kinds(own)).toContain('HorizontalPodAutoscaler');
  });

  test('what the pods are told is known to the program', async () => {
    const metrics = new Metrics();
    const counted = { size: 0 };
    daemonGauges(metrics, {
      engine: { store: { kind: 'local', snapshotter: 'native' }, solver: {}, cache: {} },
      builds: counted,
      sessions: counted,
      connections: counted,
    } as unknown as Parameters<typeof daemonGauges>[1]);
    const shown = await metrics.render();
    for (const values of [...variants.map(([, each]) => each), everything]) {
      for (const manifest of renderedChart(...values)) {
        const { spec, data } = manifest;
        if (manifest.kind === 'ConfigMap') {
          expect(readBuildkitdToml(data['buildkitd.toml'], 'buildkitd.toml').warnings).toEqual([]);
          expect(parsePolicy(data['policy.json'], 'policy.json').rules).toHaveLength(3);
        }
        if (manifest.kind === 'HorizontalPodAutoscaler') {
          expect(shown).toMatch(new RegExp(`^${spec.metrics[0].pods.metric.name} `, 'm'));
        }
        if (spec?.template === undefined) continue;
        const [container] = spec.template.spec.containers;
        expect(parseFlags(container.args, buildkitd.flags).args).toEqual([]);
        for (const { name } of container.env) expect(variables).toContain(name);
        // Twice the time for builds: what they made is then sent to the shared cache.
        const drain = Number(
          container.env.find((each: { name: string }) => each.name === 'DRYDOCK_SHUTDOWN_TIMEOUT').value,
        );
        expect(spec.template.spec.terminationGracePeriodSeconds).toBeGreaterThan(2 * drain + 15);
      }
    }
  });

  test.each([
    ['securty=rootless', /additional properties 'securty' not allowed/],
    ['mode=both', /must be one of 'service', 'builder'/],
    ['persistence.size=much', /does not match pattern/],
  ])('the chart refuses %s', (value, message) => {
    expect(() => renderedChart(value)).toThrow(message);
  });

  test('the check finds an unknown field and a wrong value', async () => {
    const [pdb] = renderedChart().filter(({ kind }) => kind === 'PodDisruptionBudget') as [Manifest];
    expect(await faults({ ...pdb, spec: { ...pdb.spec, maxUnavailble: 1 } })).toEqual([
      'PodDisruptionBudget drydock: no schema has /spec/maxUnavailble',
    ]);
    const wrong = { ...pdb, spec: { ...pdb.spec, unhealthyPodEvictionPolicy: 'Sometimes' } };
    expect((await faults(wrong)).join()).toMatch(/unhealthyPodEvictionPolicy/);
  });
});

if (!kubeTools) {
  test.skip('packaging/kubernetes was NOT TESTED: this machine has no helm and kubectl', () => {});
}
