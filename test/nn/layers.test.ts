/** @file Every layer through the conformance suite. */
import { tensor } from 'tandem'
import * as nn from 'tandem/nn'
import { checkLayer, numbers } from './check-layer.ts'

const affine = ['weight', 'bias']
const whole = (rows: number[][]) => tensor(rows, { dtype: 'int32' })

checkLayer({
  name: 'Linear',
  make: (placement) => new nn.Linear(4, 3, placement),
  inputs: () => [numbers([2, 5, 4])],
  output: [2, 5, 3],
  state: affine,
  prints: 'Linear(inFeatures=4, outFeatures=3, bias=true)',
  errors: [
    {
      make: () => new nn.Linear(0, 1),
      message: 'Linear: inFeatures must be a whole number of at least 1, received 0',
    },
    { make: () => new nn.Linear(1, 1.5), message: 'outFeatures must be a whole number' },
    {
      make: () => new nn.Linear(4, 3).forward(numbers([2, 5])),
      message: 'x has 5 features, the weight takes 4',
    },
  ],
})
checkLayer({
  name: 'Linear without bias',
  make: (placement) => new nn.Linear(4, 3, { bias: false, ...placement }),
  inputs: () => [numbers([4])],
  output: [3],
  state: ['weight'],
  prints: 'Linear(inFeatures=4, outFeatures=3, bias=false)',
})
checkLayer({
  name: 'Conv1d',
  make: (placement) =>
    new nn.Conv1d(4, 6, 3, { groups: 2, dilation: 2, padding: 'same', ...placement }),
  inputs: () => [numbers([2, 4, 7])],
  output: [2, 6, 7],
  state: affine,
  prints: "Conv1d(4, 6, kernelSize=3, stride=1, padding='same', dilation=2, groups=2)",
})
checkLayer({
  name: 'Conv2d',
  make: (placement) =>
    new nn.Conv2d(2, 3, [3, 1], { stride: 2, padding: [1, 0], bias: false, ...placement }),
  inputs: () => [numbers([2, 2, 6, 5])],
  output: [2, 3, 3, 3],
  state: ['weight'],
  prints: 'Conv2d(2, 3, kernelSize=[3, 1], stride=2, padding=[1, 0], bias=false)',
  errors: [
    {
      make: () => new nn.Conv2d(3, 4, 3, { groups: 2 }),
      message: 'Conv2d: groups 2 must divide inChannels 3 and outChannels 4',
    },
    {
      make: () => new nn.Conv2d(3, 4, [1, 2, 3]),
      message: 'kernelSize must be a number or 2 of them, received [1,2,3]',
    },
    {
      make: () => new nn.Conv2d(3, 4, 3, { padding: -1 }),
      message: 'padding must be a whole number of at least 0',
    },
    {
      make: () => new nn.Conv2d(3, 4, 3, { padding: 'same', stride: 2 }),
      message: "padding 'same' needs stride 1",
    },
  ],
})
checkLayer({
  name: 'ConvTranspose1d',
  make: (placement) => new nn.ConvTranspose1d(4, 2, 3, { stride: 2, groups: 2, ...placement }),
  inputs: () => [numbers([2, 4, 5])],
  output: [2, 2, 11],
  state: affine,
  prints: 'ConvTranspose1d(4, 2, kernelSize=3, stride=2)',
  copies: 'the op takes views of the weight',
})
checkLayer({
  name: 'ConvTranspose2d',
  make: (placement) =>
    new nn.ConvTranspose2d(2, 3, 2, { stride: 2, outputPadding: [1, 0], ...placement }),
  inputs: () => [numbers([2, 2, 3, 3])],
  output: [2, 3, 7, 6],
  state: affine,
  prints: 'ConvTranspose2d(2, 3, kernelSize=2, stride=2)',
  copies: 'the op takes views of the weight',
  errors: [
    {
      make: () => new nn.ConvTranspose2d(3, 4, 3, { groups: 2 }),
      message: 'ConvTranspose2d: groups 2 must divide inChannels 3',
    },
  ],
})
checkLayer({
  name: 'BatchNorm1d',
  make: (placement) => new nn.BatchNorm1d(3, placement),
  inputs: () => [numbers([4, 3])],
  output: [4, 3],
  state: [...affine, 'runningMean', 'runningVar', 'numBatchesTracked'],
  prints: 'BatchNorm1d(3, eps=0.00001, momentum=0.1, affine=true, trackRunningStats=true)',
  errors: [
    {
      make: () => new nn.BatchNorm1d(3, { momentum: 2 }),
      message: 'momentum must be between 0 and 1',
    },
    {
      make: () => new nn.BatchNorm1d(3, { eps: 0 }),
      message: 'eps must be a finite number above 0',
    },
    {
      make: () => new nn.BatchNorm1d(3).forward(numbers([1, 3])),
      message: 'a single value per channel has no variance',
    },
    {
      make: () => new nn.BatchNorm1d(3).forward(numbers([2, 4])),
      message: 'BatchNorm1d: expected [batch, 3] or [batch, 3, length], received [2, 4]',
    },
  ],
})
checkLayer({
  name: 'BatchNorm2d',
  make: (placement) => new nn.BatchNorm2d(3, { trackRunningStats: false, ...placement }),
  inputs: () => [numbers([2, 3, 4, 4])],
  output: [2, 3, 4, 4],
  state: affine,
  prints: 'BatchNorm2d(3, eps=0.00001, momentum=0.1, affine=true, trackRunningStats=false)',
})
checkLayer({
  name: 'LayerNorm',
  make: (placement) => new nn.LayerNorm([3, 4], placement),
  inputs: () => [numbers([2, 3, 4])],
  output: [2, 3, 4],
  state: affine,
  prints: 'LayerNorm([3, 4], eps=0.00001, elementwiseAffine=true)',
  errors: [{ make: () => new nn.LayerNorm([2, 0]), message: 'LayerNorm: normalizedShape must be' }],
})
checkLayer({
  name: 'RMSNorm',
  make: (placement) => new nn.RMSNorm(4, placement),
  inputs: () => [numbers([2, 4])],
  output: [2, 4],
  state: ['weight'],
  prints: 'RMSNorm([4], eps=0.000001, elementwiseAffine=true)',
})
checkLayer({
  name: 'GroupNorm',
  make: (placement) => new nn.GroupNorm(2, 4, placement),
  inputs: () => [numbers([2, 4, 3])],
  output: [2, 4, 3],
  state: affine,
  prints: 'GroupNorm(2, 4, eps=0.00001, affine=true)',
  copies: 'the op reshapes scale and shift by groups',
  errors: [
    {
      make: () => new nn.GroupNorm(3, 4),
      message: 'GroupNorm: 4 channels do not divide into 3 groups',
    },
  ],
})
checkLayer({
  name: 'Embedding',
  make: (placement) => new nn.Embedding(6, 3, { paddingIndex: -1, ...placement }),
  inputs: () => [
    whole([
      [0, 1],
      [5, 1],
    ]),
  ],
  output: [2, 2, 3],
  state: ['weight'],
  prints: 'Embedding(6, 3, paddingIndex=5)',
  errors: [
    {
      make: () => new nn.Embedding(6, 3, { paddingIndex: 6 }),
      message: 'Embedding: paddingIndex 6 is outside the table',
    },
    { make: () => new nn.Embedding(6, 3).forward(whole([[6]])), message: /embedding/ },
  ],
})
checkLayer({
  name: 'Dropout',
  make: () => new nn.Dropout(0.5),
  inputs: () => [numbers([40])],
  output: [40],
  prints: 'Dropout(p=0.5)',
  random: true,
  plain: true,
  errors: [
    {
      make: () => new nn.Dropout(1.5),
      message: 'Dropout: p must be between 0 and 1, received 1.5',
    },
  ],
})
checkLayer({
  name: 'MultiheadAttention',
  make: (placement) => new nn.MultiheadAttention(6, 2, placement),
  inputs: () => [numbers([2, 3, 6])],
  output: [2, 3, 6],
  state: ['inProjWeight', 'inProjBias', 'outProj.weight', 'outProj.bias'],
  prints: 'MultiheadAttention(6, numHeads=2, dropout=0, batchFirst=true',
  errors: [
    {
      make: () => new nn.MultiheadAttention(6, 4),
      message: 'embedDim 6 does not divide into 4 heads',
    },
    {
      make: () => new nn.MultiheadAttention(6, 2).forward(numbers([3, 6])),
      message: 'expected [batch, sequence, 6], received [3, 6]',
    },
  ],
})
checkLayer({
  name: 'TransformerEncoderLayer',
  make: (placement) =>
    new nn.TransformerEncoderLayer(6, 2, {
      dimFeedforward: 8,
      normFirst: true,
      activation: 'gelu',
      ...placement,
    }),
  inputs: () => [numbers([2, 3, 6])],
  output: [2, 3, 6],
  state: [
    'selfAttn.inProjWeight',
    'selfAttn.inProjBias',
    'selfAttn.outProj.weight',
    'selfAttn.outProj.bias',
    'linear1.weight',
    'linear1.bias',
    'linear2.weight',
    'linear2.bias',
    'norm1.weight',
    'norm1.bias',
    'norm2.weight',
    'norm2.bias',
  ],
  prints: 'TransformerEncoderLayer(activation=gelu, normFirst=true',
  random: true,
  errors: [
    {
      make: () => new nn.TransformerEncoderLayer(6, 2, { activation: 'tanh' as never }),
      message: "activation must be one of 'relu', 'gelu'",
    },
    {
      make: () => new nn.TransformerEncoderLayer(6, 2, { dropout: -1 }),
      message: 'dropout must be between 0 and 1',
    },
  ],
})

