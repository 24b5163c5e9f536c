/** @file Modules with PyTorch's weights: outputs, gradients of inputs and parameters, and buffers afterwards. */
import { describe, expect, test } from 'vitest'
import type { Tensor } from 'tandem'
import * as nn from 'tandem/nn'
import {
  difference,
  isRecorded,
  readFixture,
  toTensor,
  upstream,
  valueDifference,
  type Recorded,
} from './fixture.ts'

interface Fixture {
  readonly module: string
  readonly name: string
  readonly args: readonly unknown[]
  readonly training: boolean
  readonly state: Readonly<Record<string, Recorded>>
  readonly inputs: readonly Recorded[]
  /** Arguments of `forward`; `$0` is the first input. */
  readonly call: readonly unknown[]
  readonly output: Recorded
  /** The buffers after the call. */
  readonly buffers: Readonly<Record<string, Recorded>>
}

type Make = new (...args: readonly unknown[]) => nn.Module
const makers = new Map(Object.entries(nn) as unknown as [string, Make][])

describe('modules', () => {
  for (const recorded of readFixture<Fixture[]>('modules'))
    test(`${recorded.module}: ${recorded.name}`, () => {
      expect(compare(recorded)).toEqual([])
    })
})

function compare({ module, args, training, state, inputs, call, output, buffers }: Fixture) {
  const layer = new (makers.get(module)!)(...args).train(training)
  layer.loadStateDict(mapValues(state, (t) => toTensor(t)))
  const xs = inputs.map((x) => toTensor(x).requireGrad())
  const forward = layer.forward.bind(layer) as (...args: unknown[]) => Tensor
  const result = forward(...call.map((argument) => lift(argument, xs)))
  result.backward({ gradient: upstream(result) })
  const after = layer.stateDict()
  return [
    difference('output', result, output),
    ...inputs.map(({ grad }, i) =>
      valueDifference(`gradient of input ${i}`, xs[i]!.grad!, grad!, 'scaled'),
    ),
    ...layer
      .namedParameters()
      .map(([key, p]) =>
        valueDifference(`gradient of ${key}`, p.grad!, state[key]!.grad!, 'scaled'),
      ),
    ...Object.entries(buffers).map(([key, expected]) => difference(key, after[key]!, expected)),
  ].flatMap((d) => d ?? [])
}

function lift(argument: unknown, inputs: readonly Tensor[]): unknown {
  if (typeof argument === 'string') return inputs[Number(argument.slice(1))]
  if (isRecorded(argument)) return toTensor(argument)
  return mapValues(argument as object, (v) => (typeof v === 'object' ? lift(v, inputs) : v))
}

const mapValues = <T, R>(record: Readonly<Record<string, T>> | object, f: (value: T) => R) =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value as T)]))
