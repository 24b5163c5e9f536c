/** @file Code for single values: integers and bools in general registers, floats in the first lane of vector registers. */
import type { VectorOp } from '../../asm/x86.ts'
import type { ScalarType } from '../../core/dtype.ts'
import type { Value } from '../../ir/loops.ts'
import { assert } from '../../util/errors.ts'
import type { MachineOperand, Register } from './machine.ts'
import {
  floatPredicate,
  intCondition,
  isFloat,
  roundingMode,
  scalarShifts,
  singleBinary,
} from './spelling.ts'
import type { Selector } from './emit.ts'
import { floatMinMax } from './vector-code.ts'

type OpValue = Value & { readonly def: Value['def'] & { readonly kind: 'op' } }

const bitsOf = (type: ScalarType): 32 | 64 => (type === 'i64' || type === 'f64' ? 64 : 32)

/** Code for an operation on single values, into the register `to`. */
export function scalarOp(m: Selector, value: OpValue, to: Register): void {
  const { op, args } = value.def
  const type = args[args.length - 1]!.type
  if (op === 'convert') return convert(m, args[0]!, value.type, to)
  if (op === 'bitcast') return bitcast(m, args[0]!, value.type, to)
  if (op === 'select') return select(m, value, to)
  if (op === 'eq' || op === 'ne' || op === 'lt' || op === 'le')
    return isFloat(type) ? compareFloats(m, op, value, to) : compareInts(m, op, value, to)
  if (isFloat(type)) return floatOp(m, value, type, to)
  return intOp(m, value, to)
}

// -- integers

function intOp(m: Selector, value: OpValue, to: Register): void {
  const p = m.program
  const { op, args } = value.def
  const [a, b] = args as [Value, Value]
  // In 64 bits, of which the lower half is what 32-bit arithmetic gives.
  switch (op) {
    case 'add':
      return add(m, a, b, to)
    case 'sub': {
      const right = m.immediate(b)
      if (right !== undefined && right !== -2147483648) {
        return p.int('lea', 64, 'makes', [to, m.offset(m.int(a), -right)])
      }
      return twoOperand(m, 'sub', a, m.int(b), to)
    }
    case 'mul':
      return multiply(m, a, b, to)
    case 'and':
    case 'or':
    case 'xor':
      return twoOperand(m, op, a, m.immediate(b) ?? m.int(b), to)
    case 'min':
    case 'max': {
      const right = m.int(b)
      const left = m.int(a)
      const bits = bitsOf(value.type)
      const result = m.apart(to, [right])
      p.copy(result, left)
      p.int('cmp', bits, 'reads', [result, right])
      p.int('cmov', 64, 'changes', [result, right], op === 'min' ? 'g' : 'l')
      return m.settle(to, result)
    }
    case 'div':
    case 'rem':
      return value.type === 'i64' ? divideWide(m, value, to) : divide(m, value, to)
    case 'neg':
      p.copy(to, m.int(a))
      return p.int('neg', 64, 'changes', [to])
    case 'abs': {
      const x = m.int(a)
      const result = m.apart(to, [x])
      p.copy(result, x)
      p.int('neg', bitsOf(value.type), 'changes', [result])
      p.int('cmov', 64, 'changes', [result, x], 's')
      return m.settle(to, result)
    }
    case 'not':
      p.copy(to, m.int(a))
      if (value.type === 'bool') return p.int('xor', 32, 'changes', [to, 1])
      return p.int('not', 64, 'changes', [to])
    case 'shl':
    case 'shr':
    case 'ushr': {
      const bits = bitsOf(value.type)
      const [constant, variable] = scalarShifts[op]
      const count = m.immediate(b)
      if (count === undefined) return p.int(variable, bits, 'makes', [to, m.int(a), m.int(b)])
      p.copy(to, m.int(a))
      return p.int(constant, bits, 'changes', [to, count & (bits - 1)])
    }
    default:
      assert(false, `no code for ${op} of ${value.type}`)
  }
}

function add(m: Selector, a: Value, b: Value, to: Register): void {
  const p = m.program
  if (m.immediate(a) !== undefined) [a, b] = [b, a]
  const right = m.immediate(b)
  if (right !== undefined) return p.int('lea', 64, 'makes', [to, m.offset(m.int(a), right)])
  const address = { ...m.offset(m.int(a), 0), index: m.int(b) }
  p.int('lea', 64, 'makes', [to, address])
}

