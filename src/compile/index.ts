/** @file What the compile floor gives to users. */
export { compile, type Compiled, type CompiledProgram, type CompileOptions } from './compile.ts'
export { checkpoint } from './checkpoint.ts'
export { cond, scan, whileLoop, type WhileLoopOptions } from './control.ts'
export { parseGraph } from './parse.ts'
export { constantsOf, printGraph } from './print.ts'
export { verifyGraph } from './verify.ts'
export { graphToDot } from './dot.ts'
