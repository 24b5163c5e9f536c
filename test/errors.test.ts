/** @file What users see when they get something wrong: the right class, what happened, how to mend it, at their line. */
import { describe, expect, test } from 'vitest'
import {
  arange,
  cat,
  DeviceError,
  DTypeError,
  eye,
  FormatError,
  fromTypedArray,
  full,
  grad,
  GradError,
  linspace,
  manualSeed,
  noGrad,
  ones,
  rand,
  randint,
  randperm,
  setBackend,
  ShapeError,
  stack,
  tensor,
  ValueError,
  zeros,
  type Tensor,
} from 'tandem'
import { DataLoader, randomSplit, TensorDataset } from 'tandem/data'
import { fromSafetensors, toSafetensors } from 'tandem/io'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'
import { Model } from 'tandem/train'
import { parseIdx } from '../src/vision/idx.ts'
import { defaultDevice } from './devices.ts'

type Case = readonly [
  what: string,
  error: new (message: string) => Error,
  message: RegExp,
  call: () => unknown,
]

const int = (values: number[]) => tensor(values, { dtype: 'int32' })
const wrong = (value: unknown) => value as never
const linear = () => new nn.Linear(3, 2)
const parameter = () => [...new nn.Linear(2, 2).parameters()]

const saved = await toSafetensors({ a: ones([4]) })

const creation: Case[] = [
  [
    'ragged rows',
    ShapeError,
    /rows differ in length along axis 1: expected 2, received 1/,
    () => tensor([[1, 2], [3]]),
  ],
  ['mixed depth', ShapeError, /differ in depth|received a number/, () => tensor([[1], 2] as never)],
  [
    'text as data',
    ValueError,
    /expected numbers or booleans, received string/,
    () => tensor(wrong(['a'])),
  ],
  [
    'unknown dtype',
    DTypeError,
    /unknown dtype "float31". Expected one of/,
    () => tensor([1], { dtype: wrong('float31') }),
  ],
  [
    'unknown option',
    ValueError,
    /unknown option 'dtpe'.*did you mean 'dtype'/,
    () => tensor([1], wrong({ dtpe: 'int32' })),
  ],
  ['negative size', ValueError, /whole sizes >= 0, received \[2, -1\]/, () => zeros([2, -1])],
  ['fractional size', ValueError, /Mend the size 1.5/, () => ones([1.5])],
  ['shape as a number', ValueError, /expected a shape such as \[2, 3\]/, () => full(wrong(3), 1)],
  [
    'wrong element count',
    ShapeError,
    /3 elements for shape \[2, 2\]/,
    () => fromTypedArray(new Float32Array(3), [2, 2]),
  ],
  [
    'unfit typed array',
    DTypeError,
    /no dtype fits a Uint32Array/,
    () => tensor(wrong(new Uint32Array(2))),
  ],
  ['arange without progress', ValueError, /arange/, () => arange(0, 5, 0)],
  ['linspace of no points', ValueError, /linspace/, () => linspace(0, 1, -1)],
  ['eye of a negative size', ValueError, /eye/, () => eye(-2)],
  ['an empty range of integers', ValueError, /randint/, () => randint(5, 5, [2])],
  ['randperm of a fraction', ValueError, /randperm/, () => randperm(2.5)],
  ['a seed that is not a number', ValueError, /seed/, () => manualSeed(NaN)],
  ['rand of no shape', ValueError, /expected a shape/, () => rand(wrong(undefined))],
  [
    'a dtype as device',
    DeviceError,
    /to: 'int32' is a dtype, .*Cast instead: x.cast\('int32'\)/,
    () => ones([1]).to('int32'),
  ],
  [
    'unknown device',
    DeviceError,
    /unknown backend 'gpu'. Available here: (cpu, )?wasm/,
    () => ones([1], { device: 'gpu' }),
  ],
]