function multiply(m: Selector, a: Value, b: Value, to: Register): void {
  const p = m.program
  if (m.immediate(a) !== undefined) [a, b] = [b, a]
  const right = m.immediate(b)
  if (right === undefined) return twoOperand(m, 'imul', a, m.int(b), to)
  const shift = Math.log2(right)
  if (Number.isInteger(shift)) {
    p.copy(to, m.int(a))
    return p.int('shl', 64, 'changes', [to, shift])
  }
  p.int('imulImm', 64, 'makes', [to, m.int(a), right])
}

// to = a; to = to op b, where `to` may be what b lies in.
function twoOperand(
  m: Selector,
  op: 'sub' | 'and' | 'or' | 'xor' | 'imul',
  a: Value,
  b: Register | number,
  to: Register,
): void {
  const result = m.apart(to, typeof b === 'number' ? [] : [b])
  m.program.copy(result, m.int(a))
  m.program.int(op, 64, 'changes', [result, b])
  m.settle(to, result)
}

function divide(m: Selector, value: OpValue, to: Register): void {
  const p = m.program
  const [a, b] = value.def.args as [Value, Value]
  const isQuotient = value.def.op === 'div'
  const divisor = m.immediate(b)
  const isKnown = divisor !== undefined && divisor > 1
  const dividend = m.extended(a)
  const result = isKnown ? divideByConstant(m, dividend, divisor) : divideInDouble(m, a, b)
  if (isQuotient) return finishDivision(m, b, divisor, result, to)
  const product = p.register('g')
  if (divisor === undefined) {
    p.copy(product, result)
    p.int('imul', 64, 'changes', [product, m.extended(b)])
  } else p.int('imulImm', 64, 'makes', [product, result, divisor])
  const rest = p.register('g')
  p.copy(rest, dividend)
  p.int('sub', 64, 'changes', [rest, product])
  finishDivision(m, b, divisor, rest, to)
}

/**
 * x / d as x times 2^s / d, rounded up, and a shift by s: exact for |x| < 2^31 where 2^s is 2^31 times at
 * least d (Granlund and Montgomery 1994). A negative x comes out one too small.
 */
function divideByConstant(m: Selector, x: Register, divisor: number): Register {
  const p = m.program
  const shift = 31n + BigInt(Math.ceil(Math.log2(divisor)))
  const factor = ((1n << shift) + BigInt(divisor) - 1n) / BigInt(divisor)
  const result = p.register('g')
  if (Number.isInteger(Math.log2(divisor))) {
    // The sign is spread over the bits below the divisor, so that the shift truncates.
    p.copy(result, x)
    p.int('sar', 64, 'changes', [result, 63])
    p.int('and', 64, 'changes', [result, divisor - 1])
    p.int('add', 64, 'changes', [result, x])
    p.int('sar', 64, 'changes', [result, Math.log2(divisor)])
    return result
  }
  p.int('movImm', 64, 'makes', [result, factor])
  p.int('imul', 64, 'changes', [result, x])
  p.int('sar', 64, 'changes', [result, Number(shift)])
  const sign = p.register('g')
  p.copy(sign, x)
  p.int('sar', 64, 'changes', [sign, 63])
  p.int('sub', 64, 'changes', [result, sign])
  return result
}

// Quotients of 32-bit integers are exact in double precision, truncation included.
function divideInDouble(m: Selector, a: Value, b: Value): Register {
  const p = m.program
  const asDouble = (x: Value): Register => {
    const made = p.register('v')
    p.int('zero', 128, 'makes', [made])
    p.vector('vcvtsi2sd.32', 128, [made, made, m.int(x)], {}, 'changes')
    return made
  }
  const quotient = p.register('v')
  p.vector('vdivsd', 128, [quotient, asDouble(a), asDouble(b)])
  const result = p.register('g')
  p.vector('vcvttsd2si.64', 128, [result, quotient])
  return result
}

