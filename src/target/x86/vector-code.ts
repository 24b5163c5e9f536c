/** @file Code for one register of lanes of a vector value. */
import type { Bits, VectorOp } from '../../asm/x86.ts'
import type { ScalarType } from '../../core/dtype.ts'
import type { Value } from '../../ir/loops.ts'
import type { ScalarOp } from '../../ir/scalar-op.ts'
import { assert } from '../../util/errors.ts'
import type { Selector } from './emit.ts'
import { Register, type MachineOperand } from './machine.ts'
import type { OpValue } from './scalar-code.ts'
import {
  floatPredicate,
  intPredicate,
  isFloat,
  logic,
  roundingMode,
  shifts,
  vectorBinary,
  type LaneType,
} from './spelling.ts'

type Comparison = keyof typeof floatPredicate
const isComparison = (op: ScalarOp): op is Comparison => op in floatPredicate

/** Code for register `r` of an operation on lanes, into `to`. */
export function vectorOp(m: Selector, value: OpValue, r: number, to: Register): void {
  const { op, args } = value.def
  const last = args[args.length - 1]!
  const bits = m.vectorBits
  if (op === 'select') return select(m, value, r, to)
  if (op === 'convert') return convert(m, args[0]!, value.type, r, to)
  if (op === 'bitcast') return m.program.copy(to, m.reg(args[0]!, r))
  if (last.type === 'bool') return boolOp(m, op, args, r, to)
  const [a, b, c] = args as [Value, Value, Value]
  if (isComparison(op)) return compare(m, op, a, b, r, to)
  const type = last.type as LaneType
  const binary = vectorBinary[op]?.[type]
  if (binary !== undefined) {
    const [x, y] = op === 'add' || op === 'mul' ? m.sourceLast(a, b) : [a, b]
    return m.program.vector(binary, bits, [to, m.reg(x, r), m.source(y, r)])
  }
  if (op === 'and' || op === 'or' || op === 'xor') {
    const [x, y] = m.sourceLast(a, b)
    return m.program.vector(logicOf(m, op, type), bits, [to, m.reg(x, r), m.source(y, r)])
  }
  if (op === 'shl' || op === 'shr' || op === 'ushr') return shift(m, op, type, a, b, r, to)
  const rounding = roundingMode[op]
  if (rounding !== undefined) return round(m, rounding, type, m.source(a, r), to)
  switch (op) {
    case 'min':
    case 'max':
      return floatMinMax(m, op, type as 'f32' | 'f64', bits, to, [a, m.reg(a, r)], [b, m.reg(b, r)])
    case 'sqrt':
      return m.program.vector(type === 'f32' ? 'vsqrtps' : 'vsqrtpd', bits, [to, m.source(a, r)])
    case 'neg':
      if (isFloat(type)) return m.maskBits(op, type, bits, to, m.reg(a, r))
      return m.program.vector(type === 'i32' ? 'vpsubd' : 'vpsubq', bits, [
        to,
        m.zeroOf(type),
        m.source(a, r),
      ])
    case 'abs':
      if (isFloat(type)) return m.maskBits(op, type, bits, to, m.reg(a, r))
      return m.program.vector(type === 'i32' ? 'vpabsd' : 'vpabsq', bits, [to, m.source(a, r)])
    case 'not': {
      const ones = m.constant(type, type === 'i64' ? -1n : -1)
      return m.program.vector(logicOf(m, 'xor', type), bits, [to, m.reg(a, r), ones])
    }
    case 'fma':
      return fma(m, type as 'f32' | 'f64', a, b, c, r, to)
    case 'dotBf16':
      return dot(m, 'vdpbf16ps', m.sourceLast(a, b), c, r, to)
    case 'dotU8S8':
      return dot(m, 'vpdpbusd', [a, b], c, r, to)
    default:
      assert(false, `no vector code for ${op} of ${type}`)
  }
}

/** Combines two registers by a row that reductions use. */
export function combineRegisters(
  m: Selector,
  op: ScalarOp,
  type: LaneType,
  bits: Bits,
  to: Register,
  a: Register,
  b: Register,
): void {
  const binary = vectorBinary[op]?.[type]
  if (binary !== undefined) return m.program.vector(binary, bits, [to, a, b])
  if (op === 'and' || op === 'or' || op === 'xor')
    return m.program.vector(logicOf(m, op, type), bits, [to, a, b])
  assert(op === 'min' || op === 'max', `no vector code to combine by ${op}`)
  floatMinMax(m, op, type as 'f32' | 'f64', bits, to, [undefined, a], [undefined, b])
}

export const logicOf = (m: Selector, op: 'and' | 'or' | 'xor', type: LaneType): VectorOp => {
  const table = logic[m.features.avx512 ? 'evex' : 'vex'] as Record<
    'and' | 'or' | 'xor',
    Partial<Record<LaneType, VectorOp>>
  >
  return table[op][type === 'f32' || type === 'i32' ? 'i32' : 'i64']!
}