const shapes: Case[] = [
  [
    'no broadcast',
    ShapeError,
    /^add: cannot broadcast \[2, 3\] with \[2\]: axis -1 has size 3 and 2/,
    () => ones([2, 3]).add(ones([2])),
  ],
  [
    'matmul',
    ShapeError,
    /^matmul: inner sizes differ: a \[2, 2\] x b \[3, 2\].*transpose b\?/,
    () => ones([2, 2]).matmul(ones([3, 2])),
  ],
  ['matmul of a scalar', ShapeError, /at least 1 axis.*Use mul/, () => tensor(1).matmul(ones([2]))],
  [
    'reshape',
    ShapeError,
    /reshape: \[2, 3\] has 6 elements, which do not fit \[4, 2\]/,
    () => ones([2, 3]).reshape([4, 2]),
  ],
  ['two unknown sizes', ShapeError, /one may be -1/, () => ones([2, 3]).reshape([-1, -1])],
  [
    'axis out of range',
    ShapeError,
    /^sum: axis 2 is out of range for 2 axes. Expected a whole number from -2 to 1/,
    () => ones([2, 3]).sum({ axis: 2 }),
  ],
  ['axis of a scalar', ShapeError, /A scalar has no axes/, () => tensor(1).sum({ axis: 0 })],
  ['repeated axis', ShapeError, /an axis is repeated/, () => ones([2, 3]).sum({ axis: [0, -2] })],
  ['axis given bare', ValueError, /expected an options object/, () => ones([2]).sum(wrong(0))],
  [
    'dim for axis',
    ValueError,
    /unknown option 'dim'. Known options: axis/,
    () => ones([2]).sum(wrong({ dim: 0 })),
  ],
  ['transpose of a vector', ShapeError, /at least 2 axes/, () => ones([3]).transpose()],
  ['permute', ShapeError, /Name each axis once/, () => ones([2, 3]).permute([0, 0])],
  [
    'expand',
    ShapeError,
    /cannot broadcast|Only axes of size 1 stretch/,
    () => ones([2, 3]).expand([4, 3]),
  ],
  [
    'squeeze',
    ShapeError,
    /Only axes of size 1 can be dropped/,
    () => ones([2, 3]).squeeze({ axis: 0 }),
  ],
  [
    'slice position',
    ShapeError,
    /position 5 is outside axis 0 of size 2. Expected -2 to 1/,
    () => ones([2, 3]).slice(5),
  ],
  ['slice step', ValueError, /the step is 0/, () => ones([4]).slice([0, 4, 0])],
  ['too many ranges', ShapeError, /at most one per axis/, () => ones([4]).slice(0, 0)],
  ['pad', ValueError, /Use slice to cut/, () => ones([2]).pad([[-1, 0]])],
  ['largest of none', ShapeError, /max: nothing to reduce|max.*empty/, () => zeros([0]).max()],
  ['cat of unlike shapes', ShapeError, /cat/, () => cat([ones([2, 3]), ones([2, 4])])],
  ['cat of nothing', ValueError, /cat/, () => cat([])],
  ['stack of unlike shapes', ShapeError, /stack/, () => stack([ones([2]), ones([3])])],
  ['split', ShapeError, /split/, () => ones([5]).split([2, 2])],
  ['item of many', ShapeError, /item: the tensor has 3 elements/, () => ones([3]).itemSync()],
  ['conv channels', ShapeError, /conv2d/, () => ones([1, 3, 8, 8]).conv2d(ones([4, 2, 3, 3]))],
  [
    'conv kernel too large',
    ShapeError,
    /conv2d/,
    () => ones([1, 1, 2, 2]).conv2d(ones([1, 1, 5, 5])),
  ],
  [
    'conv stride',
    ValueError,
    /conv2d/,
    () => ones([1, 1, 4, 4]).conv2d(ones([1, 1, 2, 2]), { stride: 0 }),
  ],
  ['pool window', ShapeError, /maxPool2d/, () => ones([1, 1, 2, 2]).maxPool2d({ kernelSize: 3 })],
]

