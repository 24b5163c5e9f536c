/** @file Addresses of every shape, and the instructions on general registers with them. */
import type {
  AluOp,
  Condition,
  CountOp,
  LockOp,
  Memory,
  ShiftByOp,
  ShiftOp,
  UnaryOp,
  Width,
  X86Assembler,
} from '../../src/asm/x86.ts'

export type Operand = number | Memory
/** Writes one instruction; `behind` is the address behind it. */
export type Emit = (assembler: X86Assembler, behind: Memory) => void
type Add = (emit: Emit) => void

const REGISTERS = [0, 3, 4, 5, 7, 8, 12, 13, 15]
const ALU = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'] as const
const UNARY = ['inc', 'dec', 'not', 'neg', 'mul', 'div', 'idiv'] as const
const SHAPES = addresses({}).length

/** Addresses that differ in encoding; a short displacement counts in units of 4 bytes in EVEX. */
export function addresses(behind: Memory): Memory[] {
  return [
    ...[0, 4, 5, 12, 13].map((base) => ({ base })),
    ...[1, 64, 127, -128, 128, -129, 0x12345678, -0x80000000].map((disp) => ({ base: 6, disp })),
    { base: 4, disp: 8 },
    { base: 12, disp: 256 },
    { base: 0, index: 1 },
    { base: 8, index: 9, scale: 2 },
    { base: 5, index: 15, scale: 4 },
    { base: 13, index: 5, scale: 8 },
    { base: 12, index: 12, disp: -3 },
    { base: 4, index: 13, scale: 8, disp: 1000 },
    { index: 3, scale: 8 },
    { index: 10, scale: 4, disp: 12 },
    { disp: 0x1234 },
    behind,
    { ...behind, disp: 16 },
    { ...behind, disp: -200 },
  ] as Memory[]
}

export function generalForms(add: Add): void {
  for (const bits of [32, 64] as const) {
    moves(bits, add)
    arithmetic(bits, add)
    shifts(bits, add)
    for (const op of UNARY) operands(add, (a, x) => a.unary(op satisfies UnaryOp, bits, x))
    for (const op of [...ALU.slice(0, 7), 'xadd', 'cmpxchg'] as Exclude<LockOp, 'inc'>[])
      pairs(add, 'memory', (a, memory, r) => a.lock(op, bits, memory as Memory, r))
    for (const op of ['inc', 'dec', 'not', 'neg'] as const)
      operands(add, (a, x) => typeof x === 'object' && a.lock(op, bits, x), 'memory')
    pairs(add, 'memory', (a, memory, r) => a.xchg(bits, memory as Memory, r))
  }
  narrow(add)
  for (const condition of conditions) {
    for (const register of REGISTERS) add((a) => a.setcc(condition, register))
    for (const bits of [32, 64] as const)
      pairs(add, condition === 'ae' ? 'both' : 'register', (a, x, r) =>
        a.cmov(condition, bits, r, x),
      )
  }
  for (const register of REGISTERS) {
    add((a) => a.push(register))
    add((a) => a.pop(register))
  }
  operands(add, (a, x) => a.call(x))
  operands(add, (a, x) => a.jmpIndirect(x))
  for (const hint of ['t0', 't1', 'nta', 'w'] as const)
    operands(add, (a, x) => a.prefetch(hint, x as Memory), 'memory')
  for (const name of plain) add((a) => a[name]())
}

const conditions: readonly Condition[] = [
  ...(['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a'] as const),
  ...(['s', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'] as const),
]
const plain = [
  ...(['ret', 'cdq', 'cqo', 'pause', 'syscall'] as const),
  ...(['mfence', 'ud2', 'cpuid', 'xgetbv', 'rdtsc'] as const),
]

function moves(bits: Width, add: Add): void {
  pairs(add, 'both', (a, x, r) => a.mov(bits, x, r))
  pairs(add, 'both', (a, x, r) => a.mov(bits, r, x))
  const values = [0, 1, -1, 127, 128, -128, 0x7fffffff, -0x80000000, 0x80000000, 0xffffffff]
  const wide = [2 ** 32, 2 ** 40 + 5, -(2 ** 40), 0x123456789abcdef0n, -1n, 2n ** 64n - 2n]
  for (const value of bits === 64 ? [...values, ...wide] : values)
    for (const register of REGISTERS) add((a) => a.movImm(bits, register, value))
  for (const value of [0, -1, 0x7fffffff, -0x80000000])
    operands(add, (a, x) => a.movImm(bits, x, value), 'memory')
}

function arithmetic(bits: Width, add: Add): void {
  const values = [0, 1, -1, 127, 128, -128, -129, 0x7fffffff, -0x80000000]
  for (const op of ALU satisfies readonly AluOp[]) {
    pairs(add, 'both', (a, x, r) => a.alu(op, bits, x, r))
    pairs(add, 'memory', (a, x, r) => a.alu(op, bits, r, x))
    for (const value of bits === 32 ? [...values, 0xffffff80, 0x80000000] : values)
      for (const register of REGISTERS) add((a) => a.aluImm(op, bits, register, value))
    for (const value of [1, 1000]) operands(add, (a, x) => a.aluImm(op, bits, x, value), 'memory')
  }
  pairs(add, 'both', (a, x, r) => a.test(bits, x, r))
  pairs(add, 'both', (a, x, r) => a.imul(bits, r, x))
  for (const value of values) pairs(add, 'both', (a, x, r) => a.imulImm(bits, r, x, value))
  for (const op of ['lzcnt', 'tzcnt', 'popcnt', 'bsr', 'bsf'] satisfies CountOp[])
    pairs(add, 'both', (a, x, r) => a.count(op, bits, r, x))
  pairs(add, 'both', (a, x, r) => a.andn(bits, r, 15 - r, x))
  pairs(add, 'both', (a, x, r) => a.bzhi(bits, r, x, 15 - r))
}

function shifts(bits: Width, add: Add): void {
  for (const op of ['shl', 'shr', 'sar', 'rol', 'ror'] satisfies ShiftOp[])
    for (const count of [1, 2, bits - 1]) operands(add, (a, x) => a.shiftImm(op, bits, x, count))
  for (const op of ['shlx', 'shrx', 'sarx'] satisfies ShiftByOp[])
    pairs(add, 'both', (a, x, r) => a.shiftBy(op, bits, r, x, 15 - r))
}

function narrow(add: Add): void {
  pairs(add, 'memory', (a, x, r) => a.lea(r, x as Memory))
  for (const op of ['movzx8', 'movzx16', 'movsx8', 'movsx16', 'movsxd'] as const)
    pairs(add, 'both', (a, x, r) => a[op](r, x))
  for (const op of ['store8', 'store16'] as const)
    pairs(add, 'memory', (a, x, r) => a[op](x as Memory, r))
}

type Kind = 'register' | 'memory' | 'both'

/** One instruction per register and per shape of address. */
function operands(add: Add, emit: (a: X86Assembler, x: Operand) => void, kind: Kind = 'both') {
  if (kind !== 'memory') for (const register of REGISTERS) add((a) => emit(a, register))
  if (kind === 'register') return
  for (let i = 0; i < SHAPES; i++) add((a, behind) => emit(a, addresses(behind)[i]!))
}

/** The same with a register beside it, which changes as well. */
function pairs(add: Add, kind: Kind, emit: (a: X86Assembler, x: Operand, r: number) => void) {
  let turn = 0
  operands(add, (a, x) => emit(a, x, REGISTERS[turn++ % REGISTERS.length]!), kind)
  if (kind !== 'memory') for (const r of REGISTERS) add((a) => emit(a, 1, r))
}
