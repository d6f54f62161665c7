/** Which platforms' programs run here: natively, or by an emulator that the kernel was told of. */
export { Emulation, remedyFor, type Support, whyNot } from './emulation.ts';
export { machinesNamed, register, unregister } from './register.ts';