const dtypesAndDevices: Case[] = [
  [
    'an array as operand',
    ValueError,
    /b must be a tensor, received an array. Wrap it: tensor\(b\)/,
    () => ones([2]).add(wrong([1, 2])),
  ],
  ['nothing as operand', ValueError, /b must be a tensor/, () => ones([2]).add(wrong(undefined))],
  ['bits of floats', DTypeError, /bitwiseAnd/, () => ones([2]).bitwiseAnd(ones([2]))],
  ['difference of bools', DTypeError, /sub/, () => tensor([true]).sub(tensor([false]))],
  ['float indices', DTypeError, /cast\('int32'\)/, () => ones([3]).indexSelect(0, tensor([0.5]))],
  ['index out of range', ValueError, /7/, () => ones([3]).indexSelect(0, int([0, 7]))],
  ['gather out of range', ValueError, /-1/, () => ones([3]).gather(0, int([-1]))],
  ['embedding out of range', ValueError, /embedding.*9/, () => ones([4, 2]).embedding(int([1, 9]))],
  ['oneHot out of range', ValueError, /oneHot.*5/, () => int([5]).oneHot({ numClasses: 3 })],
  [
    'label out of range',
    ValueError,
    /crossEntropy.*12.*10 classes|label 12/,
    () => zeros([2, 10]).crossEntropy(int([3, 12])),
  ],
  ['label count', ShapeError, /crossEntropy/, () => zeros([2, 10]).crossEntropy(int([3]))],
  ['float labels', DTypeError, /crossEntropy/, () => zeros([2, 10]).crossEntropy(tensor([1, 2]))],
  [
    'mixed devices',
    DeviceError,
    new RegExp(
      `on different devices: ${defaultDevice} and reference. .*: t.to\\('${defaultDevice}'\\)`,
    ),
    () => ones([1]).add(ones([1], { device: 'reference' })),
  ],
  [
    'gradient of integers',
    GradError,
    /only floating-point tensors have gradients/,
    () => int([1]).requireGrad(),
  ],
  ['backward without history', GradError, /requireGrad\(\)/, () => ones([1]).backward()],
  [
    'backward of many',
    GradError,
    /Reduce it first/,
    () => ones([2]).requireGrad().mul(2).backward(),
  ],
  ['gradient of many', GradError, /Reduce it first/, () => grad((x: Tensor) => x)(ones([2]))],
  [
    'noGrad over a promise',
    GradError,
    /Keep await outside/,
    () => noGrad(() => Promise.resolve(1)),
  ],
  [
    'assigned gradient',
    ShapeError,
    /does not fit a tensor of shape \[2\]/,
    () => void (ones([2]).requireGrad().grad = ones([3])),
  ],
]

