/**
 * A mount in the form of containerd and the OCI runtime spec: an overlay with lowerdir/upperdir/workdir options, or a
 * bind.
 */
export interface Mount {
  type: 'overlay' | 'bind';
  source: string;
  options: string[];
}
