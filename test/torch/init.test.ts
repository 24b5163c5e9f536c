/** @file Where parameters start: the shape, range and spread of PyTorch's, by many draws of both. */
import { describe, expect, test } from 'vitest'
import { manualSeed, zeros, type Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import { readFixture } from './fixture.ts'

/** What PyTorch drew. */
interface Facts {
  readonly shape: readonly number[]
  readonly min: number
  readonly max: number
  readonly mean: number
  readonly std: number
}

interface Fixture {
  readonly layers: readonly {
    readonly name: string
    readonly args: readonly unknown[]
    readonly state: Readonly<Record<string, Facts>>
  }[]
  readonly initializers: readonly (Facts & { readonly name: string; readonly options: object })[]
}

type Make = new (...args: readonly unknown[]) => nn.Module
type Initialize = (cell: nn.Parameter, options: object) => nn.Parameter

const { layers, initializers } = readFixture<Fixture>('init')
const layerOf = new Map(Object.entries(nn) as unknown as [string, Make][])
const initializerOf = new Map(Object.entries(nn.init) as unknown as [string, Initialize][])

describe('layers', () => {
  for (const { name, args, state } of layers)
    test(name, () => {
      manualSeed(1)
      const drawn = new (layerOf.get(name)!)(...args).parameters()
      const expected = Object.entries(state)
      expect(drawn.length).toBe(expected.length)
      expect(expected.flatMap(([key, facts], i) => unlike(key, drawn[i]!, facts))).toEqual([])
    })
})

describe('initializers', () => {
  for (const { name, options, ...facts } of initializers)
    test(`${name} ${JSON.stringify(options)} [${facts.shape.join(', ')}]`, () => {
      manualSeed(1)
      const cell = new nn.Parameter(zeros(facts.shape))
      expect(unlike(name, initializerOf.get(name)!(cell, options), facts)).toEqual([])
    })
})

/** How a draw differs from PyTorch's by more than chance, five standard errors, allows. */
function unlike(name: string, t: Tensor, facts: Facts): string[] {
  const wrong: string[] = []
  const check = (what: string, actual: number, expected: number, slack: number) => {
    if (Math.abs(actual - expected) > slack + 1e-6)
      wrong.push(`${name}: ${what} ${actual}, PyTorch ${expected}, more than ${slack} apart`)
  }
  if (t.shape.join() !== facts.shape.join())
    return [`${name}: shape [${t.shape.join(', ')}], PyTorch [${facts.shape.join(', ')}]`]
  const { std } = facts
  // PyTorch's values are a draw too, and written with four digits.
  const error = (5 * Math.SQRT2 * std) / Math.sqrt(t.size)
  check('mean', t.mean().itemSync(), facts.mean, error)
  check('std', t.std({ correction: 0 }).itemSync(), std, error / Math.SQRT2 + 1e-3 * std)
  const range = facts.max - facts.min
  // A range of few deviations has sharp ends, which many draws come close to.
  if (range < 4 * std) {
    check('min', t.min().itemSync(), facts.min, (30 * range) / t.size + 1e-3 * std)
    check('max', t.max().itemSync(), facts.max, (30 * range) / t.size + 1e-3 * std)
  }
  return wrong
}