const modules: Case[] = [
  ['layer of size 0', ValueError, /Linear/, () => new nn.Linear(0, 2)],
  [
    'unknown layer option',
    ValueError,
    /did you mean 'bias'/,
    () => new nn.Linear(2, 2, wrong({ bais: false })),
  ],
  ['wrong features', ShapeError, /(linear|matmul).*\[4, 5\]/, () => linear().forward(ones([4, 5]))],
  ['groups that do not divide', ValueError, /groups/, () => new nn.Conv2d(3, 4, 3, { groups: 2 })],
  ['dropout probability', ValueError, /Dropout/, () => new nn.Dropout(1.5)],
  [
    'heads that do not divide',
    ValueError,
    /MultiheadAttention|numHeads/,
    () => new nn.MultiheadAttention(10, 3),
  ],
  [
    'missing state',
    ValueError,
    /missing.*bias/s,
    () => linear().loadStateDict({ weight: ones([2, 3]) }),
  ],
  [
    'state of another shape',
    Error,
    /weight.*\[2, 3\].*\[3, 3\]|weight.*\[3, 3\].*\[2, 3\]/s,
    () => linear().loadStateDict({ weight: ones([3, 3]), bias: ones([2]) }),
  ],
  [
    'modules hidden in an array',
    Error,
    /ModuleList/,
    () => {
      class Net extends nn.Module {
        layers = [linear()]
        forward(x: Tensor) {
          return x
        }
      }
      return new Net().parameters()
    },
  ],
  ['no parameters', ValueError, /SGD|parameter/, () => new optim.SGD([], { lr: 0.1 })],
  [
    'non-finite learning rate',
    ValueError,
    /lr.*NaN|NaN.*lr/,
    () => new optim.Adam(parameter(), { lr: NaN }),
  ],
  ['negative learning rate', ValueError, /lr/, () => new optim.SGD(parameter(), { lr: -1 })],
  [
    'unknown optimizer option',
    ValueError,
    /unknown option 'momentun'.*did you mean 'momentum'/,
    () => new optim.SGD(parameter(), wrong({ lr: 1, momentun: 0.9 })),
  ],
  [
    'momentum out of range',
    ValueError,
    /betas/,
    () => new optim.Adam(parameter(), { betas: [1, 0.9] }),
  ],
  [
    'nesterov without momentum',
    ValueError,
    /nesterov/i,
    () => new optim.SGD(parameter(), { lr: 0.1, nesterov: true }),
  ],
  [
    'fit before compile',
    Error,
    /compile/,
    () => new Model(linear()).trainOnBatch(ones([1, 3]), ones([1, 2])),
  ],
  [
    'unknown loss',
    ValueError,
    /loss/,
    () => new Model(linear()).compile({ optimizer: 'sgd', loss: wrong('crossentropi') }),
  ],
]

const filesAndData: Case[] = [
  [
    'truncated safetensors',
    FormatError,
    /truncated|ends|bytes/,
    () => fromSafetensors(saved.slice(0, -4)),
  ],
  ['corrupt safetensors', FormatError, /./, () => fromSafetensors(new Uint8Array(64).fill(255))],
  ['an empty file', FormatError, /./, () => fromSafetensors(new Uint8Array(0))],
  ['truncated idx', FormatError, /./, () => parseIdx(new Uint8Array([0, 0, 8, 1, 0, 0, 0, 9, 1]))],
  [
    'not an idx file',
    FormatError,
    /./,
    () => parseIdx(new TextEncoder().encode('<!doctype html>')),
  ],
  [
    'batch size 0',
    ValueError,
    /batchSize/,
    () => new DataLoader(new TensorDataset(ones([4])), { batchSize: 0 }),
  ],
  [
    'unknown loader option',
    ValueError,
    /did you mean 'shuffle'/,
    () => new DataLoader(new TensorDataset(ones([4])), wrong({ shufle: true })),
  ],
  [
    'tensors of unlike length',
    ShapeError,
    /TensorDataset/,
    () => new TensorDataset(ones([4]), ones([3])),
  ],
  [
    'split that does not add up',
    ValueError,
    /randomSplit/,
    () => randomSplit(new TensorDataset(ones([4])), [1, 2]),
  ],
]

const table = {
  creation,
  shapes,
  'dtypes and devices': dtypesAndDevices,
  modules,
  'files and data': filesAndData,
}

for (const [area, cases] of Object.entries(table))
  describe(area, () => {
    test.each(cases)('%s', async (_what, error, message, call) => {
      let thrown: unknown
      try {
        await call()
      } catch (e) {
        thrown = e
      }
      expect(thrown, 'nothing was thrown').toBeInstanceOf(error)
      const { message: text, stack = '' } = thrown as Error
      expect(text).toMatch(message)
      expect(stack.split('\n').find((line) => /^\s+at /.test(line))).toContain('errors.test.ts')
    })
  })

test('an unknown backend', async () => {
  await expect(setBackend('cuda')).rejects.toThrow(/unknown backend 'cuda'. Available here/)
})

test('the table is as long as it should be', () => {
  expect(Object.values(table).flat().length).toBeGreaterThanOrEqual(60)
})
