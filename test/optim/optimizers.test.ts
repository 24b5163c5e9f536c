/** @file Every optimizer against its published formula, and through the conformance suite. */
import { Adagrad, Adam, AdamW, RMSprop, SGD } from 'tandem/optim'
import { checkOptimizer, type Reference } from './check-optimizer.ts'

const sgd =
  (o: { lr: number; m?: number; damp?: number; nesterov?: boolean; wd?: number }): Reference =>
  (p, gradient, state, t) => {
    const g = gradient + (o.wd ?? 0) * p
    if (!o.m) return p - o.lr * g
    const b = (state['b'] = t === 1 ? g : o.m * state['b']! + (1 - (o.damp ?? 0)) * g)
    return p - o.lr * (o.nesterov ? g + o.m * b : b)
  }

checkOptimizer({
  name: 'SGD',
  make: (params, options) => new SGD(params, options),
  converges: { lr: 0.1, momentum: 0.5 },
  variants: [
    { title: 'plain', options: { lr: 0.1 }, reference: sgd({ lr: 0.1 }) },
    {
      title: 'penalty',
      options: { lr: 0.1, weightDecay: 0.2 },
      reference: sgd({ lr: 0.1, wd: 0.2 }),
    },
    {
      title: 'momentum',
      options: { lr: 0.1, momentum: 0.9, dampening: 0.3 },
      reference: sgd({ lr: 0.1, m: 0.9, damp: 0.3 }),
    },
    {
      title: 'Nesterov',
      options: { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.1 },
      reference: sgd({ lr: 0.1, m: 0.9, nesterov: true, wd: 0.1 }),
    },
  ],
  errors: [
    { options: { momentum: -1 }, message: /SGD: momentum must be a finite number of at least 0/ },
    { options: { nesterov: true }, message: /SGD: nesterov needs a momentum above 0/ },
  ],
})

interface AdamReference {
  lr?: number
  b1?: number
  b2?: number
  eps?: number
  penalty?: number
  decay?: number
  amsgrad?: boolean
}
const adam =
  (o: AdamReference): Reference =>
  (p, gradient, state, t) => {
    const { lr = 1e-3, b1 = 0.9, b2 = 0.999, eps = 1e-8, penalty = 0, decay = 0 } = o
    const g = gradient + penalty * p
    const m = (state['m'] = b1 * (state['m'] ?? 0) + (1 - b1) * g)
    const v = (state['v'] = b2 * (state['v'] ?? 0) + (1 - b2) * g * g)
    const top = (state['top'] = Math.max(state['top'] ?? 0, v))
    const mHat = m / (1 - b1 ** t)
    const vHat = (o.amsgrad ? top : v) / (1 - b2 ** t)
    return p * (1 - lr * decay) - (lr * mHat) / (Math.sqrt(vHat) + eps)
  }
const rates = [
  {
    options: { betas: [1, 0.9] },
    message: /betas\[0\] must be at least 0 and below 1, received 1/,
  },
  {
    options: { betas: [0.9] },
    message: /betas\[1\] must be at least 0 and below 1, received undef/,
  },
  { options: { eps: -1 }, message: /eps must be a finite number of at least 0/ },
]

checkOptimizer({
  name: 'Adam',
  make: (params, options) => new Adam(params, options),
  converges: { lr: 0.2 },
  variants: [
    { title: 'defaults', options: {}, reference: adam({}) },
    {
      title: 'all options',
      options: { lr: 0.1, betas: [0.8, 0.95], eps: 1e-3, weightDecay: 0.1, amsgrad: true },
      reference: adam({ lr: 0.1, b1: 0.8, b2: 0.95, eps: 1e-3, penalty: 0.1, amsgrad: true }),
    },
  ],
  errors: rates,
})

checkOptimizer({
  name: 'AdamW',
  make: (params, options) => new AdamW(params, options),
  converges: { lr: 0.2 },
  variants: [
    { title: 'defaults', options: { weightDecay: undefined }, reference: adam({ decay: 0.01 }) },
    {
      title: 'more decay',
      options: { lr: 0.1, weightDecay: 0.5 },
      reference: adam({ lr: 0.1, decay: 0.5 }),
    },
  ],
  errors: rates,
})

const rmsprop =
  (o: { lr: number; a: number; wd?: number; m?: number; centered?: boolean }): Reference =>
  (p, gradient, state) => {
    const g = gradient + (o.wd ?? 0) * p
    const v = (state['v'] = o.a * (state['v'] ?? 0) + (1 - o.a) * g * g)
    const mean = (state['mean'] = o.a * (state['mean'] ?? 0) + (1 - o.a) * g)
    const scaled = g / (Math.sqrt(o.centered ? v - mean * mean : v) + 1e-8)
    const step = (state['b'] = (o.m ?? 0) * (state['b'] ?? 0) + scaled)
    return p - o.lr * step
  }

checkOptimizer({
  name: 'RMSprop',
  make: (params, options) => new RMSprop(params, options),
  converges: { lr: 0.02 },
  variants: [
    { title: 'defaults', options: {}, reference: rmsprop({ lr: 1e-2, a: 0.99 }) },
    {
      title: 'all options',
      options: { lr: 0.1, alpha: 0.8, weightDecay: 0.1, momentum: 0.5, centered: true },
      reference: rmsprop({ lr: 0.1, a: 0.8, wd: 0.1, m: 0.5, centered: true }),
    },
  ],
  errors: [{ options: { alpha: 2 }, message: /RMSprop: alpha must be at least 0 and below 1/ }],
})

const adagrad =
  (o: { lr: number; lrDecay?: number; wd?: number; start?: number; eps?: number }): Reference =>
  (p, gradient, state, t) => {
    const g = gradient + (o.wd ?? 0) * p
    const sum = (state['sum'] = (state['sum'] ?? o.start ?? 0) + g * g)
    const rate = o.lr / (1 + (t - 1) * (o.lrDecay ?? 0))
    return p - (rate * g) / (Math.sqrt(sum) + (o.eps ?? 1e-10))
  }

checkOptimizer({
  name: 'Adagrad',
  make: (params, options) => new Adagrad(params, options),
  converges: { lr: 1 },
  variants: [
    { title: 'defaults', options: {}, reference: adagrad({ lr: 1e-2 }) },
    {
      title: 'all options',
      options: { lr: 0.5, lrDecay: 0.1, weightDecay: 0.2, initialAccumulatorValue: 0.3, eps: 1e-3 },
      reference: adagrad({ lr: 0.5, lrDecay: 0.1, wd: 0.2, start: 0.3, eps: 1e-3 }),
    },
  ],
  errors: [{ options: { lrDecay: -1 }, message: /Adagrad: lrDecay must be/ }],
})
