/** @file Recognises chains of contractions: sums of products of which one factor is made, point by point, from sums of products. */
import type { DType, ScalarType } from '../core/dtype.ts'
import {
  childrenOf,
  freeAxes,
  rewrite,
  type Axis,
  type Expr,
  type ExprBuilder,
  type Index,
  type LoadExpr,
} from '../ir/expr.ts'
import { visitAll, type Group, type Store } from '../ir/group.ts'
import { chainBounds, contains, type ChainBounds } from './chain-bounds.ts'
import type { Operand } from './contract-pattern.ts'
import { memoryOf } from './emitter.ts'
import { strideOf } from './merge-axes.ts'

/**
 * Note [Chains]: attention and its gradients are chains. Over points (row, depth) there are scores,
 * which are sums of products, and factors made of them; results are sums over the depth or the rows:
 *
 *   score_k[row, depth]    = sum over e of a_k[row, e] * b_k[depth, e]
 *   out_k[row, column]     = value(sum over depth of factor_k[row, depth] * c_k[depth, column])
 *   across_k[depth, column] = sum over rows of factor_k[row, depth] * c_k[row, column]
 *
 * The scores of a block of points are made in scratch space, become factors there and are multiplied
 * on, so that no array of all points is ever in memory. A softmax needs the largest score of a row, the
 * `top`, before its first factor: factors that have exp(x - top) in them are made with the largest score
 * seen so far, and what was summed before a larger one came is scaled down (Milakov & Gimelshein 2018;
 * Dao et al. 2022).
 *
 * Expressions of a chain see what lowering provides as loads from buffers that do not exist.
 */
export interface Chain {
  readonly type: 'f32' | 'f64'
  readonly batch: readonly Axis[]
  readonly rows: Axis
  readonly depth: Axis
  readonly scores: readonly Score[]
  readonly top: Top | undefined
  /** Sums over the depth that are numbers of a row. */
  readonly rowSums: readonly RowSum[]
  /** What is made of each point. */
  readonly factors: readonly Expr[]
  /** Sums over the depth. */
  readonly products: readonly Product[]
  readonly outcomes: readonly ChainOutcome[]
  /** Sums over the rows, stored as they are. */
  readonly across: readonly Across[]
  /** Where factors may differ from zero, solved for the depth and for the rows; undefined: anywhere. */
  readonly bounds: ChainBounds | undefined
}

export interface Score {
  /** Stands for the score, contiguous along the depth. */
  readonly stand: LoadExpr
  /** Its own axis are the rows. */
  readonly a: Operand
  /** Its own axis is the depth of the chain. */
  readonly b: Operand
}

/** The largest value of a row, and at least `start`. */
export interface Top {
  readonly stand: LoadExpr
  readonly value: Expr
  readonly start: number
}

export interface RowSum {
  readonly stand: LoadExpr
  readonly value: Expr
}

export interface Product {
  /** Stands for the sum, contiguous along the column axis. */
  readonly stand: LoadExpr
  /** Which factor of the chain it has. */
  readonly factor: number
  readonly column: Axis
  /** Its own axis are the columns, the summed one is the depth of the chain, or its rows. */
  readonly b: Operand
}

export interface Across extends Product {
  readonly store: Store
}

export interface ChainOutcome {
  readonly store: Store
  readonly dtype: DType
  readonly value: Expr
  /** Where the value differs between columns: along that axis. */
  readonly column: Axis | undefined
}

/** The chain that a group is, or undefined. */
export function matchChain(s: ExprBuilder, group: Group): Chain | undefined {
  const frame = group.checks.length === 0 ? frameOf(group) : undefined
  return frame && new Matcher(s, group, frame.depth, frame.rows).run()
}

// Reductions around reductions are over the depth or over the rows. Of the two, most are over the
// depth: what is summed over the rows has no room of its own, and comes and goes.
function frameOf(group: Group): { depth: Axis; rows: Axis | undefined } | undefined {
  const counts = new Map<Axis, number>()
  let isPlain = true
  visitAll(
    group.stores.map((store) => store.value),
    (e) => {
      if (e.kind === 'scan') isPlain = false
      if (e.kind !== 'reduce' || !contains(e.value, (x) => x.kind === 'reduce')) return
      if (e.axes.length !== 1) isPlain = false
      counts.set(e.axes[0]!, (counts.get(e.axes[0]!) ?? 0) + 1)
    },
  )
  const [depth, rows, ...rest] = [...counts.keys()].sort((x, y) => counts.get(y)! - counts.get(x)!)
  if (!isPlain || depth === undefined || rest.length > 0) return undefined
  return { depth, rows }
}

