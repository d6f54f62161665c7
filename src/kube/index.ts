/** Daemons in pods of a Kubernetes cluster, reached by exec. */
export { isKubeAddress } from './address.ts';
export { podDialer } from './dialer.ts';