// Three operands, one of which becomes the result: the one that is in the right place, else a copy.
function fma(
  m: Selector,
  type: 'f32' | 'f64',
  a: Value,
  b: Value,
  c: Value,
  r: number,
  to: Register,
): void {
  const p = m.program
  const bits = m.vectorBits
  const suffix = type === 'f32' ? 'ps' : 'pd'
  const sum = m.reg(c, r)
  const [x, y] = m.sourceLast(a, b)
  const left = m.reg(x, r)
  const right = m.source(y, r)
  const form231 = `vfmadd231${suffix}` as VectorOp
  if (sum === to) return p.vector(form231, bits, [to, left, right], {}, 'changes')
  if (left === to) {
    const form213 = `vfmadd213${suffix}` as VectorOp
    return p.vector(form213, bits, [to, m.reg(y, r), sum], {}, 'changes')
  }
  const result = m.apart(to, right === to ? [to] : [])
  p.copy(result, sum)
  p.vector(form231, bits, [result, left, right], {}, 'changes')
  m.settle(to, result)
}

// The sum is changed where it is: in the result's place, or in a copy.
function dot(
  m: Selector,
  op: VectorOp,
  [a, b]: readonly [Value, Value],
  c: Value,
  r: number,
  to: Register,
): void {
  const sum = m.reg(c, r)
  const left = m.reg(a, r)
  const right = m.source(b, r)
  const others = right instanceof Register ? [left, right] : [left]
  const result = sum === to ? to : m.apart(to, others)
  if (sum !== to) m.program.copy(result, sum)
  m.program.vector(op, m.vectorBits, [result, left, right], {}, 'changes')
  m.settle(to, result)
}

/**
 * The smaller or larger of floats as the table defines it: NaN if either is NaN, and -0 less than +0.
 * The machine's own instruction returns its second operand for NaN, and for two zeros.
 */
export function floatMinMax(
  m: Selector,
  op: 'min' | 'max',
  type: 'f32' | 'f64',
  bits: Bits,
  to: Register,
  [aValue, a]: readonly [Value | undefined, Register],
  [bValue, b]: readonly [Value | undefined, Register],
): void {
  const p = m.program
  const suffix = type === 'f32' ? 'ps' : 'pd'
  const native = `v${op}${suffix}` as VectorOp
  const [known, constant, other] =
    constantOf(aValue) !== undefined ? [constantOf(aValue)!, a, b] : [constantOf(bValue), b, a]
  if (known !== undefined && !Number.isNaN(known) && !(op === 'min' && Object.is(known, -0))) {
    if (op === 'min' || known !== 0) return p.vector(native, bits, [to, constant, other])
    if (Object.is(known, -0)) return p.vector(native, bits, [to, constant, other])
    // max(+0, -0) came out as -0; adding +0 changes nothing else.
    const larger = p.register('v')
    p.vector(native, bits, [larger, constant, other])
    return p.vector(`vadd${suffix}` as VectorOp, bits, [to, larger, constant])
  }
  if (m.features.avx512) {
    const isNaN = p.register('k')
    const result = m.apart(to, [a, b])
    p.vector(`vrange${suffix}` as VectorOp, bits, [result, a, b], { imm: op === 'min' ? 4 : 5 })
    p.vector(`vcmp${suffix}.k` as VectorOp, bits, [isNaN, a, b], { imm: 3 })
    p.vector(`vadd${suffix}` as VectorOp, bits, [result, a, b], { mask: isNaN })
    return m.settle(to, result)
  }
  // Both orders differ for zeros and NaN only. "Or" keeps the sign and what is NaN; "and" drops them.
  const [first, second] = [p.register('v'), p.register('v')]
  p.vector(native, bits, [first, a, b])
  p.vector(native, bits, [second, b, a])
  if (op === 'min') return p.vector(`vor${suffix}` as VectorOp, bits, [to, first, second])
  const [both, isNaN] = [p.register('v'), p.register('v')]
  p.vector(`vand${suffix}` as VectorOp, bits, [both, first, second])
  p.vector(`vcmp${suffix}` as VectorOp, bits, [isNaN, a, b], { imm: 3 })
  p.vector(`vor${suffix}` as VectorOp, bits, [to, both, isNaN])
}

function constantOf(value: Value | undefined): number | undefined {
  const def = value?.def.kind === 'splat' ? value.def.arg.def : value?.def
  return def?.kind === 'const' ? Number(def.value) : undefined
}

function round(m: Selector, imm: number, type: LaneType, x: MachineOperand, to: Register): void {
  const name = m.features.avx512 ? 'vrndscale' : 'vround'
  const op = `${name}${type === 'f32' ? 'ps' : 'pd'}` as VectorOp
  m.program.vector(op, m.vectorBits, [to, x], { imm })
}

