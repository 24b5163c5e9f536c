/** @file Convolutions: each distinct layer of ResNet-50 forward, and the gradients of its input and weight. */

import type { Case, Contender, Setup } from './harness.ts'
import { ORT, ortContender } from './ort.ts'
import { loadTfjs, TFJS, tfjsContender, tfTensorOf } from './peers.ts'
import { describeLayer, outSize, RESNET50, type ConvLayer } from './resnet-layers.ts'
import { settings, threadsText } from './settings.ts'
import { loadTandem, tandemContender, tensorOf, type Tensor } from './tandem.ts'
import { TORCH, torchContender } from './torch.ts'
import { sampleOf, sizeOf, values } from './values.ts'
import { fmaPeak } from './fma-peak.ts'

type Direction = 'forward' | 'inputGrad' | 'weightGrad'

const DIRECTIONS: Record<Direction, string> = {
  forward: 'forward',
  inputGrad: 'input gradient',
  weightGrad: 'weight gradient',
}

/** All of it in a few minutes: there are 138 cases, and runs of a whole second among them. */
const PLANS = {
  1: { warmUpSeconds: 0.1, batchSeconds: 0.01, rounds: 9 },
  32: { warmUpSeconds: 0.1, batchSeconds: 0.01, rounds: 5 },
}
const QUICK_LAYERS = [0, 1, 2, 10]

const layers = settings.quick ? QUICK_LAYERS.map((i) => RESNET50[i]!) : RESNET50

export const cases: Case[] = ([1, 32] as const).flatMap((batch) =>
  (Object.keys(DIRECTIONS) as Direction[]).flatMap((direction) =>
    layers.map((layer): Case => {
      const shapes = shapesOf(layer, batch)
      return {
        name: `${DIRECTIONS[direction]} ${describeLayer(layer)}, batch ${batch} ${threadsText()}`,
        unit: 'GFLOP/s',
        better: 'higher',
        work: 2 * sizeOf(shapes.y) * sizeOf(shapes.weight.slice(1)),
        group: `${DIRECTIONS[direction]}, batch ${batch}`,
        plan: PLANS[batch],
        contenders: {
          tandem:
            direction === 'forward'
              ? tandemForward(layer, shapes)
              : tandemGradient(layer, shapes, direction),
          [TORCH]: torchContender('conv', {
            direction,
            x: shapes.x,
            weight: shapes.weight,
            stride: layer.stride,
            padding: layer.padding,
          }),
          ...(direction === 'forward' && {
            [ORT]: ortForward(layer, shapes),
            [TFJS]: tfjsForward(layer, batch),
          }),
        },
      }
    }),
  ),
)

/** The bound that the results are put in relation to. */
export const peak = (): Promise<number | string> => fmaPeak(settings.threads)

interface Shapes {
  readonly x: number[]
  readonly weight: number[]
  readonly y: number[]
}

function shapesOf(layer: ConvLayer, batch: number): Shapes {
  const { inChannels, outChannels, size, kernel } = layer
  const out = outSize(layer)
  return {
    x: [batch, inChannels, size, size],
    weight: [outChannels, inChannels, kernel, kernel],
    y: [batch, outChannels, out, out],
  }
}

function tandemForward({ stride, padding }: ConvLayer, shapes: Shapes): Setup {
  return async () => {
    const tandem = await loadTandem()
    const x = tensorOf(tandem, shapes.x, 1)
    const weight = tensorOf(tandem, shapes.weight, 2)
    return tandemContender(() => x.conv2d(weight, { stride, padding }))
  }
}

/** One pass backwards over a tape that stays, on which only one of the two inputs asks for a gradient. */
function tandemGradient(
  { stride, padding }: ConvLayer,
  shapes: Shapes,
  direction: Direction,
): Setup {
  return async (): Promise<Contender> => {
    const tandem = await loadTandem()
    const x = tensorOf(tandem, shapes.x, 1)
    const weight = tensorOf(tandem, shapes.weight, 2)
    const gradient = tensorOf(tandem, shapes.y, 3)
    const wanted: Tensor = direction === 'inputGrad' ? x : weight
    wanted.requireGrad()
    const y = x.conv2d(weight, { stride, padding })
    return {
      run() {
        wanted.grad = undefined
        y.backward({ gradient, retainGraph: true })
      },
      async finish() {
        await wanted.grad!.slice(0, 0, 0, 0).item()
      },
      async sample() {
        return sampleOf((await wanted.grad!.data()) as Float32Array)
      },
    }
  }
}

/** The weight is a constant of the model, which the runtime rearranges once. */
function ortForward({ stride, padding }: ConvLayer, shapes: Shapes): Setup {
  return ortContender(
    () => ({
      nodes: [
        {
          op: 'Conv',
          inputs: ['x', 'w'],
          outputs: ['y'],
          attributes: { strides: [stride, stride], pads: new Array<number>(4).fill(padding) },
        },
      ],
      inputs: [{ name: 'x', shape: shapes.x }],
      outputs: [{ name: 'y', shape: shapes.y }],
      weights: [{ name: 'w', shape: shapes.weight, data: values(sizeOf(shapes.weight), 2) }],
    }),
    () => values(sizeOf(shapes.x), 1),
  )
}

/** Channels come last, the only order its backend knows. */
function tfjsForward(layer: ConvLayer, batch: number): Setup {
  return async () => {
    const tf = await loadTfjs()
    const shapes = shapesOf(layer, batch)
    const channelsLast = (shape: number[], seed: number, order: number[]) => {
      const given = tfTensorOf(tf, shape, seed)
      const moved = tf.transpose(given, order)
      given.dispose()
      return moved
    }
    const x = channelsLast(shapes.x, 1, [0, 2, 3, 1])
    const filter = channelsLast(shapes.weight, 2, [2, 3, 1, 0])
    return tfjsContender(
      () => tf.conv2d(x, filter, layer.stride, layer.padding, 'NHWC', 1, 'floor'),
      [x, filter],
      (y) => tf.transpose(y, [0, 3, 1, 2]),
    )
  }
}
