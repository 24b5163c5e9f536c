/** @file Results of the cpu backend are the same bits however many threads share the work, and however they share it. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  configure,
  Generator,
  getNumThreads,
  manualSeed,
  randn,
  setNumThreads,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'
import { Adam } from 'tandem/optim'
import { openCpu } from '../../src/backend/cpu/index.ts'
import { describeMachineCode } from '../devices.ts'

const device = 'cpu'
let seed = 0
const normal = (...shape: number[]) =>
  randn(shape, { device, generator: new Generator(++seed) }).requireGrad()

/** The result and the gradients of every input. */
function withGradients(f: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]): Tensor[] {
  for (const x of inputs) x.grad = undefined
  const result = f(...inputs)
  result.mul(result.sin()).sum().backward()
  return [result, ...inputs.map((x) => x.grad!)]
}

function trainPerceptron(): Tensor[] {
  manualSeed(7)
  const net = new nn.Sequential(
    new nn.Linear(150, 70, { device }),
    new nn.ReLU(),
    new nn.Linear(70, 10, { device }),
  )
  const optimizer = new Adam(net.parameters(), { lr: 1e-2 })
  const x = randn([65, 150], { device })
  const labels = randn([65, 10], { device }).argmax({ axis: 1 })
  const losses: Tensor[] = []
  for (let step = 0; step < 10; step++) {
    optimizer.zeroGrad()
    const loss = net.forward(x).crossEntropy(labels)
    loss.backward()
    optimizer.step()
    losses.push(loss)
  }
  return [...losses, ...net.parameters()]
}

/** Sizes that no tile, vector or chunk divides, and large enough to be shared among threads anyway. */
const cases: Record<string, () => () => Tensor[]> = {
  matmul: () => {
    const [a, b] = [normal(259, 301), normal(301, 187)]
    return () => withGradients((x, y) => x.matmul(y), a, b)
  },
  'matmul of batches': () => {
    const [a, b] = [normal(7, 33, 65), normal(7, 65, 35)]
    return () => withGradients((x, y) => x.matmul(y), a, b)
  },
  'matmul of a row': () => {
    const [a, b] = [normal(1, 1003), normal(1003, 517)]
    return () => withGradients((x, y) => x.matmul(y), a, b)
  },
  conv2d: () => {
    const [x, w] = [normal(3, 5, 29, 31), normal(9, 5, 3, 3)]
    return () => withGradients((a, b) => a.conv2d(b, { padding: 1, stride: 2 }), x, w)
  },
  softmax: () => {
    const x = normal(37, 501)
    return () => withGradients((a) => a.softmax({ axis: -1 }), x)
  },
  layerNorm: () => {
    const [x, weight, bias] = [normal(67, 255), normal(255), normal(255)]
    return () => withGradients((a, w, b) => a.layerNorm({ weight: w, bias: b }), x, weight, bias)
  },
  sums: () => {
    const x = normal(41, 43, 101)
    return () =>
      [[0, 1, 2], 0, 1, 2, [0, 2]].flatMap((axis) => withGradients((a) => a.sum({ axis }), x))
  },
  'elementwise, in runs of one axis': () => {
    const x = normal(100_003)
    return () => withGradients((a) => a.tanh().mul(a).add(1), x)
  },
  'ten steps of Adam': () => trainPerceptron,
}

const bits = (tensors: readonly Tensor[]) =>
  tensors.map((t) => Buffer.from((t.dataSync() as Float32Array<ArrayBuffer>).buffer))

describeMachineCode('one, two, three and five threads', () => {
  let before = 1
  beforeAll(() => {
    before = getNumThreads(device)
  })
  afterAll(() => {
    setNumThreads(before)
    configure({ shareAll: false })
  })

  test.each(Object.entries(cases))('%s', (_, prepare) => {
    const run = prepare()
    let expected: Buffer[] | undefined
    for (const shareAll of [false, true])
      for (const threads of [1, 2, 3, 5]) {
        configure({ shareAll })
        setNumThreads(threads)
        const found = bits(run())
        expected ??= found
        const where = `${threads} threads${shareAll ? ', the smallest shares' : ''}`
        expect(openCpu().pool.started, `${where} took part`).toBe(threads)
        found.forEach((x, i) => expect(x.equals(expected![i]!), `${where}, result ${i}`).toBe(true))
      }
  })
})
