/** @file Small kernels in machine code for the tests of the cpu backend's runtime. */
import { gpr, X86Assembler } from '../../src/asm/x86.ts'

const { rax, rcx, rdx, rsi, rdi, r8, r9 } = gpr

/**
 * Arguments: float64 stamps, int32 chunks by thread, a number. Adds the number to the stamp of each
 * index and counts the chunk.
 */
export function stampKernel(): Uint8Array {
  const a = new X86Assembler()
  const next = a.label()
  const end = a.label()
  a.vector('vcvttsd2si.64', 128, [rax, { base: rdi }])
  a.vector('vcvttsd2si.64', 128, [r8, { base: rdi, disp: 8 }])
  a.vector('vmovsd', 128, [0, { base: rdi, disp: 16 }])
  a.lock('inc', 32, { base: r8, index: rcx, scale: 4 })
  a.bind(next)
  a.alu('cmp', 64, rsi, rdx)
  a.jcc('ge', end)
  a.vector('vaddsd', 128, [1, 0, { base: rax, index: rsi, scale: 8 }])
  a.vector('vmovsd', 128, [{ base: rax, index: rsi, scale: 8 }, 1])
  a.aluImm('add', 64, rsi, 1)
  a.jmp(next)
  a.bind(end)
  a.vector('vzeroupper', 128, [])
  a.ret()
  return a.finish()
}

/** Arguments: an int32 counter, a number of rounds. Index 0 counts at once, others after that many rounds. */
export function spinKernel(): Uint8Array {
  const a = new X86Assembler()
  const round = a.label()
  const end = a.label()
  a.vector('vcvttsd2si.64', 128, [rax, { base: rdi }])
  a.vector('vcvttsd2si.64', 128, [r9, { base: rdi, disp: 8 }])
  a.test(64, rsi, rsi)
  a.jcc('e', end)
  a.bind(round)
  a.aluImm('sub', 64, r9, 1)
  a.jcc('ne', round)
  a.bind(end)
  a.lock('inc', 32, { base: rax })
  a.ret()
  return a.finish()
}

/** Copies its first `count` arguments to the address that is the first of them, then sets the status. */
export function copyKernel(count: number, status?: { slot: number; value: number }): Uint8Array {
  const a = new X86Assembler()
  a.vector('vcvttsd2si.64', 128, [rax, { base: rdi }])
  for (let i = 0; i < count; i++) {
    a.mov(64, rdx, { base: rdi, disp: 8 * i })
    a.mov(64, { base: rax, disp: 8 * i }, rdx)
  }
  if (status !== undefined) {
    a.vector('vcvttsd2si.64', 128, [rax, { base: rdi, disp: 8 * status.slot }])
    a.movImm(32, { base: rax }, status.value)
  }
  a.ret()
  return a.finish()
}
