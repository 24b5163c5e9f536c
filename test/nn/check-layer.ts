/** @file The conformance suite of layers: every one of them passes all of it. */
import { describe, expect, test } from 'vitest'
import { manualSeed, tensor, type DType, type Tensor } from 'tandem'
import type * as nn from 'tandem/nn'
import { SGD } from 'tandem/optim'
import { defaultDevice } from '../devices.ts'

type AnyLayer = nn.Module & { forward(...inputs: Tensor[]): Tensor }

export interface LayerSpec {
  readonly name: string
  /** Makes the layer; `placement` goes into its options. */
  readonly make: (placement: { dtype?: DType; device?: string }) => AnyLayer
  readonly inputs: () => Tensor[]
  readonly output: readonly number[]
  /** Keys of the state, in order. */
  readonly state?: readonly string[]
  readonly prints: string
  /** Set where training is random. */
  readonly random?: boolean
  /** Set where the layer holds no parameters and takes no dtype. */
  readonly plain?: boolean
  /** Why updates cannot be in place, for layers that take views of their parameters. */
  readonly copies?: string
  readonly errors?: readonly { readonly make: () => unknown; readonly message: string | RegExp }[]
}

/** Registers the suite for one layer. */
export function checkLayer(spec: LayerSpec): void {
  const { name, make, inputs, output, state = [], errors = [] } = spec
  const run = (layer: AnyLayer, xs = inputs()) => {
    manualSeed(1)
    return layer.forward(...xs)
  }
  const placed = (xs: Tensor[], dtype: DType, device = defaultDevice) =>
    xs.map((x) => (x.dtype === 'float32' ? x.cast(dtype) : x).to(device))

  describe(name, () => {
    test('shape of the output, names of the state, looks', () => {
      const layer = make({})
      expect(run(layer).shape).toEqual(output)
      expect(Object.keys(layer.stateDict())).toEqual(state)
      expect(String(layer).split('\n')[0]).toBe(spec.prints)
    })

    test('its state in another instance gives the same output', () => {
      const [a, b] = [make({}), make({})]
      run(a)
      b.loadStateDict(a.stateDict())
      const xs = inputs()
      expect(run(a.eval(), xs).toArraySync()).toEqual(run(b.eval(), xs).toArraySync())
    })

    test('training mode reaches inside; evaluation is deterministic', () => {
      const layer = make({})
      expect(layer.modules().every((m) => m.training)).toBe(true)
      layer.eval()
      expect(layer.modules().some((m) => m.training)).toBe(false)
      const xs = inputs()
      expect(layer.forward(...xs).toArraySync()).toEqual(layer.forward(...xs).toArraySync())
      if (spec.random) {
        const twice = [layer.train().forward(...xs), layer.forward(...xs)]
        expect(twice[0]!.toArraySync()).not.toEqual(twice[1]!.toArraySync())
      }
    })

    if (state.length > 0) {
      test('gradients reach every parameter, and none once frozen', () => {
        const layer = make({})
        const loss = () => run(layer).square().mean()
        loss().backward()
        for (const [path, p] of layer.namedParameters())
          expect(p.grad?.shape, path).toEqual(p.shape)
        layer.zeroGrad()
        expect(layer.requireGrad(false).forward(...inputs()).requiresGrad).toBe(false)
      })

      test.skipIf(spec.copies !== undefined)('training updates memory in place', () => {
        const layer = make({})
        const optimizer = new SGD(layer.parameters(), { lr: 1e-3 })
        const step = () => {
          optimizer.zeroGrad()
          run(layer).square().mean().backward()
          optimizer.step()
        }
        step()
        const blocks = layer.parameters().map((p) => p.storage)
        step()
        const names = layer.namedParameters().filter(([, p], i) => p.storage !== blocks[i])
        expect(names.map(([path]) => path)).toEqual([])
      })
    }

    if (!spec.plain)
      test('dtype and device are those asked for; cast and to change them', () => {
        const layer = make({ dtype: 'float64', device: 'reference' })
        for (const p of layer.parameters())
          expect([p.dtype, p.device]).toEqual(['float64', 'reference'])
        const there = run(layer, placed(inputs(), 'float64', 'reference'))
        expect([there.dtype, there.device]).toEqual(['float64', 'reference'])
        const same = make({}).cast('float64')
        same.loadStateDict(layer.stateDict())
        const here = run(same.eval(), placed(inputs(), 'float64'))
        const again = run(layer.eval(), placed(inputs(), 'float64', 'reference'))
        expect(largest(here.sub(again.to(defaultDevice)))).toBeLessThan(1e-12)
      })

    for (const { make: wrong, message } of errors)
      test(`error: ${String(message).slice(0, 60)}`, () => expect(wrong).toThrow(message))

    if (!spec.plain)
      test('unknown options are refused', () => {
        expect(() => make({ dtipe: 'float32' } as never)).toThrow("did you mean 'dtype'?")
      })
  })
}

/** The largest absolute value. */
export function largest(x: Tensor): number {
  return x.abs().max().itemSync()
}

/** A tensor of fixed numbers that look random. */
export function numbers(shape: readonly number[], seed = 1): Tensor {
  const size = shape.reduce((a, b) => a * b, 1)
  return tensor(
    Float32Array.from({ length: size }, (_, i) => Math.sin(seed * 37 + i * 12.9898) * 1.5),
  ).reshape(shape)
}
