/** @file Weights that are packed once: the same bits, and a new content is noticed. */
import { beforeAll, describe, expect, test } from 'vitest'
import { compile, explain, manualSeed, noGrad, randn, setBackend, type Tensor } from 'tandem'
import { getBackend } from '../../src/backend/backend.ts'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { Random } from '../../scripts/random-op.ts'
import { readableBackends } from '../devices.ts'

const bits = (t: Tensor) => [...new Uint8Array((t.dataSync() as Float32Array).slice().buffer)]

describe.each(readableBackends.filter((x) => getBackend(x).traits !== undefined))(
  'on %s',
  (device) => {
    beforeAll(() => setBackend(device))

    test('random products have the bits of those that pack as they run', () => {
      let packed = 0
      for (let seed = 1; seed <= 60; seed++) {
        manualSeed(seed)
        const random = new Random(seed)
        const [m, k] = [random.whole(1, 70), random.pick([2, 7, 32, 100, 500])]
        const n = random.pick([16, 32, 48, 64, 96, 144, 192, 256, 50, 33])
        const weight = new nn.Parameter(randn([n, k]))
        const across = new nn.Parameter(randn([k, n]))
        const bias = randn([n])
        const constant = randn([n + 3, k]).slice([3, n + 3])
        const x = randn(
          random.pick([
            [m, k],
            [1, m, k],
            [2, m, k],
          ]),
        )
        const f = random.pick<(x: Tensor) => Tensor>([
          (x) => x.matmul(weight.transpose()),
          (x) => x.matmul(across).add(bias).relu(),
          (x) => x.matmul(constant.transpose()).gelu(),
          (x) => x.mul(2).matmul(across).softmax({ axis: -1 }),
          (x) => x.matmul(weight.transpose()).add(x.matmul(across)),
        ])
        const once = compile((t: Tensor) => noGrad(() => f(t)))
        const always = compile((t: Tensor) => noGrad(() => f(t)), { passes: { prepack: false } })
        expect(bits(once(x)), `seed ${seed}`).toEqual(bits(always(x)))
        expect(bits(once(x)), `seed ${seed}, again`).toEqual(bits(always(x)))
        expect(always.programs[0]!.packedBytes).toBe(0)
        packed += Number(once.programs[0]!.packedBytes > 0)
      }
      expect(packed).toBeGreaterThan(20)
    })

    function inference() {
      manualSeed(1)
      const model = new nn.Sequential(new nn.Linear(64, 192), new nn.ReLU(), new nn.Linear(192, 64))
      const forward = (t: Tensor) => noGrad(() => model.forward(t))
      const f = compile(forward)
      const x = randn([40, 64])
      const check = () => expect(bits(f(x))).toEqual(bits(forward(x)))
      check()
      expect(f.programs[0]!.packedBytes).toBe(4 * 2 * 64 * 192)
      return { model, f, x, check }
    }

    test('says what it keeps', () => {
      expect(explain(inference().f)).toMatch(/Weights are packed once.*: 0\.10 MB/)
    })

    test('a weight that is assigned', () => {
      const { model, check } = inference()
      const [weight] = model.parameters()
      weight!.assign(randn([192, 64]))
      check()
      weight!.assign(randn([192, 64]))
      check()
    })

    test('an optimizer that steps, eagerly and compiled', () => {
      const { model, x, check } = inference()
      const optimizer = new optim.Adam(model.parameters(), { lr: 0.1 })
      const step = () => {
        optimizer.zeroGrad()
        const loss = model.forward(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()
      }
      const compiled = compile(step)
      for (const run of [step, step, compiled, compiled, step]) {
        run()
        check()
      }
      expect(compiled.programs[0]!.packedBytes).toBe(0)
    })

    test('a state that is loaded', () => {
      const { model, check } = inference()
      const other = new nn.Sequential(new nn.Linear(64, 192), new nn.ReLU(), new nn.Linear(192, 64))
      model.loadStateDict(other.stateDict())
      check()
    })

    test('initialisation in place', () => {
      const { model, check } = inference()
      for (const p of model.parameters()) nn.init.uniform(p)
      check()
    })

    test('a forward program with gradients packs as it runs', () => {
      const model = new nn.Linear(64, 192)
      const f = compile((t: Tensor) => model.forward(t))
      f(randn([40, 64]))
        .sum()
        .backward()
      expect(f.programs[0]!.packedBytes).toBe(0)
    })
  },
)
