/** @file Code that moves lanes: reductions across a register, and transposes of blocks. */
import type { Bits, VectorOp } from '../../asm/x86.ts'
import type { ScalarType } from '../../core/dtype.ts'
import type { Combine } from '../../ir/expr.ts'
import type { Value } from '../../ir/loops.ts'
import type { Selector } from './emit.ts'
import type { Register } from './machine.ts'
import { isFloat, type LaneType } from './spelling.ts'
import { boolRegisters, combineRegisters } from './vector-code.ts'

/** All lanes of a value combined into one, in `to`. */
export function acrossLanes(m: Selector, combine: Combine, arg: Value, to: Register): void {
  if (arg.type === 'bool') return acrossBools(m, combine, arg, to)
  const p = m.program
  const type = arg.type as LaneType
  const join = (bits: Bits, a: Register, b: Register): Register => {
    const made = p.register('v')
    combineRegisters(m, combine, type, bits, made, a, b)
    return made
  }
  let all = m.registers(arg).reduce((a, b) => join(m.vectorBits, a, b))
  if (m.vectorBits === 512) {
    const upper = p.register('v')
    p.vector('vextractf64x4', 512, [upper, all], { imm: 1 })
    all = join(256, all, upper)
  }
  const upper = p.register('v')
  p.vector(m.features.avx512 ? 'vextractf32x4' : 'vextractf128', 256, [upper, all], { imm: 1 })
  all = join(128, all, upper)
  const fold = (imm: number) => {
    const moved = p.register('v')
    p.vector('vpshufd', 128, [moved, all], { imm })
    all = join(128, all, moved)
  }
  fold(0x4e)
  if (type === 'f32' || type === 'i32') fold(0xb1)
  if (isFloat(type)) return p.copy(to, all)
  p.vector(type === 'i64' ? 'vmovq.rx' : 'vmovd.rx', 128, [to, all])
}

function acrossBools(m: Selector, combine: Combine, arg: Value, to: Register): void {
  const p = m.program
  const isAny = combine === 'or' || combine === 'max' || combine === 'add'
  const all = m.registers(arg).reduce((a, b) => {
    const made = m.boolRegister()
    boolRegisters(m, isAny ? 'or' : 'and', made, a, b)
    return made
  })
  if (m.features.avx512) {
    p.vector(m.facts.isWide ? 'kortestb' : 'kortestw', 128, [all, all], {}, 'reads')
    return p.int('setcc', 32, 'makes', [to], isAny ? 'ne' : 'b')
  }
  const bits = p.register('g')
  p.vector(m.facts.isWide ? 'vmovmskpd' : 'vmovmskps', 256, [bits, all])
  const wanted = isAny ? 0 : m.facts.isWide ? 15 : 255
  p.int('cmp', 32, 'reads', [bits, wanted])
  p.int('setcc', 32, 'makes', [to], isAny ? 'ne' : 'e')
}

/**
 * The columns of a square block of rows, or of two rows of 32-bit lanes. Neighbours are interleaved until each 128-bit part
 * holds a transposed square; then the parts themselves are transposed.
 */
export function transposeLanes(
  m: Selector,
  rows: readonly Register[],
  type: ScalarType,
): readonly Register[] {
  const p = m.program
  const bits = m.vectorBits
  const mix = (op: VectorOp, a: Register, b: Register, imm?: number): Register => {
    const made = p.register('v')
    p.vector(op, bits, [made, a, b], imm === undefined ? {} : { imm })
    return made
  }
  if (rows.length === 2) {
    // First whole 128-bit parts, then the elements in each.
    const [a, b] = rows as [Register, Register]
    const [even, odd] =
      bits === 512
        ? [mix('vshuff32x4', a, b, 0x88), mix('vshuff32x4', a, b, 0xdd)]
        : [mix('vperm2f128', a, b, 0x20), mix('vperm2f128', a, b, 0x31)]
    return [mix('vshufps', even, odd, 0x88), mix('vshufps', even, odd, 0xdd)]
  }
  const isWide = type === 'f64' || type === 'i64'
  const side = isWide ? 2 : 4
  // squares[g][j]: column j of the squares that rows g * side ... make, one square in each part.
  const squares: Register[][] = []
  for (let g = 0; g < rows.length; g += side) {
    const pairs = (a: Register, b: Register): readonly [Register, Register] =>
      isWide
        ? [mix('vunpcklpd', a, b), mix('vunpckhpd', a, b)]
        : [mix('vunpcklps', a, b), mix('vunpckhps', a, b)]
    if (isWide) squares.push([...pairs(rows[g]!, rows[g + 1]!)])
    else {
      const [low01, high01] = pairs(rows[g]!, rows[g + 1]!)
      const [low23, high23] = pairs(rows[g + 2]!, rows[g + 3]!)
      squares.push([
        mix('vunpcklpd', low01, low23),
        mix('vunpckhpd', low01, low23),
        mix('vunpcklpd', high01, high23),
        mix('vunpckhpd', high01, high23),
      ])
    }
  }
  const columns: Register[] = new Array<Register>(rows.length)
  for (let j = 0; j < side; j++) {
    const parts = squares.map((square) => square[j]!)
    if (parts.length === 2) {
      columns[j] = mix('vperm2f128', parts[0]!, parts[1]!, 0x20)
      columns[side + j] = mix('vperm2f128', parts[0]!, parts[1]!, 0x31)
      continue
    }
    const [a, b, c, d] = parts as [Register, Register, Register, Register]
    const evenAB = mix('vshuff32x4', a, b, 0x88)
    const oddAB = mix('vshuff32x4', a, b, 0xdd)
    const evenCD = mix('vshuff32x4', c, d, 0x88)
    const oddCD = mix('vshuff32x4', c, d, 0xdd)
    columns[j] = mix('vshuff32x4', evenAB, evenCD, 0x88)
    columns[side + j] = mix('vshuff32x4', oddAB, oddCD, 0x88)
    columns[2 * side + j] = mix('vshuff32x4', evenAB, evenCD, 0xdd)
    columns[3 * side + j] = mix('vshuff32x4', oddAB, oddCD, 0xdd)
  }
  return columns
}