// By zero everything is zero.
function finishDivision(
  m: Selector,
  b: Value,
  divisor: number | undefined,
  result: Register,
  to: Register,
): void {
  const p = m.program
  if (divisor === 0) return p.int('movImm', 64, 'makes', [to, 0])
  if (divisor === undefined) {
    const zero = p.register('g')
    p.int('movImm', 64, 'makes', [zero, 0])
    const right = m.int(b)
    p.int('test', 32, 'reads', [right, right])
    p.int('cmov', 64, 'changes', [result, zero], 'e')
  }
  // The smallest number divided by -1 is one too large.
  if (divisor === undefined || divisor < 0) return p.int('movsxd', 64, 'makes', [to, result])
  p.copy(to, result)
}

// The instruction traps for divisors 0 and -1: these divide by 1, and the answer is put right.
function divideWide(m: Selector, value: OpValue, to: Register): void {
  const p = m.program
  const [a, b] = value.def.args as [Value, Value]
  const isQuotient = value.def.op === 'div'
  const { rax, rdx } = m.divisionRegisters()
  const dividend = m.int(a)
  const divisor = m.int(b)
  const one = p.register('g')
  p.int('movImm', 64, 'makes', [one, 1])
  const safe = p.register('g')
  p.copy(safe, divisor)
  const test = p.register('g')
  const isUnsafe = () => {
    p.int('lea', 64, 'makes', [test, m.offset(divisor, 1)])
    p.int('cmp', 64, 'reads', [test, 1])
  }
  isUnsafe()
  p.int('cmov', 64, 'changes', [safe, one], 'be')
  p.copy(rax, dividend)
  p.int('cqo', 64, 'changes', [rdx, rax])
  p.int('idiv', 64, 'changes', [rax, rdx, safe])
  const result = p.register('g')
  p.copy(result, isQuotient ? rax : rdx)
  // With divisor -1 the quotient is -a = a b, with 0 it is 0 = a b; the remainder is 0 both times.
  const other = p.register('g')
  if (isQuotient) {
    p.copy(other, dividend)
    p.int('imul', 64, 'changes', [other, divisor])
  } else p.int('movImm', 64, 'makes', [other, 0])
  isUnsafe()
  p.int('cmov', 64, 'changes', [result, other], 'be')
  p.copy(to, result)
}

function compareInts(
  m: Selector,
  op: keyof typeof intCondition,
  value: OpValue,
  to: Register,
): void {
  const p = m.program
  const [a, b] = value.def.args as [Value, Value]
  p.int('cmp', bitsOf(a.type), 'reads', [m.int(a), m.immediate(b) ?? m.int(b)])
  p.int('setcc', 32, 'makes', [to], intCondition[op])
}

// -- floats

function floatOp(m: Selector, value: OpValue, type: 'f32' | 'f64', to: Register): void {
  const p = m.program
  const { op, args } = value.def
  const [a, b, c] = args as [Value, Value, Value]
  const suffix = type === 'f32' ? 'ss' : 'sd'
  const binary = singleBinary[op]?.[type]
  if (binary !== undefined) return p.vector(binary, 128, [to, m.reg(a), m.source(b)])
  const rounding = roundingMode[op]
  if (rounding !== undefined) {
    const x = m.reg(a)
    const name = m.features.avx512 ? 'vrndscale' : 'vround'
    return p.vector(`${name}${suffix}` as VectorOp, 128, [to, x, x], { imm: rounding })
  }
  switch (op) {
    case 'sqrt':
      return p.vector(`vsqrt${suffix}` as VectorOp, 128, [to, m.reg(a), m.reg(a)])
    case 'neg':
    case 'abs':
      return m.maskBits(op, type, 128, to, m.reg(a))
    case 'min':
    case 'max':
      return floatMinMax(m, op, type, 128, to, [a, m.reg(a)], [b, m.reg(b)])
    case 'fma': {
      const result = m.apart(to, [m.reg(a), m.reg(b)])
      p.copy(result, m.reg(c))
      const fma = `vfmadd231${suffix}` as VectorOp
      p.vector(fma, 128, [result, m.reg(a), m.reg(b)], {}, 'changes')
      return m.settle(to, result)
    }
    default:
      assert(false, `no code for ${op} of ${type}`)
  }
}

function compareFloats(
  m: Selector,
  op: keyof typeof floatPredicate,
  value: OpValue,
  to: Register,
): void {
  const [a, b] = value.def.args as [Value, Value]
  m.compareSingles(a.type as 'f32' | 'f64', m.reg(a), m.source(b), floatPredicate[op], to)
}

