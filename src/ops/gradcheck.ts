/** @file Numerical checks of gradients. */
import { formatShape } from '../core/shape.ts'
import { gradients } from '../tensor/grad.ts'
import { enableGrad, noGrad } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions, DTypeError, GradError } from '../util/errors.ts'
import { fromTypedArray } from './create.ts'

export interface GradcheckOptions {
  /** Step of the central difference; default 1e-6. */
  readonly epsilon?: number
  /** Relative tolerance; default 1e-5. */
  readonly tolerance?: number
  /** Check second derivatives too; default false. */
  readonly secondOrder?: boolean
  /** Seed of the random directions; default 0. */
  readonly seed?: number
}

/**
 * Compares the gradient of a function with central differences along a random direction, in float64
 * (Griewank & Walther, the dot-product test). Returns true, or throws a GradError that says how far
 * off it is. Inputs must be float64; the function may return any shape.
 *
 * @example
 * gradcheck((x) => x.mul(x).exp(), [tensor([0.1, 0.2], { dtype: 'float64' })]) // -> true
 */
export function gradcheck(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): boolean {
  checkOptions('gradcheck', options, ['epsilon', 'tolerance', 'secondOrder', 'seed'])
  const { epsilon = 1e-6, tolerance = 1e-5, secondOrder = false, seed = 0 } = options
  for (const x of inputs)
    if (x.dtype !== 'float64')
      throw new DTypeError(
        `gradcheck: an input is ${x.dtype}. Finite differences need float64: x.cast('float64')`,
      )
  const random = directions(seed)
  const like = (t: Tensor) => fromTypedArray(random(t.size), t.shape, { device: t.device })
  compare('gradcheck', f, inputs, { epsilon, tolerance, like })
  if (secondOrder) {
    const projection = like(noGrad(() => f(...inputs)))
    const slopes = inputs.map(like)
    const slope = (...given: Tensor[]): Tensor =>
      enableGrad(() => {
        const xs = given.map((x) => (x.requiresGrad ? x : x.detach().requireGrad()))
        const gs = gradients(
          [
            f(...xs)
              .mul(projection)
              .sum(),
          ],
          xs,
          { createGraph: true },
        )
        return gs
          .flatMap((g, i) => (g === undefined ? [] : [g.mul(slopes[i]!).sum()]))
          .reduce((a, b) => a.add(b), xs[0]!.mul(0).sum())
      })
    compare('gradcheck (second order)', slope, inputs, { epsilon, tolerance, like })
  }
  return true
}

function compare(
  where: string,
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  { epsilon, tolerance, like }: { epsilon: number; tolerance: number; like: (t: Tensor) => Tensor },
): void {
  const leaves = inputs.map((x) => x.detach().clone().requireGrad())
  const output = f(...leaves)
  const weights = like(output)
  // A function that does not depend on its inputs has slope 0 everywhere.
  const found: (Tensor | undefined)[] = output.requiresGrad
    ? gradients([output], leaves, { gradients: [weights] })
    : leaves.map(() => undefined)
  const steps = inputs.map(like)
  const at = (sign: number) =>
    noGrad(() =>
      f(...inputs.map((x, i) => x.add(steps[i]!.mul(sign * epsilon))))
        .mul(weights)
        .sum()
        .itemSync(),
    )
  const numeric = (at(1) - at(-1)) / (2 * epsilon)
  let analytic = 0
  found.forEach((g, i) => {
    if (g !== undefined) analytic += g.mul(steps[i]!).sum().itemSync()
  })
  const error = Math.abs(numeric - analytic)
  if (error <= tolerance * (1 + Math.abs(numeric))) return
  throw new GradError(
    `${where}: the gradient along a random direction is ${analytic}, central differences give ${numeric} (inputs ${inputs.map((x) => formatShape(x.shape)).join(', ')}). Look at the gradient rule, or at a kink of the function near the inputs`,
  )
}

// A small generator of its own: checks must not disturb the user's random stream.
function directions(seed: number): (size: number) => Float64Array<ArrayBuffer> {
  let state = (seed ^ 0x9e3779b9) | 0
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1
  }
  return (size) => Float64Array.from({ length: size }, next)
}