function shift(
  m: Selector,
  op: keyof typeof shifts,
  type: LaneType,
  a: Value,
  b: Value,
  r: number,
  to: Register,
): void {
  const bits = m.vectorBits
  const { constant, variable } = shifts[op]
  const count = constantOf(b)
  const most = type === 'i64' ? 63 : 31
  if (count !== undefined && Math.abs(count) < 2 ** 31) {
    return m.program.vector(constant[type]!, bits, [to, m.reg(a, r)], { imm: count & most })
  }
  // Counts beyond the width shift everything out: the table takes them modulo the width.
  const within = m.program.register('v')
  const limit = m.constant(type, type === 'i64' ? 63n : 31)
  m.program.vector(logicOf(m, 'and', type), bits, [within, m.reg(b, r), limit])
  m.program.vector(variable[type]!, bits, [to, m.reg(a, r), within])
}

function compare(m: Selector, op: Comparison, a: Value, b: Value, r: number, to: Register): void {
  const p = m.program
  const bits = m.vectorBits
  const type = a.type as LaneType
  if (isFloat(type)) {
    const name = `vcmp${type === 'f32' ? 'ps' : 'pd'}${m.features.avx512 ? '.k' : ''}` as VectorOp
    return p.vector(name, bits, [to, m.reg(a, r), m.source(b, r)], { imm: floatPredicate[op] })
  }
  if (m.features.avx512) {
    const name = type === 'i32' ? 'vpcmpd' : 'vpcmpq'
    return p.vector(name, bits, [to, m.reg(a, r), m.source(b, r)], { imm: intPredicate[op] })
  }
  const letter = type === 'i32' ? 'd' : 'q'
  const [equal, greater] = [`vpcmpeq${letter}`, `vpcmpgt${letter}`] as [VectorOp, VectorOp]
  if (op === 'eq') return p.vector(equal, bits, [to, m.reg(a, r), m.source(b, r)])
  if (op === 'lt') return p.vector(greater, bits, [to, m.reg(b, r), m.source(a, r)])
  const opposite = p.register('v')
  if (op === 'ne') p.vector(equal, bits, [opposite, m.reg(a, r), m.source(b, r)])
  else p.vector(greater, bits, [opposite, m.reg(a, r), m.source(b, r)])
  p.vector('vpxor', bits, [to, opposite, m.constant('i32', -1)])
}

// -- lanes of bools: mask registers, or lanes of all ones and all zeros

type BoolRow = 'and' | 'or' | 'xor' | 'not'
const maskRow = { and: 'kand', or: 'kor', xor: 'kxor', not: 'knot' } as const

/** "and", "or", "xor" or "not" of registers of bools. */
export function boolRegisters(
  m: Selector,
  op: BoolRow,
  to: Register,
  a: Register,
  b: Register | undefined,
): void {
  const p = m.program
  if (m.features.avx512) {
    const name = `${maskRow[op]}w` as VectorOp
    return p.vector(name, 128, b === undefined ? [to, a] : [to, a, b])
  }
  if (op === 'not') return p.vector('vpxor', m.vectorBits, [to, a, m.constant('i32', -1)])
  p.vector(logic.vex[op].i32, m.vectorBits, [to, a, b!])
}

function boolOp(m: Selector, op: ScalarOp, args: readonly Value[], r: number, to: Register): void {
  const [a, b] = args as [Value, Value]
  if (op === 'ne') return boolRegisters(m, 'xor', to, m.reg(a, r), m.reg(b, r))
  if (op === 'eq') {
    const differ = m.boolRegister()
    boolRegisters(m, 'xor', differ, m.reg(a, r), m.reg(b, r))
    return boolRegisters(m, 'not', to, differ, undefined)
  }
  if (op === 'not') return boolRegisters(m, 'not', to, m.reg(a, r), undefined)
  assert(op === 'and' || op === 'or' || op === 'xor', `no vector code for ${op} of bools`)
  boolRegisters(m, op, to, m.reg(a, r), m.reg(b, r))
}

function select(m: Selector, value: OpValue, r: number, to: Register): void {
  const p = m.program
  const [condition, yes, no] = value.def.args as [Value, Value, Value]
  const mask = m.reg(condition, r)
  if (value.type === 'bool') {
    const [kept, others, inverse] = [m.boolRegister(), m.boolRegister(), m.boolRegister()]
    boolRegisters(m, 'and', kept, mask, m.reg(yes, r))
    boolRegisters(m, 'not', inverse, mask, undefined)
    boolRegisters(m, 'and', others, inverse, m.reg(no, r))
    return boolRegisters(m, 'or', to, kept, others)
  }
  const isWide = value.type === 'f64' || value.type === 'i64'
  if (m.features.avx512) {
    const blend = isFloat(value.type)
      ? isWide
        ? 'vblendmpd'
        : 'vblendmps'
      : isWide
        ? 'vpblendmq'
        : 'vpblendmd'
    const operands = [to, m.reg(no, r), m.source(yes, r)]
    return p.vector(blend, m.vectorBits, operands, { mask }, 'makes')
  }
  const blend = isWide ? 'vblendvpd' : 'vblendvps'
  p.vector(blend, m.vectorBits, [to, m.reg(no, r), m.reg(yes, r), mask])
}

