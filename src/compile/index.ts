/** @file What the compile floor gives to users. */
export { compile, type Compiled, type CompiledProgram, type CompileOptions } from './compile.ts'
export { checkpoint } from './checkpoint.ts'
export { cond, scan, whileLoop, type WhileLoopOptions } from './control.ts'
export { profile, type KernelProfile, type Profile } from './profile.ts'
export type { MachineLimits } from './machine-limits.ts'
export { explain } from './explain.ts'
