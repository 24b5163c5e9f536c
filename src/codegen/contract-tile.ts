/** @file The register tile of a contraction: rows times vectors of sums. */
import type { MemoryType, Place, Value, Variable } from '../ir/loops.ts'
import type { Range } from './contract-access.ts'
import { dotStep, type Dot } from './contract-dot.ts'
import type { Contraction } from './contract-pattern.ts'
import type { Emitter } from './emitter.ts'
import type { TargetTraits } from './target-traits.ts'

/** Where a tile finds its operands. */
export interface TileInput {
  readonly memory: MemoryType
  readonly a: RowsOfA
  readonly b: ColumnsOfB
}

/** The vectors of B at the first depth, and how far on those of the next depth are. */
export interface ColumnsOfB {
  readonly buffer: number
  readonly start: Value
  readonly stride: number
}

/**
 * A as a panel, or as rows contiguous along the depth: row i at depth k is starts[i] + k. In a packed
 * panel the rows of one depth lie side by side; of another one `steps` tells how far on the next depth
 * and the next row are.
 */
export type RowsOfA =
  | {
      readonly buffer: number
      readonly panel: Value
      /** Where sums start at what lies here, one for each row; undefined: at zero. */
      readonly firstSums?: Value
      readonly steps?: { readonly depth: number; readonly row: number }
    }
  | { readonly buffer: number; readonly starts: readonly Value[] }

/** rows x columns sums of products over a range of depths (or of words of them), in variables, one per row. */
export function multiply(
  b: Emitter,
  type: Contraction['type'],
  rows: number,
  columns: number,
  depth: Range,
  input: TileInput,
  traits: TargetTraits,
  dot?: Dot,
): readonly Variable[] {
  const { memory, a } = input
  const zero = b.splat(b.const(type, 0), columns)
  const sums = Array.from({ length: rows }, (_, i) => {
    if (!('panel' in a) || !a.firstSums) return b.variable(zero)
    return b.variable(b.splat(b.load(b.place(a.buffer, memory, a.firstSums, i)), columns))
  })
  const isFused = traits.spells('fma', type, traits.vectorBytes / (type === 'f64' ? 8 : 4))
  const panelB = b.variable(input.b.start)
  const panelA = 'panel' in a ? b.variable(a.panel) : undefined
  const apart = ('panel' in a ? a.steps : undefined) ?? { depth: rows, row: 1 }
  const steps = (k: Value, count: number) => {
    const atB = b.read(panelB)
    const atA = panelA && b.read(panelA)
    const starts = 'starts' in a ? a.starts.map((start) => b.add(start, k)) : []
    for (let u = 0; u < count; u++) {
      const line = b.load(b.place(input.b.buffer, memory, atB, u * input.b.stride), columns)
      sums.forEach((sum, i) => {
        const place: Place =
          atA === undefined
            ? b.place(a.buffer, memory, starts[i]!, u)
            : b.place(a.buffer, memory, atA, u * apart.depth + i * apart.row)
        const factor = b.splat(b.load(place), columns)
        const old = b.read(sum)
        if (dot) b.set(sum, dotStep(b, dot, factor, line, old))
        else if (isFused) b.set(sum, b.op('fma', [factor, line, old]))
        else b.set(sum, b.op('add', [old, b.op('mul', [factor, line])]))
      })
    }
    b.set(panelB, b.add(atB, count * input.b.stride))
    if (panelA) b.set(panelA, b.add(atA!, count * apart.depth))
  }
  const unroll = traits.tileUnroll
  const whole = b.roundDown(b.sub(depth.end, depth.begin), unroll)
  const stop = unroll === 1 ? depth.end : b.add(depth.begin, whole)
  b.loop(depth.begin, stop, unroll, (k) => steps(k, unroll))
  if (unroll > 1) b.loop(stop, depth.end, 1, (k) => steps(k, 1))
  return sums
}
