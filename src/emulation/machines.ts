/**
 * The processors that images are made for: what marks their programs, and a program for each that does nothing but end.
 * The marks are those of the ELF header (https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html).
 */

/** A processor, by the name that platforms have for it (Go's). */
export interface Machine {
  architecture: string;
  /** The variants that it runs besides the plain platform, best first: `linux/arm/v7`, `linux/arm/v6`. */
  variants?: string[];
  /** The name that QEMU has for it: `qemu-aarch64`. */
  qemu: string;
  /** ELF's number for it (`e_machine`). */
  machine: number;
  bits: 32 | 64;
  order: 'little' | 'big';
  /** ELF's `e_flags`: the calling conventions. */
  flags: number;
  /** Its instructions for exit(42), in hexadecimal. */
  exit: string;
}

/** The code with which the programs for probes end. No shell ends with it that takes such a program for a script. */
export const probeExit = 42;

/** All of them, as BuildKit knows them. */
export const machines: readonly Machine[] = [
  of('amd64', 'x86_64', 62, 64, 'little', 0, 'b83c000000 bf2a000000 0f05'),
  of('arm64', 'aarch64', 183, 64, 'little', 0, '400580d2 a80b80d2 010000d4'),
  of('riscv64', 'riscv64', 243, 64, 'little', 5, '1305a002 9308d005 73000000'),
  of('ppc64le', 'ppc64le', 21, 64, 'little', 2, '01000038 2a006038 02000044'),
  of('s390x', 's390x', 22, 64, 'big', 0, 'a729002a 0a01'),
  of('386', 'i386', 3, 32, 'little', 0, 'bb2a000000 b801000000 cd80'),
  of('mips64le', 'mips64el', 8, 64, 'little', 0x80000000, 'c2130224 2a000424 0c000000'),
  of('mips64', 'mips64', 8, 64, 'big', 0x80000000, '240213c2 2404002a 0000000c'),
  of('loong64', 'loongarch64', 258, 64, 'little', 0x43, '0ba8c002 0b74c102 04a8c002 00002b00'),
  {
    ...of('arm', 'arm', 40, 32, 'little', 0x05000000, '2a00a0e3 0170a0e3 000000ef'),
    variants: ['v7', 'v6'],
  },
];

function of(
  architecture: string,
  qemu: string,
  machine: number,
  bits: 32 | 64,
  order: Machine['order'],
  flags: number,
  exit: string,
): Machine {
  return { architecture, qemu, machine, bits, order, flags, exit };
}