// -- changes of type

function convert(m: Selector, a: Value, type: ScalarType, r: number, to: Register): void {
  const p = m.program
  const bits = m.vectorBits
  const from = a.type
  if (from === type) return from === 'bool' ? m.copyBool(to, m.reg(a, r)) : p.copy(to, m.reg(a, r))
  if (type === 'bool') return notZero(m, from as LaneType, m.reg(a, r), to)
  if (from === 'bool') return fromBool(m, type as LaneType, m.reg(a, r), to)
  switch (`${from}>${type}`) {
    case 'i32>f32':
      return p.vector('vcvtdq2ps', bits, [to, m.source(a, r)])
    case 'i64>f64':
      return p.vector('vcvtqq2pd', bits, [to, m.source(a, r)])
    case 'f32>i32':
      return saturate(m, 'f32', m.reg(a, r), to)
    case 'f64>i64':
      return saturate(m, 'f64', m.reg(a, r), to)
    default:
      assert(false, `no vector conversion from ${from} to ${type}`)
  }
}

function notZero(m: Selector, from: LaneType, x: Register, to: Register): void {
  const p = m.program
  const zero = m.zeroOf(from)
  const bits = m.vectorBits
  if (isFloat(from)) {
    const name = `vcmp${from === 'f32' ? 'ps' : 'pd'}${m.features.avx512 ? '.k' : ''}` as VectorOp
    return p.vector(name, bits, [to, x, zero], { imm: floatPredicate.ne })
  }
  if (m.features.avx512)
    return p.vector(from === 'i32' ? 'vpcmpd' : 'vpcmpq', bits, [to, x, zero], { imm: 4 })
  const isZero = p.register('v')
  p.vector(from === 'i32' ? 'vpcmpeqd' : 'vpcmpeqq', bits, [isZero, x, zero])
  p.vector('vpxor', bits, [to, isZero, m.constant('i32', -1)])
}

function fromBool(m: Selector, type: LaneType, x: Register, to: Register): void {
  const one = m.constant(type, type === 'i64' ? 1n : 1)
  const bits = m.vectorBits
  const isWide = type === 'f64' || type === 'i64'
  if (!m.features.avx512)
    return m.program.vector(isFloat(type) ? 'vandps' : 'vpand', bits, [to, x, one])
  const move = isWide ? 'vmovdqu64' : 'vmovdqu32'
  m.program.vector(move, bits, [to, one], { mask: x, zeroing: true })
}

// The instruction gives the smallest integer for all that does not fit. NaN becomes 0, what is too large the largest.
function saturate(m: Selector, from: 'f32' | 'f64', x: Register, to: Register): void {
  const p = m.program
  const bits = m.vectorBits
  const isWide = from === 'f64'
  const largest = isWide ? m.constant('i64', 2n ** 63n - 1n) : m.constant('i32', 2147483647)
  const limit = m.constant(from, isWide ? 2 ** 63 : 2 ** 31)
  if (m.features.avx512) {
    const [isNumber, isLarge] = [p.register('k'), p.register('k')]
    const compare = isWide ? 'vcmppd.k' : 'vcmpps.k'
    p.vector(compare, bits, [isNumber, x, x], { imm: 7 })
    p.vector(compare, bits, [isLarge, x, limit], { imm: 29 })
    const result = m.apart(to, [x])
    const cut = isWide ? 'vcvttpd2qq' : 'vcvttps2dq'
    p.vector(cut, bits, [result, x], { mask: isNumber, zeroing: true })
    p.vector(isWide ? 'vmovdqu64' : 'vmovdqu32', bits, [result, largest], { mask: isLarge })
    return m.settle(to, result)
  }
  const [cut, isNumber, isLarge, kept] = [1, 2, 3, 4].map(() => p.register('v')) as [
    Register,
    Register,
    Register,
    Register,
  ]
  p.vector('vcvttps2dq', bits, [cut, x])
  p.vector('vcmpps', bits, [isNumber, x, x], { imm: 7 })
  p.vector('vcmpps', bits, [isLarge, x, limit], { imm: 29 })
  p.vector('vpand', bits, [kept, cut, isNumber])
  p.vector('vblendvps', bits, [to, kept, largest, isLarge])
}
