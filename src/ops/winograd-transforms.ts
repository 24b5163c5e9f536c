/** @file The linear transforms of Winograd's convolutions, made from points, and applied to tiles of expressions. */
import type { Expr, ExprBuilder } from '../ir/expr.ts'

export type Matrix = readonly (readonly number[])[]

/**
 * Note [Winograd]: m outputs of a window of r taps are those of a product of polynomials, which needs
 * n = m + r - 1 multiplications instead of m * r: both factors are evaluated at n points, multiplied there, and the
 * result is read off. For y = the sums of x[i + k] * w[k] that is y = A ((G w) * (B x)), with matrices that only the
 * points decide (Toom and Cook; Winograd, "Arithmetic Complexity of Computations", 1980). Over two axes the matrices
 * are applied to rows and to columns, and the products, summed over channels, are n * n matrix products (Lavin
 * and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015): of 3 x 3 windows 4 x 4 outputs at once, with
 * 36 products instead of 144.
 *
 * Points of both signs share their even and odd parts. The usual ones, 0, 1, -1, 2, -2 and infinity, lose a
 * factor of 3.6 in precision against the plain sum; those here lose 1.8 (root mean square, 64 channels of normal numbers).
 */
const points = [0, 0.75, -0.75, 1.5, -1.5] as const

/** Edge of a tile of the input. */
export const tileEdge = points.length + 1

/** B, which evaluates a tile of inputs [n, n]. */
export const inputMatrix: Matrix = [
  ...points.map((_, k) => withRoots(points.filter((_, other) => other !== k))),
  withRoots(points),
]

/** G, which evaluates windows of so many taps [n, taps]. */
export function windowMatrix(taps: number): Matrix {
  return [
    ...points.map((point, k) => {
      const scale = points.reduce<number>(
        (product, other, i) => (i === k ? product : product * (point - other)),
        1,
      )
      return powers(point, taps).map((power) => power / scale)
    }),
    unit(taps),
  ]
}

/** A, which reads off so many outputs [outputs, n]. */
export function outputMatrix(outputs: number): Matrix {
  const columns = [...points.map((point) => powers(point, outputs)), unit(outputs)]
  return unit(outputs).map((_, i) => columns.map((column) => column[i]!))
}

/** matrix * tile * its transpose. */
export function transformed(
  s: ExprBuilder,
  matrix: Matrix,
  tile: readonly (readonly Expr[])[],
): Expr[][] {
  const half = transposed(tile).map((column) => product(s, matrix, column))
  return transposed(half).map((row) => product(s, matrix, row))
}

/** matrix * values, where neighbouring rows, or columns, that differ in every other sign share their halves. */
function product(s: ExprBuilder, matrix: Matrix, values: readonly Expr[]): Expr[] {
  const mirrored = transposed(matrix).flatMap((column, k, all) =>
    mirrors(column, all[k + 1]) ? [k] : [],
  )
  const sums = mirrored.map((k) => s.add(values[k]!, values[k + 1]!))
  const differences = mirrored.map((k) => s.sub(values[k]!, values[k + 1]!))
  const result: Expr[] = []
  matrix.forEach((row, i) => {
    if (mirrors(matrix[i - 1], row)) return
    if (!mirrors(row, matrix[i + 1])) {
      const halves = i % 2 === 0 ? sums : differences
      const terms = row.flatMap((factor, k): [number, Expr][] => {
        if (mirrored.includes(k - 1)) return []
        const half = mirrored.indexOf(k)
        return [[factor, half < 0 ? values[k]! : halves[half]!]]
      })
      result.push(combination(s, terms))
      return
    }
    const [even, odd] = [0, 1].map((parity) =>
      combination(
        s,
        row.flatMap((factor, k): [number, Expr][] =>
          k % 2 === parity ? [[factor, values[k]!]] : [],
        ),
      ),
    ) as [Expr, Expr]
    result.push(s.add(even, odd), s.sub(even, odd))
  })
  return result
}

/** Whether two lists are equal but for the signs of all odd places. */
function mirrors(a: readonly number[] | undefined, b: readonly number[] | undefined): boolean {
  if (a === undefined || b === undefined) return false
  return a.every((x, i) => x === (i % 2 === 0 ? b[i]! : -b[i]!)) && a.some((x, i) => x !== b[i])
}

/** The sum of factor * value. */
function combination(s: ExprBuilder, terms: readonly [number, Expr][]): Expr {
  const [first, ...rest] = terms
    .filter(([factor]) => factor !== 0)
    // One that is not multiplied comes first: there is nothing to add it to.
    .sort(([a], [b]) => Number(b === 1) - Number(a === 1))
  const [factor, value] = first!
  return rest.reduce<Expr>(
    (sum, [factor, value]) => (factor === 1 ? s.add(sum, value) : s.fma(value, factor, sum)),
    factor === 1 ? value : s.mul(value, factor),
  )
}

/** Coefficients of the product of all x - root, the constant first, as many as a tile has numbers. */
function withRoots(roots: readonly number[]): number[] {
  const coefficients = roots.reduce(
    (of, root) => [...of, 0].map((_, i) => (of[i - 1] ?? 0) - root * (of[i] ?? 0)),
    [1],
  )
  return Array.from({ length: tileEdge }, (_, i) => coefficients[i] ?? 0)
}

const powers = (base: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => base ** i)

/** The point at infinity: the last coefficient alone. */
const unit = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => +(i === count - 1))

const transposed = <T>(rows: readonly (readonly T[])[]): T[][] =>
  rows[0]!.map((_, k) => rows.map((row) => row[k]!))
