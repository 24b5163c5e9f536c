/** @file Makes a recorded call in Tandem and compares results and gradients. */
import * as tandem from 'tandem'
import { gradients, stack, Tensor, zeros, zerosLike } from 'tandem'
import {
  difference,
  isGenerated,
  isRecorded,
  toTensor,
  upstream,
  valueDifference,
  type Exactness,
  type Expected,
  type Generated,
  type Recorded,
} from './fixture.ts'

export interface Case {
  /** A function of `tandem`. */
  readonly op: string
  readonly name?: string
  /** Tensors, plain values, and options holding both. */
  readonly args: readonly unknown[]
  readonly output: Expected | readonly Expected[]
  readonly exact?: Exactness
}

type AnyFunction = (...args: unknown[]) => unknown
const functions = tandem as unknown as Readonly<Record<string, AnyFunction>>

export const caseName = ({ op, name }: Case): string => (name === undefined ? op : `${op}: ${name}`)

/** How the inputs of a case are made. */
export interface Variant {
  readonly label: string
  readonly device?: string
  /** Axes in reversed order in memory, with gaps, behind an offset. */
  readonly strided?: true
  /** As float64 instead of float32. */
  readonly double?: true
}

const plain: Variant = { label: '' }

/** Every way to make the inputs of a case, but for the slow ones, which are for `isChosen` cases. */
export function variantsOf({ args }: Case, isChosen: boolean): Variant[] {
  const variants: Variant[] = [plain, { label: ' (strided)', strided: true }]
  // Cases without gradients are about dtypes, rounding and special values of float32.
  if (JSON.stringify(args).includes('"grad"')) variants.push({ label: ' (float64)', double: true })
  if (isChosen) variants.push({ label: ' (reference)', device: 'reference' })
  return variants
}

/** What differs between Tandem and PyTorch, one line each. */
export function runCase(recorded: Case, variant = plain): string[] {
  const leaves: Leaf[] = []
  const lift = (value: unknown, path: string): unknown => {
    if (isRecorded(value) || isGenerated(value)) {
      const x = inVariant(toTensor(value, variant.device), variant)
      if (value.grad !== undefined) leaves.push({ x: x.requireGrad(), path, recorded: value })
      return x
    }
    if (Array.isArray(value)) return value.map((v, i) => lift(v, `${path}[${i}]`))
    if (value === 'Infinity') return Infinity
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, lift(v, `${path}.${k}`)]))
  }
  const args = recorded.args.map((a, i) => lift(a, `args[${i}]`))
  const outputs = tensorsOf(functions[recorded.op]!(...args))
  const expected = 'shape' in recorded.output ? [recorded.output] : recorded.output
  if (outputs.length !== expected.length)
    return [`${outputs.length} outputs, not ${expected.length}`]
  const exactness = recorded.exact ?? (variant.double ? 'double' : 'near')
  const found: (string | undefined)[] = outputs.map((o, i) =>
    difference(`output ${i}`, o, inPrecision(expected[i]!, variant), exactness),
  )
  if (leaves.length > 0 && !found.some((d) => d !== undefined))
    found.push(...gradientDifferences(leaves, outputs, exactness))
  return found.flatMap((d) => d ?? [])
}

interface Leaf {
  readonly x: Tensor
  readonly path: string
  readonly recorded: Recorded | Generated
}

function gradientDifferences(
  leaves: readonly Leaf[],
  outputs: readonly Tensor[],
  exactness: Exactness,
): (string | undefined)[] {
  const xs = leaves.map(({ x }) => x)
  // Second derivatives lose digits; float64 keeps enough of them.
  const createGraph = exactness === 'double' && leaves.some(({ recorded }) => 'second' in recorded)
  const first = gradientsOf(outputs, xs, createGraph)
  const found = leaves.map(({ path, recorded }, i) =>
    valueDifference(`gradient of ${path}`, first[i]!, recorded.grad!, exactness),
  )
  if (!createGraph) return found
  const second = gradientsOf(first, xs, false)
  const foundAgain = leaves.map(({ path, recorded }, i) =>
    'second' in recorded
      ? valueDifference(`second derivative of ${path}`, second[i]!, recorded.second!, exactness)
      : undefined,
  )
  return [...found, ...foundAgain]
}

// A gradient that is nothing everywhere may be left out.
function gradientsOf(outputs: readonly Tensor[], xs: readonly Tensor[], createGraph: boolean) {
  const roots = outputs.filter((o) => o.requiresGrad)
  const options = { gradients: roots.map((o) => upstream(o)), createGraph, retainGraph: true }
  const gs = roots.length === 0 ? [] : gradients(roots, xs, options)
  return xs.map((x, i) => gs[i] ?? zeros(x.shape, { dtype: x.dtype, device: x.device }))
}

function inVariant(x: Tensor, { strided, double }: Variant): Tensor {
  const y = double && x.dtype === 'float32' ? x.cast('float64') : x
  if (!strided) return y
  const reversed = y.shape.map((_, i) => y.ndim - 1 - i)
  const turned = y.permute(reversed)
  const apart = stack([zerosLike(turned), turned], { axis: -1 })
  const all = turned.shape.map(() => null)
  return apart
    .slice(...all, 1)
    .permute(reversed)
    .detach()
}

function inPrecision(expected: Expected, { double }: Variant): Expected {
  return double && !('dtype' in expected) ? { ...expected, dtype: 'float64' } : expected
}

function tensorsOf(result: unknown): Tensor[] {
  if (result instanceof Tensor) return [result]
  return Object.values(result as object).filter((v) => v instanceof Tensor)
}