const images = () => [numbers([2, 3, 5, 6])]
const signals = () => [numbers([2, 3, 6])]
const plain = { plain: true } as const
checkLayer({
  name: 'MaxPool1d',
  make: () => new nn.MaxPool1d(2),
  inputs: signals,
  output: [2, 3, 3],
  prints: 'MaxPool1d(kernelSize=2, stride=2, padding=0)',
  ...plain,
})
checkLayer({
  name: 'MaxPool2d',
  make: () => new nn.MaxPool2d([2, 3], { stride: 1, ceilMode: true }),
  inputs: images,
  output: [2, 3, 4, 4],
  prints: 'MaxPool2d(kernelSize=[2, 3], stride=1, padding=0, ceilMode=true)',
  errors: [
    {
      make: () => new nn.MaxPool2d(2, { padding: 2 }),
      message: 'MaxPool2d: padding 2 is more than half of the window 2',
    },
    { make: () => new nn.MaxPool2d(2, { strides: 2 } as never), message: "did you mean 'stride'" },
  ],
  ...plain,
})
checkLayer({
  name: 'AvgPool1d',
  make: () => new nn.AvgPool1d(3),
  inputs: signals,
  output: [2, 3, 2],
  prints: 'AvgPool1d(kernelSize=3, stride=3, padding=0)',
  ...plain,
})
checkLayer({
  name: 'AvgPool2d',
  make: () => new nn.AvgPool2d(2),
  inputs: images,
  output: [2, 3, 2, 3],
  prints: 'AvgPool2d(kernelSize=2, stride=2, padding=0)',
  ...plain,
})
checkLayer({
  name: 'AdaptiveAvgPool2d',
  make: () => new nn.AdaptiveAvgPool2d([2, 4]),
  inputs: images,
  output: [2, 3, 2, 4],
  prints: 'AdaptiveAvgPool2d(outputSize=[2, 4])',
  ...plain,
})
checkLayer({
  name: 'Flatten',
  make: () => new nn.Flatten(),
  inputs: images,
  output: [2, 90],
  prints: 'Flatten(startAxis=1, endAxis=-1)',
  ...plain,
})
checkLayer({
  name: 'Identity',
  make: () => new nn.Identity(),
  inputs: images,
  output: [2, 3, 5, 6],
  prints: 'Identity()',
  ...plain,
})

