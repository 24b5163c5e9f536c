/** @file Makes kernels from seeds and checks them; what the tests and the script for long runs have in common. */
import { printGroup } from '../../../src/ir/print-group.ts'
import { checkKernel, type Failure } from './check-kernel.ts'
import { programFor } from './check-program.ts'
import { Choices, shrinkChoices } from './choices.ts'
import { randomKernel, type KernelCase } from './random-kernel.ts'
import { randomProduct } from './random-product.ts'

/** A case of one of the kinds that are fuzzed. */
interface Made {
  check(only?: string): Failure | undefined
  print(): string
}

// Cases in group form.
const groups =
  (random: (c: Choices) => KernelCase) =>
  (c: Choices): Made => {
    const variant = c.below(36)
    const kernel = random(c)
    return {
      check: (only) => checkKernel(kernel, variant, only),
      print: () => {
        const { group, sizes, params, buffers } = kernel
        const data = buffers.map(
          (b, i) => `b${i} = ${b.length > 40 ? `${b.slice(0, 40).join()}...` : b.join()}`,
        )
        const launch = [`sizes ${sizes.join()}`, `params ${params.join()}`, ...data]
        return [printGroup(group), ...launch, `variant ${variant}`].join('\n')
      },
    }
  }

const kinds = {
  kernel: groups(randomKernel),
  product: groups(randomProduct),
  program: programFor,
} satisfies Record<string, (c: Choices) => Made>

export type FuzzKind = keyof typeof kinds
export const fuzzKinds = Object.keys(kinds) as FuzzKind[]

export function fuzzSeed(kind: FuzzKind, seed: number): Failure | undefined {
  return kinds[kind](Choices.seeded(seed)).check()
}

export function fuzzChoices(
  kind: FuzzKind,
  choices: readonly number[],
  only?: string,
): Failure | undefined {
  try {
    return kinds[kind](Choices.replayed(choices)).check(only)
  } catch {
    return undefined
  }
}

export function choicesOf(kind: FuzzKind, seed: number): readonly number[] {
  const c = Choices.seeded(seed)
  kinds[kind](c)
  return c.taken
}

export function printChoices(kind: FuzzKind, choices: readonly number[]): string {
  return kinds[kind](Choices.replayed(choices)).print()
}

/** The smallest case found, in a minute at most, that fails in the same way as this one. */
export function shrink(kind: FuzzKind, choices: readonly number[]): number[] {
  const where = fuzzChoices(kind, choices)?.where
  const end = performance.now() + 60_000
  return shrinkChoices(
    choices,
    (x) => performance.now() < end && fuzzChoices(kind, x, where)?.where === where,
  )
}
