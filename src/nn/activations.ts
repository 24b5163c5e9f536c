/** @file Activation functions as layers. */
import type {
  EluOptions,
  GeluOptions,
  LeakyReluOptions,
  SoftplusOptions,
} from '../ops/activation.ts'
import type { SoftmaxOptions } from '../ops/softmax.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { checkOptions } from '../util/errors.ts'
import { Module } from './module.ts'
import { runsOnly, keepsNothing } from './passing.ts'

/** A layer that applies a function with fixed options. */
abstract class Activation<O extends object = object> extends Module {
  readonly options: O

  constructor(options: O, defaults: Required<O>) {
    super()
    checkOptions(new.target.name, options, Object.keys(defaults))
    this.options = { ...defaults, ...options }
  }

  override extraRepr(): string {
    return Object.entries(this.options)
      .map(([name, value]) => `${name}=${String(value)}`)
      .join(', ')
  }
}

/**
 * max(x, 0).
 *
 * @example
 * new nn.ReLU().forward(tensor([-1, 2])) // -> tensor([0, 2], float32, cpu)
 */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return x.relu()
  }
}

/**
 * min(max(x, 0), 6).
 *
 * @example
 * new nn.ReLU6().forward(tensor([-1, 2])) // -> tensor([0, 2], float32, cpu)
 */
export class ReLU6 extends Module {
  forward(x: Tensor): Tensor {
    return x.relu6()
  }
}

/**
 * The self-normalizing ELU (Klambauer et al., 2017).
 *
 * @example
 * new nn.SELU().forward(tensor([-1, 2])) // -> tensor([-1.1113, 2.1014], float32, cpu)
 */
export class SELU extends Module {
  forward(x: Tensor): Tensor {
    return x.selu()
  }
}

/**
 * x sigmoid(x), also called swish.
 *
 * @example
 * new nn.SiLU().forward(tensor([-1, 2])) // -> tensor([-0.2689, 1.7616], float32, cpu)
 */
export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    return x.silu()
  }
}

/**
 * x tanh(softplus(x)) (Misra, 2019).
 *
 * @example
 * new nn.Mish().forward(tensor([-1, 2])) // -> tensor([-0.3034, 1.9440], float32, cpu)
 */
export class Mish extends Module {
  forward(x: Tensor): Tensor {
    return x.mish()
  }
}

/**
 * 1 / (1 + exp(-x)).
 *
 * @example
 * new nn.Sigmoid().forward(tensor([-1, 2])) // -> tensor([0.2689, 0.8808], float32, cpu)
 */
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.sigmoid()
  }
}

/**
 * log(sigmoid(x)) without overflow.
 *
 * @example
 * new nn.LogSigmoid().forward(tensor([-1, 2])) // -> tensor([-1.3133, -0.1269], float32, cpu)
 */
export class LogSigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.logSigmoid()
  }
}

/**
 * relu6(x + 3) / 6, a sigmoid of straight lines.
 *
 * @example
 * new nn.Hardsigmoid().forward(tensor([-1, 2])) // -> tensor([0.3333, 0.8333], float32, cpu)
 */
export class Hardsigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.hardSigmoid()
  }
}

/**
 * x times the hard sigmoid of x (Howard et al., 2019).
 *
 * @example
 * new nn.Hardswish().forward(tensor([-1, 2])) // -> tensor([-0.3333, 1.6667], float32, cpu)
 */
export class Hardswish extends Module {
  forward(x: Tensor): Tensor {
    return x.hardSwish()
  }
}

/**
 * The hyperbolic tangent.
 *
 * @example
 * new nn.Tanh().forward(tensor([-1, 2])) // -> tensor([-0.7616, 0.9640], float32, cpu)
 */
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return x.tanh()
  }
}

/**
 * x / (1 + |x|).
 *
 * @example
 * new nn.Softsign().forward(tensor([-1, 2])) // -> tensor([-0.5000, 0.6667], float32, cpu)
 */
export class Softsign extends Module {
  forward(x: Tensor): Tensor {
    return x.softsign()
  }
}

/**
 * x above 0, negativeSlope x below; negativeSlope is 0.01 unless given.
 *
 * @example
 * new nn.LeakyReLU({ negativeSlope: 0.5 }).forward(tensor([-1, 2])) // -> tensor([-0.5, 2.0], float32, cpu)
 */
export class LeakyReLU extends Activation<LeakyReluOptions> {
  constructor(options: LeakyReluOptions = {}) {
    super(options, { negativeSlope: 0.01 })
  }
  forward(x: Tensor): Tensor {
    return x.leakyRelu(this.options)
  }
}

/**
 * x above 0, alpha (exp(x) - 1) below (Clevert et al., 2015); alpha is 1 unless given.
 *
 * @example
 * new nn.ELU().forward(tensor([-1, 2])) // -> tensor([-0.6321, 2.0000], float32, cpu)
 */
export class ELU extends Activation<EluOptions> {
  constructor(options: EluOptions = {}) {
    super(options, { alpha: 1 })
  }
  forward(x: Tensor): Tensor {
    return x.elu(this.options)
  }
}

/**
 * x times the normal distribution function at x (Hendrycks and Gimpel, 2016), or its tanh approximation.
 *
 * @example
 * new nn.GELU().forward(tensor([-1, 2])) // -> tensor([-0.1587, 1.9545], float32, cpu)
 */
export class GELU extends Activation<GeluOptions> {
  constructor(options: GeluOptions = {}) {
    super(options, { approximate: 'none' })
  }
  forward(x: Tensor): Tensor {
    return x.gelu(this.options)
  }
}

/**
 * log(1 + exp(beta x)) / beta without overflow; beta is 1 unless given.
 *
 * @example
 * new nn.Softplus().forward(tensor([-1, 2])) // -> tensor([0.3133, 2.1269], float32, cpu)
 */
export class Softplus extends Activation<SoftplusOptions> {
  constructor(options: SoftplusOptions = {}) {
    super(options, { beta: 1 })
  }
  forward(x: Tensor): Tensor {
    return x.softplus(this.options)
  }
}

/**
 * exp(x) divided by its sum along an axis, the last unless given.
 *
 * @example
 * new nn.Softmax().forward(tensor([-1, 2])) // -> tensor([0.0474, 0.9526], float32, cpu)
 */
export class Softmax extends Activation<SoftmaxOptions> {
  constructor(options: SoftmaxOptions = {}) {
    super(options, { axis: -1 })
  }
  forward(x: Tensor): Tensor {
    return x.softmax(this.options)
  }
}

/**
 * The logarithm of softmax along an axis, the last unless given.
 *
 * @example
 * new nn.LogSoftmax().forward(tensor([-1, 2])) // -> tensor([-3.0486, -0.0486], float32, cpu)
 */
export class LogSoftmax extends Activation<SoftmaxOptions> {
  constructor(options: SoftmaxOptions = {}) {
    super(options, { axis: -1 })
  }
  forward(x: Tensor): Tensor {
    return x.logSoftmax(this.options)
  }
}

keepsNothing(
  ReLU,
  ReLU6,
  SELU,
  SiLU,
  Mish,
  Sigmoid,
  LogSigmoid,
  Hardsigmoid,
  Hardswish,
  Tanh,
  Softsign,
  LeakyReLU,
  ELU,
  GELU,
  Softplus,
  Softmax,
  LogSoftmax,
)
runsOnly(ReLU, 'relu')
runsOnly(Sigmoid, 'sigmoid')
runsOnly(Tanh, 'tanh')