const activations = {
  'ReLU()': () => new nn.ReLU(),
  'ReLU6()': () => new nn.ReLU6(),
  'LeakyReLU(negativeSlope=0.2)': () => new nn.LeakyReLU({ negativeSlope: 0.2 }),
  'ELU(alpha=1)': () => new nn.ELU(),
  'SELU()': () => new nn.SELU(),
  'GELU(approximate=tanh)': () => new nn.GELU({ approximate: 'tanh' }),
  'SiLU()': () => new nn.SiLU(),
  'Mish()': () => new nn.Mish(),
  'Sigmoid()': () => new nn.Sigmoid(),
  'LogSigmoid()': () => new nn.LogSigmoid(),
  'Hardsigmoid()': () => new nn.Hardsigmoid(),
  'Hardswish()': () => new nn.Hardswish(),
  'Tanh()': () => new nn.Tanh(),
  'Softsign()': () => new nn.Softsign(),
  'Softplus(beta=1)': () => new nn.Softplus(),
  'Softmax(axis=1)': () => new nn.Softmax({ axis: 1 }),
  'LogSoftmax(axis=-1)': () => new nn.LogSoftmax(),
}
for (const [prints, make] of Object.entries(activations))
  checkLayer({ name: prints, make, inputs: signals, output: [2, 3, 6], prints, ...plain })

const net = (placement: object) =>
  new nn.Sequential(new nn.Linear(4, 3, placement), new nn.ReLU(), new nn.Linear(3, 2, placement))
checkLayer({
  name: 'Sequential',
  make: net,
  inputs: () => [numbers([5, 4])],
  output: [5, 2],
  state: ['0.weight', '0.bias', '2.weight', '2.bias'],
  prints: 'Sequential(',
  errors: [
    { make: () => new nn.Sequential(nn.ReLU as never), message: 'Make an instance: new Layer()' },
    {
      make: () => net({}).at(3),
      message: 'Sequential: there is no position 3 among 3. Expected -3 to 2',
    },
    { make: () => new nn.ModuleDict({ 'a.b': new nn.ReLU() }), message: "'a.b' cannot be a name" },
    { make: () => new nn.ModuleDict().get('a'), message: "ModuleDict: there is no 'a'" },
    {
      make: () => new nn.ParameterList([1 as never]),
      message: 'ParameterList: expected parameters',
    },
    { make: () => new nn.ModuleList().forward(), message: 'ModuleList: it has no order to run in' },
  ],
})
