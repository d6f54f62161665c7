/** A mount as containerd and the OCI runtime spec write it: an overlay with lowerdir/upperdir/workdir options, or a bind. */
export interface Mount {
  type: 'overlay' | 'bind';
  source: string;
  options: string[];
}