const dtypeOfCompute = { f32: 'float32', f64: 'float64' } as const

class Matcher {
  readonly #s: ExprBuilder
  readonly #group: Group
  readonly #depth: Axis
  /** The rows, where something is summed over them. */
  readonly #summedRows: Axis | undefined
  readonly #free = new Map<Expr, ReadonlySet<Axis>>()
  #type: 'f32' | 'f64' | undefined
  #stands = 0
  #isRight = true
  readonly #scores: { stand: LoadExpr; value: Expr; axes: readonly Axis[] }[] = []
  readonly #sums: Sum[] = []
  readonly #factors: Expr[] = []
  #largest: { stand: LoadExpr; value: Expr } | undefined
  #top: Top | undefined

  constructor(s: ExprBuilder, group: Group, depth: Axis, summedRows: Axis | undefined) {
    this.#s = s
    this.#group = group
    this.#depth = depth
    this.#summedRows = summedRows
  }

  run(): Chain | undefined {
    const memo = new Map<Expr, Expr>()
    const values = this.#group.stores.map((store) =>
      rewrite(this.#s, store.value, (e) => this.#replace(e), memo),
    )
    if (!this.#isRight || this.#type === undefined) return undefined
    // Without a least value, the top is the largest score itself.
    if (this.#largest && !this.#top) this.#top = { ...this.#largest, start: -Infinity }
    const rowSums = this.#sums.filter((sum) => sum.sides === undefined)
    const split = this.#sums.flatMap((sum) => this.#split(sum))
    const rows = this.#rowsOf()
    const scores = rows && this.#scores.map((score) => this.#scoreOf(score, rows))
    if (!scores?.every((score) => score !== undefined)) return undefined
    if (split.length === 0 || rowSums.some((sum) => sum.over !== this.#depth)) return undefined
    const made = [...rowSums.map((sum) => sum.value), ...this.#factors]
    if (!this.#keepsTop([...values, ...made]) || !made.every((e) => this.#scales(e)))
      return undefined
    const products = split.filter((sum) => sum.over === this.#depth)
    const others = split.filter((sum) => sum.over !== this.#depth)
    const across = this.#across(others, values, rows!)
    const outcomes = across && this.#outcomes(products, values, across)
    if (outcomes === undefined || (this.#top && others.length > 0)) return undefined
    const columns = new Set(split.map(({ column }) => column))
    const isBatch = (axis: Axis) => axis !== rows && axis !== this.#depth && !columns.has(axis)
    return {
      type: this.#type,
      batch: this.#group.axes.filter(isBatch),
      rows: rows!,
      depth: this.#depth,
      scores,
      top: this.#top,
      rowSums,
      factors: this.#factors,
      products,
      outcomes,
      across: across!,
      bounds: chainBounds(
        this.#s,
        { rows: rows!, depth: this.#depth, columns },
        made,
        this.#top?.value,
      ),
    }
  }

  // Sees every node after those inside it were replaced.
  #replace(e: Expr): Expr | undefined {
    if (e.kind === 'op' && e.op === 'max') return this.#startOf(e)
    if (e.kind !== 'reduce') return undefined
    if (e.type !== 'f32' && e.type !== 'f64') return this.#fail()
    if (this.#type !== undefined && this.#type !== e.type) return this.#fail()
    this.#type = e.type
    const { value, combine, axes } = e
    if (!contains(value, isStand)) {
      const stand = this.#stand(e.type, this.#depth)
      this.#scores.push({ stand, value: combine === 'add' ? value : e, axes })
      return stand
    }
    if (combine === 'add') {
      const over = axes[0]!
      const sides = this.#sidesOf(value, over)
      const stand = this.#stand(e.type, sides?.column)
      this.#sums.push({ stand, value, over, sides })
      return stand
    }
    if (combine !== 'max' || this.#largest) return this.#fail()
    this.#largest = { stand: this.#stand(e.type), value }
    return this.#largest.stand
  }

  // max(start, largest score) is the top from then on.
  #startOf(e: Expr & { kind: 'op' }): Expr | undefined {
    const { largest, start } = this.#startIn(e)
    if (largest === undefined || start === undefined || this.#top) return undefined
    this.#top = { stand: this.#stand(largest.type), value: this.#largest!.value, start }
    return this.#top.stand
  }

  #startIn({ args }: Expr & { kind: 'op' }): { largest?: Expr; start?: number } {
    const largest = args.find((x) => x === this.#largest?.stand)
    const start = args.find((x) => x.kind === 'const')
    return {
      ...(largest && { largest }),
      ...(start?.kind === 'const' && { start: Number(start.value) }),
    }
  }

  #fail(): undefined {
    this.#isRight = false
    return undefined
  }

  #stand(type: ScalarType, along?: Axis): LoadExpr {
    const terms = along ? [{ index: this.#s.at(along), stride: 1 }] : []
    const dtype = dtypeOfCompute[type as 'f32' | 'f64']
    return this.#s.load(-1 - this.#stands++, dtype, { offset: 0, terms })
  }

  #axesOf(e: Expr): ReadonlySet<Axis> {
    return freeAxes(e, this.#free)
  }

  // A product as the factor with scores in it and the operand that is summed over the same axis. The
  // columns are the last axis of that which the factor lacks.
  #sidesOf(value: Expr, over: Axis): Sides | undefined {
    if (value.kind !== 'op' || value.op !== 'mul') return undefined
    const [x, y] = value.args as [Expr, Expr]
    const [factor, b] = contains(x, isStand) ? [x, y] : [y, x]
    if (contains(b, isStand) || !this.#axesOf(b).has(over)) return undefined
    const others = this.#axesOfFactor(factor)
    const column = this.#group.axes.findLast(
      (axis) => this.#axesOf(b).has(axis) && !others.has(axis),
    )
    return column && { factor, b, column }
  }

  // The axes of a factor, those of the scores in it included.
  #axesOfFactor(factor: Expr): ReadonlySet<Axis> {
    const axes = new Set(this.#axesOf(factor))
    for (const { value } of this.#scores) for (const axis of this.#axesOf(value)) axes.add(axis)
    return axes
  }

  #split({ stand, over, sides }: Sum): (Product & { over: Axis })[] {
    if (sides === undefined) return []
    const known = this.#factors.indexOf(sides.factor)
    const factor = known < 0 ? this.#factors.push(sides.factor) - 1 : known
    const b = { value: sides.b, own: [sides.column], summed: [over] }
    return [{ stand, factor, column: sides.column, b, over }]
  }

  // The rows: the last axis that factors have and what runs along the depth has not.
  #rowsOf(): Axis | undefined {
    const along = this.#sums.flatMap(({ sides, over }) =>
      sides && over === this.#depth ? [sides.b] : [],
    )
    for (const { value } of this.#scores) {
      const sides = value.kind === 'op' ? value.args : []
      along.push(...sides.filter((x) => this.#axesOf(x).has(this.#depth)))
    }
    const isRows = (axis: Axis) =>
      this.#factors.every((factor) => this.#axesOfFactor(factor).has(axis)) &&
      !along.some((e) => this.#axesOf(e).has(axis))
    const candidates = this.#group.axes.filter((axis) => axis !== this.#depth && isRows(axis))
    const rows = this.#summedRows
    return rows === undefined || candidates.includes(rows) ? (rows ?? candidates.at(-1)) : undefined
  }

  #scoreOf(
    { stand, value, axes }: { stand: LoadExpr; value: Expr; axes: readonly Axis[] },
    rows: Axis,
  ): Score | undefined {
    if (value.kind !== 'op' || value.op !== 'mul') return undefined
    const has = (e: Expr, axis: Axis) => this.#axesOf(e).has(axis)
    const [x, y] = value.args as [Expr, Expr]
    const [a, b] = has(x, this.#depth) ? [y, x] : [x, y]
    if (!has(a, rows) || has(a, this.#depth)) return undefined
    if (!has(b, this.#depth) || has(b, rows)) return undefined
    return {
      stand,
      a: { value: a, own: [rows], summed: axes },
      b: { value: b, own: [this.#depth], summed: axes },
    }
  }

  // Nothing but the top's own value sees the largest score without the start, nor, where there is a
  // top, the scores under it: their place is taken.
  #keepsTop(all: readonly Expr[]): boolean {
    const top = this.#top
    if (top === undefined) return true
    const largest = this.#largest!.stand
    const hidden = new Set<Expr>(this.#scores.map((score) => score.stand))
    if (largest !== top.stand) hidden.add(largest)
    const seen = new Set<Expr>([top.value])
    const isKept = (e: Expr): boolean => {
      if (seen.has(e)) return true
      seen.add(e)
      return !hidden.has(e) && childrenOf(e).every(isKept)
    }
    return all.every(isKept)
  }

  // Whether a value has exp(x - top) as a factor and the top nowhere else, or nowhere at all.
  #scales(value: Expr): boolean {
    const stand = this.#top?.stand
    const hasTop = (e: Expr) => contains(e, (x) => x === stand)
    if (stand === undefined) return true
    const factors = factorsOf(value).filter(hasTop)
    const [exp] = factors
    if (factors.length !== 1 || exp?.kind !== 'op' || exp.op !== 'exp') return false
    const [inside] = exp.args
    if (inside?.kind !== 'op' || inside.op !== 'sub') return false
    return inside.args[1] === stand && !hasTop(inside.args[0]!)
  }

  // What is summed over the rows is stored as it is, where sums can be added to: each in its own store.
  #across(sums: readonly Product[], values: readonly Expr[], rows: Axis): Across[] | undefined {
    const across: Across[] = []
    for (const sum of sums) {
      const store = this.#group.stores.find((_, i) => values[i] === sum.stand)
      if (store === undefined || store.accumulate) return undefined
      const isSame = memoryOf[this.#group.buffers[store.buffer]!.dtype] === this.#type
      const isUnit = strideOf(store.index, sum.column) === 1
      const strays = store.index.terms.some((t) => this.#axesOf(t.index).has(rows))
      if (!isSame || !isUnit || strays || this.#isStray(store.index, sum.column)) return undefined
      across.push({ ...sum, store })
    }
    return across
  }

  #outcomes(
    products: readonly Product[],
    values: readonly Expr[],
    across: readonly Across[],
  ): ChainOutcome[] | undefined {
    const outcomes: ChainOutcome[] = []
    for (const [i, store] of this.#group.stores.entries()) {
      if (across.some((sum) => sum.store === store)) continue
      const value = values[i]!
      const inside = products.filter(({ stand }) => contains(value, (e) => e === stand))
      const columns = new Set(inside.map(({ column }) => column))
      const [column] = columns
      const at = { offset: 0, terms: [...store.index.terms, { index: value, stride: 1 }] }
      const strays = at.terms.some((t) => this.#axesOf(t.index).has(this.#depth))
      if (columns.size > 1 || store.accumulate || strays || this.#isStray(at, column))
        return undefined
      const { dtype } = this.#group.buffers[store.buffer]!
      outcomes.push({ store, dtype, value, column })
    }
    return outcomes
  }

  // Whether an index depends on columns that are not those of what is stored.
  #isStray({ terms }: Index, column: Axis | undefined): boolean {
    const columns = this.#sums.flatMap(({ sides }) => (sides ? [sides.column] : []))
    const others = columns.filter((axis) => axis !== column)
    return terms.some((t) => others.some((axis) => this.#axesOf(t.index).has(axis)))
  }
}

interface Sides {
  readonly factor: Expr
  readonly b: Expr
  readonly column: Axis
}

interface Sum {
  readonly stand: LoadExpr
  readonly value: Expr
  readonly over: Axis
  /** The sides of the product; undefined for the sum of a row. */
  readonly sides: Sides | undefined
}

const isStand = (e: Expr): boolean => e.kind === 'load' && e.buffer < 0

function factorsOf(e: Expr): readonly Expr[] {
  return e.kind === 'op' && e.op === 'mul' ? e.args.flatMap(factorsOf) : [e]
}