function select(m: Selector, value: OpValue, to: Register): void {
  const p = m.program
  const [condition, yes, no] = value.def.args as [Value, Value, Value]
  if (!isFloat(value.type)) {
    const [c, x, y] = [m.int(condition), m.int(yes), m.int(no)]
    const result = m.apart(to, [c, x])
    p.copy(result, y)
    p.int('test', 32, 'reads', [c, c])
    p.int('cmov', 64, 'changes', [result, x], 'ne')
    return m.settle(to, result)
  }
  const suffix = value.type === 'f32' ? 'ps' : 'pd'
  if (m.features.avx512) {
    const mask = p.register('k')
    p.vector('kmovw.kr', 128, [mask, m.int(condition)])
    const blend = `vblendm${suffix}` as VectorOp
    return p.vector(blend, 128, [to, m.reg(no), m.reg(yes)], { mask }, 'makes')
  }
  const mask = m.singleMask(m.int(condition), value.type)
  p.vector(`vblendv${suffix}` as VectorOp, 128, [to, m.reg(no), m.reg(yes), mask])
}

// -- changes of type

function bitcast(m: Selector, a: Value, type: ScalarType, to: Register): void {
  const p = m.program
  if (isFloat(type) === isFloat(a.type)) return p.copy(to, m.any(a))
  const way = isFloat(type) ? 'xr' : 'rx'
  p.vector(bitsOf(type) === 64 ? `vmovq.${way}` : `vmovd.${way}`, 128, [to, m.any(a)])
}

function convert(m: Selector, a: Value, type: ScalarType, to: Register): void {
  const p = m.program
  const from = a.type
  if (from === type) return p.copy(to, m.any(a))
  if (type === 'bool') {
    if (isFloat(from))
      return m.compareSingles(from, m.reg(a), m.zeroOf(from), floatPredicate.ne, to)
    const x = m.int(a)
    p.int('test', bitsOf(from), 'reads', [x, x])
    return p.int('setcc', 32, 'makes', [to], 'ne')
  }
  if (isFloat(from)) {
    if (isFloat(type)) {
      const x = m.reg(a)
      return p.vector(type === 'f64' ? 'vcvtss2sd' : 'vcvtsd2ss', 128, [to, x, x])
    }
    return type === 'i32' ? floatToInt(m, a, to) : floatToLong(m, a, to)
  }
  if (isFloat(type)) {
    const op = `vcvtsi2${type === 'f32' ? 'ss' : 'sd'}.${from === 'i64' ? 64 : 32}` as VectorOp
    p.int('zero', 128, 'makes', [to])
    return p.vector(op, 128, [to, to, m.int(a)], {}, 'changes')
  }
  if (type === 'i64' && from === 'i32') return p.int('movsxd', 64, 'makes', [to, m.int(a)])
  p.copy(to, m.int(a))
}

function asDouble(m: Selector, a: Value): Register {
  if (a.type === 'f64') return m.reg(a)
  const made = m.program.register('v')
  m.program.vector('vcvtss2sd', 128, [made, m.reg(a), m.reg(a)])
  return made
}

// Saturates; NaN passes both bounds, and becomes the integer whose lower half is 0.
function floatToInt(m: Selector, a: Value, to: Register): void {
  const p = m.program
  const low = p.register('v')
  p.vector('vminsd', 128, [low, m.constant('f64', 2147483647), asDouble(m, a)])
  const bounded = p.register('v')
  p.vector('vmaxsd', 128, [bounded, m.constant('f64', -2147483648), low])
  p.vector('vcvttsd2si.64', 128, [to, bounded])
}

function floatToLong(m: Selector, a: Value, to: Register): void {
  const p = m.program
  const x = asDouble(m, a)
  const result = p.register('g')
  p.vector('vcvttsd2si.64', 128, [result, x])
  const other = p.register('g')
  p.int('movImm', 64, 'makes', [other, -1])
  p.int('shr', 64, 'changes', [other, 1])
  p.vector('vucomisd', 128, [x, m.constant('f64', 2 ** 63)], {}, 'reads')
  p.int('cmov', 64, 'changes', [result, other], 'ae')
  const zero = p.register('g')
  p.int('movImm', 64, 'makes', [zero, 0])
  p.vector('vucomisd', 128, [x, x], {}, 'reads')
  p.int('cmov', 64, 'changes', [result, zero], 'p')
  p.copy(to, result)
}

export type { MachineOperand, OpValue }
