/** @file Conventions that rows cannot show: gradients at kinks, wrap-around, exact large integers. */
import { describe, expect, test } from 'vitest'
import { full, gradcheck, tensor, type DType, type Tensor } from 'tandem'
import { defaultDevice, readableBackends } from '../devices.ts'

/** The gradient of the sum of f(x). */
function gradientOf(f: (x: Tensor) => Tensor, values: number[], dtype: DType = 'float32') {
  const x = tensor(values, { dtype }).requireGrad()
  f(x).sum().backward()
  return x.grad?.toArraySync()
}

const dtypes = [
  'float32',
  'float64',
  'bfloat16',
  'float16',
  'int32',
  'int64',
  'int8',
  'uint8',
  'bool',
]

test.each(readableBackends)(
  'large tensors of one number are filled on %s as small ones',
  (device) => {
    for (const dtype of dtypes as DType[])
      for (const value of [0, 1, -2.5]) {
        const [large, small] = [70001, 1].map((n) => full([n], value, { dtype, device }))
        const wanted = small!.dataSync()[0]!
        expect(large!.dataSync().every((x: unknown) => Object.is(x, wanted))).toBe(true)
      }
  },
)

describe('gradients at kinks are those of PyTorch', () => {
  test.each<[string, (x: Tensor) => Tensor, number[], number[]]>([
    ['relu', (x) => x.relu(), [-1, 0, 1, NaN], [0, 0, 1, 1]],
    ['relu6', (x) => x.relu6(), [-1, 0, 1, 6, 7], [0, 0, 1, 0, 0]],
    ['leakyRelu', (x) => x.leakyRelu({ negativeSlope: 0.5 }), [-1, 0, 1], [0.5, 0.5, 1]],
    ['abs', (x) => x.abs(), [-2, 0, 2], [-1, 0, 1]],
    ['clamp', (x) => x.clamp({ min: 0, max: 1 }), [-1, 0, 0.5, 1, 2], [0, 1, 1, 1, 0]],
    ['maximum', (x) => x.maximum(1), [0, 1, 2], [0, 0.5, 1]],
    ['minimum', (x) => x.minimum(1), [0, 1, 2], [1, 0.5, 0]],
    ['pow 0', (x) => x.pow(0), [0, 2], [0, 0]],
    ['pow 1.5', (x) => x.pow(1.5), [0, 4], [0, 3]],
    ['hardSigmoid', (x) => x.hardSigmoid().mul(6), [-3, 0, 3], [0, 1, 0]],
    ['hardSwish', (x) => x.hardSwish(), [-4, 3, 4], [0, 1.5, 1]],
    ['sqrt', (x) => x.sqrt(), [0, 4], [Infinity, 0.25]],
    ['nanToNum', (x) => x.nanToNum(), [1, NaN, Infinity], [1, 0, 0]],
  ])('%s', (_name, f, values, expected) => {
    const found = gradientOf(f, values) as number[]
    found.forEach((g, i) => expect(g, `at ${values[i]}`).toBeCloseTo(expected[i]!, 6))
  })

  test('rounding stops the gradient and keeps the graph', () => {
    expect(gradientOf((x) => x.round(), [1.2])).toBeUndefined()
    expect(gradientOf((x) => x.round().add(x), [1.2])).toEqual([1])
  })
})

test('gradients of activations stay numbers far from 0', () => {
  const far = [-1000, -100, -30, 30, 100, 1000]
  for (const f of [
    'sigmoid',
    'logSigmoid',
    'silu',
    'gelu',
    'softplus',
    'mish',
    'tanh',
    'elu',
    'selu',
    'softsign',
  ] as const)
    for (const dtype of ['float32', 'float64'] as const)
      for (const g of gradientOf((x) => x[f](), far, dtype) as number[])
        expect(Number.isFinite(g), `${f} ${dtype}`).toBe(true)
})

test('third derivatives are derived like the first', () => {
  const cubed = (x: Tensor) => x.mul(x).mul(x)
  for (const f of [(x: Tensor) => x.gelu(), (x: Tensor) => x.tanh(), (x: Tensor) => x.mish()])
    expect(
      gradcheck((x) => f(cubed(x)), [tensor([0.3, -0.7], { dtype: 'float64' })], {
        secondOrder: true,
      }),
    ).toBe(true)
})

describe('integers', () => {
  const of = (dtype: DType, ...values: number[]) => tensor(values, { dtype })

  test('small ones wrap around', () => {
    expect(of('uint8', 250, 3).add(10).toArraySync()).toEqual([4, 13])
    expect(of('uint8', 2).sub(3).toArraySync()).toEqual([255])
    expect(of('int8', 127).add(1).toArraySync()).toEqual([-128])
    expect(of('int8', -128).neg().toArraySync()).toEqual([-128])
    expect(of('int8', 100).mul(3).toArraySync()).toEqual([44])
    expect(of('uint8', 3).neg().toArraySync()).toEqual([253])
    expect(of('uint8', 5).bitwiseNot().toArraySync()).toEqual([250])
    expect(of('int32', 2).pow(33).toArraySync()).toEqual([0])
  })

  test('int64 is exact where float64 is not', () => {
    const big = tensor(new BigInt64Array([2n ** 62n, 2n ** 62n + 1n]))
    expect(big.eq(tensor(new BigInt64Array([2n ** 62n + 1n]))).toArraySync()).toEqual([false, true])
    expect(big.sub(tensor(new BigInt64Array([2n ** 62n]))).toArraySync()).toEqual([0, 1])
    expect(big.remainder(2).toArraySync()).toEqual([0, 1])
    expect(
      tensor(new BigInt64Array([2n ** 32n]))
        .cast('bool')
        .toArraySync(),
    ).toEqual([true])
  })

  test('division by zero gives 0', () => {
    expect(of('int32', 7).floorDivide(0).toArraySync()).toEqual([0])
    expect(of('int32', 7).remainder(0).toArraySync()).toEqual([0])
    expect(of('int64', 7).fmod(0).toArraySync()).toEqual([0])
  })
})

test('a cast sends its gradient back in the dtype of its input', () => {
  const x = tensor([1.5, 2.5], { dtype: 'float16' }).requireGrad()
  x.cast('float32')
    .mul(tensor([3, 4]))
    .sum()
    .backward()
  expect(String(x.grad)).toBe(`tensor([3, 4], float16, ${defaultDevice})`)
  const whole = tensor([1.5]).requireGrad()
  expect(whole.cast('int32').requiresGrad).toBe(false)
})

test('numbers are weak: they raise the kind, never the width', () => {
  const of = (dtype: DType) => tensor([1], { dtype })
  expect(of('float16').add(1.5).dtype).toBe('float16')
  expect(of('int8').add(1).dtype).toBe('int8')
  expect(of('int8').add(1.5).dtype).toBe('float32')
  expect(of('bool').add(1).dtype).toBe('int32')
  expect(of('bfloat16').mul(tensor(2, { dtype: 'float64' })).dtype).toBe('bfloat16')
  expect(of('int8').div(2).dtype).toBe('float32')
})
